// Reading and arithmetic at the limit of AVX-512.
#include "kernels/cpu/limits.h"

#if defined(__x86_64__)

#include <immintrin.h>

namespace fathom::kernels::cpu {
namespace {

// Independent sums: a dot of pairs takes about 6 cycles and one starts every cycle or half.
constexpr int kSums = 16;

uint64_t Read(const std::byte* data, int64_t bytes, Fetch fetch) {
  __m512i sum[4] = {};
  for (int64_t i = 0; i < bytes; i += 256) {
    if (fetch == Fetch::kLines) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) __builtin_prefetch(data + i + kLinesAhead + 64 * k);
    } else if (fetch == Fetch::kPages && i % kPageBytes == 0) {
      __builtin_prefetch(data + i + kPageAhead);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k)
      sum[k] = _mm512_xor_si512(sum[k], _mm512_load_si512(data + i + 64 * k));
  }
  const __m512i all =
      _mm512_xor_si512(_mm512_xor_si512(sum[0], sum[1]), _mm512_xor_si512(sum[2], sum[3]));
  alignas(64) uint64_t words[8];
  _mm512_store_si512(words, all);
  uint64_t folded = 0;
  for (const uint64_t word : words) folded ^= word;
  return folded;
}

float Fold(const __m512* sum) {
  float total = 0;
  for (int k = 0; k < kSums; ++k) total += _mm512_reduce_add_ps(sum[k]);
  return total;
}

float PeakBF16(int64_t rounds) {
  __m512 sum[kSums];
#pragma GCC unroll 16
  for (int k = 0; k < kSums; ++k) {
    sum[k] = _mm512_set1_ps(0.0f);
    // Equal sums would be computed once.
    asm volatile("" : "+v"(sum[k]));
  }
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
  const __m512bh b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(-0.5f), _mm512_set1_ps(1.0f));
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int k = 0; k < kSums; ++k) sum[k] = _mm512_dpbf16_ps(sum[k], a, b);
  }
  return Fold(sum);
}

float PeakF32(int64_t rounds) {
  __m512 sum[kSums];
#pragma GCC unroll 16
  for (int k = 0; k < kSums; ++k) {
    sum[k] = _mm512_set1_ps(0.0f);
    // Equal sums would be computed once.
    asm volatile("" : "+v"(sum[k]));
  }
  const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(-0.25f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int k = 0; k < kSums; ++k) sum[k] = _mm512_fmadd_ps(a, b, sum[k]);
  }
  return Fold(sum);
}

}  // namespace

const LimitLoops kAvx512Loops = {Read, PeakBF16, PeakF32, kSums * 32 * 2, kSums * 16 * 2};

}  // namespace fathom::kernels::cpu

#endif
