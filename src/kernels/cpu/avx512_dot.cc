// The BF16 product of the AVX-512 path, in the order of linear.h. Few inputs: each row of weights
// is decoded in registers straight from the checkpoint's bytes. Those of a batch: avx512_batch.cc.
// Many inputs: a panel of rows is decoded into the second-level cache once, and tiles of 2 rows by
// 6 or 8 inputs pass over it.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/avx512_weights.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

// Up to so many inputs the weights are decoded in registers, up to so many more go the way of a
// batch, above that weights are decoded into a panel: by measurement (bench/products_bench.cc), as
// everything here.
constexpr int64_t kFewInputs = 7;
constexpr int64_t kBatchInputs = 2 * kBatchInputsMax;
// With so many the sums of whole rows stay in registers.
constexpr int kInputsInRegisters = 4;
// How many inputs one decoding serves at most.
template <Format kFormat>
constexpr int kInputsPerDecoding = kFormat == Format::kFp4 ? kInputsInRegisters : kFewInputs;

// Up to so many one row is multiplied at a time, with more two.
template <Format kFormat>
constexpr int kInputsOfOneRow = kFormat == Format::kFp4 ? 1 : 2;

// How far ahead of its use a sequential stream of weights is fetched, by measurement.
template <Format kFormat>
constexpr int64_t kPrefetchBytes = kFormat == Format::kBF16 ? 4096 : 6144;
// The same for two rows side by side, into the first-level cache.
constexpr int64_t kPrefetchBytesOfPairs = 4096;

// What is fetched while a stretch of kRows rows is multiplied: as many bytes of each row from `from`
// on.
template <int kRows>
struct FetchedRows {
  const std::byte* from[kRows];
  bool small_cache;
};

// acc[r][i] += the lane sums of a stretch of kRows rows that share their scales for kInputs inputs,
// which are read from x[i] + offset on.
template <Format kFormat, int kRows, int kInputs>
[[gnu::always_inline]] inline void AddDirect(const StretchView (&stretch)[kRows],
                                             const FetchedRows<kRows>& ahead,
                                             const uint16_t* const* x, int64_t offset,
                                             __m512 (&acc)[kRows][kInputs]) {
  constexpr int64_t kHalfBytes = CodeBytes<kFormat>(2 * kBlock);
  StretchReader<kFormat> reader[kRows];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) reader[r].Start(stretch[r]);
  __m512 sum[kRows][kInputs];
#pragma GCC unroll 2
  for (int64_t half = 0; half < 2; ++half) {
    __m512 p[kRows][kInputs];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      FetchWeights(ahead.from[r] + half * kHalfBytes, kHalfBytes, ahead.small_cache);
#pragma GCC unroll 4
      for (int i = 0; i < kInputs; ++i) p[r][i] = _mm512_setzero_ps();
    }
#pragma GCC unroll 2
    for (int64_t four = 2 * half; four < 2 * half + 2; ++four) {
      if (four >= reader[0].fours()) break;
      __m512i w[kRows][4];
      if constexpr (kFormat == Format::kFp8 && kRows == 1) {
        reader[0].ReadNormal(four, w[0]);
      } else {
        const auto table = reader[0].Table(four);
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r) reader[r].Read(four, table, w[r]);
      }
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
#pragma GCC unroll 4
        for (int i = 0; i < kInputs; ++i) {
          const __m512i v = _mm512_loadu_si512(x[i] + offset + 128 * four + 32 * s);
#pragma GCC unroll 2
          for (int r = 0; r < kRows; ++r) p[r][i] = DotPair(p[r][i], w[r][s], v);
        }
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < kInputs; ++i)
        sum[r][i] = half == 0 ? p[r][i] : _mm512_add_ps(sum[r][i], p[r][i]);
  }
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
    const __m512 scales = StretchScales<kFormat>(stretch[r]);
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) acc[r][i] = AddStretch<kFormat>(acc[r][i], sum[r][i], scales);
  }
}

