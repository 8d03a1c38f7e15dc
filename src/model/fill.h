// A sequence as a long text would leave it, without the text: for measuring what a token costs at a
// length that would take hours to read.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/sequence.h"

namespace fathom::model {

// Puts random entries, rounded as the cache's are, into the state of every main layer of an empty
// sequence, as if `length` tokens had passed. Compressed rows repeat after a few thousand. Same
// seed, same state.
void FillRandom(const Config& config, int64_t length, uint64_t seed, Sequence& sequence);

}  // namespace fathom::model
