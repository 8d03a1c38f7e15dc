#include "kernels/hyper_connection.h"

#include <algorithm>
#include <cmath>

#include "kernels/reference/dot.h"
#include "kernels/trace.h"
#include "numerics/functions.h"

namespace fathom::kernels {
namespace {

constexpr int64_t kStreamsMax = 8;

// m [S, S]: row softmax plus eps, then alternately columns and rows divided by their sums plus eps;
// the softmax and the first column step count as iteration one.
void Sinkhorn(std::span<float> m, int64_t streams, int64_t iterations, float eps) {
  const auto at = [&](int64_t j, int64_t k) -> float& {
    return m[static_cast<size_t>(j * streams + k)];
  };
  const auto divide_columns = [&] {
    for (int64_t k = 0; k < streams; ++k) {
      float sum = 0;
      for (int64_t j = 0; j < streams; ++j) sum += at(j, k);
      for (int64_t j = 0; j < streams; ++j) at(j, k) /= sum + eps;
    }
  };
  for (int64_t j = 0; j < streams; ++j) {
    float max = at(j, 0);
    for (int64_t k = 1; k < streams; ++k) max = std::max(max, at(j, k));
    float sum = 0;
    for (int64_t k = 0; k < streams; ++k) sum += at(j, k) = numerics::Exp(at(j, k) - max);
    for (int64_t k = 0; k < streams; ++k) at(j, k) = at(j, k) / sum + eps;
  }
  divide_columns();
  for (int64_t iteration = 1; iteration < iterations; ++iteration) {
    for (int64_t j = 0; j < streams; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < streams; ++k) sum += at(j, k);
      for (int64_t k = 0; k < streams; ++k) at(j, k) /= sum + eps;
    }
    divide_columns();
  }
}

}  // namespace

void SplitMixes(std::span<const float> mixes, const HyperConnection& hc, std::span<float> pre,
                std::span<float> post, std::span<float> comb) {
  const size_t streams = static_cast<size_t>(hc.streams);
  for (size_t j = 0; j < streams; ++j)
    pre[j] = numerics::Sigmoid(mixes[j] * hc.scale[0] + hc.base[j]) + hc.hc_eps;
  if (post.empty()) return;
  for (size_t j = 0; j < streams; ++j)
    post[j] = 2.0f * numerics::Sigmoid(mixes[streams + j] * hc.scale[1] + hc.base[streams + j]);
  for (size_t i = 0; i < streams * streams; ++i)
    comb[i] = mixes[2 * streams + i] * hc.scale[2] + hc.base[2 * streams + i];
  Sinkhorn(comb, hc.streams, hc.sinkhorn_iters, hc.hc_eps);
}

void HyperConnectionPre(MatrixView<const float> x_TSD, const HyperConnection& hc,
                        MatrixView<float> y_TD, MatrixView<float> post_TS,
                        MatrixView<float> comb_TSS, const Context& ctx) {
  const int64_t tokens = x_TSD.rows, dims = y_TD.cols, streams = hc.streams;
  FATHOM_CHECK_LE(streams, kStreamsMax);
  FATHOM_CHECK_EQ(x_TSD.cols, streams * dims);
  FATHOM_CHECK_EQ(hc.fn.rows, std::ssize(hc.base));
  const TraceSpan span(ctx.trace, Operation::kHyperPre);
  const MatrixView<float> mixes(ctx.workspace.Get<float>(Workspace::kMixes, tokens * hc.fn.rows),
                                tokens, hc.fn.rows);
  Linear(x_TSD, hc.fn, Activation::kF32, Output::kF32, mixes, ctx);
  ForRows(ctx, tokens, x_TSD.cols * 2, [&](int64_t t) {
    const float* x = x_TSD.row(t);
    const float mean = reference::SumOfSquares(x, x_TSD.cols) / static_cast<float>(x_TSD.cols);
    const float scale = 1.0f / std::sqrt(mean + hc.rms_norm_eps);
    for (float& mix : mixes.row_span(t)) mix *= scale;
    float pre[kStreamsMax];
    const bool is_head = post_TS.data == nullptr;
    SplitMixes(mixes.row_span(t), hc, {pre, static_cast<size_t>(streams)},
               is_head ? std::span<float>() : post_TS.row_span(t),
               is_head ? std::span<float>() : comb_TSS.row_span(t));
    float* y = y_TD.row(t);
    for (int64_t d = 0; d < dims; ++d) {
      float sum = 0;
      for (int64_t j = 0; j < streams; ++j) sum += pre[j] * x[j * dims + d];
      y[d] = numerics::Round(sum, ctx.mode);
    }
  });
}

void HyperConnectionPost(MatrixView<const float> y_TD, MatrixView<const float> post_TS,
                         MatrixView<const float> comb_TSS, MatrixView<float> x_TSD,
                         const Context& ctx) {
  const int64_t dims = y_TD.cols, streams = post_TS.cols;
  FATHOM_CHECK_LE(streams, kStreamsMax);
  FATHOM_CHECK_EQ(x_TSD.cols, streams * dims);
  const TraceSpan span(ctx.trace, Operation::kHyperPost);
  ForRows(ctx, y_TD.rows, x_TSD.cols * streams, [&](int64_t t) {
    const float* y = y_TD.row(t);
    const float* post = post_TS.row(t);
    const float* comb = comb_TSS.row(t);
    float* x = x_TSD.row(t);
    for (int64_t d = 0; d < dims; ++d) {
      float old[kStreamsMax];
      for (int64_t j = 0; j < streams; ++j) old[j] = x[j * dims + d];
      for (int64_t k = 0; k < streams; ++k) {
        float sum = 0;
        for (int64_t j = 0; j < streams; ++j) sum += comb[j * streams + k] * old[j];
        x[k * dims + d] = numerics::Round(post[k] * y[d] + sum, ctx.mode);
      }
    }
  });
}

}  // namespace fathom::kernels
