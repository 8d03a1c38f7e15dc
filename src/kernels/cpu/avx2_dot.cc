// The BF16 product of the AVX2 path, in the order of linear.h. Weights and inputs become floats,
// and a pair of each two fused multiply-adds, which is what vdpbf16ps computes. Both are laid out
// for eight lanes at a time: 16 accumulators and their operands would not fit in 16 registers.
//
// Few inputs: they are laid out first, and each row of weights is decoded in registers straight
// from the checkpoint's bytes. Many inputs: a panel of rows is decoded into the second-level cache
// once, and tiles of 3 rows by 4 inputs pass over it.
#include "kernels/cpu/avx2.h"

#if defined(__x86_64__)

#include "kernels/cpu/avx2_weights.h"
#include "kernels/cpu/shares.h"

namespace fathom::kernels::cpu {
namespace {

using F = Vec256::F;

// Values of a stretch in eight lanes, and of four steps in them. They stand as
// [eight lanes][step][odd, even][8].
constexpr int64_t kEight = kStretch / 2;
constexpr int64_t kFour = kEight / 4;

// Up to this many inputs the weights are decoded in registers, above it into a panel: by
// measurement (bench/products_bench.cc).
constexpr int64_t kDirectInputs = 4;

// How far ahead of its use a sequential stream of weights is fetched.
constexpr int64_t kPrefetchBytes = 6144;

// One step of kInputs inputs in eight lanes, from place `at` on: out [odd, even][input][8].
template <int kInputs>
[[gnu::always_inline]] inline void LayOutStep(const uint16_t* const* x, int64_t at, float* out) {
#pragma GCC unroll 4
  for (int m = 0; m < kInputs; ++m) {
    const __m256i pairs = Load(x[m] + at);
    _mm256_store_ps(out + 8 * m, Odd(pairs));
    _mm256_store_ps(out + 8 * (kInputs + m), Even(pairs));
  }
}

// The stretches [first, end) of kInputs packed inputs of `width`.
template <int kInputs>
void LayOut(const uint16_t* const* x, int64_t width, int64_t first, int64_t end, float* out) {
  for (int64_t b = first; b < end; ++b, out += kInputs * kStretch) {
    const int64_t steps = Smaller(kStretch, width - b * kStretch) / 32;
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t at = b * kStretch + 32 * step;
      LayOutStep<kInputs>(x, at, out + kInputs * 16 * step);
      LayOutStep<kInputs>(x, at + 16, out + kInputs * (kEight + 16 * step));
    }
  }
}

// p[i] += four steps of kInputs inputs.
template <int kInputs>
[[gnu::always_inline]] inline void AddFour(const Four& four, const float* x, __m256* p) {
#pragma GCC unroll 4
  for (int s = 0; s < 4; ++s) {
#pragma GCC unroll 2
    for (int even = 0; even < 2; ++even) {
#pragma GCC unroll 4
      for (int i = 0; i < kInputs; ++i) {
        const __m256 value = _mm256_load_ps(x + ((2 * s + even) * kInputs + i) * 8);
        p[i] = _mm256_fmadd_ps(four.step[s][even], value, p[i]);
      }
    }
  }
}

template <Format kFormat>
[[gnu::always_inline]] inline __m256 AddStretch(__m256 acc, __m256 p, __m256 scale) {
  if constexpr (kFormat == Format::kFp4) return _mm256_fmadd_ps(p, scale, acc);
  return _mm256_add_ps(acc, p);
}

// Stretches that add up side by side, by measurement: a sum is a chain of multiply-adds, and with
// few of them a processor would wait, because it does not look beyond a stretch. A single input has
// two chains anyway, its lower and upper lanes.
template <Format kFormat>
constexpr int SideBySide(int inputs) {
  if (kFormat == Format::kFp4) return inputs <= 2 ? 2 : 1;
  return kFormat == Format::kFp8 && inputs == 2 ? 2 : 1;
}

// acc[i] += the lane sums of kSide stretches, one after the other, for kInputs inputs, laid out at
// x.
template <Format kFormat, int kSide, int kInputs>
[[gnu::always_inline]] inline void AddDirect(const StretchView* stretch, const float* x,
                                             __m256 (*acc)[2]) {
  constexpr int kEights = kInputs == 1 ? 2 : 1;
  F scales[kSide];
#pragma GCC unroll 2
  for (int b = 0; b < kSide; ++b)
    scales[b] = kFormat == Format::kFp4 ? Fp4Scales(stretch[b].scale) : Vec256::Zero();
#pragma GCC unroll 2
  for (int eight = 0; eight < 2; eight += kEights) {
    StretchReader<kFormat> reader[kSide][kEights];
    __m256 p[kSide][kEights][kInputs];
#pragma GCC unroll 2
    for (int b = 0; b < kSide; ++b) {
#pragma GCC unroll 2
      for (int e = 0; e < kEights; ++e) {
        reader[b][e].Start(stretch[b], eight + e);
#pragma GCC unroll 4
        for (int i = 0; i < kInputs; ++i) p[b][e][i] = _mm256_setzero_ps();
      }
    }
#pragma GCC unroll 4
    for (int64_t index = 0; index < 4; ++index) {
#pragma GCC unroll 2
      for (int b = 0; b < kSide; ++b) {
        if (index >= stretch[b].blocks) continue;
        const float* value = x + kInputs * (b * kStretch + index * kFour);
#pragma GCC unroll 2
        for (int e = 0; e < kEights; ++e)
          AddFour<kInputs>(reader[b][e].Read(index), value + kInputs * (eight + e) * kEight,
                           p[b][e]);
      }
    }
#pragma GCC unroll 2
    for (int b = 0; b < kSide; ++b) {
#pragma GCC unroll 2
      for (int e = 0; e < kEights; ++e) {
        const __m256 scale = eight + e == 0 ? scales[b].low : scales[b].high;
#pragma GCC unroll 4
        for (int i = 0; i < kInputs; ++i)
          acc[i][eight + e] = AddStretch<kFormat>(acc[i][eight + e], p[b][e][i], scale);
      }
    }
  }
}

// All rows of the task for kInputs inputs: groups of rows part by part, so that the inputs' part
// (16 KB) stays in the first-level cache. A part is as long as most rows, which are then read one
// after the other.
template <Format kFormat, int kInputs>
void DotDirect(const DotTask& task, const uint16_t* const* x, float* y) {
  constexpr int64_t kRows = 32, kPart = 8 / kInputs;
  alignas(32) float laid_out[kPart * kInputs * kStretch];
  alignas(32) float sums[kRows][kInputs][2][8];
  StretchCopy<kFormat> copy;
  const int64_t width = PackedWidth(kFormat, task.w.cols);
  const int64_t stretches = (width + kStretch - 1) / kStretch;
  for (int64_t o = task.row_begin; o < task.row_end; o += kRows) {
    const int64_t rows = Smaller(kRows, task.row_end - o);
    __builtin_memset(sums, 0, sizeof(sums));
    for (int64_t first = 0; first < stretches; first += kPart) {
      const int64_t end = Smaller(first + kPart, stretches);
      if (o == task.row_begin || stretches > kPart) LayOut<kInputs>(x, width, first, end, laid_out);
      for (int64_t r = 0; r < rows; ++r) {
        const RowReader<kFormat> row(task.w, o + r);
        __m256 acc[kInputs][2];
#pragma GCC unroll 8
        for (int i = 0; i < 2 * kInputs; ++i)
          acc[i / 2][i % 2] = _mm256_load_ps(sums[r][i / 2][i % 2]);
        int64_t b = first;
        const auto add = [&]<int kSide>(std::integral_constant<int, kSide>)
            __attribute__((always_inline)) {
          StretchView stretch[kSide];
#pragma GCC unroll 2
          for (int i = 0; i < kSide; ++i) stretch[i] = row.At(b + i, copy);
          Prefetch(row.codes(b) + kPrefetchBytes, CodeBytes<kFormat>(kSide * kStretch));
          AddDirect<kFormat, kSide, kInputs>(stretch, laid_out + (b - first) * kInputs * kStretch,
                                             acc);
          b += kSide;
        };
        constexpr int kSide = SideBySide<kFormat>(kInputs);
        while (b + kSide <= end) add(std::integral_constant<int, kSide>());
        if (b < end) add(std::integral_constant<int, 1>());
#pragma GCC unroll 8
        for (int i = 0; i < 2 * kInputs; ++i)
          _mm256_store_ps(sums[r][i / 2][i % 2], acc[i / 2][i % 2]);
      }
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int i = 0; i < kInputs; ++i)
        y[i * task.y_stride + (o + r - task.row_begin)] = Vec256::Fold(Vec256::Load(sums[r][i][0]));
  }
}

// Sizes of the widest tile: 12 sums, a register for each row and one for an input.
constexpr int kTileRows = 3;
constexpr int kTileInputs = 4;

// Some rows of the weights as floats, for each stretch in tiles of kTileRows: [eight lanes][step]
// [odd, even][row][8]. Lives on the stack. 384 KB: more rows spread the cost of laying out the
// inputs, and the second-level caches of current servers begin at 512 KB.
struct Panel {
  static constexpr int64_t kValues = 3 << 15;
  static constexpr int64_t kRows = 33;
  // The longest rows of which a tile fits.
  static constexpr int64_t kColsMax = kValues / kTileRows;