// The same for more inputs, whose sums of one half take the registers: those of the rows stay in
// memory, and loops stay loops. The body of the loops stands twice: with one function for it g++
// makes FP4 with 4 inputs a quarter slower.
template <Format kFormat, int kRows, int kInputs>
[[gnu::always_inline]] inline void AddInLoops(const StretchView (&stretch)[kRows],
                                              const FetchedRows<kRows>& ahead,
                                              const uint16_t* const* x, int64_t offset,
                                              float (*sums)[kInputs][16]) {
  constexpr int64_t kHalfBytes = CodeBytes<kFormat>(2 * kBlock);
  StretchReader<kFormat> reader[kRows];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) reader[r].Start(stretch[r]);
  const uint16_t* input[kInputs];
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) input[i] = x[i] + offset;
  alignas(64) float first[kRows][kInputs][16];
  __m512 p[kRows][kInputs];
#pragma GCC unroll 1
  for (int64_t half = 0; half < 2; ++half) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      FetchWeights(ahead.from[r] + half * kHalfBytes, kHalfBytes, ahead.small_cache);
#pragma GCC unroll 8
      for (int i = 0; i < kInputs; ++i) p[r][i] = _mm512_setzero_ps();
    }
#pragma GCC unroll 1
    for (int64_t four = 2 * half; four < 2 * half + 2; ++four) {
      if (four >= reader[0].fours()) break;
      __m512i w[kRows][4];
      const auto table = reader[0].Table(four);
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) reader[r].Read(four, table, w[r]);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
#pragma GCC unroll 8
        for (int i = 0; i < kInputs; ++i) {
          const __m512i v = _mm512_loadu_si512(input[i] + 128 * four + 32 * s);
#pragma GCC unroll 2
          for (int r = 0; r < kRows; ++r) p[r][i] = DotPair(p[r][i], w[r][s], v);
        }
      }
    }
    if (half == 1) break;
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int i = 0; i < kInputs; ++i) _mm512_store_ps(first[r][i], p[r][i]);
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
    const __m512 scales = StretchScales<kFormat>(stretch[r]);
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) {
      const __m512 acc = _mm512_load_ps(sums[r][i]);
      const __m512 sum = _mm512_add_ps(_mm512_load_ps(first[r][i]), p[r][i]);
      _mm512_store_ps(sums[r][i], AddStretch<kFormat>(acc, sum, scales));
    }
  }
}

// AddInLoops in a function of its own, where compilers need fewer registers for what is around it.
template <Format kFormat, int kRows, int kInputs>
[[gnu::noinline]] void AddInLoopsApart(const StretchView (&stretch)[kRows],
                                       const FetchedRows<kRows>& ahead,
                                       const uint16_t* const* x, int64_t offset,
                                       float (*sums)[kInputs][16]) {
  AddInLoops<kFormat, kRows, kInputs>(stretch, ahead, x, offset, sums);
}

// Whether rows are read from one end to the other, so that their memory is one stream. With more
// inputs, of BF16 weights with more than two, which take as much room as the weights, they are read
// part by part with 16 rows, so that the inputs' part (16 KB) stays in the first-level cache.
template <Format kFormat, int kInputs>
constexpr bool kIsStream = kInputs <= (kFormat == Format::kBF16 ? 2 : kInputsInRegisters);

