// The BF16 product of the AVX-512 path, in the order of linear.h. Few inputs: each row of weights
// is decoded in registers straight from the checkpoint's bytes. Many inputs: a panel of rows is
// decoded into the caches once, and tiles of 2 rows by 6 inputs pass over it.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/avx512_weights.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

// Up to this many inputs the weights are decoded in registers, above it into a panel: by
// measurement (bench/products_bench.cc).
constexpr int64_t kDirectInputs = 8;

// How far ahead of its use a sequential stream of weights is fetched, by measurement.
template <Format kFormat>
constexpr int64_t kPrefetchBytes = kFormat == Format::kBF16 ? 4096 : 6144;

// acc[i] += the lane sums of a stretch for kInputs inputs, which are read from x[i] + offset on.
// Fetches as many bytes from `ahead` on, into the second-level cache: fetching into the first one
// is slower here than not fetching at all.
template <Format kFormat, int kInputs>
[[gnu::always_inline]] inline void AddDirect(const StretchView& stretch, const std::byte* ahead,
                                             const uint16_t* const* x, int64_t offset,
                                             __m512* acc) {
  constexpr int64_t kHalfBytes = CodeBytes<kFormat>(2 * kBlock);
  StretchReader<kFormat> reader;
  reader.Start(stretch);
  __m512 sum[kInputs];
#pragma GCC unroll 2
  for (int64_t half = 0; half < 2; ++half) {
    Prefetch<2>(ahead + half * kHalfBytes, kHalfBytes);
    __m512 p[kInputs];
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) p[i] = _mm512_setzero_ps();
#pragma GCC unroll 2
    for (int64_t four = 2 * half; four < 2 * half + 2; ++four) {
      if (four >= reader.fours()) break;
      __m512i w[4];
      reader.Read(four, w);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
#pragma GCC unroll 8
        for (int i = 0; i < kInputs; ++i)
          p[i] = DotPair(p[i], w[s], _mm512_loadu_si512(x[i] + offset + 128 * four + 32 * s));
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i) sum[i] = half == 0 ? p[i] : _mm512_add_ps(sum[i], p[i]);
  }
  const __m512 scales = StretchScales<kFormat>(stretch);
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) acc[i] = AddStretch<kFormat>(acc[i], sum[i], scales);
}

// Adds the stretches [first, end) of row o to the sums of kInputs inputs; fetches as many bytes
// from `ahead` on.
template <Format kFormat, int kInputs>
void DotRun(const RowReader<kFormat>& row, int64_t cols, int64_t first, int64_t end,
            const std::byte* ahead, const uint16_t* const* x, float (*sums)[16]) {
  constexpr int64_t kBytes = CodeBytes<kFormat>(kStretch);
  const uint16_t* input[kInputs];
  __m512 acc[kInputs];
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) {
    input[i] = x[i];
    acc[i] = _mm512_load_ps(sums[i]);
  }
  const int64_t whole = cols / kStretch;
  for (int64_t b = first; b < Smaller(end, whole); ++b, ahead += kBytes)
    AddDirect<kFormat, kInputs>(row.Whole(b), ahead, input, b * kStretch, acc);
  if (end > whole) {
    alignas(64) std::byte copy[kBytes];
    AddDirect<kFormat, kInputs>(row.Last(whole, copy), ahead, input, whole * kStretch, acc);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) _mm512_store_ps(sums[i], acc[i]);
}

// All rows of the task for kInputs inputs. One or two: row after row, one sequential stream. More:
// groups of rows part by part, so that the inputs' part (16 KB) stays in the first-level cache.
template <Format kFormat, int kInputs>
void DotDirect(const DotTask& task, const uint16_t* const* x, float* y) {
  constexpr bool kIsStream = kInputs <= 2;
  constexpr int64_t kRows = kIsStream ? 1 : 16;
  const int64_t cols = task.w.cols, stretches = (cols + kStretch - 1) / kStretch;
  const int64_t part = kIsStream ? stretches : 16 / kInputs;
  alignas(64) float sums[kRows][kInputs][16];
  for (int64_t o = task.row_begin; o < task.row_end; o += kRows) {
    const int64_t rows = Smaller(kRows, task.row_end - o);
    __builtin_memset(sums, 0, sizeof(sums));
    for (int64_t b = 0; b < stretches; b += part) {
      for (int64_t r = 0; r < rows; ++r) {
        const RowReader<kFormat> row(task.w, o + r);
        const std::byte* ahead = row.codes(b) + kPrefetchBytes<kFormat>;
        if (!kIsStream)  // the part of the row after next
          ahead = RowReader<kFormat>(task.w, Smaller(o + r + 2, task.w.rows - 1)).codes(b);
        DotRun<kFormat, kInputs>(row, cols, b, Smaller(b + part, stretches), ahead, x, sums[r]);
      }
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int i = 0; i < kInputs; ++i)
        y[i * task.y_stride + (o + r - task.row_begin)] = Vec512::Fold(_mm512_load_ps(sums[r][i]));
  }
}

