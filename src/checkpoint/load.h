// How the bytes of a checkpoint come into memory: left to be read as they are touched, read ahead,
// or copied. Several threads do it, and progress is told. Knows files and no tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/file.h"
#include "base/result.h"

namespace fathom::checkpoint {

enum class LoadMode {
  kLazy,  // mapped; what is touched is read. For those who look at little of it
  kMap,   // mapped, and what the file cache lacks is read first
  kCopy,  // copied into memory of its own: large pages, dealt out to all memory nodes
  kLock,  // the same, never to be paged out
};

struct LoadOptions {
  LoadMode mode = LoadMode::kLazy;
  // Told now and then by the calling thread how many bytes are in memory, and at the end once that
  // all are.
  std::function<void(int64_t done, int64_t total)> progress = {};
};

// Whether memory suffices for a copy of `bytes`. Errors name what is needed and what is there.
Result<void> CheckMemory(LoadMode mode, int64_t bytes, int64_t available_bytes);

// Returns when all files are in memory; addresses stay. What is resident already is not touched
// under kMap, and files larger than the memory available are left to be read as they are touched
// (with a line in the log). Errors: too little memory for a copy, the system's limit on locked
// memory, a file that cannot be read.
Result<void> BringIn(std::span<MappedFile* const> files, const LoadOptions& options);

}  // namespace fathom::checkpoint
