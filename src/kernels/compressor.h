// Pooling of a block of tokens into one compressed row: a softmax per channel over the block's gate
// scores, applied to its values, and the cache's rounding
// (the norm and the rotation between the two are rms_norm.h and rotate.h). Ref: model.md 8.8.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cache_row.h"
#include "kernels/context.h"

namespace fathom::kernels {

// Where one candidate's values and scores (ape added) of the d channels lie. A null value pointer
// is the predecessor of block 0: value 0, score minus infinity.
struct PoolCandidate {
  const float* value = nullptr;
  const float* score = nullptr;
};

// out[c] = sum over candidates of softmax(score[c]) * value[c], in candidate order, rounded to
// BF16. At least one candidate has values.
void PoolBlock(std::span<const PoolCandidate> candidates, std::span<float> out,
               numerics::Mode mode);

// The cache's rounding of a normalised and rotated row, in place: window rows and compressed rows
// (kLatent), index queries and keys (kIndex).
void RoundForCache(std::span<float> row, int64_t rotary_dims, RowKind kind, numerics::Mode mode);

}  // namespace fathom::kernels
