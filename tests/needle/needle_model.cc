#include "tests/needle/needle_model.h"

#include <cmath>

#include "numerics/formats.h"

namespace fathom::needle {
namespace {

constexpr int64_t kHayChannels = 64;
constexpr int64_t kNeedleChannel = 64;    // needle i lights channel 64 + i
constexpr int64_t kQuestionChannel = 80;  // and its question channel 80 + i

// In [-1, 1), by a 64-bit congruential generator (Knuth's constants).
float Noise(uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-31f;
}

}  // namespace

void NeedleModel::Matrix::Set(int64_t o, int64_t i, float value) {
  bits[static_cast<size_t>(o * cols + i)] = numerics::ToBF16(value).bits;
}

void NeedleModel::Matrix::SetNoise(int64_t row_begin, int64_t row_end, int64_t col_end,
                                   float size) {
  uint64_t state = static_cast<uint64_t>(rows * 1000 + cols + row_begin);
  for (int64_t o = row_begin; o < row_end; ++o)
    for (int64_t i = 0; i < col_end; ++i) Set(o, i, size * Noise(state));
}

NeedleModel::Matrix& NeedleModel::NewMatrix(int64_t rows, int64_t cols) {
  return matrices_.emplace_back(
      Matrix{std::vector<uint16_t>(static_cast<size_t>(rows * cols)), rows, cols});
}

tensor::QuantView NeedleModel::View(const Matrix& matrix) {
  return {tensor::Format::kBF16,
          reinterpret_cast<const std::byte*>(matrix.bits.data()),
          nullptr,
          matrix.rows,
          matrix.cols,
          0};
}

// Streams that are read alike and mixed little, whatever they hold.
model::HyperConnectionWeights NeedleModel::PlainStreams(int64_t outputs) {
  const int64_t cols = config_.hc_mult * config_.hidden_size;
  const std::vector<float>& zeros = floats_.emplace_back(static_cast<size_t>(outputs * cols), 0.0f);
  return {{tensor::Format::kF32, reinterpret_cast<const std::byte*>(zeros.data()), nullptr, outputs,
           cols, 0},
          std::vector<float>(static_cast<size_t>(outputs), 0.0f),
          std::vector<float>(3, 1.0f)};
}

model::CompressorWeights NeedleModel::Compressor(int64_t ratio, int64_t dim) {
  const int64_t width = ratio == 4 ? 2 * dim : dim;
  Matrix& wkv = NewMatrix(width, config_.hidden_size);
  Matrix& wgate = NewMatrix(width, config_.hidden_size);
  wkv.SetNoise(0, width, kHayChannels, 0.2f);
  return {View(wkv), View(wgate), std::vector<float>(static_cast<size_t>(ratio * width), 0.0f),
          std::vector<float>(static_cast<size_t>(dim), 1.0f)};
}

model::IndexerWeights NeedleModel::Indexer() {
  const int64_t dim = config_.index_head_dim, heads = config_.index_n_heads;
  Matrix& wkv = NewMatrix(2 * dim, config_.hidden_size);
  Matrix& wgate = NewMatrix(2 * dim, config_.hidden_size);
  Matrix& wq_b = NewMatrix(heads * dim, config_.q_lora_rank);
  Matrix& weights_proj = NewMatrix(heads, config_.hidden_size);
  // The second half is what a block's own tokens give: noise in channels past those of the needles.
  wkv.SetNoise(dim + 2 * kNeedles, 2 * dim, kHayChannels, 0.2f);
  for (int64_t i = 0; i < kNeedles; ++i) {
    wkv.Set(dim + i, kNeedleChannel + i, 1.0f);
    for (int64_t c = 0; c < dim; ++c) wgate.Set(dim + c, kNeedleChannel + i, 4.0f);
    wq_b.Set(i, i, 1.0f);
    weights_proj.Set(0, kQuestionChannel + i, 1.0f);
  }
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < kHayChannels; ++i) weights_proj.Set(h, i, 0.125f);
  return {View(wq_b),
          View(weights_proj),
          {View(wkv), View(wgate), std::vector<float>(static_cast<size_t>(8 * dim), 0.0f),
           std::vector<float>(static_cast<size_t>(dim), 1.0f)}};
}

