// The attention sub-layer: low-rank queries, one shared latent row per token, the window, the
// compressed rows, the sink, and the grouped low-rank output. Ref: inference/model.py,
// Attention.forward; model.md 8.6-8.11.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/compressor.h"
#include "kernels/indexer.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/sparse_attention.h"
#include "kernels/trace.h"
#include "model/compress.h"
#include "model/forward.h"
#include "model/mistake.h"
#include "model/parts.h"
#include "model/rows.h"
#include "model/scratch.h"

namespace fathom::model {

using kernels::Activation;
using kernels::Direction;
using kernels::Output;
using kernels::RowKind;

void Executor::Attention(int64_t layer, const LayerWeights& w, const Pass& pass,
                         MatrixView<const float> x_TD, MatrixView<float> y_TD) {
  Scratch& s = *scratch_;
  const AttentionWeights& a = w.attn;
  const int64_t rows = pass.rows, heads = config_.num_attention_heads, dim = config_.head_dim;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  const int64_t pairs = config_.qk_rope_head_dim / 2;
  const auto cos = (w.ratio == 0 ? s.window_cos : s.compress_cos).matrix(rows, pairs);
  const auto sin = (w.ratio == 0 ? s.window_sin : s.compress_sin).matrix(rows, pairs);
  const auto qr = s.qr.matrix(rows, config_.q_lora_rank), q = s.q.matrix(rows, heads * dim);
  const auto kv = s.kv.matrix(rows, dim), o = s.o.matrix(rows, heads * dim);

  kernels::Linear(x_TD, a.wq_a, Quantized(), Output::kBF16, qr, ctx_);
  kernels::RmsNorm(qr, a.q_norm, eps, qr, ctx_);
  kernels::Linear(qr, a.wq_b, Quantized(), Output::kBF16, q, ctx_);
  kernels::NormalizeHeads(q, dim, eps, ctx_);
  kernels::Rotate(q, dim, cos, sin, Direction::kForward, ctx_);
  Watch(layer, "attn.q", q);

  kernels::Linear(x_TD, a.wkv, Quantized(), Output::kBF16, kv, ctx_);
  kernels::RmsNorm(kv, a.kv_norm, eps, kv, ctx_);
  kernels::Rotate(kv, dim, cos, sin, Direction::kForward, ctx_);
  const kernels::MutableCacheRows latent{s.latent.data(), LatentLayout(config_, ctx_.mode)};
  {
    const kernels::TraceSpan span(ctx_.trace, kernels::Operation::kRoundRows);
    kernels::ForRows(ctx_, rows, dim * 16, [&](int64_t t) {
      StoreRow(kv.row_span(t), RowKind::kLatent, latent.layout, latent.row(t), ctx_.mode);
    });
  }

  if (a.compressor) Compress(*a.compressor, pass, w.ratio, false, layer, x_TD);
  if (a.indexer) PickBlocks(layer, w, pass, x_TD, qr);
  AttendRows(layer, w, pass);
  Watch(layer, "attn.o", o);
  if (!Has(Mistake::kNoInverseRope)) kernels::Rotate(o, dim, cos, sin, Direction::kInverse, ctx_);
  OutputProjection(a, pass, y_TD);
}

// Index queries and head weights, then the choice of compressed rows for each token.
// Ref: inference/model.py, Indexer.forward; model.md 8.9.
void Executor::PickBlocks(int64_t layer, const LayerWeights& w, const Pass& pass,
                          MatrixView<const float> x_TD, MatrixView<const float> qr_TQ) {
  Scratch& s = *scratch_;
  const IndexerWeights& indexer = *w.attn.indexer;
  const int64_t rows = pass.rows, heads = config_.index_n_heads, dim = config_.index_head_dim;
  const int64_t pairs = config_.qk_rope_head_dim / 2, topk = config_.index_topk;
  const auto q = s.index_q.matrix(rows, heads * dim), weights = s.index_weights.matrix(rows, heads);
  Compress(indexer.compressor, pass, w.ratio, true, layer, x_TD);
  kernels::Linear(qr_TQ, indexer.wq_b, Quantized(), Output::kBF16, q, ctx_);
  kernels::Rotate(q, dim, s.compress_cos.matrix(rows, pairs), s.compress_sin.matrix(rows, pairs),
                  Direction::kForward, ctx_);
  kernels::Linear(x_TD, indexer.weights_proj, Activation::kBF16, Output::kBF16, weights, ctx_);
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)) /
                                         std::sqrt(static_cast<double>(heads)));
  const kernels::MutableCacheRows queries{s.index_queries.data(), IndexLayout(config_, ctx_.mode)};
  {
    const kernels::TraceSpan span(ctx_.trace, kernels::Operation::kRoundRows);
    kernels::ForRows(ctx_, rows, heads * dim * 16, [&](int64_t t) {
      for (int64_t h = 0; h < heads; ++h)
        StoreRow({q.row(t) + h * dim, static_cast<size_t>(dim)}, RowKind::kIndex, queries.layout,
                 queries.row(t * heads + h), ctx_.mode);
      for (float& weight : weights.row_span(t)) weight = numerics::Round(weight * scale, ctx_.mode);
    });
  }
  s.queries.clear();
  for (const Segment& segment : pass.segments) {
    const kernels::CacheRows keys = segment.sequence->index_keys(layer);
    for (int64_t i = 0; i < segment.count; ++i) {
      const int64_t t = segment.first_row + i;
      const int64_t visible = VisibleBlocks(segment.position + i, w.ratio);
      s.queries.push_back(
          {queries.row(t * heads), weights.row(t), keys, visible, s.picks.data() + t * topk});
    }
  }
  kernels::SelectBlocks(s.queries, heads, topk, ctx_);
  for (int64_t t = 0; t < rows; ++t) {
    const kernels::IndexQuery& query = s.queries[static_cast<size_t>(t)];
    const int64_t count = std::min(topk, query.visible);
    if (Has(Mistake::kTopkMostRecent))
      for (int64_t i = 0; i < count; ++i)
        query.picks[i] = static_cast<int32_t>(query.visible - count + i);
    if (tap_ != nullptr) tap_->OnPicks(layer, t, {query.picks, static_cast<size_t>(count)});
  }
}

