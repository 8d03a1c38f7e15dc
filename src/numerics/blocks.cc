#include "numerics/blocks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "numerics/formats.h"

namespace fathom::numerics {
namespace {

float MaxMagnitude(std::span<const float> block) {
  float a = 0;
  for (const float x : block) a = std::max(a, std::fabs(x));
  return a;
}

// Calls body(block, scale code) for each block of x.
template <typename T, typename F>
void ForEachBlock(std::span<T> x, int64_t block, F body) {
  const int64_t n = std::ssize(x);
  for (int64_t begin = 0; begin < n; begin += block)
    body(begin / block,
         x.subspan(static_cast<size_t>(begin), static_cast<size_t>(std::min(block, n - begin))));
}

}  // namespace

uint8_t E4M3Scale(std::span<const float> block) {
  return CeilPow2(std::max(MaxMagnitude(block), 1e-4f) * (1.0f / 448.0f));
}

uint8_t E2M1Scale(std::span<const float> block) {
  return CeilPow2(std::max(MaxMagnitude(block), 6 * 0x1p-126f) * (1.0f / 6.0f));
}

void QuantizeE4M3(std::span<const float> x, int64_t block, std::span<uint8_t> codes,
                  std::span<uint8_t> scales) {
  FATHOM_CHECK_EQ(codes.size(), x.size());
  ForEachBlock(x, block, [&](int64_t b, std::span<const float> values) {
    const uint8_t scale = scales[static_cast<size_t>(b)] = E4M3Scale(values);
    const float s = E8M0ToFloat(scale);
    uint8_t* out = codes.data() + b * block;
    for (const float value : values) *out++ = FloatToE4M3(value / s);
  });
}

void QuantizeE2M1(std::span<const float> x, std::span<uint8_t> codes, std::span<uint8_t> scales) {
  FATHOM_CHECK_EQ(codes.size(), x.size());
  ForEachBlock(x, kIndexBlock, [&](int64_t b, std::span<const float> values) {
    const uint8_t scale = scales[static_cast<size_t>(b)] = E2M1Scale(values);
    const float s = E8M0ToFloat(scale);
    uint8_t* out = codes.data() + b * kIndexBlock;
    for (const float value : values) *out++ = FloatToE2M1(value / s);
  });
}

void SimulateE4M3(std::span<float> x, int64_t block) {
  ForEachBlock(x, block, [&](int64_t, std::span<float> values) {
    const float s = E8M0ToFloat(E4M3Scale(values));
    for (float& value : values) value = E4M3ToFloat(FloatToE4M3(value / s)) * s;
  });
}

void SimulateE2M1(std::span<float> x) {
  ForEachBlock(x, kIndexBlock, [&](int64_t, std::span<float> values) {
    const float s = E8M0ToFloat(E2M1Scale(values));
    for (float& value : values) value = E2M1ToFloat(FloatToE2M1(value / s)) * s;
  });
}

float QuantizeInt8(std::span<const float> block, std::span<int8_t> codes) {
  FATHOM_CHECK_EQ(codes.size(), block.size());
  uint32_t largest = 0;
  for (const float x : block) largest = std::max(largest, std::bit_cast<uint32_t>(x) & 0x7fffffffu);
  if (largest >= 0x7f800000u) {
    std::fill(codes.begin(), codes.end(), int8_t{0});
    return std::numeric_limits<float>::quiet_NaN();
  }
  const int exponent = std::max(static_cast<int>(largest >> 23) - 127, -100);
  for (size_t i = 0; i < block.size(); ++i) {
    const float value = std::clamp(std::ldexp(block[i], 6 - exponent), -127.0f, 127.0f);
    codes[i] = static_cast<int8_t>(std::nearbyint(value));
  }
  return std::ldexp(1.0f, exponent - 6);
}

void Hadamard(std::span<float> x) {
  const size_t n = x.size();
  FATHOM_CHECK(std::has_single_bit(n), fmt::format("Hadamard size {}", n));
  for (size_t stride = 1; stride < n; stride *= 2) {
    for (size_t base = 0; base < n; base += 2 * stride) {
      for (size_t i = base; i < base + stride; ++i) {
        const float a = x[i], b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
      }
    }
  }
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(n)));
  for (float& value : x) value *= scale;
}

}  // namespace fathom::numerics
