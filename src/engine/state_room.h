// How much of the memory for states is spoken for. Pages that exist are counted once, whoever
// shares them; what a running choice may still take is counted as if it had it, so that whatever
// was admitted can run to its end.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/job.h"
#include "engine/sequence_source.h"

namespace fathom::engine {

// What a request takes when `reused` tokens of its prompt lie in pages that exist already.
int64_t NeedOf(const Job& job, int64_t reused, const StateSizes& sizes);

// What its choices have beside pages, and the pages that they may still take.
int64_t StillToTake(const Job& job, const StateSizes& sizes);

}  // namespace fathom::engine
