// The packing of inputs as bytes (row_ops.h), in plain loops that compilers turn into vectors of
// the instruction set which the including file is compiled for. Everything here is private to it.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cpu/sizes.h"
#include "kernels/int8_stretch.h"
#include "numerics/blocks.h"

namespace fathom::kernels::cpu {
namespace {

constexpr int64_t kInt8Block = numerics::kInt8Block;

// The even bytes of eight, and the odd ones of them shifted there.
inline uint32_t EvenBytes(uint64_t eight) {
  eight &= 0x00ff00ff00ff00ffu;
  eight = (eight | eight >> 8) & 0x0000ffff0000ffffu;
  return static_cast<uint32_t>(eight | eight >> 16);
}

// A block to its lane of a stretch.
inline void PackInt8Block(const float* x, int64_t lane, Int8Stretch& out) {
  int32_t bits[kInt8Block];
  std::memcpy(bits, x, sizeof(bits));
  int32_t largest = 0;
  for (int64_t i = 0; i < kInt8Block; ++i) {
    const int32_t size = bits[i] & 0x7fffffff;
    largest = size > largest ? size : largest;
  }
  int32_t exponent = (largest >> 23) - 127;
  exponent = exponent < -100 ? -100 : exponent;
  const bool is_finite = largest < 0x7f800000;
  const float reciprocal = __builtin_bit_cast(float, (127 + 6 - exponent) << 23);
  // The last bits of a sum with 1.5 * 2^23 are its terms' integer part, rounded to even.
  constexpr float kRounder = 0x1.8p23f;
  int8_t codes[kInt8Block];
  for (int64_t i = 0; i < kInt8Block; ++i) {
    float value = x[i] * reciprocal;
    value = value > 127.0f ? 127.0f : value;
    value = value < -127.0f ? -127.0f : value;
    const int32_t code = __builtin_bit_cast(int32_t, value + kRounder) & 0xff;
    codes[i] = static_cast<int8_t>(is_finite ? code : 0);
  }
  int32_t sum = 0;
  for (int64_t i = 0; i < kInt8Block; ++i) sum += codes[i];
  out.offsets[lane] = -Int8Stretch::kCodeOffset * sum;
  out.scales[lane] =
      is_finite ? __builtin_bit_cast(float, (127 - 7 + exponent) << 23) : __builtin_nanf("");
  int8_t* to = out.codes + 4 * lane;
  for (int64_t eight = 0; eight < kInt8Block; eight += 8, to += 2 * Int8Stretch::kStep) {
    uint64_t word;
    std::memcpy(&word, codes + eight, 8);
    const uint32_t even = EvenBytes(word), odd = EvenBytes(word >> 8);
    std::memcpy(to, &even, 4);
    std::memcpy(to + Int8Stretch::kStep, &odd, 4);
  }
}

inline void PackInt8(const float* x, int64_t n, Int8Stretch* out) {
  for (int64_t begin = 0; begin < n; begin += kStretch, ++out) {
    const int64_t count = Smaller(kStretch, n - begin);
    if (count < kStretch) std::memset(static_cast<void*>(out), 0, sizeof(*out));
    for (int64_t k = 0; k < count; k += kInt8Block) {
      const int64_t lane = Int8Partner(k / kInt8Block);
      if (k + kInt8Block <= count) {
        PackInt8Block(x + begin + k, lane, *out);
      } else {
        float block[kInt8Block] = {};
        std::memcpy(block, x + begin + k, static_cast<size_t>(count - k) * sizeof(float));
        PackInt8Block(block, lane, *out);
      }
    }
  }
}

}  // namespace
}  // namespace fathom::kernels::cpu
