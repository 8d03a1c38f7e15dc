// The BF16 product of the AVX-512 path, in the order of linear.h. Few inputs: avx512_few.cc, those
// of a batch: avx512_batch.cc, here many: a panel of rows is decoded into the second-level cache
// once, and tiles of 4 rows by 6 inputs pass over it.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/avx512_weights.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

// Up to so many inputs go the way of a batch, above that weights are decoded into a panel: by
// measurement (bench/products_bench.cc), as everything here. With a small cache, where these tiles
// have not been measured, it is what was best with earlier ones.
constexpr int64_t kBatchInputs = 16;
constexpr int64_t kBatchInputsInSmallCache = 2 * kBatchInputsMax;

// Rows and the most inputs of a tile: 24 sums, a register for each row and one for an input.
constexpr int kTileRows = 4;
constexpr int kTileInputs = 6;

// Some rows of the weights, decoded, in parts of two stretches: the inputs' values of a part (12
// KB) stay in the first-level cache while the tiles of all rows pass over them. The values of a
// tile stand in the order in which it reads them. Lives on the stack, a quarter or half of a
// second-level cache.
struct Panel {
  static constexpr int64_t kValues = int64_t{1} << 18;
  static constexpr int64_t kRows = 64;
  static constexpr int64_t kStretches = 2;  // of a part
  static constexpr int64_t kWidth = kStretches * kStretch;
  // The longest rows of which a tile fits.
  static constexpr int64_t kColsMax = kValues / 2 / kTileRows;

  // Rows of `parts` parts that are decoded together, whole tiles. 64 instead of 32 are measured
  // (and faster) with 48 KB of first-level cache only.
  static int64_t RowsOf(int64_t parts, bool small_cache) {
    const int64_t less = small_cache ? 2 : 1;
    return Smaller(kValues / less / (parts * kWidth), kRows / less) / kTileRows * kTileRows;
  }

  alignas(64) uint16_t codes[kValues];  // [part, tile, step, row of the tile, 32]
  // Of FP4 stretches whose codes are not scaled: [part, tile, stretch, row of the tile].
  alignas(64) float scales[kValues / kStretch][16];
  // One stretch of memory for each tile: sums far apart would meet in the same cache sets.
  alignas(64) float acc[kRows / kTileRows][kTileInputs][kTileRows][16];
};

// FP4 codes are scaled in the panel where that gives the bits of scaling their sums: where no
// product or sum of them, scaled or not, leaves the normal numbers. Sums are multiples of the last
// place of the smallest product, 2^-8 times the smallest input, and below 2^12 times the largest,
// so inputs and scales may have exponents of up to 40 either way (kExponentMost). Multiplying the
// sums would take the units of the products one time in 16.

// Whether all nonzero values of `width`, BF16, lie between 2^-40 and 2^41.
bool AreModerate(const uint16_t* x, int64_t width) {
  constexpr int kLeast = (127 - kExponentMost) << 7, kMost = (127 + kExponentMost) << 7 | 127;
  __mmask32 far = 0;
  for (int64_t k = 0; k < width; k += 32) {
    const __m512i size = _mm512_and_si512(_mm512_loadu_si512(x + k), _mm512_set1_epi16(0x7fff));
    const __m512i above = _mm512_sub_epi16(size, _mm512_set1_epi16(kLeast));
    far |= _mm512_mask_cmpgt_epu16_mask(_mm512_test_epi16_mask(size, size), above,
                                        _mm512_set1_epi16(kMost - kLeast));
  }
  return far == 0;
}

