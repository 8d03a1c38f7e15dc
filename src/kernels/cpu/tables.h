// Inside of kernels/cpu: decoding tables shared by the instruction sets, all computed while
// compiling. Data only, and no functions that exist at run time: files compiled for an instruction
// set must not emit code that the linker could hand to other files. Ref: model.md 4.3, 4.4.
#pragma once

#include <cstdint>

namespace fathom::kernels::cpu {

// float32 bits of the E8M0 codes: 2^(code - 127), code 255 NaN. Code 0, a subnormal, stands as
// zero, which is how flushed arithmetic reads it.
struct ScaleTable {
  uint32_t bits[256] = {};
};
constexpr ScaleTable MakeScaleTable() {
  ScaleTable table;
  for (uint32_t code = 0; code < 255; ++code) table.bits[code] = code << 23;
  table.bits[255] = 0x7fc00000u;
  return table;
}
inline constexpr ScaleTable kScaleTable = MakeScaleTable();

// BF16 bits of the E4M3 magnitudes, codes 0 .. 127. Below code 8 lie the subnormals, multiples of
// 2^-9; code 127 is NaN.
constexpr uint16_t E4M3Magnitude(int code) {
  constexpr uint16_t kSubnormal[8] = {0, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60};
  if (code < 8) return kSubnormal[code];
  if (code == 127) return 0x7fc0;
  return static_cast<uint16_t>((code << 4) + (120 << 7));
}

// The same times the E8M0 scale, exactly; 0 below the range of normal numbers, infinity above it.
constexpr uint16_t ScaledE4M3Magnitude(int code, int scale) {
  const uint16_t bits = E4M3Magnitude(code);
  if (code == 127 || scale == 255) return 0x7fc0;
  if (code == 0 || scale == 0) return 0;  // a subnormal scale is flushed
  const int exponent = (bits >> 7) + scale - 127;
  if (exponent < 1) return 0;
  if (exponent > 254) return 0x7f80;
  return static_cast<uint16_t>((bits & 0x7f) + (exponent << 7));
}

// BF16 bits of the E2M1 codes 0 .. 15.
constexpr uint16_t E2M1Bits(int code) {
  constexpr uint16_t kMagnitude[8] = {0, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0};
  return static_cast<uint16_t>(kMagnitude[code & 7] | (code >= 8 ? 0x8000 : 0));
}

// Twice the E2M1 codes 0 .. 15, which are integers.
constexpr int DoubledE2M1(int code) {
  constexpr int kMagnitude[8] = {0, 1, 2, 3, 4, 6, 8, 12};
  return code >= 8 ? -kMagnitude[code & 7] : kMagnitude[code];
}

// The same plus `offset`, so that none has a sign, as often as it takes to fill kSize bytes.
template <int kSize>
struct ShiftedE2M1 {
  alignas(kSize) uint8_t codes[kSize];
};
template <int kSize>
constexpr ShiftedE2M1<kSize> MakeShiftedE2M1(int offset) {
  ShiftedE2M1<kSize> t{};
  for (int i = 0; i < kSize; ++i) t.codes[i] = static_cast<uint8_t>(offset + DoubledE2M1(i & 15));
  return t;
}

}  // namespace fathom::kernels::cpu
