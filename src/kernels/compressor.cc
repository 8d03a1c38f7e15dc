#include "kernels/compressor.h"

#include <algorithm>
#include <limits>

#include "numerics/blocks.h"
#include "numerics/functions.h"

namespace fathom::kernels {

void PoolBlock(std::span<const PoolCandidate> candidates, std::span<float> out,
               numerics::Mode mode) {
  for (size_t c = 0; c < out.size(); ++c) {
    float max = -std::numeric_limits<float>::infinity();
    for (const PoolCandidate& from : candidates)
      if (from.value != nullptr) max = std::max(max, from.score[c]);
    float sum = 0;
    for (const PoolCandidate& from : candidates)
      if (from.value != nullptr) sum += numerics::Exp(from.score[c] - max);
    float pooled = 0;
    for (const PoolCandidate& from : candidates)
      if (from.value != nullptr) pooled += numerics::Exp(from.score[c] - max) / sum * from.value[c];
    out[c] = numerics::Round(pooled, mode);
  }
}

void RoundForCache(std::span<float> row, int64_t rotary_dims, RowKind kind, numerics::Mode mode) {
  if (kind == RowKind::kIndex) {
    numerics::Hadamard(row);
    if (mode == numerics::Mode::kPure) return;
    for (float& value : row) value = numerics::RoundToBF16(value);
    numerics::SimulateE2M1(row);
  } else if (numerics::Rounds(mode)) {
    numerics::SimulateE4M3(row.first(row.size() - static_cast<size_t>(rotary_dims)),
                           numerics::kKvBlock);
  }
}

}  // namespace fathom::kernels