  // Rows of `stretches` stretches that are decoded together: whole tiles.
  static int64_t RowsOf(int64_t stretches) {
    return Smaller(kValues / (stretches * kStretch), kRows) / kTileRows * kTileRows;
  }

  alignas(64) float weights[kValues];                // [stretch, row, kStretch]
  alignas(64) float scales[kValues / kStretch][16];  // FP4: [stretch, row]
  // A stretch of a tile's inputs and the sums, which stay in the first-level cache.
  alignas(64) float x[kTileInputs * kStretch];
  alignas(64) float acc[kRows / kTileRows][kTileInputs][kTileRows][16];
};

// Row o of the weights to row r of a panel of `rows` rows.
template <Format kFormat>
void DecodeToPanel(const tensor::QuantView& w, int64_t o, int64_t r, int64_t rows, Panel& panel) {
  StretchCopy<kFormat> copy;
  const RowReader<kFormat> row(w, o);
  for (int64_t b = 0; b * kStretch < w.cols; ++b) {
    const StretchView stretch = row.At(b, copy);
    const int64_t place = b * rows + r, in_tile = r % kTileRows;
    float* tile = panel.weights + (place - in_tile) * kStretch + 8 * in_tile;
    for (int eight = 0; eight < 2; ++eight) {
      StretchReader<kFormat> reader;
      reader.Start(stretch, eight);
#pragma GCC unroll 4
      for (int64_t index = 0; index < 4; ++index) {
        if (index >= stretch.blocks) break;
        const Four four = reader.Read(index);
        float* out = tile + kTileRows * (eight * kEight + index * kFour);
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i)
          _mm256_store_ps(out + kTileRows * 8 * i, four.step[i / 2][i % 2]);
      }
    }
    if constexpr (kFormat == Format::kFp4)
      Vec256::Store(panel.scales[place], Fp4Scales(stretch.scale));
  }
}

