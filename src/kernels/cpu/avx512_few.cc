// The BF16 product of the AVX-512 path for few inputs, in the order of linear.h: each row of
// weights is decoded in registers straight from the checkpoint's bytes.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/avx512_weights.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

// With so many the sums of whole rows stay in registers.
constexpr int kInputsInRegisters = 4;
// How many inputs one decoding serves at most.
template <Format kFormat>
constexpr int kInputsPerDecoding = kFormat == Format::kFp4 ? kInputsInRegisters : kFewInputsMax;

// Up to so many one row is multiplied at a time, with more two.
template <Format kFormat>
constexpr int kInputsOfOneRow = kFormat == Format::kFp4 ? 1 : 2;

// Whether FP8 codes are decoded without tables where they can.
template <Format kFormat, int kRows>
constexpr bool kReadsNormal = kFormat == Format::kFp8 && kRows == 1;

// How far ahead of its use a sequential stream of weights is fetched, by measurement.
template <Format kFormat>
constexpr int64_t kPrefetchBytes = kFormat == Format::kBF16 ? 4096 : 6144;
// The same for two rows side by side, into the first-level cache.
constexpr int64_t kPrefetchBytesOfPairs = 4096;

// What is fetched while kStretches stretches are multiplied: as many bytes as each of them has,
// from `from` on.
template <int kStretches>
struct Fetched {
  const std::byte* from[kStretches];
  bool to_second = false;  // into the second-level cache
  // Where pages are fetched from (FetchPage), as many bytes further on each time; with BF16 that is
  // enough.
  const std::byte* page = nullptr;
};

// Stretches of a row that are multiplied side by side, by measurement: the sums of one are chains
// of 16 products, and a processor does not look far enough ahead to fill the time it waits for
// them. One row of BF16 with one input is faster than the memory measured without that, and stays a
// single stream.
template <Format kFormat>
constexpr int SideBySide(int sums) {
  if (sums == 1 && kFormat != Format::kFp8) return kFormat == Format::kFp4 ? 4 : 1;
  return sums <= 8 ? 2 : 1;
}

// acc[r][i] += the lane sums of kSide stretches, one after the other, of kRows rows that share
// their scales for kInputs inputs, which are read from x[i] + offset on. Fetches go on one after
// the other, whatever stretch is multiplied meanwhile.
template <Format kFormat, int kSide, int kRows, int kInputs>
[[gnu::always_inline]] inline void AddDirect(const StretchView (&stretch)[kSide][kRows],
                                             const Fetched<kSide * kRows>& ahead,
                                             const uint16_t* const* x, int64_t offset,
                                             __m512 (&acc)[kRows][kInputs]) {
  constexpr int64_t kFourBytes = CodeBytes<kFormat>(kBlock);
  StretchReader<kFormat> reader[kSide][kRows];
  __m512 p[kSide][kRows][kInputs];
#pragma GCC unroll 4
  for (int b = 0; b < kSide; ++b) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      reader[b][r].Start(stretch[b][r]);
#pragma GCC unroll 4
      for (int i = 0; i < kInputs; ++i) p[b][r][i] = _mm512_setzero_ps();
    }
  }
  // Blocks of a stretch before its neighbour's: one row of FP8 is read faster in longer pieces.
  constexpr int64_t kRun = kFormat == Format::kFp8 && kRows == 1 && kSide == 2 ? 2 : 1;
#pragma GCC unroll 4
  for (int64_t run = 0; run < 4; run += kRun) {
#pragma GCC unroll 4
    for (int b = 0; b < kSide; ++b) {
#pragma GCC unroll 2
      for (int64_t four = run; four < run + kRun; ++four) {
        if (four >= reader[0][0].fours()) break;
        // Compilers would issue all fetches in one burst.
        constexpr bool kInOrder = kFormat == Format::kBF16 || kRows * kInputs == 1;
        if constexpr (kInOrder) asm volatile("" ::: "memory");
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r) {
          const int64_t part = (run * kSide + b * kRun + four - run) * kRows + r;
          if (kFormat != Format::kBF16 || ahead.page == nullptr)
            FetchWeights(ahead.from[part / 4] + part % 4 * kFourBytes, kFourBytes, ahead.to_second);
          // Behind the loads of these stretches: before them FP4 was read less than half as fast.
          if (part == 0 && ahead.page != nullptr)
            FetchPage(ahead.page, kSide * kRows * 4 * kFourBytes);
        }
        __m512i w[kRows][4];
        if constexpr (kReadsNormal<kFormat, kRows>) {
          reader[b][0].ReadNormal(four, w[0]);
        } else {
          const auto table = reader[b][0].Table(four);
#pragma GCC unroll 2
          for (int r = 0; r < kRows; ++r) reader[b][r].Read(four, table, w[r]);
        }
        const int64_t place = offset + b * kStretch + 128 * four;
#pragma GCC unroll 4
        for (int s = 0; s < 4; ++s) {
#pragma GCC unroll 4
          for (int i = 0; i < kInputs; ++i) {
            const __m512i v = _mm512_loadu_si512(x[i] + place + 32 * s);
#pragma GCC unroll 2
            for (int r = 0; r < kRows; ++r) p[b][r][i] = DotPair(p[b][r][i], w[r][s], v);
          }
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int b = 0; b < kSide; ++b) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      const __m512 scales = StretchScales<kFormat>(stretch[b][r]);
#pragma GCC unroll 4
      for (int i = 0; i < kInputs; ++i)
        acc[r][i] = AddStretch<kFormat>(acc[r][i], p[b][r][i], scales);
    }
  }
}

