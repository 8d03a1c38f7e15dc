#include "kernels/rms_norm.h"

#include <cmath>

#include "kernels/reference/dot.h"
#include "kernels/trace.h"

namespace fathom::kernels {
namespace {

void NormalizeHead(float* x, int64_t n, float eps, numerics::Mode mode) {
  const auto round = [mode](float value) { return numerics::Round(value, mode); };
  // The squares are rounded one by one before they are summed, so they are laid out first; heads
  // are at most a few hundred wide and are taken in pieces of 64, the period of the summation
  // order.
  float lanes[64] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % 64] += round(x[i] * x[i]);
  for (int l = 0; l < 16; ++l)
    lanes[l] = (lanes[l] + lanes[16 + l]) + (lanes[32 + l] + lanes[48 + l]);
  const float mean = round(reference::Fold16(lanes) / static_cast<float>(n));
  const float scale = round(1.0f / std::sqrt(round(mean + eps)));
  for (int64_t i = 0; i < n; ++i) x[i] = round(x[i] * scale);
}

void ScaleRow(std::span<const float> x, std::span<const float> weight, float eps,
              numerics::Mode mode, float* y) {
  const int64_t n = std::ssize(x);
  const float mean = reference::SumOfSquares(x.data(), n) / static_cast<float>(n);
  const float scale = 1.0f / std::sqrt(mean + eps);
  for (size_t i = 0; i < x.size(); ++i) y[i] = numerics::Round(weight[i] * (x[i] * scale), mode);
}

}  // namespace

void RmsNorm(MatrixView<const float> x_TD, std::span<const float> weight_D, float eps,
             MatrixView<float> y_TD, const Context& ctx) {
  FATHOM_CHECK_EQ(x_TD.cols, std::ssize(weight_D));
  FATHOM_CHECK_EQ(y_TD.cols, x_TD.cols);
  FATHOM_CHECK_EQ(y_TD.rows, x_TD.rows);
  const TraceSpan span(ctx.trace, Operation::kRmsNorm);
  ForRows(ctx, x_TD.rows, x_TD.cols,
          [&](int64_t t) { ScaleRow(x_TD.row_span(t), weight_D, eps, ctx.mode, y_TD.row(t)); });
}

void NormalizeRow(std::span<float> x, std::span<const float> weight, float eps,
                  numerics::Mode mode) {
  ScaleRow(x, weight, eps, mode, x.data());
}

void NormalizeHeads(MatrixView<float> x_TD, int64_t head_dim, float eps, const Context& ctx) {
  FATHOM_CHECK_EQ(x_TD.cols % head_dim, int64_t{0});
  const TraceSpan span(ctx.trace, Operation::kNormalizeHeads);
  ForRows(ctx, x_TD.rows, x_TD.cols, [&](int64_t t) {
    for (int64_t begin = 0; begin < x_TD.cols; begin += head_dim)
      NormalizeHead(x_TD.row(t) + begin, head_dim, eps, ctx.mode);
  });
}

}  // namespace fathom::kernels
