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

// How far ahead of its use a sequential stream of weights is fetched, by measurement.
template <Format kFormat>
constexpr int64_t kPrefetchBytes = kFormat == Format::kBF16 ? 4096 : 6144;

// acc[r][i] += the lane sums of a stretch of kRows rows that share their scales for kInputs inputs,
// which are read from x[i] + offset on. Fetches as many bytes from `ahead` on, into the
// second-level cache: fetching into the first one is slower here than not fetching at all.
template <Format kFormat, int kRows, int kInputs>
[[gnu::always_inline]] inline void AddDirect(const StretchView (&stretch)[kRows],
                                             const std::byte* const (&ahead)[kRows],
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
      Prefetch<2>(ahead[r] + half * kHalfBytes, kHalfBytes);
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
                                              const std::byte* const (&ahead)[kRows],
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
      Prefetch<2>(ahead[r] + half * kHalfBytes, kHalfBytes);
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
                                       const std::byte* const (&ahead)[kRows],
                                       const uint16_t* const* x, int64_t offset,
                                       float (*sums)[kInputs][16]) {
  AddInLoops<kFormat, kRows, kInputs>(stretch, ahead, x, offset, sums);
}

// Whether rows are read from one end to the other. With more inputs, of BF16 weights with more than
// two, which take as much room as the weights, they are read part by part with 16 rows, so that the
// inputs' part (16 KB) stays in the first-level cache.
constexpr int64_t kRowsPerPart = 16;
template <Format kFormat, int kInputs>
constexpr bool kIsStream = kInputs <= (kFormat == Format::kBF16 ? 2 : kInputsInRegisters);

// What is fetched while stretch b of row o + r of kRows is multiplied. Of rows in a stream it is
// always the memory after what was fetched before: two streams side by side are slower than one.
template <Format kFormat, int kRows, int kInputs>
[[gnu::always_inline]] inline const std::byte* FetchFrom(const tensor::QuantView& w, int64_t o,
                                                         int r, int64_t b, int64_t distance) {
  const bool in_turn = kIsStream<kFormat, kInputs>;
  const RowReader<kFormat> row(w, in_turn ? o : o + r);
  return row.codes(in_turn ? kRows * b + r : b) + distance;
}

// Adds the stretches [first, end) of kRows rows from o on to the sums of kInputs inputs.
template <Format kFormat, int kRows, int kInputs>
void DotRun(const tensor::QuantView& w, int64_t o, int64_t first, int64_t end, int64_t distance,
            const uint16_t* const* x, float (*sums)[kInputs][16]) {
  constexpr int64_t kBytes = CodeBytes<kFormat>(kStretch);
  const int64_t whole = w.cols / kStretch;
  const uint16_t* input[kInputs];
  __m512 acc[kRows][kInputs];
#pragma GCC unroll 4
  for (int i = 0; i < kInputs; ++i) {
    input[i] = x[i];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) acc[r][i] = _mm512_load_ps(sums[r][i]);
  }
  StretchView stretch[kRows];
  const std::byte* ahead[kRows];
  for (int64_t b = first; b < Smaller(end, whole); ++b) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      const RowReader<kFormat> row(w, o + r);
      stretch[r] = row.Whole(b);
      ahead[r] = FetchFrom<kFormat, kRows, kInputs>(w, o, r, b, distance);
    }
    AddDirect<kFormat, kRows, kInputs>(stretch, ahead, input, b * kStretch, acc);
  }
  if (end > whole) {
    alignas(64) std::byte copy[kRows][kBytes];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      const RowReader<kFormat> row(w, o + r);
      stretch[r] = row.Last(whole, copy[r]);
      ahead[r] = FetchFrom<kFormat, kRows, kInputs>(w, o, r, whole, distance);
    }
    AddDirect<kFormat, kRows, kInputs>(stretch, ahead, input, whole * kStretch, acc);
  }
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) _mm512_store_ps(sums[r][i], acc[r][i]);
  }
}

// The same for more inputs than kInputsInRegisters.
template <Format kFormat, int kRows, int kInputs>
void DotRunInLoops(const tensor::QuantView& w, int64_t o, int64_t first, int64_t end,
                   int64_t distance, const uint16_t* const* x, float (*sums)[kInputs][16]) {
  const int64_t whole = w.cols / kStretch;
  for (int64_t b = first; b < end; ++b) {
    alignas(64) std::byte copy[kRows][CodeBytes<kFormat>(kStretch)];
    StretchView stretch[kRows];
    const std::byte* ahead[kRows];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      const RowReader<kFormat> row(w, o + r);
      stretch[r] = b < whole ? row.Whole(b) : row.Last(b, copy[r]);
      ahead[r] = row.codes(b) + distance;
    }
    if constexpr (kFormat == Format::kBF16) {
      AddInLoopsApart<kFormat, kRows, kInputs>(stretch, ahead, x, b * kStretch, sums);
    } else {
      AddInLoops<kFormat, kRows, kInputs>(stretch, ahead, x, b * kStretch, sums);
    }
  }
}

template <Format kFormat, int kRows, int kInputs>
void AddRows(const tensor::QuantView& w, int64_t o, int64_t first, int64_t end, int64_t distance,
             const uint16_t* const* x, float (*sums)[kInputs][16]) {
  if constexpr (kInputs <= kInputsInRegisters) {
    DotRun<kFormat, kRows, kInputs>(w, o, first, end, distance, x, sums);
  } else {
    DotRunInLoops<kFormat, kRows, kInputs>(w, o, first, end, distance, x, sums);
  }
}

