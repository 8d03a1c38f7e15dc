// The BF16 product of the AMX path for one input row, which is all about decoding weights as fast
// as the memory delivers them. Ref: docs/performance.md, "With AMX".
#include "kernels/cpu/amx.h"

#if defined(__x86_64__)

#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/shares.h"

namespace fathom::kernels::cpu {
namespace {

// Sums of 16 rows that wait for their last part to be multiplied.
struct OneRowTask {
  const PartTile* tile = nullptr;  // none yet
  const uint16_t* x = nullptr;
  int64_t steps = 0;
  bool is_first = false;  // of its rows
  float* y = nullptr;     // where the sums go after this part, if anywhere
  int64_t rows = 0;
};

[[gnu::always_inline]] inline void MultiplyStep(const OneRowTask& task, int64_t step) {
  if (step >= task.steps) return;
  _tile_loadd(4, (*task.tile)[step], kTileBytes);
  _tile_loadd(6, task.x + step * kStep, 4);
  _tile_dpbf16ps(0, 4, 6);
}

void StoreSums(float* y, int64_t rows) {
  alignas(64) float sums[kSide];
  _tile_stored(0, sums, 4);
  Barrier();
  std::memcpy(y, sums, static_cast<size_t>(rows) * sizeof(float));
}

void FinishPart(const OneRowTask& task) {
  if (task.y != nullptr) StoreSums(task.y, task.rows);
}

// The packed form of one input row is already that of tiles one pair wide.
template <Format kFormat>
void DotOne(const DotTask& task, const uint16_t* x) {
  alignas(64) PartTile tiles[2];
  const int64_t width = PackedWidth(kFormat, task.w.cols);
  const int64_t parts = (width + kPart - 1) / kPart;
  Here here{task, (width + kStretch - 1) / kStretch};
  OneRowTask before;
  int64_t turn = 0;
  for (here.o = task.row_begin; here.o < task.row_end; here.o += kSide) {
    here.rows = Smaller(kSide, task.row_end - here.o);
    for (int64_t part = 0; part < parts; ++part, ++turn) {
      PartTile& tile = tiles[turn % 2];
      here.b = part / kParts;
      if (before.is_first) _tile_zero(0);
      const auto multiply = [&](int64_t step) { MultiplyStep(before, step); };
      if (part % kParts == 0) {
        here.DecodePart<kFormat, 0>(tile, multiply);
      } else {
        here.DecodePart<kFormat, 1>(tile, multiply);
      }
      FinishPart(before);
      Barrier();
      const int64_t steps =
          Smaller(StepsOf(width, here.b) - part % kParts * kPartSteps, kPartSteps);
      before = {&tile, x + part * kPart, steps, part == 0, nullptr, here.rows};
      if (part == parts - 1) before.y = task.y + (here.o - task.row_begin);
    }
  }
  if (before.is_first) _tile_zero(0);
  for (int64_t step = 0; step < kPartSteps; ++step) MultiplyStep(before, step);
  FinishPart(before);
}

// BF16 weights are tiles as they stand, if they are whole ones.
bool AreWholeTiles(const DotTask& task) {
  return task.w.cols % kStretch == 0 && (task.row_end - task.row_begin) % kSide == 0;
}

void DotWholeTiles(const DotTask& task, const uint16_t* x) {
  const int64_t row_bytes = task.w.row_bytes();
  Here here{task, task.w.cols / kStretch};
  for (here.o = task.row_begin; here.o < task.row_end; here.o += kSide) {
    const std::byte* codes = task.w.data + here.o * row_bytes;
    _tile_zero(0);
    for (int64_t step = 0; step < task.w.cols / kStep; ++step) {
      here.b = step / kSteps;
      // Four rows at a step, 256 bytes of each.
      const int64_t quarter = step % kSteps / 4;
      for (int64_t r = step % 4 * 4; r < step % 4 * 4 + 4; ++r)
        Prefetch<2>(here.Ahead<Format::kBF16>(r, kAhead<Format::kBF16>) + quarter * 256, 256);
      _tile_loadd(4, codes + step * kTileBytes, row_bytes);
      _tile_loadd(6, x + step * kStep, 4);
      _tile_dpbf16ps(0, 4, 6);
    }
    StoreSums(task.y + (here.o - task.row_begin), kSide);
  }
}

}  // namespace

void DotOneAmx(const DotTask& task, const uint16_t* const* x) {
  SetShapes(1);
  if (task.w.format == Format::kBF16 && AreWholeTiles(task)) {
    DotWholeTiles(task, x[0]);
  } else {
    ForFormat(task.w.format, [&](auto format) { DotOne<format>(task, x[0]); });
  }
  _tile_release();
}

}  // namespace fathom::kernels::cpu

#endif
