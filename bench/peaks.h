// For benchmarks: what this machine's cores can do at most, from loops that touch registers only,
// so that a kernel's time becomes a fraction of it within one run. Zero where the instructions
// lack.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace fathom::bench {

enum class Peak { kBf16, kInt8 };

// Steps of 24 independent chains, enough to hide the latency of either instruction.
inline constexpr int64_t kPeakSteps = 100000;

#if defined(__x86_64__)

// In assembly: a compiler would be free to keep some of the chains in memory.
#define FATHOM_BENCH_8_CHAINS(op, a, b, c, d, e, f, g, h)                        \
  op " %%zmm30, %%zmm31, %%zmm" #a "\n" op " %%zmm30, %%zmm31, %%zmm" #b "\n" op \
     " %%zmm30, %%zmm31, %%zmm" #c "\n" op " %%zmm30, %%zmm31, %%zmm" #d "\n" op \
     " %%zmm30, %%zmm31, %%zmm" #e "\n" op " %%zmm30, %%zmm31, %%zmm" #f "\n" op \
     " %%zmm30, %%zmm31, %%zmm" #g "\n" op " %%zmm30, %%zmm31, %%zmm" #h "\n"
#define FATHOM_BENCH_CHAINS(op)                                                                    \
  asm volatile(FATHOM_BENCH_8_CHAINS(op, 0, 1, 2, 3, 4, 5, 6, 7)                                   \
                   FATHOM_BENCH_8_CHAINS(op, 8, 9, 10, 11, 12, 13, 14, 15)                         \
                       FATHOM_BENCH_8_CHAINS(op, 16, 17, 18, 19, 20, 21, 22, 23)::                 \
                           : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",       \
                             "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", \
                             "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22",        \
                             "xmm23", "xmm30", "xmm31")

__attribute__((target("avx512f,avx512bf16"))) inline void RunBf16() {
  asm volatile("vpxord %%zmm30, %%zmm30, %%zmm30\nvpxord %%zmm31, %%zmm31, %%zmm31" ::
                   : "xmm30", "xmm31");
  for (int64_t step = 0; step < kPeakSteps; ++step) FATHOM_BENCH_CHAINS("vdpbf16ps");
}

__attribute__((target("avx512f,avx512vnni"))) inline void RunInt8() {
  asm volatile("vpxord %%zmm30, %%zmm30, %%zmm30\nvpxord %%zmm31, %%zmm31, %%zmm31" ::
                   : "xmm30", "xmm31");
  for (int64_t step = 0; step < kPeakSteps; ++step) FATHOM_BENCH_CHAINS("vpdpbusd");
}

#undef FATHOM_BENCH_CHAINS
#undef FATHOM_BENCH_8_CHAINS

inline bool Has(Peak peak) {
  return __builtin_cpu_supports("avx512bw") &&
         (peak == Peak::kBf16 ? __builtin_cpu_supports("avx512bf16")
                              : __builtin_cpu_supports("avx512vnni"));
}

#else

inline void RunBf16() {}
inline void RunInt8() {}
inline bool Has(Peak) { return false; }

#endif

// Operations per second of all threads of the pool, a multiplication and an addition counted as
// two; the best of several short samples.
inline double PeakOps(Peak peak, ThreadPool& pool) {
  if (!Has(peak)) return 0;
  const double lanes = peak == Peak::kBf16 ? 32 : 64;
  const double ops = 2 * lanes * 24 * static_cast<double>(kPeakSteps) * pool.threads();
  double best = 0;
  for (int sample = 0; sample < 20; ++sample) {
    const auto start = std::chrono::steady_clock::now();
    pool.ParallelFor(pool.threads(), 1,
                     [&](int64_t, int64_t, int) { peak == Peak::kBf16 ? RunBf16() : RunInt8(); });
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
