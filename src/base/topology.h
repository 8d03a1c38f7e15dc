// What machine this is: cores and memory.
#pragma once

#include <cstdint>

namespace fathom {

// Physical cores this process may run on (its affinity mask, not the whole machine); at least 1.
int PhysicalCores();

// Main memory of the machine, in bytes.
int64_t MemoryBytes();

// The last level of cache, all of it together, in bytes; 0 when the machine does not say.
int64_t CacheBytes();

}  // namespace fathom
