// The number formats of the checkpoints and their exact conversions: BF16, FP8 E4M3FN, FP4 E2M1,
// E8M0. Rounding is to nearest, ties to even, everywhere; values outside a format's range saturate.
// Ref: model.md sections 2, 6.1 and 6.2.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace fathom::numerics {

// A BF16 value by its bits: the upper half of a binary32.
struct BF16 {
  uint16_t bits = 0;
};

inline float ToFloat(BF16 value) { return std::bit_cast<float>(uint32_t{value.bits} << 16); }

// Round to nearest even; overflow goes to infinity; NaN stays NaN (made quiet).
inline BF16 ToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
inline float RoundToBF16(float value) { return ToFloat(ToBF16(value)); }

inline constexpr float kE4M3Max = 448.0f;
inline constexpr float kE2M1Max = 6.0f;

// 0x7f and 0xff are NaN; there are no infinities.
inline float E4M3ToFloat(uint8_t code) {
  const uint32_t sign = uint32_t{code & 0x80u} << 24;
  const uint32_t low = code & 0x7fu;
  if (low == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (low < 8)
    return std::copysign(static_cast<float>(low) * 0x1p-9f, std::bit_cast<float>(sign | 1u));
  return std::bit_cast<float>(sign | ((low << 20) + (120u << 23)));
}

// Clamps to +-448 first; NaN gives NaN (0x7f with the sign).
inline uint8_t FloatToE4M3(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 24) & 0x80u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint8_t>(sign | 0x7fu);
  const float a = std::bit_cast<float>(magnitude);
  if (a >= kE4M3Max) return static_cast<uint8_t>(sign | 0x7eu);
  // Below the smallest normal 2^-6 the spacing is 2^-9; adding and subtracting 1.5 * 2^23 rounds to
  // even.
  if (a < 0x1p-6f) {
    const float steps = a * 0x1p9f + 0x1.8p23f;
    return static_cast<uint8_t>(sign | (std::bit_cast<uint32_t>(steps) & 0xfu));
  }
  const uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
  return static_cast<uint8_t>(sign | ((rounded >> 20) - (120u << 3)));
}

// Codes 0..7 are 0, 0.5, 1, 1.5, 2, 3, 4, 6; 8..15 their negatives. Only the low four bits are
// read.
inline float E2M1ToFloat(uint8_t code) {
  constexpr float kValues[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                 -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  return kValues[code & 15u];
}

// Clamps to +-6; ties go to the even code. NaN, which the format lacks, becomes the largest value.
inline uint8_t FloatToE2M1(float value) {
  const uint8_t sign = std::signbit(value) ? 8 : 0;
  if (std::isnan(value)) return static_cast<uint8_t>(sign | 7);
  const float a = std::fabs(value);
  const int code = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) +
                   (a >= 3.5f) + (a > 5.0f);
  return static_cast<uint8_t>(sign | code);
}

// 2^(code - 127); 255 is NaN. Code 0 is the subnormal 2^-127.
inline float E8M0ToFloat(uint8_t code) {
  if (code == 255) return std::numeric_limits<float>::quiet_NaN();
  if (code == 0) return std::bit_cast<float>(0x00400000u);
  return std::bit_cast<float>(uint32_t{code} << 23);
}

// The E8M0 code of the smallest power of two >= value, read off the bits of a positive normal value
// (no logarithm). Ref: model.md 6.2.
inline uint8_t CeilPow2(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint8_t>((bits >> 23) + ((bits & 0x7fffffu) != 0 ? 1u : 0u));
}

}  // namespace fathom::numerics
