// What the machine allows: loops that only read memory and loops that only compute, to be timed
// beside the real work, because a figure means something as a fraction of them. Timing is
// measure/limits.h. Ref: kernels.md rule 9.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/context.h"

namespace fathom::kernels {

// Ways to read: which is fastest differs by machine, so the best of them counts.
enum class ReadLoop {
  kStreams,            // one sequential stream for each thread
  kStreamsPrefetched,  // the same, every line asked for ahead
  kStreamsPaged,       // the same, the first line of every page of 4 KB asked for ahead
  kPieces,             // pieces of a few megabytes, handed out as threads get free
  kPiecesPrefetched,
  kPiecesPaged,
};
inline constexpr int kReadLoops = 6;

// Reads every byte of `memory` once, on all threads, with the widest loads of the path. Returns the
// exclusive or of its 64-bit words, so that no load can be left out. `memory` starts at a multiple
// of 64 bytes and holds a multiple of 4096.
uint64_t ReadMemory(std::span<const std::byte> memory, ReadLoop loop, const Context& ctx);

// Arithmetic on registers alone.
enum class Peak {
  kBF16,  // products of tiles or vdpbf16ps; float32 operations where the path has no BF16
          // instruction
  kF32,   // fused multiply-adds; multiplication and addition where the path has none
};

// Runs `rounds` of a loop on every thread. Returns the operations done, 2 for each multiply-add.
int64_t RunPeak(Peak peak, int64_t rounds, const Context& ctx);

}  // namespace fathom::kernels
