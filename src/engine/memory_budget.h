// How much memory the states of running sequences may take when nobody says: a part of what the
// machine has free once the weights lie in memory.
#pragma once

#include <cstdint>

#include "model/weights.h"

namespace fathom::engine {

// 80 % of `available` less all weights. They are mapped files: whether they have been read in yet
// or not, their pages count as available, and every pass wants them. Weights that fit memory
// badly are read from the disk again and again anyway; then states get a quarter of `available`.
// The rest is for working memory: activations, logits, samplers, and everything outside the engine.
int64_t DefaultStateBytes(int64_t available, int64_t weight_bytes);

int64_t WeightBytes(const model::LoadedModel& model);

}  // namespace fathom::engine
