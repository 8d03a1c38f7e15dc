// The loops of kernels/limits.h for one thread, one file for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/sizes.h"

namespace fathom::kernels::cpu {

// What a read loop asks for before its loads come to it.
enum class Fetch {
  kNothing,
  kLines,  // every line, kLinesAhead further on
  kPages,  // the first line of every page, kPageAhead further on
};
// About the latency of memory at the rate of one core.
inline constexpr int64_t kLinesAhead = 2048;

struct LimitLoops {
  // Exclusive or of the 64-bit words of [data, data + bytes): whole pages.
  uint64_t (*read)(const std::byte* data, int64_t bytes, Fetch fetch);
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
