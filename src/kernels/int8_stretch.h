// Inside of the room: inputs as bytes, which fast mode (numerics/mode.h) multiplies FP4 codes by.
//
// An input is cut into stretches of 512, a stretch into 16 blocks of 32, each of which has a scale
// and a lane of its own. FP4 codes enter doubled, as integers of -12 to 12, so that the sum of a
// lane and stretch is exact in any order. Then acc[l] += sum * (weight scale * input scale): the
// product of the scales is rounded (it is a power of two), the addition fused. Stretches follow
// each other; at the end 16 lanes fold to 8, 4, 2, 1: acc[l] += acc[l + half].
//
// Lanes are those of the BF16 product (linear.h): one transposition of the codes serves both.
// Ref: OCP Microscaling Formats (MX) 1.0, MXFP4 and MXINT8.
#pragma once

#include <cstdint>

#include "kernels/linear.h"
#include "tensor/view.h"

namespace fathom::kernels {

struct alignas(64) Int8Stretch {
  static constexpr int kLanes = 16;
  static constexpr int kStep = 64;  // codes: four of each lane
  // What kernels may add to a doubled FP4 code so that it has no sign.
  static constexpr int kCodeOffset = 12;

  int8_t codes[kStretch];   // at Int8Place
  float scales[kLanes];     // of a lane's block, halved, because FP4 codes enter doubled
  int32_t offsets[kLanes];  // -kCodeOffset times the sum of a lane's codes
};

// Static, so that code compiled for one instruction set is never linked into another's.

// The lane of a block, and the block of a lane.
static constexpr int64_t Int8Partner(int64_t i) { return i % 4 * 4 + i / 4; }
// Where input k of a stretch stands. A step takes the even or the odd ones of eight inputs of each
// block.
static constexpr int64_t Int8Place(int64_t k) {
  const int64_t in = k % tensor::kFp4Block, step = in / 8 * 2 + in % 2;
  return step * Int8Stretch::kStep + Int8Partner(k / tensor::kFp4Block) * 4 + in % 8 / 2;
}
// Stretches of a row of so many inputs. Behind the last one codes are zero, and so are the scales
// of whole blocks there.
static constexpr int64_t Int8Stretches(int64_t cols) { return (cols + kStretch - 1) / kStretch; }

}  // namespace fathom::kernels