// Rows o to o + kRows, which share their scales, times kInputs inputs. What is fetched is always the
// memory `distance` after what was fetched before: two streams side by side are slower than one.
template <Format kFormat, int kRows, int kInputs>
[[gnu::always_inline]] inline void StreamRows(const DotTask& task, int64_t o, int64_t distance,
                                              const uint16_t* const* x, bool small_cache,
                                              float* y) {
  const int64_t whole = task.w.cols / kStretch;
  RowReader<kFormat> row[kRows];
  __m512 acc[kRows][kInputs];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
    row[r] = RowReader<kFormat>(task.w, o + r);
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) acc[r][i] = _mm512_setzero_ps();
  }
  StretchView stretch[kRows];
  FetchedRows<kRows> ahead;
  ahead.small_cache = small_cache;
  const auto add = [&] [[gnu::always_inline]] (int64_t b) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) ahead.from[r] = row[0].codes(kRows * b + r) + distance;
    AddDirect<kFormat, kRows, kInputs>(stretch, ahead, x, b * kStretch, acc);
  };
  for (int64_t b = 0; b < whole; ++b) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) stretch[r] = row[r].Whole(b);
    add(b);
  }
  if (whole * kStretch < task.w.cols) {
    alignas(64) std::byte copy[kRows][CodeBytes<kFormat>(kStretch)];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) stretch[r] = row[r].Last(whole, copy[r]);
    add(whole);
  }
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i)
      y[i * task.y_stride + (o + r - task.row_begin)] = Vec512::Fold(acc[r][i]);
  }
}

// All rows of the task in a stream. With several inputs two rows side by side share what they read
// of the inputs and tables; with fewer, one is faster from memory, though not from a cache. What
// these rows need beside the multiplications counts: with rows of 1 KB it was a third of the time.
template <Format kFormat, int kInputs>
void DotStream(const DotTask& task, const uint16_t* const* inputs, bool small_cache, float* y) {
  constexpr int kPair = kInputs > kInputsOfOneRow<kFormat> ? 2 : 1;
  const uint16_t* x[kInputs];
#pragma GCC unroll 4
  for (int i = 0; i < kInputs; ++i) x[i] = inputs[i];
  int64_t distance = kPrefetchBytes<kFormat>;
  if constexpr (kPair == 2) {
    // To the next pairs, as many as it takes.
    const int64_t least = small_cache ? kPrefetchBytes<kFormat> : kPrefetchBytesOfPairs;
    const int64_t pair_bytes = kPair * task.w.row_bytes();
    distance = (least + pair_bytes - 1) / pair_bytes * pair_bytes;
  }
  int64_t o = task.row_begin;
  while (o < task.row_end) {
    if constexpr (kPair == 2) {
      const RowReader<kFormat> row(task.w, o), next(task.w, o + 1);
      if (o + 1 < task.row_end && row.SharesScales(next)) {
        StreamRows<kFormat, 2, kInputs>(task, o, distance, x, small_cache, y);
        o += 2;
        continue;
      }
    }
    StreamRows<kFormat, 1, kInputs>(task, o, distance, x, small_cache, y);
    ++o;
  }
}

// Where kRows rows are fetched from while a stretch of theirs is multiplied: so many bytes from it.
struct FetchPlan {
  int64_t distance;
  bool small_cache;

  template <Format kFormat, int kRows>
  [[gnu::always_inline]] FetchedRows<kRows> At(const RowReader<kFormat> (&row)[kRows],
                                               int64_t b) const {
    FetchedRows<kRows> ahead;
    ahead.small_cache = small_cache;
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) ahead.from[r] = row[r].codes(b) + distance;
    return ahead;
  }
};

