#include "kernels/rms_norm.h"

#include <cmath>

#include "kernels/row_ops.h"
#include "kernels/trace.h"

namespace fathom::kernels {
namespace {

// One scale for the row, in float32 steps.
void NormalizeRow(const RowOps& ops, std::span<const float> x, std::span<const float> weight,
                  float eps, numerics::Mode mode, float* y) {
  const int64_t n = std::ssize(x);
  const float mean = ops.sum_of_squares(x.data(), n) / static_cast<float>(n);
  const float scale = 1.0f / std::sqrt(mean + eps);
  ops.scale_row(x.data(), weight.data(), scale, n, numerics::Rounds(mode), y);
}

}  // namespace

void RmsNorm(MatrixView<const float> x_TD, std::span<const float> weight_D, float eps,
             MatrixView<float> y_TD, const Context& ctx) {
  FATHOM_CHECK_EQ(x_TD.cols, std::ssize(weight_D));
  FATHOM_CHECK_EQ(y_TD.cols, x_TD.cols);
  FATHOM_CHECK_EQ(y_TD.rows, x_TD.rows);
  const TraceSpan span(ctx.trace, Operation::kRmsNorm);
  const RowOps& ops = RowOpsOf(ctx.path);
  ForRows(ctx, x_TD.rows, x_TD.cols / ops.speed, [&](int64_t t) {
    NormalizeRow(ops, x_TD.row_span(t), weight_D, eps, ctx.mode, y_TD.row(t));
  });
}

void NormalizeRow(std::span<float> x, std::span<const float> weight, float eps,
                  numerics::Mode mode) {
  NormalizeRow(kReferenceRowOps, x, weight, eps, mode, x.data());
}

void NormalizeHeads(MatrixView<float> x_TD, int64_t head_dim, float eps, const Context& ctx) {
  FATHOM_CHECK_EQ(x_TD.cols % head_dim, int64_t{0});
  const TraceSpan span(ctx.trace, Operation::kNormalizeHeads);
  const RowOps& ops = RowOpsOf(ctx.path);
  const bool round = numerics::Rounds(ctx.mode);
  // Heads are shared out one by one, because the queries of one token keep two threads busy.
  const int64_t heads = x_TD.cols / head_dim;
  ForRows(ctx, x_TD.rows * heads, head_dim, [&](int64_t i) {
    ops.normalize_heads(x_TD.row(i / heads) + i % heads * head_dim, 1, head_dim, eps, round);
  });
}

}  // namespace fathom::kernels