// p = the lane sums of `steps` steps of a tile in eight lanes. The first tile of a stretch lays out
// the inputs, x from `from` on, on its way: its arithmetic leaves room for that.
template <int kInputs, bool kLaysOut>
[[gnu::always_inline]] inline void SumSteps(int64_t steps, const float* weights, float* values,
                                            const uint16_t* const* x, int64_t from,
                                            __m256 (&p)[kInputs][kTileRows]) {
#pragma GCC unroll 4
  for (int m = 0; m < kInputs; ++m) {
#pragma GCC unroll 3
    for (int n = 0; n < kTileRows; ++n) p[m][n] = _mm256_setzero_ps();
  }
#pragma GCC unroll 1
  for (int64_t step = 0; step < steps; ++step) {
    const float* w = weights + kTileRows * 16 * step;
    float* value = values + kInputs * 16 * step;
    if constexpr (kLaysOut) {
      LayOutStep<kInputs>(x, from + 32 * step, value);
      // What is laid out is read again: the sums leave no registers to keep it in.
      asm volatile("" ::: "memory");
    }
#pragma GCC unroll 2
    for (int even = 0; even < 2; ++even) {
      __m256 row[kTileRows];
#pragma GCC unroll 3
      for (int n = 0; n < kTileRows; ++n) row[n] = _mm256_load_ps(w + (even * kTileRows + n) * 8);
#pragma GCC unroll 4
      for (int m = 0; m < kInputs; ++m) {
        const __m256 input = _mm256_load_ps(value + (even * kInputs + m) * 8);
#pragma GCC unroll 3
        for (int n = 0; n < kTileRows; ++n) p[m][n] = _mm256_fmadd_ps(row[n], input, p[m][n]);
      }
    }
  }
}

