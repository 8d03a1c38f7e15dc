// Which rounding a forward pass applies.
#pragma once

#include "numerics/formats.h"

namespace fathom::numerics {

enum class Mode {
  kOfficial,  // the reference's rounding points: BF16 activations, FP8 in front of FP8/FP4
              // products, FP8 KV entries, FP4 index vectors
  kPure,      // none of them: float32 throughout, the sharp test of the mathematics
  kFast,      // official, but bytes under a scale per 32 (MXINT8) in front of FP4 products
};

// Whether a mode rounds activations to BF16, and states to the formats they were trained in.
inline bool Rounds(Mode mode) { return mode != Mode::kPure; }

// One of the BF16 rounding points.
inline float Round(float value, Mode mode) {
  return Rounds(mode) ? RoundToBF16(value) : value;
}

}  // namespace fathom::numerics
