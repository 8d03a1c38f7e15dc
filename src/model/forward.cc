#include "model/forward.h"

#include <algorithm>
#include <cstring>

#include "kernels/hyper_connection.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/trace.h"
#include "model/mistake.h"
#include "model/scratch.h"

namespace fathom::model {

using kernels::Operation;
using kernels::TraceSpan;

namespace {

std::optional<kernels::Yarn> YarnOf(const Config& config) {
  if (!config.rope_scaling || Has(Mistake::kNoYarn)) return std::nullopt;
  const RopeScaling& s = *config.rope_scaling;
  return kernels::Yarn{s.factor, s.original_max_position_embeddings, s.beta_fast, s.beta_slow};
}

}  // namespace

Executor::Scratch::Scratch(const Config& c, const Limits& limits, numerics::Mode mode) {
  const int64_t t = limits.batch_tokens_max, d = c.hidden_size, s = c.hc_mult;
  const int64_t heads = c.num_attention_heads * c.head_dim, pairs = c.qk_rope_head_dim / 2;
  const int64_t compressor_width = 2 * std::max(c.head_dim, c.index_head_dim);
  const auto floats = [t](int64_t cols) {
    Floats buffer(t * cols);
    buffer.UseLargePages();
    return buffer;
  };
  segments.reserve(static_cast<size_t>(t));
  segment_of_row.reserve(static_cast<size_t>(t));
  tokens.reserve(static_cast<size_t>(t));
  runs.reserve(static_cast<size_t>(t));
  // A run of n rows closes at most n blocks.
  jobs.reserve(static_cast<size_t>(t));
  queries.reserve(static_cast<size_t>(t));
  streams = floats(s * d), mtp_streams = floats(s * d);
  sub_in = floats(d), normed = floats(d), sub_out = floats(d);
  post = floats(s), comb = floats(s * s);
  window_cos = floats(pairs), window_sin = floats(pairs);
  compress_cos = floats(pairs), compress_sin = floats(pairs);
  qr = floats(c.q_lora_rank), q = floats(heads), kv = floats(c.head_dim), o = floats(heads);
  z = floats(c.o_groups * c.o_lora_rank);
  value = floats(compressor_width), score = floats(compressor_width);
  index_q = floats(c.index_n_heads * c.index_head_dim), index_weights = floats(c.index_n_heads);
  latent = tensor::RawBuffer(t * LatentLayout(c, mode).bytes());
  index_queries = tensor::RawBuffer(t * c.index_n_heads * IndexLayout(c, mode).bytes());
  picks = tensor::Buffer<int32_t>(t * c.index_topk);
  gate = floats(c.n_routed_experts), routing_weights = floats(c.num_experts_per_tok);
  experts = tensor::Buffer<int32_t>(t * c.num_experts_per_tok);
  shared_out = floats(d);
  mtp_e = floats(d), mtp_z = floats(s * d), mtp_h = floats(s * d);
}

Executor::Executor(const Config& config, const Weights& weights, Limits limits,
                   const kernels::Context& context)
    : config_(config),
      weights_(weights),
      limits_(limits),
      ctx_(context),
      window_rope_(config.qk_rope_head_dim, config.rope_theta, std::nullopt),
      compress_rope_(config.qk_rope_head_dim, config.compress_rope_theta, YarnOf(config)),
      scratch_(std::make_unique<Scratch>(config, limits, context.mode)) {
  if (ctx_.trace != nullptr)
    ctx_.trace->Reserve(config.num_hidden_layers + config.num_nextn_predict_layers);
}

Executor::~Executor() = default;

const LayerWeights& Executor::layer_weights(int64_t layer) const {
  if (layer < config_.num_hidden_layers) return weights_.layers[static_cast<size_t>(layer)];
  FATHOM_CHECK(weights_.mtp.has_value());
  return weights_.mtp->block;
}

LayerState& Executor::layer_state(Sequence& sequence, int64_t layer) const {
  if (layer < config_.num_hidden_layers) return sequence.layer(layer);
  return sequence.mtp(layer - config_.num_hidden_layers);
}

kernels::HyperConnection Executor::Hyper(const HyperConnectionWeights& w) const {
  return {w.fn,
          w.base,
          w.scale,
          config_.hc_mult,
          config_.hc_sinkhorn_iters,
          static_cast<float>(config_.hc_eps),
          static_cast<float>(config_.rms_norm_eps)};
}

void Executor::EmbedToken(TokenId token, float* row) const {
  const QuantView& embed = weights_.embed;
  FATHOM_CHECK(token >= 0 && token < embed.rows, fmt::format("token {}", token));
  const std::byte* from = embed.row(token);
  if (embed.format == tensor::Format::kF32) {
    std::memcpy(row, from, static_cast<size_t>(embed.cols) * sizeof(float));
    return;
  }
  for (int64_t d = 0; d < embed.cols; ++d) {
    numerics::BF16 value;
    std::memcpy(&value, from + 2 * d, 2);
    row[d] = numerics::ToFloat(value);
  }
}

int64_t Executor::LogitRowCount(std::span<const BatchItem> batch) {
  int64_t rows = 0;
  for (const BatchItem& item : batch) {
    if (item.want == LogitRows::kLast) rows += 1;
    if (item.want == LogitRows::kAll) rows += std::ssize(item.tokens);
  }
  return rows;
}

// Lays the items out as rows and prepares the rotation of each position.
Executor::Pass Executor::BeginPass(std::span<const BatchItem> batch, int64_t first_position) {
  Scratch& s = *scratch_;
  s.segments.clear();
  s.segment_of_row.clear();
  s.tokens.clear();
  for (const BatchItem& item : batch) {
    const int64_t position = first_position >= 0 ? first_position : item.sequence->length();
    const int64_t count = std::ssize(item.tokens);
    FATHOM_CHECK_GE(count, int64_t{1});
    FATHOM_CHECK(item.sequence->mode() == ctx_.mode, "a sequence of another numeric mode");
    FATHOM_CHECK_LE(position + count, item.sequence->capacity());
    item.sequence->PrepareWrite(position, position + count);
    s.segment_of_row.insert(s.segment_of_row.end(), item.tokens.size(),
                            static_cast<int32_t>(s.segments.size()));
    s.segments.push_back({item.sequence, std::ssize(s.tokens), count, position,
                          item.window_slots > 0 ? item.window_slots : config_.sliding_window});
    s.tokens.insert(s.tokens.end(), item.tokens.begin(), item.tokens.end());
  }
  const int64_t rows = std::ssize(s.tokens), pairs = config_.qk_rope_head_dim / 2;
  FATHOM_CHECK_LE(rows, limits_.batch_tokens_max);
  const auto window_cos = s.window_cos.matrix(rows, pairs),
             window_sin = s.window_sin.matrix(rows, pairs);
  const auto compress_cos = s.compress_cos.matrix(rows, pairs);
  const auto compress_sin = s.compress_sin.matrix(rows, pairs);
  kernels::ForRows(ctx_, rows, pairs * 64, [&](int64_t t) {
    const Segment& segment =
        s.segments[static_cast<size_t>(s.segment_of_row[static_cast<size_t>(t)])];
    const int64_t position = segment.position + t - segment.first_row;
    window_rope_.Angles(position, window_cos.row_span(t), window_sin.row_span(t));
    compress_rope_.Angles(position, compress_cos.row_span(t), compress_sin.row_span(t));
  });
  return {rows, s.segments, s.segment_of_row, s.tokens};
}

// Ref: inference/model.py, Block.forward.
void Executor::Block(int64_t layer, const LayerWeights& w, const Pass& pass,
                     MatrixView<float> streams_TSD) {
  if (ctx_.trace != nullptr) ctx_.trace->SetLayer(layer);
  {
    const TraceSpan span(ctx_.trace, Operation::kLayer);
    AttentionSublayer(layer, w, pass, streams_TSD);
    FfnSublayer(layer, w, pass.tokens, streams_TSD);
  }
  if (ctx_.trace != nullptr) ctx_.trace->SetLayer(kernels::Trace::kOutside);
}

void Executor::AttentionSublayer(int64_t layer, const LayerWeights& w, const Pass& pass,
                                 MatrixView<float> streams_TSD) {
  Sublayer(w.hc_attn, w.attn_norm, streams_TSD,
           [&](MatrixView<const float> x_TD, MatrixView<float> y_TD) {
             Watch(layer, "attn_in", x_TD);
             Attention(layer, w, pass, x_TD, y_TD);
             Watch(layer, "attn.out", y_TD);
           });
  Watch(layer, "after_attn", streams_TSD);
}

void Executor::FfnSublayer(int64_t layer, const LayerWeights& w, std::span<const TokenId> tokens,
                           MatrixView<float> streams_TSD) {
  Sublayer(w.hc_ffn, w.ffn_norm, streams_TSD,
           [&](MatrixView<const float> x_TD, MatrixView<float> y_TD) {
             Watch(layer, "ffn_in", x_TD);
             Moe(w.ffn, tokens, x_TD, y_TD);
             Watch(layer, "ffn.out", y_TD);
           });
  Watch(layer, "out", streams_TSD);
}

// The streams are reduced to one row and normalised, `run` computes the sub-layer, and its output
// is mixed back into the streams.
void Executor::Sublayer(const HyperConnectionWeights& hc, const FloatVector& norm,
                        MatrixView<float> streams_TSD,
                        FunctionRef<void(MatrixView<const float>, MatrixView<float>)> run) {
  Scratch& s = *scratch_;
  const int64_t rows = streams_TSD.rows, dims = config_.hidden_size, streams = config_.hc_mult;
  const auto sub_in = s.sub_in.matrix(rows, dims), normed = s.normed.matrix(rows, dims);
  const auto sub_out = s.sub_out.matrix(rows, dims);
  const auto post = s.post.matrix(rows, streams), comb = s.comb.matrix(rows, streams * streams);
  kernels::HyperConnectionPre(streams_TSD, Hyper(hc), sub_in, post, comb, ctx_);
  kernels::RmsNorm(sub_in, norm, static_cast<float>(config_.rms_norm_eps), normed, ctx_);
  run(normed, sub_out);
  if (Has(Mistake::kCombTransposed)) {
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t j = 0; j < streams; ++j)
        for (int64_t k = 0; k < j; ++k)
          std::swap(comb.row(t)[j * streams + k], comb.row(t)[k * streams + j]);
  }
  kernels::HyperConnectionPost(sub_out, post, comb, streams_TSD, ctx_);
}

