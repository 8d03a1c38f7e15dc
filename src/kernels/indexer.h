// The lightning indexer's scores and the exact selection of the best blocks. Ref: model.md 8.9.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/context.h"
#include "tensor/view.h"

namespace fathom::kernels {

using tensor::MatrixView;

// One query token against the first `visible` keys of its sequence.
struct IndexQuery {
  const float* q = nullptr;        // [HI, CI], rotated, after Hadamard and FP4
  const float* weights = nullptr;  // [HI], already scaled
  const float* keys = nullptr;     // [>= visible, CI]
  int64_t visible = 0;
  int32_t* picks = nullptr;  // [min(topk, visible)]: selected key indices, best first
};

// Scores every visible key, score_b = sum over heads of relu(q_h . k_b) * w_h, and selects the
// min(topk, visible) best: larger score first, lower index on a tie. The scores are computed even
// when all visible keys will be selected, because attention takes the rows in this order (as the
// reference does). Orders: a dot product adds its pairs one after the other, odd element first,
// fused; head h is added to lane h mod 16, and the lanes fold as in linear.h. In official mode dot,
// product and sum are rounded to BF16.
void SelectBlocks(std::span<const IndexQuery> queries, int64_t heads, int64_t dim, int64_t topk,
                  const Context& ctx);

// The scores of every visible key of one query, in official mode or pure; scores has `visible`
// entries. What SelectBlocks computes inside, for those who want to see it.
void ScoreBlocks(const IndexQuery& query, int64_t heads, int64_t dim, std::span<float> scores,
                 const Context& ctx);

// The k best of scores: larger score first, lower index on a tie. picks.size()
// <= scores.size(). `scratch` holds scores.size() indices.
void SelectTop(std::span<const float> scores, std::span<int32_t> picks, std::span<int32_t> scratch);

}  // namespace fathom::kernels