// Row o of the weights to row r of a panel of `tiles` tiles, FP4 codes times their scale if
// `scaled`.
template <Format kFormat>
void DecodeToPanel(const tensor::QuantView& w, int64_t o, int64_t r, int64_t tiles, bool scaled,
                   Panel& panel) {
  alignas(64) std::byte copy[CodeBytes<kFormat>(kStretch)];
  const RowReader<kFormat> row(w, o);
  const int64_t whole = w.cols / kStretch, stretches = (w.cols + kStretch - 1) / kStretch;
  for (int64_t b = 0; b < stretches; ++b) {
    const StretchView stretch = b < whole ? row.Whole(b) : row.Last(b, copy);
    StretchReader<kFormat> reader;
    reader.Start(stretch);
    const int64_t place =
        (b / Panel::kStretches * tiles + r / kTileRows) * Panel::kStretches + b % Panel::kStretches;
    uint16_t* out = panel.codes + place * kTileRows * kStretch + r % kTileRows * 32;
    __m512i exponents = _mm512_setzero_si512();
    if constexpr (kFormat == Format::kFp4) {
      const __m512 scales = StretchScales<kFormat>(stretch);
      if (scaled) {
        exponents = BF16Exponents(scales);
      } else {
        _mm512_store_ps(panel.scales[place * kTileRows + r % kTileRows], scales);
      }
    }
#pragma GCC unroll 4
    for (int64_t four = 0; four < 4; ++four) {
      if (four >= reader.fours()) break;
      __m512i v[4];
      reader.Read(four, v);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        if constexpr (kFormat == Format::kFp4) v[s] = AddExponents(v[s], exponents);
        _mm512_store_si512(out + kTileRows * 32 * (4 * four + s), v[s]);
      }
    }
  }
}

// Adds a part to the sums of a tile of kInputs inputs, whose values x[i] + offset on stand beside
// it; `steps` of 32 inputs are left from there on. kScales: the sums of a stretch are multiplied by
// `scales`. A function of its own, so that the compiler keeps its pointers in registers.
template <bool kScales, int kInputs, bool kIsWhole>
[[gnu::noinline]] void DotTile(const uint16_t* const* x, int64_t offset, int64_t steps,
                               const uint16_t* codes, const float (*scales)[16],
                               float (*sums)[kTileRows][16]) {
  constexpr int64_t kSteps = kStretch / 32;
  const uint16_t* input[kInputs];
#pragma GCC unroll 6
  for (int m = 0; m < kInputs; ++m) input[m] = x[m] + offset;
  const int64_t all = kIsWhole ? Panel::kStretches * kSteps : steps;
#pragma GCC unroll 1
  for (int64_t first = 0; first < all; first += kSteps) {
    __m512 p[kInputs][kTileRows];
#pragma GCC unroll 6
    for (int m = 0; m < kInputs; ++m) {
#pragma GCC unroll 4
      for (int n = 0; n < kTileRows; ++n) p[m][n] = _mm512_setzero_ps();
    }
    const int64_t end = kIsWhole ? first + kSteps : Smaller(first + kSteps, all);
#pragma GCC unroll 2
    for (int64_t step = first; step < end; ++step, codes += kTileRows * 32) {
      __m512i w[kTileRows];
#pragma GCC unroll 4
      for (int n = 0; n < kTileRows; ++n) w[n] = _mm512_load_si512(codes + 32 * n);
#pragma GCC unroll 6
      for (int m = 0; m < kInputs; ++m) {
        const __m512i value = _mm512_loadu_si512(input[m] + 32 * step);
#pragma GCC unroll 4
        for (int n = 0; n < kTileRows; ++n) p[m][n] = DotPair(p[m][n], w[n], value);
      }
    }
    const bool from_zero = offset == 0 && first == 0;
#pragma GCC unroll 4
    for (int n = 0; n < kTileRows; ++n) {
      const __m512 scale = kScales ? _mm512_load_ps(scales[n]) : _mm512_setzero_ps();
#pragma GCC unroll 6
      for (int m = 0; m < kInputs; ++m) {
        const __m512 acc = from_zero ? _mm512_setzero_ps() : _mm512_load_ps(sums[m][n]);
        _mm512_store_ps(sums[m][n], kScales ? _mm512_fmadd_ps(p[m][n], scale, acc)
                                            : _mm512_add_ps(acc, p[m][n]));
      }
    }
    scales += kTileRows;
  }
}