// Adds the stretches [first, end) of kRows rows from o on to the sums of kInputs inputs.
template <Format kFormat, int kRows, int kInputs>
void AddPart(const tensor::QuantView& w, int64_t o, int64_t first, int64_t end,
             const FetchPlan& plan, const uint16_t* const* x, float (*sums)[kInputs][16]) {
  const int64_t whole = w.cols / kStretch;
  RowReader<kFormat> row[kRows];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) row[r] = RowReader<kFormat>(w, o + r);
  __m512 acc[kRows][kInputs];
  if constexpr (kInputs <= kInputsInRegisters) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kInputs; ++i) acc[r][i] = _mm512_load_ps(sums[r][i]);
    }
  }
  for (int64_t b = first; b < end; ++b) {
    alignas(64) std::byte copy[kRows][CodeBytes<kFormat>(kStretch)];
    StretchView stretch[kRows];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r)
      stretch[r] = b < whole ? row[r].Whole(b) : row[r].Last(b, copy[r]);
    const FetchedRows<kRows> ahead = plan.At(row, b);
    if constexpr (kInputs <= kInputsInRegisters) {
      AddDirect<kFormat, kRows, kInputs>(stretch, ahead, x, b * kStretch, acc);
    } else if constexpr (kFormat == Format::kBF16) {
      AddInLoopsApart<kFormat, kRows, kInputs>(stretch, ahead, x, b * kStretch, sums);
    } else {
      AddInLoops<kFormat, kRows, kInputs>(stretch, ahead, x, b * kStretch, sums);
    }
  }
  if constexpr (kInputs <= kInputsInRegisters) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kInputs; ++i) _mm512_store_ps(sums[r][i], acc[r][i]);
    }
  }
}

// All rows of the task for kInputs inputs, 16 of them part by part, in pairs.
template <Format kFormat, int kInputs>
void DotParts(const DotTask& task, const uint16_t* const* x, bool small_cache, float* y) {
  constexpr int64_t kRows = 16;
  constexpr int kPair = 2;
  constexpr int64_t kPart = kInputs <= kInputsInRegisters ? kRows / kInputs : 2;
  const int64_t stretches = (task.w.cols + kStretch - 1) / kStretch;
  const int64_t row_bytes = task.w.row_bytes();
  // Of the part that starts at stretch b: of long rows to the same part of later ones, of others to
  // their own next part, or the first one of the row whose turn comes after it.
  const auto distance = [&](int64_t b) -> int64_t {
    if constexpr (kFormat == Format::kBF16)
      return (kInputs <= kInputsInRegisters ? 2 : 4) * kPair * row_bytes;
    return b + kPart < stretches ? CodeBytes<kFormat>(kPart * kStretch)
                                 : kRows * row_bytes - CodeBytes<kFormat>(b * kStretch);
  };
  alignas(64) float sums[kRows][kInputs][16];
  for (int64_t o = task.row_begin; o < task.row_end; o += kRows) {
    const int64_t rows = Smaller(kRows, task.row_end - o);
    __builtin_memset(sums, 0, sizeof(sums));
    for (int64_t b = 0; b < stretches; b += kPart) {
      const int64_t end = Smaller(b + kPart, stretches);
      const FetchPlan plan{distance(b), small_cache};
      for (int64_t r = 0; r < rows; r += kPair) {
        const int64_t pair = Smaller(kPair, rows - r);
        const RowReader<kFormat> first_row(task.w, o + r), last_row(task.w, o + r + pair - 1);
        if (pair == kPair && first_row.SharesScales(last_row)) {
          AddPart<kFormat, kPair, kInputs>(task.w, o + r, b, end, plan, x, sums + r);
        } else {
          for (int64_t one = r; one < r + pair; ++one)
            AddPart<kFormat, 1, kInputs>(task.w, o + one, b, end, plan, x, sums + one);
        }
      }
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int i = 0; i < kInputs; ++i)
        y[i * task.y_stride + (o + r - task.row_begin)] = Vec512::Fold(_mm512_load_ps(sums[r][i]));
  }
}

// Rows of a tile, and inputs of the widest one.
constexpr int kTileRows = 2;
constexpr int kTileInputs = 8;
constexpr int kTileInputsInSmallCache = 6;

// Some rows of the weights, decoded, in parts of two stretches: the inputs' values of a part (12 or
// 16 KB) and the sums stay in the first-level cache while the tiles of all rows pass over them.
// Lives on the stack, a quarter or half of a second-level cache.
struct Panel {
  static constexpr int64_t kValues = int64_t{1} << 18;
  static constexpr int64_t kRows = 64;
  static constexpr int64_t kStretches = 2;  // of a part
  static constexpr int64_t kWidth = kStretches * kStretch;
  // The longest rows of which a tile fits.
  static constexpr int64_t kColsMax = kValues / 2 / kTileRows;