// Sizes of the widest tile.
constexpr int kTileRows = 2;
constexpr int kTileInputs = 6;

// A part of the weights, decoded: 64 rows of two stretches, 128 KB, and the sums of a group of
// inputs, 384 KB: together they fill half of a second-level cache, while the inputs, which may come
// from further away, pass over them six at a time. Lives on the stack.
struct Panel {
  static constexpr int64_t kRows = 64;
  static constexpr int64_t kStretches = 2;
  static constexpr int64_t kInputs = 96;  // inputs per decoding

  static constexpr int64_t kWidth = kStretches * kStretch;

  alignas(64) uint16_t codes[kRows][kWidth];
  alignas(64) float scales[kStretches][kRows][16];  // FP4
  alignas(64) float acc[kInputs][kRows][16];
  const std::byte* ahead[kRows];  // what the rows' places hold next
};

// Stretch b of row o to stretch `place` of row r of the panel.
template <Format kFormat>
void DecodeToPanel(const RowReader<kFormat>& row, int64_t cols, int64_t b, int64_t place, int64_t r,
                   Panel& panel) {
  alignas(64) std::byte copy[CodeBytes<kFormat>(kStretch)];
  const bool is_whole = b < cols / kStretch;
  const StretchView stretch = is_whole ? row.Whole(b) : row.Last(b, copy);
  StretchReader<kFormat> reader;
  reader.Start(stretch);
  uint16_t* out = panel.codes[r] + place * kStretch;
#pragma GCC unroll 4
  for (int64_t four = 0; four < 4; ++four) {
    if (four >= reader.fours()) break;
    __m512i w[4];
    reader.Read(four, w);
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) _mm512_store_si512(out + 128 * four + 32 * s, w[s]);
  }
  if constexpr (kFormat == Format::kFp4)
    _mm512_store_ps(panel.scales[place][r], StretchScales<kFormat>(stretch));
}

// What a tile reads besides the panel: its first input among those of the panel, where the inputs'
// values of the panel's first stretch begin, and the steps of the halves of the panel's stretches.
struct TilePlace {
  const uint16_t* const* x;
  int64_t offset;
  int64_t row;
  int64_t input;
  int64_t steps[2 * Panel::kStretches];
  // The inputs that come after these, and where.
  const uint16_t* const* next;
  int64_t next_offset;
  int64_t next_inputs;
};

// Adds the panel's stretches to the sums of kRows rows and kInputs inputs. Both halves of a stretch
// are summed side by side, so that a tile leaves its registers once a stretch.
template <Format kFormat, int kRows, int kInputs>
void DotTile(const TilePlace& tile, Panel& panel) {
  constexpr int64_t kHalf = kStretch / 2;
  const uint16_t* input[kInputs];
#pragma GCC unroll 6
  for (int m = 0; m < kInputs; ++m) input[m] = tile.x[m] + tile.offset;
  const uint16_t* codes = panel.codes[tile.row];
  float(*const sums)[16] = &panel.acc[tile.input][tile.row];
  const int64_t row = tile.row;
  for (int64_t stretch = 0; stretch < Panel::kStretches; ++stretch) {
    __m512 p[2][kRows][kInputs];
#pragma GCC unroll 2
    for (int n = 0; n < kRows; ++n) {
#pragma GCC unroll 6
      for (int m = 0; m < kInputs; ++m) p[0][n][m] = p[1][n][m] = _mm512_setzero_ps();
    }
    const int64_t both = tile.steps[2 * stretch + 1];
    int64_t step = 0;
    for (; step < both; ++step) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        __m512i w[kRows];
#pragma GCC unroll 2
        for (int n = 0; n < kRows; ++n)
          w[n] = _mm512_load_si512(codes + n * Panel::kWidth + half * kHalf + step * 32);
#pragma GCC unroll 6
        for (int m = 0; m < kInputs; ++m) {
          const __m512i value = _mm512_loadu_si512(input[m] + half * kHalf + step * 32);
#pragma GCC unroll 2
          for (int n = 0; n < kRows; ++n) p[half][n][m] = DotPair(p[half][n][m], w[n], value);
        }
      }
    }
    for (; step < tile.steps[2 * stretch]; ++step) {
#pragma GCC unroll 6
      for (int m = 0; m < kInputs; ++m) {
        const __m512i value = _mm512_loadu_si512(input[m] + step * 32);
#pragma GCC unroll 2
        for (int n = 0; n < kRows; ++n)
          p[0][n][m] =
              DotPair(p[0][n][m], _mm512_load_si512(codes + n * Panel::kWidth + step * 32), value);
      }
    }
    if (step == 0) break;
    codes += kStretch;