// The same for more inputs, whose sums of a stretch take the registers: those of the rows stay in
// memory, and loops stay loops. The body of the loops stands twice: with one function for it g++
// makes FP4 with 4 inputs a quarter slower.
template <Format kFormat, int kRows, int kInputs>
[[gnu::always_inline]] inline void AddInLoops(const StretchView (&stretch)[kRows],
                                              const Fetched<kRows>& ahead, const uint16_t* const* x,
                                              int64_t offset, float (*sums)[kInputs][16]) {
  constexpr int64_t kFourBytes = CodeBytes<kFormat>(kBlock);
  StretchReader<kFormat> reader[kRows];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) reader[r].Start(stretch[r]);
  const uint16_t* input[kInputs];
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) input[i] = x[i] + offset;
  __m512 p[kRows][kInputs];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) p[r][i] = _mm512_setzero_ps();
  }
#pragma GCC unroll 1
  for (int64_t four = 0; four < 4; ++four) {
    if (four >= reader[0].fours()) break;
    __m512i w[kRows][4];
    const auto table = reader[0].Table(four);
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      FetchWeights(ahead.from[r] + four * kFourBytes, kFourBytes, ahead.to_second);
      reader[r].Read(four, table, w[r]);
    }
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
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
    const __m512 scales = StretchScales<kFormat>(stretch[r]);
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) {
      const __m512 acc = _mm512_load_ps(sums[r][i]);
      _mm512_store_ps(sums[r][i], AddStretch<kFormat>(acc, p[r][i], scales));
    }
  }
}

// AddInLoops in a function of its own, where compilers need fewer registers for what is around it.
template <Format kFormat, int kRows, int kInputs>
[[gnu::noinline]] void AddInLoopsApart(const StretchView (&stretch)[kRows],
                                       const Fetched<kRows>& ahead, const uint16_t* const* x,
                                       int64_t offset, float (*sums)[kInputs][16]) {
  AddInLoops<kFormat, kRows, kInputs>(stretch, ahead, x, offset, sums);
}

// Whether rows are read from one end to the other, so that their memory is one stream. With more
// inputs, of BF16 weights with more than two, which take as much room as the weights, they are read
// part by part with 16 rows, so that the inputs' part (16 KB) stays in the first-level cache.
template <Format kFormat, int kInputs>
constexpr bool kIsStream = kInputs <= (kFormat == Format::kBF16 ? 2 : kInputsInRegisters);