// The rows of each token: its window, oldest first, from the ring or from this pass, then its
// compressed rows; afterwards the pass's last rows enter the ring.
void Executor::AttendRows(int64_t layer, const LayerWeights& w, const Pass& pass) {
  Scratch& s = *scratch_;
  const int64_t rows = pass.rows, heads = config_.num_attention_heads, dim = config_.head_dim;
  const int64_t window = config_.sliding_window, topk = config_.index_topk;
  const auto q = s.q.matrix(rows, heads * dim);
  const kernels::RowLayout layout = LatentLayout(config_, ctx_.mode);
  const kernels::CacheRows own{s.latent.data(), layout};
  const LayerKind kind = KindOfRatio(w.ratio);
  int64_t rows_max = window;
  for (const Segment& segment : pass.segments) {
    if (kind == LayerKind::kWindow) continue;
    const int64_t visible = VisibleBlocks(segment.position + segment.count - 1, w.ratio);
    const int64_t picked = kind == LayerKind::kCsa ? std::min(topk, visible) : visible;
    rows_max = std::max(rows_max, window + picked);
  }
  const auto gather = [&](int64_t t, const std::byte** list) -> kernels::RowList {
    const Segment& segment =
        pass.segments[static_cast<size_t>(pass.segment_of_row[static_cast<size_t>(t)])];
    const LayerState& state = layer_state(*segment.sequence, layer);
    kernels::CacheRows compressed;
    if (kind != LayerKind::kWindow) compressed = segment.sequence->compressed(layer);
    const int64_t p = segment.position + t - segment.first_row;
    int64_t count = 0;
    const size_t picked = static_cast<size_t>(std::min(topk, VisibleBlocks(p, w.ratio)));
    ListRows(
        w.ratio, p, window, {s.picks.data() + t * topk, picked},
        [&](int64_t at) {
          list[count++] = at >= segment.position
                              ? own.row(segment.first_row + at - segment.position)
                              : state.window.row(RingRow(at, window));
        },
        [&](int64_t block) { list[count++] = compressed.row(block); });
    const int64_t in_window = std::min(p + 1, window);
    return {count, in_window, segment.window_slots - in_window};
  };
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  const kernels::GatheredRows gathered{layout, rows_max, gather};
  const auto o = s.o.matrix(rows, heads * dim);
  if (Has(Mistake::kNoSink)) {
    const FloatVector none(w.attn.attn_sink.size(), -std::numeric_limits<float>::infinity());
    kernels::SparseAttention(q, heads, none, scale, gathered, o, ctx_);
  } else {
    kernels::SparseAttention(q, heads, w.attn.attn_sink, scale, gathered, o, ctx_);
  }
  for (const Segment& segment : pass.segments) {
    const kernels::MutableCacheRows ring =
        layer_state(*segment.sequence, layer).window.mutable_rows();
    for (int64_t i = std::max<int64_t>(0, segment.count - window); i < segment.count; ++i)
      std::copy_n(own.row(segment.first_row + i), layout.bytes(),
                  ring.row(RingRow(segment.position + i, window)));
  }
}