#pragma GCC unroll 6
    for (int m = 0; m < kInputs; ++m) input[m] += kStretch;
#pragma GCC unroll 2
    for (int n = 0; n < kRows; ++n) {
      const __m512 scales = _mm512_load_ps(panel.scales[stretch][row + n]);
#pragma GCC unroll 6
      for (int m = 0; m < kInputs; ++m) {
        float* acc = sums[m * Panel::kRows + n];
        const __m512 sum = _mm512_add_ps(p[0][n][m], p[1][n][m]);
        _mm512_store_ps(acc, AddStretch<kFormat>(_mm512_load_ps(acc), sum, scales));
      }
    }
  }
}

// kInputs inputs against all rows of the panel. Meanwhile the inputs of the next tile are fetched,
// a part with each pair of rows: they come from memory or the third-level cache. So are, with the
// first tile, the weights of the next panel.
template <Format kFormat, int kInputs>
void DotPanel(TilePlace tile, int64_t rows, Panel& panel) {
  constexpr int64_t kPart = Panel::kWidth * kTileRows / Panel::kRows;
  const auto fetch_next = [&](int64_t part) {
    for (int64_t m = 0; m < tile.next_inputs; ++m)
      Prefetch<2>(
          reinterpret_cast<const std::byte*>(tile.next[m] + tile.next_offset + part * kPart),
          kPart * 2);
  };
  for (; tile.row + kTileRows <= rows; tile.row += kTileRows) {
    fetch_next(tile.row / kTileRows);
    if (tile.input == 0)
      for (int64_t r = tile.row; r < tile.row + kTileRows; ++r)
        Prefetch<2>(panel.ahead[r], Panel::kStretches * CodeBytes<kFormat>(kStretch));
    DotTile<kFormat, kTileRows, kInputs>(tile, panel);
  }
  for (; tile.row < rows; ++tile.row) DotTile<kFormat, 1, kInputs>(tile, panel);
}

template <Format kFormat>
void DotTiles(const TilePlace& tile, int64_t inputs, int64_t rows, Panel& panel) {
  switch (inputs) {
    case 1:
      return DotPanel<kFormat, 1>(tile, rows, panel);
    case 2:
      return DotPanel<kFormat, 2>(tile, rows, panel);
    case 3:
      return DotPanel<kFormat, 3>(tile, rows, panel);
    case 4:
      return DotPanel<kFormat, 4>(tile, rows, panel);
    case 5:
      return DotPanel<kFormat, 5>(tile, rows, panel);
    default:
      return DotPanel<kFormat, kTileInputs>(tile, rows, panel);
  }
}

// Vec512::Fold of 16 registers: lane j of the result is the fold of v[j].
__m512 Fold16(const __m512* v) {
  __m512 eight[8], four[4], two[2];
  // Halves, quarters and pairs of two registers meet in one: the additions are those of Fold.
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    eight[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0x44),
                             _mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0xee));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(eight[2 * i], eight[2 * i + 1], 0x88),
                            _mm512_shuffle_f32x4(eight[2 * i], eight[2 * i + 1], 0xdd));
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    two[i] = _mm512_add_ps(_mm512_shuffle_ps(four[2 * i], four[2 * i + 1], 0x44),
                           _mm512_shuffle_ps(four[2 * i], four[2 * i + 1], 0xee));
  const __m512 one = _mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], 0x88),
                                   _mm512_shuffle_ps(two[0], two[1], 0xdd));
  // Lane 4 j + i holds v[4 i + j].
  const __m512i place = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_ps(place, one);
}