model::LayerWeights NeedleModel::Layer(int64_t ratio) {
  const model::Config& c = config_;
  const auto ones = [](int64_t n) { return std::vector<float>(static_cast<size_t>(n), 1.0f); };
  const auto zeros = [&](int64_t rows, int64_t cols) { return View(NewMatrix(rows, cols)); };
  Matrix& wq_a = NewMatrix(c.q_lora_rank, c.hidden_size);
  wq_a.SetNoise(2 * kNeedles, c.q_lora_rank, kHayChannels, 0.2f);
  for (int64_t i = 0; i < kNeedles; ++i) wq_a.Set(i, kQuestionChannel + i, 1.0f);
  Matrix& wq_b = NewMatrix(c.num_attention_heads * c.head_dim, c.q_lora_rank);
  wq_b.SetNoise(0, wq_b.rows, wq_b.cols, 0.2f);
  Matrix& wkv = NewMatrix(c.head_dim, c.hidden_size);
  wkv.SetNoise(0, wkv.rows, kHayChannels, 0.2f);
  const int64_t mixes = (2 + c.hc_mult) * c.hc_mult;
  model::LayerWeights layer;
  layer.ratio = ratio;
  layer.attn_norm = layer.ffn_norm = ones(c.hidden_size);
  layer.hc_attn = PlainStreams(mixes);
  layer.hc_ffn = PlainStreams(mixes);
  layer.attn = {std::vector<float>(static_cast<size_t>(c.num_attention_heads), 0.0f),
                View(wq_a),
                ones(c.q_lora_rank),
                View(wq_b),
                View(wkv),
                ones(c.head_dim),
                zeros(c.o_groups * c.o_lora_rank, c.num_attention_heads * c.head_dim / c.o_groups),
                zeros(c.hidden_size, c.o_groups * c.o_lora_rank),
                Compressor(ratio, c.head_dim),
                {}};
  if (ratio == 4) layer.attn.indexer = Indexer();
  const int64_t width = c.moe_intermediate_size;
  const auto expert = [&] {
    return model::ExpertWeights{zeros(width, c.hidden_size), zeros(c.hidden_size, width),
                                zeros(width, c.hidden_size)};
  };
  layer.ffn.gate = {zeros(c.n_routed_experts, c.hidden_size),
                    std::vector<float>(static_cast<size_t>(c.n_routed_experts), 0.0f), nullptr};
  for (int64_t e = 0; e < c.n_routed_experts; ++e) layer.ffn.experts.push_back(expert());
  layer.ffn.shared_experts = expert();
  return layer;
}

NeedleModel::NeedleModel(int64_t context) : config_(model::NanoPreset()) {
  model::Config& c = config_;
  c.num_hidden_layers = 2;
  c.compress_ratios = {4, 128};
  c.num_nextn_predict_layers = 0;
  c.num_hash_layers = 0;
  c.num_attention_heads = 2;
  c.head_dim = 64;
  c.q_lora_rank = 64;
  c.o_groups = 1;
  c.o_lora_rank = 32;
  c.max_position_embeddings = context;
  c.index_n_heads = 2;
  c.index_head_dim = 128;
  c.index_topk = 32;
  c.n_routed_experts = 1;
  c.num_experts_per_tok = 1;
  c.moe_intermediate_size = 32;
  c.hc_mult = 2;
  c.vocab_size = kHayTokens + 2 * kNeedles;
  c.has_quantization_config = false;
  c.expert_dtype = "bf16";
  Matrix& embed = NewMatrix(c.vocab_size, c.hidden_size);
  embed.SetNoise(0, kHayTokens, kHayChannels, 1.0f);
  for (int64_t i = 0; i < kNeedles; ++i) {
    embed.Set(needle(i), kNeedleChannel + i, 4.0f);
    embed.Set(question(i), kQuestionChannel + i, 4.0f);
  }
  weights_.embed = View(embed);
  weights_.head = View(embed);
  weights_.norm = std::vector<float>(static_cast<size_t>(c.hidden_size), 1.0f);
  weights_.hc_head = PlainStreams(c.hc_mult);
  for (const int64_t ratio : {4, 128}) weights_.layers.push_back(Layer(ratio));
}

}  // namespace fathom::needle