// y [kInputs, rows] <- all rows of a panel times kInputs inputs. What `ahead` says is fetched
// meanwhile, the next inputs with a small cache only: cores with a larger one bring them in time by
// themselves, and are slower with these fetches.
template <bool kScales, int kInputs, bool kSmallCache>
void DotRows(int64_t width, int64_t rows, const uint16_t* const* x, float* y, int64_t y_stride,
             Ahead ahead, Panel& panel) {
  // Stores wait for their lines in order, those of the sums behind those of y.
  for (int m = 0; m < kInputs; ++m)
    Prefetch<2>(reinterpret_cast<const std::byte*>(y + m * y_stride), rows * 4);
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  // Of a part of the next inputs, for each tile.
  constexpr int64_t share = Panel::kWidth / (Panel::kRows / 2 / kTileRows);
  int64_t place = 0;
  for (int64_t offset = 0; offset < width; offset += Panel::kWidth) {
    const int64_t steps = Smaller(Panel::kWidth, width - offset) / 32;
    for (int64_t tile = 0; tile < tiles; ++tile, place += Panel::kStretches * kTileRows) {
      if constexpr (kSmallCache) {
        for (int64_t m = 0; m < ahead.inputs; ++m)
          Prefetch<2>(reinterpret_cast<const std::byte*>(ahead.x[m] + offset + tile * share),
                      share * 2);
      }
      FetchWeights(ahead.codes, ahead.lines * 64, kSmallCache);
      ahead.codes += ahead.lines * 64;
      const auto multiply = steps == Panel::kWidth / 32 ? DotTile<kScales, kInputs, true>
                                                        : DotTile<kScales, kInputs, false>;
      multiply(x, offset, steps, panel.codes + place * kStretch, panel.scales + place,
               panel.acc[tile]);
    }
  }
  FoldTiles<kInputs>(panel.acc, rows, y, y_stride);
}

// y <- `rows` rows of a panel, the first of which is o, times all inputs of the task.
template <bool kScales, bool kSmallCache>
void PassOver(const DotTask& task, const uint16_t* const* x, int64_t width, int64_t o, int64_t rows,
              Panel& panel) {
  float* y = task.y + (o - task.row_begin);
  const std::byte* next = o + rows < task.row_end ? task.w.row(o + rows) : task.next;
  const int64_t next_bytes = next == nullptr ? 0 : rows * task.w.row_bytes();
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  const int64_t parts = (width + Panel::kWidth - 1) / Panel::kWidth;
  PassOverPanel<kTileInputs>(task, x, next, next_bytes, parts * tiles,
                             [&](int64_t first, auto inputs, const Ahead& ahead) {
                               DotRows<kScales, inputs, kSmallCache>(width, rows, x + first,
                                                                     y + first * task.y_stride,
                                                                     task.y_stride, ahead, panel);
                             });
}

template <Format kFormat>
void DotPanels(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  Panel panel;
  const int64_t width = PackedWidth(kFormat, task.w.cols);
  const int64_t panel_rows =
      Panel::RowsOf((width + Panel::kWidth - 1) / Panel::kWidth, small_cache);
  constexpr bool kIsFp4 = kFormat == Format::kFp4;
  bool are_moderate = kIsFp4;
  for (int64_t i = 0; are_moderate && i < task.count; ++i) are_moderate = AreModerate(x[i], width);
  for (int64_t o = task.row_begin; o < task.row_end; o += panel_rows) {
    const int64_t rows = Smaller(panel_rows, task.row_end - o);
    const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
    const bool scaled =
        are_moderate && AreModerate(RowOf<kFormat>(task.w, o).scale, rows * task.w.scale_cols());
    // The last tile is filled with the last row.
    for (int64_t r = 0; r < tiles * kTileRows; ++r)
      DecodeToPanel<kFormat>(task.w, o + Smaller(r, rows - 1), r, tiles, scaled, panel);
    const bool scales_sums = kIsFp4 && !scaled;
    const auto pass = scales_sums ? (small_cache ? PassOver<true, true> : PassOver<true, false>)
                                  : (small_cache ? PassOver<false, true> : PassOver<false, false>);
    pass(task, x, width, o, rows, panel);
  }
}

}  // namespace

void DotBF16Avx512(const DotTask& task, const uint16_t* const* x) {
  DotBF16Avx512With(task, x, IsFirstCacheSmall());
}

void DotBF16Avx512With(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  if (task.count <= kFewInputsMax) return DotFewAvx512(task, x, small_cache);
  // Rows too long for a panel, which no known model has, go the way of a batch.
  const int64_t batch = small_cache ? kBatchInputsInSmallCache : kBatchInputs;
  if (task.count <= batch || task.w.cols > Panel::kColsMax)
    return DotBatchAvx512(task, x, small_cache);
  ForFormat(task.w.format, [&](auto format) { DotPanels<format>(task, x, small_cache); });
}

}  // namespace fathom::kernels::cpu

#endif
