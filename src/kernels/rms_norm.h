// Root-mean-square norms. Ref: model.md 8.4 and 8.6.
#pragma once

#include <span>

#include "kernels/context.h"
#include "tensor/view.h"

namespace fathom::kernels {

using tensor::MatrixView;

// y = w * (x / sqrt(mean(x^2) + eps)) per row, one rounding to BF16 at the end. The sum of squares
// runs in double, in 8 lanes (value k in lane k mod 8, folded 4, 2, 1). y may alias x.
void RmsNorm(MatrixView<const float> x_TD, std::span<const float> weight_D, float eps,
             MatrixView<float> y_TD, const Context& ctx);

// The same for one row, in place.
void NormalizeRow(std::span<float> x, std::span<const float> weight, float eps,
                  numerics::Mode mode);

// Each head's C values divided by their root mean square, in place, without a weight. In official
// mode every operation is rounded to BF16: square, mean, + eps, reciprocal root, product. x_TD
// holds heads * C values a row.
void NormalizeHeads(MatrixView<float> x_TD, int64_t head_dim, float eps, const Context& ctx);

}  // namespace fathom::kernels
