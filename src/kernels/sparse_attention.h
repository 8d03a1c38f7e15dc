// Attention of one latent head (keys are values) over gathered rows, with a learned sink per head.
// Ref: model.md 8.10.
#pragma once

#include <cstdint>
#include <span>

#include "base/function_ref.h"
#include "kernels/context.h"
#include "tensor/view.h"

namespace fathom::kernels {

using tensor::MatrixView;

// o[t, h] = sum_j P_j row_j / (sum_j P_j + exp(sink_h - max)), P_j = exp(q_h . row_j * scale -
// max).
//
// Rows are taken in blocks of 64 from the start of the list with a running maximum; a score adds
// its pairs of products one after the other, odd element first (all products are added fused); in a
// block the probabilities are summed in float32 in list order, rounded to BF16, and the value
// products added in pairs of rows, odd row first. The accumulator is rescaled by exp(old max - new
// max) before each block. Output rounded to BF16. The list is exactly the valid rows (oldest window
// row first, then compressed rows ascending), so the result does not depend on how the prompt was
// cut.
//
// gather(t, rows) writes the pointers of row t's list and returns their count, 1 .. rows_max; it is
// called from several threads.
void SparseAttention(MatrixView<const float> q_THC, int64_t heads, std::span<const float> sink_H,
                     float scale, int64_t rows_max,
                     FunctionRef<int64_t(int64_t, const float**)> gather, MatrixView<float> o_THC,
                     const Context& ctx);

}  // namespace fathom::kernels
