// The lightning indexer's scores and the exact selection of the best blocks. Ref: model.md 8.9.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cache_row.h"
#include "kernels/context.h"

namespace fathom::kernels {

// One query token against the first `visible` keys of its sequence.
struct IndexQuery {
  const std::byte* q = nullptr;    // HI rows of the keys' layout, one after the other
  const float* weights = nullptr;  // [HI], already scaled
  CacheRows keys;                  // [>= visible, CI]
  int64_t visible = 0;
  int32_t* picks = nullptr;  // [min(topk, visible)]: selected key indices, best first
};

// Scores every visible key, score_b = sum over heads of relu(q_h . k_b) * w_h, and selects the
// min(topk, visible) best: larger score first, lower index on a tie. The scores are computed even
// when all visible keys will be selected, because attention takes the rows in this order (as the
// reference does). Orders: a dot product adds its pairs one after the other, odd element first,
// fused; head h is added to lane h mod 16, and the lanes fold as in linear.h. In official mode dot,
// product and sum are rounded to BF16.
void SelectBlocks(std::span<const IndexQuery> queries, int64_t heads, int64_t topk,
                  const Context& ctx);

// The scores of every visible key of one query, in official mode or pure; scores has `visible`
// entries. What SelectBlocks computes inside, for those who want to see it.
void ScoreBlocks(const IndexQuery& query, int64_t heads, std::span<float> scores,
                 const Context& ctx);

// The k best of scores: larger score first, lower index on a tie; a NaN counts as minus infinity.
// picks.size() <= scores.size(); `scratch` holds scores.size() entries. Linear in the number of
// scores, whatever they are: a sample gives a bound, and only what lies above it is put in order.
// Same picks on every path.
void SelectTop(std::span<const float> scores, std::span<int32_t> picks, std::span<uint64_t> scratch,
               Path path);

}  // namespace fathom::kernels
