// The loops of kernels/limits.h for one thread, one file for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fathom::kernels::cpu {

struct LimitLoops {
  // Exclusive or of the 64-bit words of [data, data + bytes): aligned to 64, a multiple of 256.
  // With `ahead` > 0 lines that many bytes further are prefetched.
  uint64_t (*read)(const std::byte* data, int64_t bytes, int64_t ahead);
  // Each runs its loop `rounds` times; what it returns keeps the arithmetic from being left out.
  float (*peak_bf16)(int64_t rounds);
  float (*peak_f32)(int64_t rounds);
  int64_t bf16_operations;  // of a round
  int64_t f32_operations;
};

extern const LimitLoops kPlainLoops;
#if defined(__x86_64__)
extern const LimitLoops kAvx2Loops;
extern const LimitLoops kAvx512Loops;
#endif

}  // namespace fathom::kernels::cpu
