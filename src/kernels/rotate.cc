#include "kernels/rotate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/row_ops.h"
#include "kernels/trace.h"

namespace fathom::kernels {

RopeTable::RopeTable(int64_t rotary_dims, double theta, const std::optional<Yarn>& yarn) {
  const double dims = static_cast<double>(rotary_dims);
  float low = 0, high = 0;
  if (yarn) {
    // The pair whose wave makes `turns` turns over the original context.
    const auto pair_of = [&](double turns) {
      return dims *
             std::log(static_cast<double>(yarn->original_positions) /
                      (turns * 2 * std::numbers::pi)) /
             (2 * std::log(theta));
    };
    low = static_cast<float>(std::max(std::floor(pair_of(yarn->beta_fast)), 0.0));
    high = static_cast<float>(std::min(std::ceil(pair_of(yarn->beta_slow)), dims - 1));
    if (low == high) high += 0.001f;
  }
  for (int64_t i = 0; i < rotary_dims / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dims);
    float f = 1.0f / static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
    if (yarn) {
      const float ramp = std::clamp((static_cast<float>(i) - low) / (high - low), 0.0f, 1.0f);
      const float smooth = 1.0f - ramp;
      f = (f / static_cast<float>(yarn->factor)) * (1.0f - smooth) + f * smooth;
    }
    frequencies_.push_back(f);
  }
}

void RopeTable::Angles(int64_t position, std::span<float> cos, std::span<float> sin) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double angle = static_cast<float>(position) * frequencies_[i];
    cos[i] = static_cast<float>(std::cos(angle));
    sin[i] = static_cast<float>(std::sin(angle));
  }
}

void RotateHead(std::span<float> x, std::span<const float> cos, std::span<const float> sin,
                Direction direction, numerics::Mode mode) {
  kReferenceRowOps.rotate_heads({x.data(), 1, std::ssize(x), cos.data(), sin.data(),
                                 std::ssize(cos), direction == Direction::kInverse,
                                 numerics::Rounds(mode)});
}

void Rotate(MatrixView<float> x_TD, int64_t head_dim, MatrixView<const float> cos_TR,
            MatrixView<const float> sin_TR, Direction direction, const Context& ctx) {
  FATHOM_CHECK_EQ(x_TD.cols % head_dim, int64_t{0});
  FATHOM_CHECK_LE(2 * cos_TR.cols, head_dim);
  FATHOM_CHECK_EQ(cos_TR.rows, x_TD.rows);
  const TraceSpan span(ctx.trace, Operation::kRotate);
  const RowOps& ops = RowOpsOf(ctx.path);
  const int64_t heads = x_TD.cols / head_dim;
  ForRows(ctx, x_TD.rows, heads * cos_TR.cols * 4 / ops.speed, [&](int64_t t) {
    ops.rotate_heads({x_TD.row(t), heads, head_dim, cos_TR.row(t), sin_TR.row(t), cos_TR.cols,
                      direction == Direction::kInverse, numerics::Rounds(ctx.mode)});
  });
}

}  // namespace fathom::kernels