void Executor::HeadLogits(MatrixView<const float> streams_RSD,
                          const HyperConnectionWeights& hc_head, const FloatVector& norm,
                          MatrixView<float> logits) {
  const TraceSpan span(ctx_.trace, Operation::kHead);
  const int64_t rows = streams_RSD.rows;
  const auto x = scratch_->sub_in.matrix(rows, config_.hidden_size);
  kernels::HyperConnectionPre(streams_RSD, Hyper(hc_head), x, {}, {}, ctx_);
  kernels::RmsNorm(x, norm, static_cast<float>(config_.rms_norm_eps), x, ctx_);
  kernels::Linear(x, weights_.head, kernels::Activation::kBF16, kernels::Output::kF32, logits,
                  ctx_);
}

void Executor::EmbedStreams(const Pass& pass, MatrixView<float> streams_TSD) {
  const TraceSpan span(ctx_.trace, Operation::kEmbed,
                       {.weight_bytes = pass.rows * weights_.embed.row_bytes()});
  kernels::ForRows(ctx_, pass.rows, streams_TSD.cols, [&](int64_t t) {
    float* row = streams_TSD.row(t);
    EmbedToken(pass.tokens[static_cast<size_t>(t)], row);
    for (int64_t j = 1; j < config_.hc_mult; ++j)
      std::copy_n(row, config_.hidden_size, row + j * config_.hidden_size);
  });
}