// One stretch of a tile of kTileRows rows.
struct TileStretch {
  int64_t offset;  // of its inputs in a packed input
  int64_t steps;
  const float* weights;
  const float (*scales)[16];
};

// Adds a stretch to the sums of a tile. A function of its own, so that the compiler keeps its
// pointers in registers.
template <Format kFormat, int kInputs, bool kLaysOut>
[[gnu::noinline]] void DotTile(const TileStretch& stretch, const uint16_t* const* x, float* values,
                               float (*sums)[kTileRows][16]) {
  const uint16_t* input[kInputs];
#pragma GCC unroll 4
  for (int m = 0; m < kInputs; ++m) input[m] = x[m] + stretch.offset;
#pragma GCC unroll 1
  for (int64_t eight = 0; eight < 2; ++eight) {
    __m256 p[kInputs][kTileRows];
    SumSteps<kInputs, kLaysOut>(stretch.steps, stretch.weights + kTileRows * eight * kEight,
                                values + kInputs * eight * kEight, input, 16 * eight, p);
#pragma GCC unroll 3
    for (int n = 0; n < kTileRows; ++n) {
      const __m256 scale = kFormat == Format::kFp4 ? _mm256_load_ps(stretch.scales[n] + 8 * eight)
                                                   : _mm256_setzero_ps();
#pragma GCC unroll 4
      for (int m = 0; m < kInputs; ++m) {
        float* to = sums[m][n] + 8 * eight;
        const __m256 acc = stretch.offset == 0 ? _mm256_setzero_ps() : _mm256_load_ps(to);
        _mm256_store_ps(to, AddStretch<kFormat>(acc, p[m][n], scale));
      }
    }
  }
}