void GroupedProjection(MatrixView<const float> o_TK, const QuantView& wo_a, int64_t groups,
                       MatrixView<float> z_TGO, const kernels::Context& ctx) {
  const int64_t rank = wo_a.rows / groups, width = o_TK.cols / groups;
  for (int64_t k = 0; k < groups; ++k) {
    const MatrixView<const float> o_group(o_TK.data + k * width, o_TK.rows, width, o_TK.stride);
    const MatrixView<float> z_group(z_TGO.data + k * rank, z_TGO.rows, rank, z_TGO.stride);
    kernels::Linear(o_group, wo_a.SliceRows(k * rank, rank), Activation::kBF16, Output::kBF16,
                    z_group, ctx);
  }
}

// wo_a on unquantised BF16, group by group, then wo_b. Ref: model.md 8.11.
void Executor::OutputProjection(const AttentionWeights& a, const Pass& pass,
                                MatrixView<float> y_TD) {
  Scratch& s = *scratch_;
  const auto o = s.o.matrix(pass.rows, config_.num_attention_heads * config_.head_dim);
  const auto z = s.z.matrix(pass.rows, config_.o_groups * config_.o_lora_rank);
  GroupedProjection(o, a.wo_a, config_.o_groups, z, ctx_);
  kernels::Linear(z, a.wo_b, Quantized(), Output::kBF16, y_TD, ctx_);
}

void Executor::Compress(const CompressorWeights& w, const Pass& pass, int64_t ratio, bool is_index,
                        int64_t layer, MatrixView<const float> x_TD) {
  Scratch& s = *scratch_;
  s.runs.clear();
  for (const Segment& segment : pass.segments) {
    LayerState& state = layer_state(*segment.sequence, layer);
    s.runs.push_back(
        {is_index ? &state.index_compressor : &state.compressor,
         is_index ? segment.sequence->index_keys(layer) : segment.sequence->compressed(layer),
         nullptr, segment.first_row, segment.count, segment.position});
  }
  const Compressor compressor{w,
                              ratio,
                              is_index ? RowKind::kIndex : RowKind::kLatent,
                              config_.qk_rope_head_dim,
                              static_cast<float>(config_.rms_norm_eps),
                              compress_rope_};
  const int64_t width = w.wkv.rows;
  model::Compress(compressor, s.runs, x_TD,
                  {s.value.matrix(pass.rows, width), s.score.matrix(pass.rows, width), s.jobs},
                  ctx_);
}

}  // namespace fathom::model
