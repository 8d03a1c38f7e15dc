// The BF16 product of the AMX path, in the tile order of linear.h: a tile holds 16 rows of weights
// by 32 inputs, decoded from the checkpoint's bytes as the AVX-512 path decodes them, and meets
// tiles of 32 inputs by 16 input rows. One stretch of some rows of weights is decoded at a time and
// all input rows pass over it; sums that do not fit the tile registers wait in memory meanwhile,
// which changes no bit of them.
#include "kernels/cpu/amx.h"

#if defined(__x86_64__)

#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

constexpr int64_t kPanelTiles = 4;   // tiles of rows decoded at a time
constexpr int64_t kRowTiles = 32;    // of a pass: 512 rows of weights, and
constexpr int64_t kInputTiles = 24;  // 384 input rows, as the doors hand them out

// Both operands of a pass and its sums, 1.2 MB for a whole one: inside of the second-level cache of
// the processors that have tiles. Lives on the stack; small products touch little of it.
struct Pass {
  alignas(64) Tile weights[kPanelTiles];
  alignas(64) uint32_t inputs[kInputTiles][kSteps][kSide * kSide];  // pairs [pair, input]
  alignas(64) float sums[kRowTiles][kInputTiles][kTileSums];        // [row, input]
};

// The places of the four sums that a multiplication adds to.
struct Sums {
  float* at[4];
  bool are_zero;  // nothing stands there yet
};

[[gnu::always_inline]] inline void LoadSums(const Sums& sums) {
  if (sums.are_zero) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  _tile_loadd(0, sums.at[0], kTileBytes);
  _tile_loadd(1, sums.at[1], kTileBytes);
  _tile_loadd(2, sums.at[2], kTileBytes);
  _tile_loadd(3, sums.at[3], kTileBytes);
}

[[gnu::always_inline]] inline void StoreSums(const Sums& sums) {
  _tile_stored(0, sums.at[0], kTileBytes);
  _tile_stored(1, sums.at[1], kTileBytes);
  _tile_stored(2, sums.at[2], kTileBytes);
  _tile_stored(3, sums.at[3], kTileBytes);
}

// Two tiles of rows by two of inputs.
void MultiplySquare(const Pass& pass, int64_t input, int64_t steps, const Sums& sums) {
  const uint16_t* a0 = pass.weights[0][0];
  const uint16_t* a1 = pass.weights[1][0];
  const uint32_t* b0 = pass.inputs[input][0];
  const uint32_t* b1 = pass.inputs[input + 1][0];
  LoadSums(sums);
  for (int64_t s = 0; s < steps; ++s) {
    _tile_loadd(4, a0 + s * kTileValues, kTileBytes);
    _tile_loadd(6, b0 + s * kTileSums, kTileBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b1 + s * kTileSums, kTileBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a1 + s * kTileValues, kTileBytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  StoreSums(sums);
}

// Four tiles of rows by one of inputs.
void MultiplyColumn(const Pass& pass, int64_t steps, const Sums& sums) {
  LoadSums(sums);
  for (int64_t s = 0; s < steps; ++s) {
    _tile_loadd(6, pass.inputs[0][s], kTileBytes);
    _tile_loadd(4, pass.weights[0][s], kTileBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, pass.weights[1][s], kTileBytes);
    _tile_dpbf16ps(1, 5, 6);
    _tile_loadd(7, pass.weights[2][s], kTileBytes);
    _tile_dpbf16ps(2, 7, 6);
    _tile_loadd(4, pass.weights[3][s], kTileBytes);
    _tile_dpbf16ps(3, 4, 6);
  }
  StoreSums(sums);
}

// The pairs of n <= 16 input rows from `offset` on, side by side; zeros beside them.
void Interleave(const uint16_t* const* x, int64_t n, int64_t offset, int64_t steps, uint32_t* out) {
  for (int64_t s = 0; s < steps; ++s, out += kTileSums) {
    __m512i v[16];
    if (n == kSide) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) v[i] = _mm512_loadu_si512(x[i] + offset + s * kStep);
    } else {
      for (int64_t i = 0; i < kSide; ++i)
        v[i] = i < n ? _mm512_loadu_si512(x[i] + offset + s * kStep) : _mm512_setzero_si512();
    }
    Transpose(v);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) _mm512_store_si512(out + i * kSide, v[i]);
  }
}

// y [n, rows] <- a tile of sums [16, 16].
void StoreOutputs(const float* sums, int64_t n, int64_t rows, float* y, int64_t y_stride) {
  __m512i v[16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) v[r] = _mm512_load_si512(sums + r * kSide);
  Transpose(v);
  for (int64_t i = 0; i < n; ++i) Vec512::Store(y + i * y_stride, _mm512_castsi512_ps(v[i]), rows);
}