// Vec256::Fold of 8 sums: lane j of the result is the fold of v[j].
__m256 Fold8(const F* v) {
  __m256 four[4], two[2];
  // Halves, quarters and pairs of two registers meet in one: the additions are those of Fold.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256 a = _mm256_add_ps(v[2 * i].low, v[2 * i].high);
    const __m256 b = _mm256_add_ps(v[2 * i + 1].low, v[2 * i + 1].high);
    four[i] = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    two[i] = _mm256_add_ps(_mm256_shuffle_ps(four[2 * i], four[2 * i + 1], 0x44),
                           _mm256_shuffle_ps(four[2 * i], four[2 * i + 1], 0xee));
  const __m256 one = _mm256_add_ps(_mm256_shuffle_ps(two[0], two[1], 0x88),
                                   _mm256_shuffle_ps(two[0], two[1], 0xdd));
  // The even ones come first.
  return _mm256_permutevar8x32_ps(one, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// y [kInputs, rows] <- the rows of a panel times kInputs inputs of `width`.
template <Format kFormat, int kInputs>
void DotRows(int64_t width, int64_t rows, const uint16_t* const* x, float* y, int64_t y_stride,
             Ahead ahead, Panel& panel) {
  for (int m = 0; m < kInputs; ++m) Prefetch(y + m * y_stride, rows * 4);
  int64_t place = 0;
  for (int64_t offset = 0; offset < width; offset += kStretch) {
    const int64_t steps = Smaller(kStretch, width - offset) / 32;
    for (int64_t m = 0; m < ahead.inputs; ++m) Prefetch(ahead.x[m] + offset, steps * 64);
    for (int64_t row = 0; row < rows; row += kTileRows, place += kTileRows) {
      Prefetch(ahead.codes, ahead.lines * 64);
      ahead.codes += ahead.lines * 64;
      const TileStretch stretch{offset, steps, panel.weights + place * kStretch,
                                panel.scales + place};
      float(*sums)[kTileRows][16] = panel.acc[row / kTileRows];
      if (row == 0) {
        DotTile<kFormat, kInputs, true>(stretch, x, panel.x, sums);
      } else {
        DotTile<kFormat, kInputs, false>(stretch, x, panel.x, sums);
      }
    }
  }
  for (int m = 0; m < kInputs; ++m) {
    for (int64_t first = 0; first < rows; first += 8) {
      F v[8];
#pragma GCC unroll 8
      for (int64_t r = 0; r < 8; ++r) {
        const int64_t row = Smaller(first + r, rows - 1);
        v[r] = Vec256::Load(panel.acc[row / kTileRows][m][row % kTileRows]);
      }
      // A masked store is slow on some processors.
      float* to = y + m * y_stride + first;
      if (rows - first >= 8) {
        _mm256_storeu_ps(to, Fold8(v));
      } else {
        _mm256_maskstore_ps(to, Vec256::First(rows - first), Fold8(v));
      }
    }
  }
}

template <Format kFormat>
void DotPanels(const DotTask& task, const uint16_t* const* x) {
  Panel panel;
  const int64_t width = PackedWidth(kFormat, task.w.cols);
  const int64_t stretches = (width + kStretch - 1) / kStretch;
  const int64_t panel_rows = Panel::RowsOf(stretches);
  for (int64_t o = task.row_begin; o < task.row_end; o += panel_rows) {
    const int64_t rows = Smaller(panel_rows, task.row_end - o);
    const int64_t row_tiles = (rows + kTileRows - 1) / kTileRows, places = row_tiles * kTileRows;
    // The last tile is filled with the last row.
    for (int64_t r = 0; r < places; ++r)
      DecodeToPanel<kFormat>(task.w, o + Smaller(r, rows - 1), r, places, panel);
    const RowReader<kFormat> next_row(task.w, Smaller(o + rows, task.w.rows - 1));
    float* y = task.y + (o - task.row_begin);
    PassOverPanel<kTileInputs>(
        task, x, next_row.codes(0), rows * CodeBytes<kFormat>(task.w.cols), stretches * row_tiles,
        [&](int64_t first, auto inputs, const Ahead& ahead) {
          DotRows<kFormat, inputs>(width, rows, x + first, y + first * task.y_stride, task.y_stride,
                                   ahead, panel);
        });
  }
}

template <Format kFormat>
void Dot(const DotTask& task, const uint16_t* const* x) {
  if (task.count > kDirectInputs && task.w.cols <= Panel::kColsMax)
    return DotPanels<kFormat>(task, x);
  // Rows too long for a panel, which no known model has, go the way of few inputs.
  ForShares<kDirectInputs>(task.count, [&](int64_t first, auto inputs) {
    DotDirect<kFormat, inputs>(task, x + first, task.y + first * task.y_stride);
  });
}

}  // namespace

void DotBF16Avx2(const DotTask& task, const uint16_t* const* x) {
  ForFormat(task.w.format, [&](auto format) { Dot<format>(task, x); });
}

}  // namespace fathom::kernels::cpu

#endif
