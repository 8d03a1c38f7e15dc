// Which rounding a forward pass applies.
#pragma once

#include <optional>
#include <string_view>

#include "numerics/formats.h"

namespace fathom::numerics {

enum class Mode {
  kOfficial,  // the reference's rounding points: BF16 activations, FP8 in front of FP8/FP4
              // products, FP8 KV entries, FP4 index vectors
  kPure,      // none of them: float32 throughout, the sharp test of the mathematics
  kFast,      // official, but bytes under a scale per 32 (MXINT8) in front of FP4 products
};

inline constexpr Mode kAllModes[] = {Mode::kOfficial, Mode::kPure, Mode::kFast};

// "official", "pure", "fast".
constexpr std::string_view Name(Mode mode) {
  if (mode == Mode::kPure) return "pure";
  return mode == Mode::kFast ? "fast" : "official";
}
constexpr std::optional<Mode> ParseMode(std::string_view name) {
  for (const Mode mode : kAllModes)
    if (Name(mode) == name) return mode;
  return std::nullopt;
}

// Whether a mode rounds activations to BF16, and states to the formats they were trained in.
inline bool Rounds(Mode mode) { return mode != Mode::kPure; }

// One of the BF16 rounding points.
inline float Round(float value, Mode mode) { return Rounds(mode) ? RoundToBF16(value) : value; }

}  // namespace fathom::numerics