  // Rows of `parts` parts that are decoded together. 64 instead of 32 are measured (and faster)
  // with 48 KB of first-level cache only.
  static int64_t RowsOf(int64_t parts, bool small_cache) {
    const int64_t less = small_cache ? 2 : 1;
    return Smaller(kValues / less / (parts * kWidth), kRows / less);
  }

  alignas(64) uint16_t codes[kValues];               // [part, row, kWidth]
  alignas(64) float scales[kValues / kStretch][16];  // FP4: [part, row, stretch]
  // One stretch of memory for each tile: sums far apart would meet in the same cache sets.
  alignas(64) float acc[kRows / kTileRows][kTileInputs][kTileRows][16];
};

// Row o of the weights to row r of a panel of `rows` rows.
template <Format kFormat>
void DecodeToPanel(const tensor::QuantView& w, int64_t o, int64_t r, int64_t rows, Panel& panel) {
  alignas(64) std::byte copy[CodeBytes<kFormat>(kStretch)];
  const RowReader<kFormat> row(w, o);
  const int64_t whole = w.cols / kStretch, stretches = (w.cols + kStretch - 1) / kStretch;
  for (int64_t b = 0; b < stretches; ++b) {
    const StretchView stretch = b < whole ? row.Whole(b) : row.Last(b, copy);
    StretchReader<kFormat> reader;
    reader.Start(stretch);
    const int64_t place =
        (b / Panel::kStretches * rows + r) * Panel::kStretches + b % Panel::kStretches;
    uint16_t* out = panel.codes + place * kStretch;
#pragma GCC unroll 4
    for (int64_t four = 0; four < 4; ++four) {
      if (four >= reader.fours()) break;
      __m512i v[4];
      reader.Read(four, v);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) _mm512_store_si512(out + 128 * four + 32 * s, v[s]);
    }
    if constexpr (kFormat == Format::kFp4)
      _mm512_store_ps(panel.scales[place], StretchScales<kFormat>(stretch));
  }
}

// One part of a panel: where the inputs' values of it begin, and the steps of the halves of its
// stretches.
struct PartPlace {
  int64_t offset = 0;
  int64_t stretches = 0;
  int64_t steps[2 * Panel::kStretches] = {};

  PartPlace(int64_t part, int64_t width) : offset(part * Panel::kWidth) {
    for (int64_t s = 0; s < Panel::kStretches; ++s) {
      const int64_t left = width - offset - s * kStretch;
      if (left <= 0) break;
      const int64_t all = Smaller(kStretch, left) / 32;
      ++stretches;
      steps[2 * s] = Smaller(all, 8);
      steps[2 * s + 1] = all - steps[2 * s];
    }
  }
  bool is_whole() const { return steps[2 * Panel::kStretches - 1] == 8; }
};