// All rows of the task for kInputs inputs. With several inputs two rows side by side share what
// they read of the inputs and tables; with few, one stream from memory is faster, though not from a
// cache.
template <Format kFormat, int kInputs>
void DotDirect(const DotTask& task, const uint16_t* const* x, float* y) {
  constexpr bool kStream = kIsStream<kFormat, kInputs>;
  constexpr int kPair = kInputs > (kFormat == Format::kFp4 ? 1 : 2) ? 2 : 1;
  constexpr int64_t kRows = kStream ? kPair : kRowsPerPart;
  const int64_t stretches = (task.w.cols + kStretch - 1) / kStretch;
  const int64_t part = kStream                         ? stretches
                       : kInputs <= kInputsInRegisters ? kRowsPerPart / kInputs
                                                       : 2;
  const int64_t pair_bytes = kPair * task.w.row_bytes();
  // From what is multiplied to what is fetched meanwhile, in the part that starts at stretch b.
  const auto distance = [&](int64_t b) -> int64_t {
    if constexpr (kStream && kPair == 1) return kPrefetchBytes<kFormat>;
    // In a stream to the next pairs, as many as it takes.
    if constexpr (kStream)
      return (kPrefetchBytes<kFormat> + pair_bytes - 1) / pair_bytes * pair_bytes;
    // Of long rows to the same part of later ones, of others to their own next part, or the first
    // one of the row whose turn comes after it.
    if constexpr (kFormat == Format::kBF16)
      return (kInputs <= kInputsInRegisters ? 2 : 4) * pair_bytes;
    return b + part < stretches ? CodeBytes<kFormat>(part * kStretch)
                                : kRows * task.w.row_bytes() - CodeBytes<kFormat>(b * kStretch);
  };
  alignas(64) float sums[kRows][kInputs][16];
  for (int64_t o = task.row_begin; o < task.row_end; o += kRows) {
    const int64_t rows = Smaller(kRows, task.row_end - o);
    __builtin_memset(sums, 0, sizeof(sums));
    for (int64_t b = 0; b < stretches; b += part) {
      const int64_t end = Smaller(b + part, stretches);
      for (int64_t r = 0; r < rows; r += kPair) {
        const int64_t pair = Smaller(kPair, rows - r);
        const RowReader<kFormat> first_row(task.w, o + r), last_row(task.w, o + r + pair - 1);
        if (pair == kPair && first_row.SharesScales(last_row)) {
          AddRows<kFormat, kPair, kInputs>(task.w, o + r, b, end, distance(b), x, sums + r);
        } else {
          for (int64_t one = r; one < r + pair; ++one)
            AddRows<kFormat, 1, kInputs>(task.w, o + one, b, end, distance(b), x, sums + one);
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

// y [kInputs, rows] <- all rows of a panel times kInputs inputs.
template <Format kFormat, int kInputs, int64_t kPanelRows>
void DotRows(int64_t width, int64_t rows, const uint16_t* const* x, float* y, int64_t y_stride,
             Ahead ahead, Panel& panel) {
  // Stores wait for their lines in order, those of the sums behind those of y.
  for (int m = 0; m < kInputs; ++m)
    Prefetch<2>(reinterpret_cast<const std::byte*>(y + m * y_stride), rows * 4);
  const int64_t parts = (width + Panel::kWidth - 1) / Panel::kWidth;
  constexpr int64_t share = Panel::kWidth / kPanelRows;  // of a part of the next inputs, a row
  for (int64_t b = 0; b < parts; ++b) {
    const PartPlace part(b, width);
    for (int64_t row = 0; row < rows; row += kTileRows) {
      for (int64_t m = 0; m < ahead.inputs; ++m)
        Prefetch<2>(reinterpret_cast<const std::byte*>(ahead.x[m] + part.offset + row * share),
                    kTileRows * share * 2);
      Prefetch<2>(ahead.codes, ahead.lines * 64);
      ahead.codes += ahead.lines * 64;
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
    const RowReader<kFormat> next_row(task.w, Smaller(o + rows, task.w.rows - 1));
    const int64_t bytes = rows * CodeBytes<kFormat>(task.w.cols);
    const int64_t tiles = parts * ((rows + kTileRows - 1) / kTileRows);
    float* y = task.y + (o - task.row_begin);
    if (small_cache) {
      PassOverPanel<kTileInputsInSmallCache>(
          task, x, next_row.codes(0), bytes, tiles,
          [&](int64_t first, auto inputs, const Ahead& ahead) {
            DotRows<kFormat, inputs, Panel::kRows / 2>(
                width, rows, x + first, y + first * task.y_stride, task.y_stride, ahead, panel);
          });
    } else {
      PassOverPanel<kTileInputs>(task, x, next_row.codes(0), bytes, tiles,
                                 [&](int64_t first, auto inputs, const Ahead& ahead) {
                                   DotRows<kFormat, inputs, Panel::kRows>(
                                       width, rows, x + first, y + first * task.y_stride,
                                       task.y_stride, ahead, panel);
                                 });
    }
  }
}

template <Format kFormat>
void Dot(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  if (task.count <= kFewInputs) {
    return ForShares<kInputsPerDecoding<kFormat>>(task.count, [&](int64_t first, auto inputs) {
      DotDirect<kFormat, inputs>(task, x + first, task.y + first * task.y_stride);
    });
  }
  // Rows too long for a panel, which no known model has, go the way of a batch.
  if (task.count <= kBatchInputs || task.w.cols > Panel::kColsMax) return DotBatchAvx512(task, x);
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
