// Reading and arithmetic in plain C++: what a compiler makes of it for the baseline of the target.
#include <cstring>

#include "kernels/cpu/limits.h"

namespace fathom::kernels::cpu {
namespace {

constexpr int kSums = 32;

uint64_t Read(const std::byte* data, int64_t bytes, Fetch fetch) {
  uint64_t sum[8] = {};
  for (int64_t i = 0; i < bytes; i += 64) {
    if (fetch == Fetch::kLines) __builtin_prefetch(data + i + kLinesAhead);
    if (fetch == Fetch::kPages && i % kPageBytes == 0) __builtin_prefetch(data + i + kPageAhead);
    uint64_t words[8];
    std::memcpy(words, data + i, sizeof words);
    for (int k = 0; k < 8; ++k) sum[k] ^= words[k];
  }
  uint64_t folded = 0;
  for (const uint64_t word : sum) folded ^= word;
  return folded;
}

float PeakF32(int64_t rounds) {
  float sum[kSums];
  for (int k = 0; k < kSums; ++k) sum[k] = static_cast<float>(k);
  float a = 0.5f, b = -0.25f;
  // Keeps the compiler from knowing them.
  asm volatile("" : "+m"(a), "+m"(b));
  for (int64_t i = 0; i < rounds; ++i)
    for (int k = 0; k < kSums; ++k) sum[k] = sum[k] * a + b;
  float total = 0;
  for (const float value : sum) total += value;
  return total;
}

}  // namespace

const LimitLoops kPlainLoops = {Read, PeakF32, PeakF32, kSums * 2, kSums * 2};

}  // namespace fathom::kernels::cpu
