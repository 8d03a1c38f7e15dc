// Checkpoint codes to BF16 bits in NEON registers: a byte table each for the upper and the lower
// half; and the transposition that FP4 products and the packing for them share.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "kernels/cpu/tables.h"

namespace fathom::kernels::cpu {

// 16 BF16 values, their bytes apart.
struct CodeBytes16 {
  uint8x16_t low, high;

  // Values 0 .. 7 and 8 .. 15.
  uint16x8_t Front() const { return vreinterpretq_u16_u8(vzip1q_u8(low, high)); }
  uint16x8_t Back() const { return vreinterpretq_u16_u8(vzip2q_u8(low, high)); }
  // Even and odd values.
  uint16x8_t Even() const { return vreinterpretq_u16_u8(vtrn1q_u8(low, high)); }
  uint16x8_t Odd() const { return vreinterpretq_u16_u8(vtrn2q_u8(low, high)); }
};

struct NeonTables {
  uint8_t e2m1_low[16], e2m1_high[16];
  uint8_t e4m3_low[16], e4m3_high[16];  // magnitudes of codes 0 .. 15: all subnormals among them
};
constexpr NeonTables MakeNeonTables() {
  NeonTables t{};
  for (int i = 0; i < 16; ++i) {
    t.e2m1_low[i] = static_cast<uint8_t>(E2M1Bits(i) & 255);
    t.e2m1_high[i] = static_cast<uint8_t>(E2M1Bits(i) >> 8);
    t.e4m3_low[i] = static_cast<uint8_t>(E4M3Magnitude(i) & 255);
    t.e4m3_high[i] = static_cast<uint8_t>(E4M3Magnitude(i) >> 8);
  }
  return t;
}
inline constexpr NeonTables kNeonTables = MakeNeonTables();

// Each byte a code, 0 .. 15.
static inline CodeBytes16 DecodeE2M1(uint8x16_t codes) {
  return {vqtbl1q_u8(vld1q_u8(kNeonTables.e2m1_low), codes),
          vqtbl1q_u8(vld1q_u8(kNeonTables.e2m1_high), codes)};
}

// A normal magnitude m is (m << 4) + 0x3c00, whose halves do not carry into each other; what lies
// in the table takes its place there.
static inline CodeBytes16 DecodeE4M3(uint8x16_t codes) {
  const uint8x16_t magnitude = vandq_u8(codes, vdupq_n_u8(0x7f));
  const uint8x16_t low =
      vqtbx1q_u8(vshlq_n_u8(codes, 4), vld1q_u8(kNeonTables.e4m3_low), magnitude);
  uint8x16_t high = vqtbx1q_u8(vaddq_u8(vshrq_n_u8(magnitude, 4), vdupq_n_u8(0x3c)),
                               vld1q_u8(kNeonTables.e4m3_high), magnitude);
  high = vorrq_u8(high, vceqq_u8(magnitude, vdupq_n_u8(0x7f)));  // NaN
  return {low, vbslq_u8(vdupq_n_u8(0x7f), high, codes)};
}

static inline float ScaleOf(uint8_t code) {
  float scale;
  std::memcpy(&scale, &kScaleTable.bits[code], sizeof(scale));
  return scale;
}

// Lane scales of an FP4 stretch whose first scale is at `scale`; `groups` of them belong to the
// row.
static inline void LaneScales(const uint8_t* scale, int64_t groups, float* lanes) {
  for (int64_t l = 0; l < 16; ++l) {
    const int64_t group = l % 4 * 4 + l / 4;
    lanes[l] = group < groups ? ScaleOf(scale[group]) : 0.0f;
  }
}

// Rows become columns.
static inline void Transpose4(uint32x4_t (&m)[4]) {
  const auto wide = [](uint32x4_t v) { return vreinterpretq_u64_u32(v); };
  const auto narrow = [](uint64x2_t v) { return vreinterpretq_u32_u64(v); };
  const uint64x2_t even01 = wide(vtrn1q_u32(m[0], m[1])), odd01 = wide(vtrn2q_u32(m[0], m[1]));
  const uint64x2_t even23 = wide(vtrn1q_u32(m[2], m[3])), odd23 = wide(vtrn2q_u32(m[2], m[3]));
  m[0] = narrow(vtrn1q_u64(even01, even23));
  m[1] = narrow(vtrn1q_u64(odd01, odd23));
  m[2] = narrow(vtrn2q_u64(even01, even23));
  m[3] = narrow(vtrn2q_u64(odd01, odd23));
}

}  // namespace fathom::kernels::cpu
