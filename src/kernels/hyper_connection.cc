#include "kernels/hyper_connection.h"

#include <algorithm>
#include <cmath>

#include "kernels/pack.h"
#include "kernels/row_ops.h"
#include "kernels/trace.h"

namespace fathom::kernels {
namespace {

// comb <- its row softmax plus eps, then alternately columns and rows divided by their sums plus
// eps; the softmax and the first column step count as iteration one.
void Sinkhorn(const RowOps& ops, std::span<float> comb, const HyperConnection& hc) {
  const int64_t streams = hc.streams;
  for (int64_t j = 0; j < streams; ++j) {
    float* row = comb.data() + j * streams;
    const float max = *std::max_element(row, row + streams);
    for (int64_t k = 0; k < streams; ++k) row[k] -= max;
  }
  ops.exp_row(comb.data(), streams * streams);
  for (int64_t j = 0; j < streams; ++j) {
    float* row = comb.data() + j * streams;
    float sum = 0;
    for (int64_t k = 0; k < streams; ++k) sum += row[k];
    for (int64_t k = 0; k < streams; ++k) row[k] = row[k] / sum + hc.hc_eps;
  }
  ops.sinkhorn(comb.data(), streams, hc.sinkhorn_iters, hc.hc_eps);
}

void Split(const RowOps& ops, std::span<const float> mixes, const HyperConnection& hc,
           std::span<float> pre, std::span<float> post, std::span<float> comb) {
  const size_t streams = static_cast<size_t>(hc.streams);
  const size_t gates = post.empty() ? streams : 2 * streams;
  float e[2 * kStreamsMax];  // e^-x of the sigmoids
  for (size_t i = 0; i < gates; ++i) e[i] = -(mixes[i] * hc.scale[i / streams] + hc.base[i]);
  ops.exp_row(e, static_cast<int64_t>(gates));
  for (size_t j = 0; j < streams; ++j) pre[j] = 1.0f / (1.0f + e[j]) + hc.hc_eps;
  if (post.empty()) return;
  for (size_t j = 0; j < streams; ++j) post[j] = 2.0f * (1.0f / (1.0f + e[streams + j]));
  for (size_t i = 0; i < streams * streams; ++i)
    comb[i] = mixes[2 * streams + i] * hc.scale[2] + hc.base[2 * streams + i];
  Sinkhorn(ops, comb, hc);
}

// What a token's mixes decide, and the stream that results.
struct PreRow {
  const float* x;          // [S, D]
  std::span<float> mixes;  // the products fn x, changed
  float sum_of_squares;    // of x
  float* y;                // [D]
  std::span<float> post, comb;
};

void FinishPre(const HyperConnection& hc, int64_t dims, const PreRow& row, const Context& ctx) {
  const RowOps& ops = RowOpsOf(ctx.path);
  const float mean = row.sum_of_squares / static_cast<float>(hc.streams * dims);
  const float scale = 1.0f / std::sqrt(mean + hc.rms_norm_eps);
  for (float& mix : row.mixes) mix *= scale;
  float pre[kStreamsMax];
  Split(ops, row.mixes, hc, {pre, static_cast<size_t>(hc.streams)}, row.post, row.comb);
  ops.mix_streams({row.x, hc.streams, dims, pre, numerics::Rounds(ctx.mode), row.y});
}

}  // namespace

void SplitMixes(std::span<const float> mixes, const HyperConnection& hc, std::span<float> pre,
                std::span<float> post, std::span<float> comb) {
  FATHOM_CHECK_LE(hc.streams, kStreamsMax);
  Split(kReferenceRowOps, mixes, hc, pre, post, comb);
}

void HyperConnectionPre(MatrixView<const float> x_TSD, const HyperConnection& hc,
                        MatrixView<float> y_TD, MatrixView<float> post_TS,
                        MatrixView<float> comb_TSS, const Context& ctx) {
  const int64_t tokens = x_TSD.rows, dims = y_TD.cols, streams = hc.streams;
  FATHOM_CHECK_LE(streams, kStreamsMax);
  FATHOM_CHECK_EQ(x_TSD.cols, streams * dims);
  FATHOM_CHECK_EQ(hc.fn.rows, std::ssize(hc.base));
  if (tokens == 0) return;
  const TraceSpan span(
      ctx.trace, Operation::kHyperPre,
      {.weight_bytes = hc.fn.bytes(), .operations = 2 * tokens * hc.fn.rows * hc.fn.cols});
  const MatrixView<float> mixes(ctx.workspace.Get<float>(Workspace::kMixes, tokens * hc.fn.rows),
                                tokens, hc.fn.rows);
  const PackedInput x =
      PackInput(x_TSD, hc.fn.format, Activation::kF32, Workspace::kPackedInput, ctx);
  const bool is_head = post_TS.data == nullptr;
  const auto finish = [&](int64_t t, float sum_of_squares) {
    FinishPre(hc, dims,
              {x_TSD.row(t), mixes.row_span(t), sum_of_squares, y_TD.row(t),
               is_head ? std::span<float>() : post_TS.row_span(t),
               is_head ? std::span<float>() : comb_TSS.row_span(t)},
              ctx);
  };
  const RowOps& ops = RowOpsOf(ctx.path);
  // Many tokens: tiles whose streams stay in a core's second-level cache while all rows of fn pass
  // and until they are mixed.
  constexpr int64_t kTileBytes = 512 << 10;
  const int64_t tile = std::max<int64_t>(1, kTileBytes / (x_TSD.cols * 4));
  if (tokens > 4 * tile) {
    ParallelFor(ctx, tokens, tile, [&](int64_t begin, int64_t end, int) {
      PackedInput{nullptr, x.f32 + begin}.Dot(
          {hc.fn, 0, hc.fn.rows, end - begin, mixes.row(begin), mixes.stride}, ctx);
      for (int64_t t = begin; t < end; ++t) finish(t, ops.sum_of_squares(x_TSD.row(t), x_TSD.cols));
    });
    return;
  }
  // Few tokens: the rows of fn are shared out, so that each is read once. The sums of squares go
  // first, because they are the longest items.
  float* squares = ctx.workspace.Get<float>(Workspace::kSquares, tokens);
  ParallelFor(ctx, tokens + hc.fn.rows, 1, [&](int64_t item, int64_t, int) {
    if (item < tokens) {
      squares[item] = ops.sum_of_squares(x_TSD.row(item), x_TSD.cols);
    } else {
      const int64_t o = item - tokens;
      x.Dot({hc.fn, o, o + 1, tokens, mixes.data + o, mixes.stride}, ctx);
    }
  });
  ForRows(ctx, tokens, x_TSD.cols / ops.speed, [&](int64_t t) { finish(t, squares[t]); });
}

void HyperConnectionPost(MatrixView<const float> y_TD, MatrixView<const float> post_TS,
                         MatrixView<const float> comb_TSS, MatrixView<float> x_TSD,
                         const Context& ctx) {
  const int64_t dims = y_TD.cols, streams = post_TS.cols;
  FATHOM_CHECK_LE(streams, kStreamsMax);
  FATHOM_CHECK_EQ(x_TSD.cols, streams * dims);
  const TraceSpan span(ctx.trace, Operation::kHyperPost);
  const RowOps& ops = RowOpsOf(ctx.path);
  ForRows(ctx, y_TD.rows, x_TSD.cols * 2 / ops.speed, [&](int64_t t) {
    ops.spread_streams({y_TD.row(t), streams, dims, post_TS.row(t), comb_TSS.row(t),
                        numerics::Rounds(ctx.mode), x_TSD.row(t)});
  });
}

}  // namespace fathom::kernels
