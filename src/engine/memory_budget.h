// How much memory the states of running sequences may take when nobody says: a part of what the
// machine has free once the weights lie in memory.
#pragma once

#include <cstdint>
#include <string>

#include "model/weights.h"

namespace fathom::engine {

// Bytes that the process can still take without anything being swapped or killed, pages of files
// that can be dropped included: what the system says, or less where the process's group is limited.
// `proc` and `group` are the folders to look in.
int64_t AvailableBytes(const std::string& proc = "/proc",
                       const std::string& group = "/sys/fs/cgroup");

// 80 % of `available` less all weights. They are mapped files: whether they have been read in yet
// or not, their pages count as available, and every pass wants them. Weights that fit memory
// badly are read from the disk again and again anyway; then states get a quarter of `available`.
// The rest is for working memory: activations, logits, samplers, and everything outside the engine.
int64_t DefaultStateBytes(int64_t available, int64_t weight_bytes);

int64_t WeightBytes(const model::LoadedModel& model);

}  // namespace fathom::engine
