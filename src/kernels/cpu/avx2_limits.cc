// Reading and arithmetic at the limit of AVX2 and FMA, which has no BF16 instruction.
#include "kernels/cpu/limits.h"

#if defined(__x86_64__)

#include <immintrin.h>

namespace fathom::kernels::cpu {
namespace {

// Independent sums: two multiply-adds start in a cycle and take 4 or 5; with the two inputs they
// fill 14 of the 16 registers.
constexpr int kSums = 12;

uint64_t Read(const std::byte* data, int64_t bytes, Fetch fetch) {
  __m256i sum[8] = {};
  for (int64_t i = 0; i < bytes; i += 256) {
    if (fetch == Fetch::kLines) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) __builtin_prefetch(data + i + kLinesAhead + 64 * k);
    } else if (fetch == Fetch::kPages && i % kPageBytes == 0) {
      __builtin_prefetch(data + i + kPageAhead);
    }
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k)
      sum[k] = _mm256_xor_si256(
          sum[k], _mm256_load_si256(reinterpret_cast<const __m256i*>(data + i + 32 * k)));
  }
  uint64_t folded = 0;
  for (int k = 0; k < 8; ++k) {
    alignas(32) uint64_t words[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(words), sum[k]);
    for (const uint64_t word : words) folded ^= word;
  }
  return folded;
}

float PeakF32(int64_t rounds) {
  __m256 sum[kSums];
#pragma GCC unroll 12
  for (int k = 0; k < kSums; ++k) {
    sum[k] = _mm256_set1_ps(0.0f);
    // Equal sums would be computed once.
    asm volatile("" : "+x"(sum[k]));
  }
  const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(-0.25f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kSums; ++k) sum[k] = _mm256_fmadd_ps(a, b, sum[k]);
  }
  float total = 0;
  for (int k = 0; k < kSums; ++k) {
    alignas(32) float lanes[8];
    _mm256_store_ps(lanes, sum[k]);
    for (const float lane : lanes) total += lane;
  }
  return total;
}

}  // namespace

const LimitLoops kAvx2Loops = {Read, PeakF32, PeakF32, kSums * 8 * 2, kSums * 8 * 2};

}  // namespace fathom::kernels::cpu

#endif