// y [inputs, rows] <- the panel's sums, folded.
void FoldPanel(const Panel& panel, int64_t inputs, int64_t rows, float* y, int64_t y_stride) {
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t first = 0; first < rows; first += 16) {
      __m512 v[16];
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) v[r] = _mm512_load_ps(panel.acc[i][first + r]);
      Vec512::Store(y + i * y_stride + first, Fold16(v), Smaller(16, rows - first));
    }
  }
}

template <Format kFormat>
void DotPanels(const DotTask& task, const uint16_t* const* x) {
  Panel panel;
  const int64_t cols = task.w.cols, stretches = (cols + kStretch - 1) / kStretch;
  const int64_t width = PackedWidth(kFormat, cols);
  for (int64_t o = task.row_begin; o < task.row_end; o += Panel::kRows) {
    const int64_t rows = Smaller(Panel::kRows, task.row_end - o);
    for (int64_t first = 0; first < task.count; first += Panel::kInputs) {
      const int64_t count = Smaller(Panel::kInputs, task.count - first);
      __builtin_memset(panel.acc, 0, static_cast<size_t>(count) * sizeof(panel.acc[0]));
      for (int64_t b = 0; b < stretches; b += Panel::kStretches) {
        TilePlace tile{x + first, b * kStretch, 0, 0, {}, nullptr, 0, 0};
        for (int64_t s = 0; s < Panel::kStretches && b + s < stretches; ++s) {
          const int64_t steps = Smaller(kStretch, width - (b + s) * kStretch) / 32;
          tile.steps[2 * s] = Smaller(steps, 8);
          tile.steps[2 * s + 1] = steps - tile.steps[2 * s];
          for (int64_t r = 0; r < rows; ++r) {
            const RowReader<kFormat> row(task.w, o + r);
            DecodeToPanel<kFormat>(row, cols, b + s, s, r, panel);
            if (s > 0) continue;
            panel.ahead[r] =
                b + Panel::kStretches < stretches
                    ? row.codes(b + Panel::kStretches)
                    : RowReader<kFormat>(task.w, Smaller(o + r + rows, task.w.rows - 1)).codes(0);
          }
        }
        // Tiles of nearly equal width: 9 inputs are 5 and 4.
        int64_t tiles = (count + kTileInputs - 1) / kTileInputs;
        for (; tile.input < count; --tiles) {
          const int64_t inputs = (count - tile.input + tiles - 1) / tiles;
          tile.x = x + first + tile.input;
          const int64_t after = tile.input + inputs;
          tile.next = after < count ? tile.x + inputs : x + first;
          tile.next_offset = after < count ? tile.offset : tile.offset + Panel::kWidth;
          tile.next_inputs = Smaller(kTileInputs, after < count ? count - after : count);
          if (tile.next_offset >= width) tile.next_inputs = 0;
          DotTiles<kFormat>(tile, inputs, rows, panel);
          tile.input += inputs;
        }
      }
      FoldPanel(panel, count, rows, task.y + first * task.y_stride + (o - task.row_begin),
                task.y_stride);
    }
  }
}

template <Format kFormat>
void DotDirects(int64_t count, const DotTask& task, const uint16_t* const* x, float* y) {
  switch (count) {
    case 1:
      return DotDirect<kFormat, 1>(task, x, y);
    case 2:
      return DotDirect<kFormat, 2>(task, x, y);
    case 3:
      return DotDirect<kFormat, 3>(task, x, y);
    case 4:
      return DotDirect<kFormat, 4>(task, x, y);
    case 5:
      return DotDirect<kFormat, 5>(task, x, y);
    case 6:
      return DotDirect<kFormat, 6>(task, x, y);
    case 7:
      return DotDirect<kFormat, 7>(task, x, y);
    case 8:
      return DotDirect<kFormat, 8>(task, x, y);
    default:
      return;
  }
}

template <Format kFormat>
void Dot(const DotTask& task, const uint16_t* const* x) {
  if (task.count > kDirectInputs) return DotPanels<kFormat>(task, x);
  DotDirects<kFormat>(task.count, task, x, task.y);
}

}  // namespace

void DotBF16Avx512(const DotTask& task, const uint16_t* const* x) {
  switch (task.w.format) {
    case Format::kBF16:
      return Dot<Format::kBF16>(task, x);
    case Format::kFp8:
      return Dot<Format::kFp8>(task, x);
    case Format::kFp4:
      return Dot<Format::kFp4>(task, x);
    case Format::kF32:
      return;  // F32 weights have the float32 product only.
  }
}

}  // namespace fathom::kernels::cpu

#endif
