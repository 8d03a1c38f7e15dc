// Attention of one latent head (keys are values) over gathered rows, with a learned sink per head.
// Ref: model.md 8.10.
#pragma once

#include <cstdint>
#include <span>

#include "base/function_ref.h"
#include "kernels/cache_row.h"
#include "kernels/context.h"
#include "tensor/view.h"

namespace fathom::kernels {

using tensor::MatrixView;

// o[t, h] = sum_j P_j row_j / (sum_j P_j + exp(sink_h - max)), P_j = exp(q_h . row_j * scale -
// max).
//
// Rows stand in slots, and slots are taken in blocks of 64 with a running maximum; a score adds its
// pairs of products one after the other, odd element first (all products are added fused); in a
// block the probabilities are summed in float32 in list order, rounded to BF16, and the value
// products added in pairs of rows, odd row first. The accumulator is rescaled by exp(old max - new
// max) before each block. Output rounded to BF16.
//
// Paths with tiles (IsTiled in context.h) take the two products, in official mode, in steps of 32
// channels and of 32 rows of a block: s[even] += a * b over the 16 even places, ascending, from
// zero, each a fused multiply-add, s[odd] likewise; from zero, sum += s[even] + s[odd] for each
// step. A score is the sum; acc = acc * exp(old max - new max) + sum of a block's values, fused.
// Zeros fill the last step. All else is as above.
//
// The list is exactly the valid rows: those of the window, oldest first, then the compressed ones.
// Row i of the window stands in slot i and the compressed rows start at slot window + gap: the
// reference keeps slots for a whole window, and where its blocks end decides how probabilities are
// rounded. With window + gap constant the result depends on the token's position only, not on how a
// prompt was cut.
struct RowList {
  RowList(int64_t count_in, int64_t window_in = 0, int64_t gap_in = 0)  // NOLINT: implicit
      : count(count_in), window(window_in), gap(gap_in) {}
  int64_t count;
  int64_t window;
  int64_t gap;
};

// Where attention finds its rows. gather(t, rows) writes the pointers of token t's list, 1 ..
// rows_max of them, all of one layout; it is called from several threads.
struct GatheredRows {
  RowLayout layout;
  int64_t rows_max = 0;
  FunctionRef<RowList(int64_t, const std::byte**)> gather;
};

// q_THC: BF16 values in official mode. Each row is decoded once for all heads that a thread takes.
void SparseAttention(MatrixView<const float> q_THC, int64_t heads, std::span<const float> sink_H,
                     float scale, const GatheredRows& rows, MatrixView<float> o_THC,
                     const Context& ctx);

}  // namespace fathom::kernels