// Stretch b of `rows` rows from row o on.
template <Format kFormat>
void DecodePanel(const tensor::QuantView& w, int64_t o, int64_t rows, int64_t b, Pass& pass) {
  for (int64_t r = 0; r < rows; ++r)
    DecodeRow<kFormat>(w, o + r / kSide * kSide, r % kSide, b, pass.weights[r / kSide]);
}

// Stretch b of rows [o, o + rows) for the pass's interleaved inputs.
template <Format kFormat>
void AddPanels(const tensor::QuantView& w, int64_t o, int64_t rows, int64_t input_tiles, int64_t b,
               int64_t steps, Pass& pass) {
  const int64_t panel_tiles = input_tiles == 1 ? kPanelTiles : 2;
  for (int64_t tile = 0; tile * kSide < rows; tile += panel_tiles) {
    const int64_t here = Smaller(panel_tiles * kSide, rows - tile * kSide);
    DecodePanel<kFormat>(w, o + tile * kSide, here, b, pass);
    Barrier();
    const auto sums = [&](int64_t row, int64_t input) { return pass.sums[tile + row][input]; };
    if (input_tiles == 1) {
      const Sums places{{sums(0, 0), sums(1, 0), sums(2, 0), sums(3, 0)}, b == 0};
      MultiplyColumn(pass, steps, places);
    }
    for (int64_t i = 0; i < input_tiles && input_tiles > 1; i += 2) {
      const Sums places{{sums(0, i), sums(0, i + 1), sums(1, i), sums(1, i + 1)}, b == 0};
      MultiplySquare(pass, i, steps, places);
    }
    Barrier();
  }
}

// As many rows and inputs as a pass holds.
template <Format kFormat>
void DotPass(const DotTask& task, const uint16_t* const* x, Pass& pass) {
  const int64_t width = PackedWidth(kFormat, task.w.cols);
  const int64_t stretches = (width + kStretch - 1) / kStretch;
  const int64_t rows = task.row_end - task.row_begin;
  int64_t tiles = (task.count + kSide - 1) / kSide;
  if (tiles > 1) tiles += tiles % 2;
  for (int64_t b = 0; b < stretches; ++b) {
    const int64_t steps = StepsOf(width, b);
    for (int64_t t = 0; t < tiles; ++t)
      Interleave(x + t * kSide, Smaller(kSide, task.count - t * kSide), b * kStretch, steps,
                 pass.inputs[t][0]);
    AddPanels<kFormat>(task.w, task.row_begin, rows, tiles, b, steps, pass);
  }
  for (int64_t r = 0; r < rows; r += kSide)
    for (int64_t i = 0; i < task.count; i += kSide)
      StoreOutputs(pass.sums[r / kSide][i / kSide], Smaller(kSide, task.count - i),
                   Smaller(kSide, rows - r), task.y + i * task.y_stride + r, task.y_stride);
}

template <Format kFormat>
void Dot(const DotTask& task, const uint16_t* const* x) {
  Pass pass;
  SetShapes(kSide);
  DotTask part = task;
  for (int64_t i = 0; i < task.count; i += kInputTiles * kSide) {
    part.count = Smaller(kInputTiles * kSide, task.count - i);
    for (int64_t o = task.row_begin; o < task.row_end; o += kRowTiles * kSide) {
      part.row_begin = o;
      part.row_end = Smaller(o + kRowTiles * kSide, task.row_end);
      part.y = task.y + i * task.y_stride + (o - task.row_begin);
      DotPass<kFormat>(part, x + i, pass);
    }
  }
  _tile_release();
}

}  // namespace

void DotBF16Amx(const DotTask& task, const uint16_t* const* x) {
  if (task.count == 1) return DotOneAmx(task, x[0]);
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

float PeakBF16Amx(int64_t rounds) {
  alignas(64) uint16_t ones[kTileValues];
  alignas(64) float sums[kTileSums];
  for (uint16_t& one : ones) one = 0x3f80;
  SetShapes(kSide);
  Barrier();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, ones, kTileBytes);
  _tile_loadd(5, ones, kTileBytes);
  _tile_loadd(6, ones, kTileBytes);
  _tile_loadd(7, ones, kTileBytes);
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  float total = 0;
  const auto add = [&] {
    Barrier();
    total += sums[0];
  };
  _tile_stored(0, sums, kTileBytes);
  add();
  _tile_stored(1, sums, kTileBytes);
  add();
  _tile_stored(2, sums, kTileBytes);
  add();
  _tile_stored(3, sums, kTileBytes);
  add();
  _tile_release();
  return total;
}

}  // namespace fathom::kernels::cpu

#endif
