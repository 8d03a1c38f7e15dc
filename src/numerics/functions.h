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

// The binary64 operations that Softplus is made of, for one value; vector versions give the same
// operations under the same names.
struct ScalarDouble {
  using D = double;
  static D Set(double x) { return x; }
  static D Add(D a, D b) { return a + b; }
  static D Sub(D a, D b) { return a - b; }
  static D Mul(D a, D b) { return a * b; }
  static D Div(D a, D b) { return a / b; }
  // p * 2^n, n being the low bits of t = n + 1.5 * 2^52.
  static D AddExponent(D p, D t) {
    return std::bit_cast<double>(std::bit_cast<uint64_t>(p) + (std::bit_cast<uint64_t>(t) << 52));
  }
  // u = 2^k m with sqrt(1/2) <= m < sqrt(2), u >= 1.
  static D Exponent(D u) {
    return static_cast<double>((std::bit_cast<uint64_t>(u) - kSqrtHalf) >> 52);
  }
  static D Mantissa(D u) {
    const uint64_t k = (std::bit_cast<uint64_t>(u) - kSqrtHalf) >> 52;
    return std::bit_cast<double>(std::bit_cast<uint64_t>(u) - (k << 52));
  }
  // x < limit ? 0 : e.
  static D ZeroBelow(D e, D x, double limit) { return x < limit ? 0 : e; }

  static constexpr uint64_t kSqrtHalf = 0x3fe6a09e667f3bcdu;
};

// log(1 + e^x) for x <= 20, within a few units of binary64: e^x by its Taylor series after the
// powers of two are taken out, the logarithm by that of the inverse hyperbolic tangent, and what
// 1 + e^x loses by rounding added at the end.
template <typename M>
typename M::D SoftplusSteps(typename M::D x) {
  using D = typename M::D;
  constexpr double kRound = 0x1.8p52, kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kExp[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                             1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                             1.0 / 120,        1.0 / 24,        1.0 / 6,        0.5,
                             1.0,              1.0};
  constexpr double kLog[] = {1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                             1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3};
  const D t = M::Add(M::Mul(x, M::Set(0x1.71547652b82fep+0)), M::Set(kRound));
  const D n = M::Sub(t, M::Set(kRound));
  const D r = M::Sub(M::Sub(x, M::Mul(n, M::Set(kLn2High))), M::Mul(n, M::Set(kLn2Low)));
  D p = M::Set(kExp[0]);
#pragma GCC unroll 16
  for (int i = 1; i < 14; ++i) p = M::Add(M::Mul(p, r), M::Set(kExp[i]));
  // Below -110 the result is under the smallest float32, and n may be anything.
  const D e = M::ZeroBelow(M::AddExponent(p, t), x, -110.0);
  const D u = M::Add(M::Set(1.0), e);
  const D lost = M::Sub(e, M::Sub(u, M::Set(1.0)));
  const D k = M::Exponent(u), m = M::Mantissa(u);
  const D s = M::Div(M::Sub(m, M::Set(1.0)), M::Add(m, M::Set(1.0)));
  const D z = M::Mul(s, s), twice = M::Add(s, s);
  D q = M::Set(kLog[0]);
#pragma GCC unroll 16
  for (int i = 1; i < 11; ++i) q = M::Add(M::Mul(q, z), M::Set(kLog[i]));
  D low = M::Add(M::Mul(k, M::Set(kLn2Low)), M::Div(lost, u));
  low = M::Add(low, M::Mul(twice, M::Mul(z, q)));
  return M::Add(M::Mul(k, M::Set(kLn2High)), M::Add(twice, low));
}

// x above 20, else log(1 + e^x) in the form that stays positive for very negative x. Ref: model.md
// 7, 8.12.
inline float Softplus(float x) {
  if (!(x <= 20.0f)) return x;
  return static_cast<float>(SoftplusSteps<ScalarDouble>(static_cast<double>(x)));
}

}  // namespace fathom::numerics