void Executor::Forward(std::span<const BatchItem> batch, MatrixView<float> logits) {
  FATHOM_CHECK_EQ(logits.rows, LogitRowCount(batch));
  const TraceSpan span(ctx_.trace, Operation::kPass);
  const Pass pass = BeginPass(batch, -1);
  const int64_t width = config_.hc_mult * config_.hidden_size;
  const auto streams = scratch_->streams.matrix(pass.rows, width);
  EmbedStreams(pass, streams);
  for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer)
    Block(layer, layer_weights(layer), pass, streams);
  last_streams_ = streams;
  for (const Segment& segment : pass.segments) segment.sequence->Advance(segment.count);
  if (logits.rows == 0) return;
  HeadLogits(WantedRows(batch, pass, logits.rows, streams), weights_.hc_head, weights_.norm,
             logits);
}

// The streams of the rows that want logits, side by side, so that the head is read once for all.
MatrixView<const float> Executor::WantedRows(std::span<const BatchItem> batch, const Pass& pass,
                                             int64_t count, MatrixView<const float> streams_TSD) {
  if (count == pass.rows) return streams_TSD;
  const auto wanted = scratch_->mtp_streams.matrix(count, streams_TSD.cols);
  int64_t place = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].want == LogitRows::kNone) continue;
    const Segment& segment = pass.segments[i];
    const int64_t rows = batch[i].want == LogitRows::kAll ? segment.count : 1;
    for (int64_t row = segment.count - rows; row < segment.count; ++row)
      std::copy_n(streams_TSD.row(segment.first_row + row), streams_TSD.cols, wanted.row(place++));
  }
  return wanted;
}

