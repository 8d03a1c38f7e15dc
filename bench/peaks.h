// For benchmarks: what this machine's cores can do at most, from loops that touch registers only, so
// that a kernel's time becomes a fraction of it within one run. Zero where the instructions lack.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/thread_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fathom::bench {

enum class Peak { kBf16, kInt8 };

// Steps of 24 independent chains, enough to hide the latency of either instruction.
inline constexpr int64_t kPeakSteps = 100000;

#if defined(__x86_64__)

__attribute__((target("avx512f,avx512bw,avx512bf16"))) inline float RunBf16() {
  __m512 sum[24];
#pragma GCC unroll 24
  for (int i = 0; i < 24; ++i) sum[i] = _mm512_set1_ps(static_cast<float>(i));
  __m512i a = _mm512_set1_epi32(0x3f803f80), b = _mm512_set1_epi32(0x00010001);
  for (int64_t step = 0; step < kPeakSteps; ++step) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sum[i] = _mm512_dpbf16_ps(sum[i], (__m512bh)a, (__m512bh)b);
  }
  __m512 all = sum[0];
#pragma GCC unroll 24
  for (int i = 1; i < 24; ++i) all = _mm512_add_ps(all, sum[i]);
  return _mm512_reduce_add_ps(all);
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) inline float RunInt8() {
  __m512i sum[24];
#pragma GCC unroll 24
  for (int i = 0; i < 24; ++i) sum[i] = _mm512_set1_epi32(i);
  __m512i a = _mm512_set1_epi32(0x01010101), b = _mm512_set1_epi32(0x01010101);
  for (int64_t step = 0; step < kPeakSteps; ++step) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
  }
  __m512i all = sum[0];
#pragma GCC unroll 24
  for (int i = 1; i < 24; ++i) all = _mm512_add_epi32(all, sum[i]);
  return static_cast<float>(_mm512_reduce_add_epi32(all));
}

inline bool Has(Peak peak) {
  return __builtin_cpu_supports("avx512bw") &&
         (peak == Peak::kBf16 ? __builtin_cpu_supports("avx512bf16")
                              : __builtin_cpu_supports("avx512vnni"));
}

#else

inline float RunBf16() { return 0; }
inline float RunInt8() { return 0; }
inline bool Has(Peak) { return false; }

#endif

// Operations per second of all threads of the pool, a multiplication and an addition counted as two;
// the best of several short samples.
inline double PeakOps(Peak peak, ThreadPool& pool) {
  if (!Has(peak)) return 0;
  const double lanes = peak == Peak::kBf16 ? 32 : 64;
  const double ops = 2 * lanes * 24 * static_cast<double>(kPeakSteps) * pool.threads();
  double best = 0;
  for (int sample = 0; sample < 20; ++sample) {
    const auto start = std::chrono::steady_clock::now();
    pool.ParallelFor(pool.threads(), 1, [&](int64_t, int64_t, int) {
      volatile float sink = peak == Peak::kBf16 ? RunBf16() : RunInt8();
      (void)sink;
    });
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, ops / seconds);
  }
  return best;
}

// The tenth percentile of the times of `repeats` calls, in seconds: what the kernel takes when
// nobody else uses the machine.
template <typename F>
double QuietSeconds(int repeats, F&& run) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 10];
}

}  // namespace fathom::bench
