// The float32 summation order of linear.h on plain arrays, for the ops that have no vector path of
// their own (norms, hyper-connections) and for the reference path.
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

}  // namespace fathom::kernels::reference