// Ref: model.md 10.1.
void Executor::ForwardMtp(const MtpItem& item, MatrixView<float> logits) {
  FATHOM_CHECK(weights_.mtp.has_value(), "the checkpoint has no MTP block");
  const TraceSpan span(ctx_.trace, Operation::kPass);
  const MtpWeights& w = *weights_.mtp;
  const BatchItem as_batch{item.sequence, item.next_tokens, LogitRows::kNone};
  const Pass pass = BeginPass({&as_batch, 1}, item.first_position);
  Scratch& s = *scratch_;
  const int64_t rows = pass.rows, dims = config_.hidden_size, streams = config_.hc_mult;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  const auto e = s.mtp_e.matrix(rows, dims), projected_e = s.sub_out.matrix(rows, dims);
  kernels::ForRows(ctx_, rows, dims,
                   [&](int64_t t) { EmbedToken(pass.tokens[static_cast<size_t>(t)], e.row(t)); });
  kernels::RmsNorm(e, w.enorm, eps, e, ctx_);
  kernels::Linear(e, w.e_proj, Quantized(), kernels::Output::kBF16, projected_e, ctx_);
  // Each stream is a row of its own here.
  const MatrixView<const float> h(item.streams.data, rows * streams, dims);
  FATHOM_CHECK_EQ(item.streams.stride, streams * dims);
  const auto z = s.mtp_z.matrix(rows * streams, dims),
             projected = s.mtp_h.matrix(rows * streams, dims);
  kernels::RmsNorm(h, w.hnorm, eps, z, ctx_);
  kernels::Linear(z, w.h_proj, Quantized(), kernels::Output::kBF16, projected, ctx_);
  const auto x = s.mtp_streams.matrix(rows, streams * dims);
  kernels::ForRows(ctx_, rows, streams * dims, [&](int64_t t) {
    for (int64_t j = 0; j < streams; ++j)
      for (int64_t d = 0; d < dims; ++d)
        x.row(t)[j * dims + d] =
            numerics::Round(projected_e.row(t)[d] + projected.row(t * streams + j)[d], ctx_.mode);
  });
  Watch(config_.num_hidden_layers, "in", x);
  Block(config_.num_hidden_layers, w.block, pass, x);
  HeadLogits(x, w.hc_head, w.norm, logits);
}

void Executor::RunLayer(int64_t layer, std::span<const BatchItem> batch,
                        MatrixView<float> streams_TSD) {
  const Pass pass = BeginPass(batch, -1);
  FATHOM_CHECK_EQ(streams_TSD.rows, pass.rows);
  Block(layer, layer_weights(layer), pass, streams_TSD);
}

void Executor::RunFfn(int64_t layer, std::span<const TokenId> tokens,
                      MatrixView<const float> ffn_in_TD, MatrixView<float> out_TD) {
  Moe(layer_weights(layer).ffn, tokens, ffn_in_TD, out_TD);
}

void Executor::RunFfnSublayer(int64_t layer, std::span<const TokenId> tokens,
                              MatrixView<float> streams_TSD) {
  FfnSublayer(layer, layer_weights(layer), tokens, streams_TSD);
}

}  // namespace fathom::model
