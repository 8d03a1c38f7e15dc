// Philox4x32-10: random numbers as a pure function of a counter and a key. Whoever needs the n-th
// number asks for it, in any order and on any thread, and a seed means the same numbers everywhere.
// Ref: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cstdint>

namespace fathom::numerics {

// 128 bits, uniform and independent for distinct (counter, key).
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

}  // namespace fathom::numerics