// Adds a part to the sums of kRows rows and kInputs inputs. The halves of a stretch are summed one
// after the other: with 12 sums, put aside once, a tile is faster than with the 24 of both halves,
// whose longer way out of the registers nothing else fills. A function of its own, so that the
// compiler keeps its pointers in registers.
template <Format kFormat, int kRows, int kInputs, bool kIsWhole>
[[gnu::noinline]] void DotTile(const PartPlace& part, const uint16_t* const* x,
                               const uint16_t* codes, const float (*scales)[16],
                               float (*sums)[kTileRows][16]) {
  constexpr int64_t kHalf = kStretch / 2;
  const uint16_t* input[kInputs];
#pragma GCC unroll 8
  for (int m = 0; m < kInputs; ++m) input[m] = x[m] + part.offset;
  const int64_t stretches = kIsWhole ? Panel::kStretches : part.stretches;
#pragma GCC unroll 1
  for (int64_t stretch = 0; stretch < stretches; ++stretch) {
    alignas(64) float first[kInputs][kRows][16];
    __m512 p[kInputs][kRows];
#pragma GCC unroll 1
    for (int64_t half = 0; half < 2; ++half) {
#pragma GCC unroll 8
      for (int m = 0; m < kInputs; ++m) {
#pragma GCC unroll 2
        for (int n = 0; n < kRows; ++n) p[m][n] = _mm512_setzero_ps();
      }
      const int64_t steps = kIsWhole ? 8 : part.steps[2 * stretch + half];
#pragma GCC unroll 1
      for (int64_t step = 0; step < steps; ++step) {
        const int64_t at = stretch * kStretch + half * kHalf + step * 32;
        __m512i w[kRows];
#pragma GCC unroll 2
        for (int n = 0; n < kRows; ++n) w[n] = _mm512_load_si512(codes + n * Panel::kWidth + at);
#pragma GCC unroll 8
        for (int m = 0; m < kInputs; ++m) {
          const __m512i value = _mm512_loadu_si512(input[m] + at);
#pragma GCC unroll 2
          for (int n = 0; n < kRows; ++n) p[m][n] = DotPair(p[m][n], w[n], value);
        }
      }
      if (half == 1) break;
#pragma GCC unroll 8
      for (int m = 0; m < kInputs; ++m) {
#pragma GCC unroll 2
        for (int n = 0; n < kRows; ++n) _mm512_store_ps(first[m][n], p[m][n]);
      }
    }
    const bool from_zero = part.offset == 0 && stretch == 0;
#pragma GCC unroll 2
    for (int n = 0; n < kRows; ++n) {
      const __m512 scale = kFormat == Format::kFp4
                               ? _mm512_load_ps(scales[n * Panel::kStretches + stretch])
                               : _mm512_setzero_ps();
#pragma GCC unroll 8
      for (int m = 0; m < kInputs; ++m) {
        const __m512 acc = from_zero ? _mm512_setzero_ps() : _mm512_load_ps(sums[m][n]);
        const __m512 sum = _mm512_add_ps(_mm512_load_ps(first[m][n]), p[m][n]);
        _mm512_store_ps(sums[m][n], AddStretch<kFormat>(acc, sum, scale));
      }
    }
  }
}

// y [kInputs, rows] <- all rows of a panel times kInputs inputs. With a small cache what `ahead` says
// is fetched meanwhile; cores with a larger one bring inputs and weights in time by themselves, and
// are slower with these fetches.
template <Format kFormat, int kInputs, bool kSmallCache>
void DotRows(int64_t width, int64_t rows, const uint16_t* const* x, float* y, int64_t y_stride,
             Ahead ahead, Panel& panel) {
  // Stores wait for their lines in order, those of the sums behind those of y.
  for (int m = 0; m < kInputs; ++m)
    Prefetch<2>(reinterpret_cast<const std::byte*>(y + m * y_stride), rows * 4);
  const int64_t parts = (width + Panel::kWidth - 1) / Panel::kWidth;
  // Of a part of the next inputs, for each row.
  constexpr int64_t share = Panel::kWidth / (Panel::kRows / 2);
  for (int64_t b = 0; b < parts; ++b) {
    const PartPlace part(b, width);
    for (int64_t row = 0; row < rows; row += kTileRows) {
      if constexpr (kSmallCache) {
        for (int64_t m = 0; m < ahead.inputs; ++m)
          Prefetch<2>(reinterpret_cast<const std::byte*>(ahead.x[m] + part.offset + row * share),
                      kTileRows * share * 2);
        Prefetch<2>(ahead.codes, ahead.lines * 64);
        ahead.codes += ahead.lines * 64;
      }
      const int64_t place = b * rows + row;
      const uint16_t* codes = panel.codes + place * Panel::kWidth;
      const float(*scales)[16] = panel.scales + place * Panel::kStretches;
      float(*sums)[kTileRows][16] = panel.acc[row / kTileRows];
      if (row + kTileRows > rows) {
        DotTile<kFormat, 1, kInputs, false>(part, x, codes, scales, sums);
      } else if (part.is_whole()) {
        DotTile<kFormat, kTileRows, kInputs, true>(part, x, codes, scales, sums);
      } else {
        DotTile<kFormat, kTileRows, kInputs, false>(part, x, codes, scales, sums);
      }
    }
  }
  for (int m = 0; m < kInputs; ++m) {
    for (int64_t first = 0; first < rows; first += 16) {
      __m512 v[16];
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r)
        v[r] = _mm512_load_ps(panel.acc[(first + r) / kTileRows][m][r % kTileRows]);
      Vec512::Store(y + m * y_stride + first, Vec512::Fold16(v), Smaller(16, rows - first));
    }
  }
}

