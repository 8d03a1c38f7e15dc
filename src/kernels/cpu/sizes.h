// Sizes that the vector kernels count in.
#pragma once

#include <cstdint>

namespace fathom::kernels::cpu {

inline constexpr int64_t kLanes = 16;  // floats of a vector

// Some processors, asked for the first line of a page of 4 KB so far ahead of its use, bring all of
// the page (docs/performance.md).
inline constexpr int64_t kPageBytes = 4096;
inline constexpr int64_t kPageAhead = 16384;

// Static, so that code compiled for one instruction set is never linked into another's.
static constexpr int64_t PadToLanes(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }
static constexpr int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace fathom::kernels::cpu
