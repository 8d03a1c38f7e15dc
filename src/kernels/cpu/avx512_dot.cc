// The BF16 product of the AVX-512 path, in the order of linear.h. Few inputs: avx512_few.cc, those
// of a batch: avx512_batch.cc, here many: a panel of rows is decoded into the second-level cache
// once, and tiles of 2 rows by 6 or 8 inputs pass over it.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/avx512_weights.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

// Up to so many inputs go the way of a batch, above that weights are decoded into a panel: by
// measurement (bench/products_bench.cc), as everything here.
constexpr int64_t kBatchInputs = 2 * kBatchInputsMax;

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
#pragma GCC unroll 2
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

// y [kInputs, rows] <- all rows of a panel times kInputs inputs. With a small cache what `ahead`
// says is fetched meanwhile; cores with a larger one bring inputs and weights in time by
// themselves, and are slower with these fetches.
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

}  // namespace

void DotBF16Avx512(const DotTask& task, const uint16_t* const* x) {
  DotBF16Avx512With(task, x, IsFirstCacheSmall());
}

void DotBF16Avx512With(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  if (task.count <= kFewInputsMax) return DotFewAvx512(task, x, small_cache);
  // Rows too long for a panel, which no known model has, go the way of a batch.
  if (task.count <= kBatchInputs || task.w.cols > Panel::kColsMax)
    return DotBatchAvx512(task, x, small_cache);
  ForFormat(task.w.format, [&](auto format) { DotPanels<format>(task, x, small_cache); });
}

}  // namespace fathom::kernels::cpu

#endif
