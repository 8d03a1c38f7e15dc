// The BF16 product of the AMX path for one input row, which is all about decoding weights as fast
// as the memory delivers them.
#include "kernels/cpu/amx.h"

#if defined(__x86_64__)

#include "kernels/cpu/amx_tiles.h"

namespace fathom::kernels::cpu {
namespace {

// Sums of 16 rows that wait for their last stretch to be multiplied.
struct OneRowTask {
  const Tile* tile = nullptr;  // none yet
  const uint16_t* x = nullptr;
  int64_t steps = 0;
  bool is_first = false;  // of its rows
  float* y = nullptr;     // where the sums go after this stretch, if anywhere
  int64_t rows = 0;
};

[[gnu::always_inline]] inline void MultiplyStep(const OneRowTask& task, int64_t step) {
  if (step >= task.steps) return;
  _tile_loadd(4, (*task.tile)[step], kTileBytes);
  _tile_loadd(6, task.x + step * kStep, 4);
  _tile_dpbf16ps(0, 4, 6);
}

void FinishStretch(const OneRowTask& task) {
  if (task.y == nullptr) return;
  alignas(64) float sums[kSide];
  _tile_stored(0, sums, 4);
  Barrier();
  std::memcpy(task.y, sums, static_cast<size_t>(task.rows) * sizeof(float));
}

// One input row, whose packed form is already that of tiles one pair wide. A step waits for the one
// before it; decoding a row of the next stretch fills that time.
template <Format kFormat>
void DotOne(const DotTask& task, const uint16_t* x) {
  alignas(64) Tile tiles[2];
  const int64_t width = PackedWidth(kFormat, task.w.cols);
  const int64_t stretches = (width + kStretch - 1) / kStretch;
  OneRowTask before;
  int64_t turn = 0;
  for (int64_t o = task.row_begin; o < task.row_end; o += kSide) {
    const int64_t rows = Smaller(kSide, task.row_end - o);
    for (int64_t b = 0; b < stretches; ++b, ++turn) {
      Tile& tile = tiles[turn % 2];
      if (before.is_first) _tile_zero(0);
      for (int64_t r = 0; r < kSide; ++r) {
        if (r < rows) DecodeRow<kFormat>(task.w, o, r, b, tile);
        MultiplyStep(before, r);
      }
      FinishStretch(before);
      Barrier();
      before = {&tile, x + b * kStretch, StepsOf(width, b), b == 0, nullptr, rows};
      if (b == stretches - 1) before.y = task.y + (o - task.row_begin);
    }
  }
  if (before.is_first) _tile_zero(0);
  for (int64_t step = 0; step < kSteps; ++step) MultiplyStep(before, step);
  FinishStretch(before);
}

}  // namespace

void DotOneAmx(const DotTask& task, const uint16_t* const* x) {
  SetShapes(1);
  switch (task.w.format) {
    case Format::kBF16:
      DotOne<Format::kBF16>(task, x[0]);
      break;
    case Format::kFp8:
      DotOne<Format::kFp8>(task, x[0]);
      break;
    case Format::kFp4:
      DotOne<Format::kFp4>(task, x[0]);
      break;
    case Format::kF32:
      break;  // F32 weights have the float32 product only.
  }
  _tile_release();
}

}  // namespace fathom::kernels::cpu

#endif
