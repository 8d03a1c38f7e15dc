// Sums over plain arrays: the float32 order of linear.h for the reference path, and the sum of
// squares of the norms, which have no vector path of their own.
#pragma once

#include <cstdint>

namespace fathom::kernels::reference {

// Folds 16 lanes to one: 8, 4, 2, 1.
inline float Fold16(float* lanes) {
  for (int half = 8; half >= 1; half /= 2)
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  return lanes[0];
}

// sum of a[k] * b[k] in the float32 order; n may be anything, the missing tail counts as zeros.
inline float DotF32(const float* a, const float* b, int64_t n) {
  float acc[64] = {};
  const int64_t whole = n / 64 * 64;
  for (int64_t i = 0; i < whole; i += 64)
    for (int l = 0; l < 64; ++l) acc[l] += a[i + l] * b[i + l];
  for (int64_t l = 0; l < n - whole; ++l) acc[l] += a[whole + l] * b[whole + l];
  for (int l = 0; l < 16; ++l) acc[l] = (acc[l] + acc[16 + l]) + (acc[32 + l] + acc[48 + l]);
  return Fold16(acc);
}

// sum of x[k]^2 in double (each square is exact there), value k in lane k mod 8, the lanes folded
// 4, 2, 1; rounded to float once. A norm's scale multiplies a whole row, so its last bit is worth
// more than others.
inline float SumOfSquares(const float* x, int64_t n) {
  double lanes[8] = {};
  const int64_t whole = n / 8 * 8;
  for (int64_t i = 0; i < whole; i += 8)
    for (int l = 0; l < 8; ++l) lanes[l] += static_cast<double>(x[i + l]) * x[i + l];
  for (int64_t l = 0; l < n - whole; ++l)
    lanes[l] += static_cast<double>(x[whole + l]) * x[whole + l];
  for (int half = 4; half >= 1; half /= 2)
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  return static_cast<float>(lanes[0]);
}

}  // namespace fathom::kernels::reference