// Rows o to o + kRows, which share their scales, times kInputs inputs. What is fetched is always
// the memory `distance` after what was fetched before: two streams side by side are slower than
// one.
template <Format kFormat, int kRows, int kInputs>
[[gnu::always_inline]] inline void StreamRows(const DotTask& task, int64_t o, int64_t distance,
                                              const uint16_t* const* x, auto small_cache,
                                              NormalScales& normal, float* y) {
  const int64_t whole = task.w.cols / kStretch;
  RowReader<kFormat> row[kRows];
  __m512 acc[kRows][kInputs];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
    row[r] = RowReader<kFormat>(task.w, o + r);
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) acc[r][i] = _mm512_setzero_ps();
  }
  const int32_t* added = nullptr;
  if constexpr (kReadsNormal<kFormat, kRows>)
    added = normal.Of(row[0].scales(), (task.w.cols + kBlock - 1) / kBlock);
  const auto add = [&]<int kSide>(int64_t b, StretchView(&stretch)[kSide][kRows])
      __attribute__((always_inline)) {
    Fetched<kSide * kRows> ahead;
    // By measurement, as distances are.
    ahead.to_second = small_cache;
    if (kRows == 1 && !small_cache) ahead.page = row[0].codes(b) + kPageAhead;
#pragma GCC unroll 4
    for (int n = 0; n < kSide * kRows; ++n) ahead.from[n] = row[0].codes(kRows * b + n) + distance;
#pragma GCC unroll 4
    for (int i = 0; i < kSide; ++i)
      if (added != nullptr) stretch[i][0].added = added + 4 * (b + i);
    AddDirect<kFormat, kSide, kRows, kInputs>(stretch, ahead, x, b * kStretch, acc);
  };
  const auto add_whole = [&]<int kSide>(int64_t b, std::integral_constant<int, kSide>)
      __attribute__((always_inline)) {
    StretchView stretch[kSide][kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kSide; ++i) {
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) stretch[i][r] = row[r].Whole(b + i);
    }
    add(b, stretch);
  };
  constexpr int kSide = SideBySide<kFormat>(kRows * kInputs);
  int64_t b = 0;
  for (; b + kSide <= whole; b += kSide) add_whole(b, std::integral_constant<int, kSide>());
  if constexpr (kSide == 4) {
    for (; b + 2 <= whole; b += 2) add_whole(b, std::integral_constant<int, 2>());
  }
  for (; b < whole; ++b) add_whole(b, std::integral_constant<int, 1>());
  if (whole * kStretch < task.w.cols) {
    alignas(64) std::byte copy[kRows][CodeBytes<kFormat>(kStretch)];
    StretchView stretch[1][kRows];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) stretch[0][r] = row[r].Last(whole, copy[r]);
    add(whole, stretch);
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
// these rows need beside the multiplications counts: with rows of 1 KB it was up to a third of the
// time. `small_cache` is a constant for one input: then there is no branch for each fetch. More
// inputs keep it, because g++ gathers fetches where there is none.
template <Format kFormat, int kInputs>
void DotStream(const DotTask& task, const uint16_t* const* inputs, auto small_cache, float* y) {
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
  NormalScales normal;
  int64_t o = task.row_begin;
  while (o < task.row_end) {
    if constexpr (kPair == 2) {
      if (o + 1 < task.row_end &&
          RowReader<kFormat>(task.w, o).SharesScales(RowReader<kFormat>(task.w, o + 1))) {
        StreamRows<kFormat, 2, kInputs>(task, o, distance, x, small_cache, normal, y);
        o += 2;
        continue;
      }
    }
    StreamRows<kFormat, 1, kInputs>(task, o, distance, x, small_cache, normal, y);
    ++o;
  }
}

// Where rows are fetched from while a stretch of theirs is multiplied: so many bytes behind it.
struct FetchPlan {
  int64_t distance;
  bool small_cache;
};

// Adds the stretches [first, end) of kRows rows from o on to the sums of kInputs inputs.
template <Format kFormat, int kRows, int kInputs>
void AddPart(const tensor::QuantView& w, int64_t o, int64_t first, int64_t end, FetchPlan plan,
             const uint16_t* const* x, float (*sums)[kInputs][16]) {
  constexpr bool kInRegisters = kInputs <= kInputsInRegisters;
  const int64_t whole = w.cols / kStretch;
  __m512 acc[kRows][kInputs];
  if constexpr (kInRegisters) {
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kInputs; ++i) acc[r][i] = _mm512_load_ps(sums[r][i]);
    }
  }
  for (int64_t b = first; b < end; ++b) {
    alignas(64) std::byte copy[kRows][CodeBytes<kFormat>(kStretch)];
    StretchView stretch[1][kRows];
    Fetched<kRows> ahead;
    ahead.to_second = plan.small_cache;
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      const RowReader<kFormat> row(w, o + r);
      stretch[0][r] = b < whole ? row.Whole(b) : row.Last(b, copy[r]);
      ahead.from[r] = row.codes(b) + plan.distance;
    }
    if constexpr (kInRegisters) {
      AddDirect<kFormat, 1, kRows, kInputs>(stretch, ahead, x, b * kStretch, acc);
    } else if constexpr (kFormat == Format::kBF16) {
      AddInLoopsApart<kFormat, kRows, kInputs>(stretch[0], ahead, x, b * kStretch, sums);
    } else {
      AddInLoops<kFormat, kRows, kInputs>(stretch[0], ahead, x, b * kStretch, sums);
    }
  }
  if constexpr (kInRegisters) {
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
    if (stretches <= kPart && !small_cache) return 2 * kPair * row_bytes;
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

template <Format kFormat>
void DotFew(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  ForShares<kInputsPerDecoding<kFormat>>(task.count, [&](int64_t first, auto inputs) {
    float* y = task.y + first * task.y_stride;
    if constexpr (kIsStream<kFormat, inputs>) {
      if constexpr (inputs > 1) {
        DotStream<kFormat, inputs>(task, x + first, small_cache, y);
      } else if (small_cache) {
        DotStream<kFormat, inputs>(task, x + first, std::true_type(), y);
      } else {
        DotStream<kFormat, inputs>(task, x + first, std::false_type(), y);
      }
    } else {
      DotParts<kFormat, inputs>(task, x + first, small_cache, y);
    }
  });
}

}  // namespace

void DotFewAvx512(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  ForFormat(task.w.format, [&](auto format) { DotFew<format>(task, x, small_cache); });
}

}  // namespace fathom::kernels::cpu

#endif