template <Format kFormat>
void DotPanels(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  Panel panel;
  const int64_t width = PackedWidth(kFormat, task.w.cols);
  const int64_t parts = (width + Panel::kWidth - 1) / Panel::kWidth;
  const int64_t panel_rows = Panel::RowsOf(parts, small_cache);
  for (int64_t o = task.row_begin; o < task.row_end; o += panel_rows) {
    const int64_t rows = Smaller(panel_rows, task.row_end - o);
    for (int64_t r = 0; r < rows; ++r) DecodeToPanel<kFormat>(task.w, o + r, r, rows, panel);
    float* y = task.y + (o - task.row_begin);
    if (small_cache) {
      const RowReader<kFormat> next_row(task.w, Smaller(o + rows, task.w.rows - 1));
      const int64_t bytes = rows * CodeBytes<kFormat>(task.w.cols);
      const int64_t tiles = parts * ((rows + kTileRows - 1) / kTileRows);
      PassOverPanel<kTileInputsInSmallCache>(
          task, x, next_row.codes(0), bytes, tiles,
          [&](int64_t first, auto inputs, const Ahead& ahead) {
            DotRows<kFormat, inputs, true>(width, rows, x + first, y + first * task.y_stride,
                                           task.y_stride, ahead, panel);
          });
    } else {
      ForShares<kTileInputs>(task.count, [&](int64_t first, auto inputs) {
        DotRows<kFormat, inputs, false>(width, rows, x + first, y + first * task.y_stride,
                                        task.y_stride, Ahead{}, panel);
      });
    }
  }
}

template <Format kFormat>
void Dot(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  if (task.count <= kFewInputs) {
    return ForShares<kInputsPerDecoding<kFormat>>(task.count, [&](int64_t first, auto inputs) {
      float* y = task.y + first * task.y_stride;
      if constexpr (kIsStream<kFormat, inputs>) {
        DotStream<kFormat, inputs>(task, x + first, small_cache, y);
      } else {
        DotParts<kFormat, inputs>(task, x + first, small_cache, y);
      }
    });
  }
  // Rows too long for a panel, which no known model has, go the way of a batch.
  if (task.count <= kBatchInputs || task.w.cols > Panel::kColsMax) return DotBatchAvx512(task, x, small_cache);
  DotPanels<kFormat>(task, x, small_cache);
}

}  // namespace

void DotBF16Avx512(const DotTask& task, const uint16_t* const* x) {
  DotBF16Avx512With(task, x, IsFirstCacheSmall());
}

void DotBF16Avx512With(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  switch (task.w.format) {
    case Format::kBF16:
      return Dot<Format::kBF16>(task, x, small_cache);
    case Format::kFp8:
      return Dot<Format::kFp8>(task, x, small_cache);
    case Format::kFp4:
      return Dot<Format::kFp4>(task, x, small_cache);
    case Format::kF32:
      return;  // F32 weights have the float32 product only.
  }
}

}  // namespace fathom::kernels::cpu

#endif
