// Elementary functions with one result on every machine and path: fixed sequences of binary32
// operations, so that a vector kernel which repeats the sequence gives the same bits as this
// scalar.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace fathom::numerics {

// Constants of Exp, shared with the vector versions.
struct ExpConstants {
  static constexpr float kLog2E = 0x1.715476p+0f;
  static constexpr float kRound = 0x1.8p23f;         // adding it rounds to an integer
  static constexpr float kLn2High = 0x1.62e4p-1f;    // few bits: n * kLn2High is exact
  static constexpr float kLn2Low = 0x1.7f7d1cp-20f;  // ln 2 - kLn2High
  static constexpr float kSmallest = -87.0f;    // below: 0 (the result would near the subnormals)
  static constexpr float kLargest = 88.72283f;  // above: infinity
  // Taylor coefficients 1/7! .. 1/2!; on |r| <= ln2/2 the remainder is below 6e-9.
  static constexpr float kC7 = 1.0f / 5040, kC6 = 1.0f / 720, kC5 = 1.0f / 120, kC4 = 1.0f / 24,
                         kC3 = 1.0f / 6, kC2 = 0.5f;
};

// e^x within 2 ulp; 0 below -87, infinity above 88.72283, NaN for NaN.
inline float Exp(float x) {
  using K = ExpConstants;
  if (std::isnan(x)) return x;
  if (x < K::kSmallest) return 0;
  if (x > K::kLargest) return std::numeric_limits<float>::infinity();
  const float n = (x * K::kLog2E + K::kRound) - K::kRound;
  const float r = (x - n * K::kLn2High) - n * K::kLn2Low;
  float p = K::kC7 * r + K::kC6;
  p = p * r + K::kC5;
  p = p * r + K::kC4;
  p = p * r + K::kC3;
  p = p * r + K::kC2;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // 2^n in two factors, because n reaches 128.
  const int32_t whole = static_cast<int32_t>(n);
  const int32_t half = whole >> 1;
  const auto power = [](int32_t e) { return std::bit_cast<float>((e + 127) << 23); };
  return p * power(half) * power(whole - half);
}

inline float Sigmoid(float x) { return 1.0f / (1.0f + Exp(-x)); }
inline float Silu(float x) { return x * Sigmoid(x); }

// x above 20, else log(1 + e^x) in the form that stays positive for very negative x. Ref: model.md
// 7, 8.12.
inline float Softplus(float x) {
  return x > 20.0f ? x : static_cast<float>(std::log1p(std::exp(static_cast<double>(x))));
}

}  // namespace fathom::numerics
