// The constants of a DeepSeek-V4 model, under the names of the published config.json, and the
// presets of the published models. Three spellings are read (model.md 3.1, 3.2 and transformers'
// renames); the published one is written. What the numbers mean is model.md sections 2 and 3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom::model {

// YaRN, applied on compressed layers only. Ref: model.md 8.5.
struct RopeScaling {
  double factor = 1;
  int64_t original_max_position_embeddings = 0;
  double beta_fast = 32;
  double beta_slow = 1;

  bool operator==(const RopeScaling&) const = default;
};

// What a layer's attention reads besides its window. Decided by its compression ratio.
enum class LayerKind {
  kWindow,  // ratio 0: the sliding window only ("SWA")
  kCsa,     // ratio 4: Compressed Sparse Attention, overlapping blocks chosen by the indexer
  kHca,     // any other ratio: Heavily Compressed Attention, all blocks
};
LayerKind KindOfRatio(int64_t ratio);
// "window", "CSA", "HCA".
const char* Name(LayerKind kind);

// The speculative head of the 0731 and 0813 checkpoints. Ref: model.md 10.2.
struct DsparkConfig {
  int64_t block_size = 0;
  int64_t noise_token_id = 0;
  std::vector<int64_t> target_layer_ids;
  int64_t markov_rank = 0;
  int64_t stages = 3;

  bool operator==(const DsparkConfig&) const = default;
};

// Larger ones are refused: pooling keeps a block's candidates and a row's angles on the stack. The
// released models have 128 and 64.
inline constexpr int64_t kCompressRatioMax = 128;
inline constexpr int64_t kRotaryDimsMax = 512;

struct Config {
  int64_t hidden_size = 0;               // D
  int64_t num_hidden_layers = 0;         // L, the MTP block apart
  int64_t num_attention_heads = 0;       // H
  int64_t head_dim = 0;                  // C: head size and latent KV size
  int64_t qk_rope_head_dim = 0;          // R: the last R of C (and of index_head_dim) are rotary
  int64_t q_lora_rank = 0;               // Q
  int64_t o_groups = 0;                  // G
  int64_t o_lora_rank = 0;               // O, per group
  int64_t sliding_window = 0;            // W
  std::vector<int64_t> compress_ratios;  // one per layer, then one per MTP or DSpark block
  double rope_theta = 10000;             // layers of ratio 0
  double compress_rope_theta = 160000;   // the others
  std::optional<RopeScaling> rope_scaling;
  int64_t max_position_embeddings = 0;
  int64_t index_n_heads = 0;
  int64_t index_head_dim = 0;
  int64_t index_topk = 0;
  int64_t n_routed_experts = 0;  // E
  int64_t n_shared_experts = 1;
  int64_t num_experts_per_tok = 0;    // A
  int64_t moe_intermediate_size = 0;  // F
  int64_t num_hash_layers = 0;        // the first of the layers route by tid2eid
  double routed_scaling_factor = 1;
  double swiglu_limit = 0;  // 0: no clamp
  int64_t hc_mult = 4;      // S, hyper-connection streams
  int64_t hc_sinkhorn_iters = 20;
  double hc_eps = 1e-6;
  double rms_norm_eps = 1e-6;
  int64_t vocab_size = 0;                // V
  int64_t num_nextn_predict_layers = 0;  // MTP blocks
  int64_t bos_token_id = 0;
  int64_t eos_token_id = 1;
  std::string expert_dtype;              // "fp4", "fp8", "bf16", or empty: decided by the tensors
  bool has_quantization_config = false;  // dense weights are FP8 with 128x128 blocks
  std::optional<DsparkConfig> dspark;
  std::string chat_revision;  // our own key; empty when absent
  bool has_vision = false;    // the file describes a vision tower

  // Ratio of main layer i (0 <= i < num_hidden_layers).
  int64_t ratio(int64_t layer) const { return compress_ratios[static_cast<size_t>(layer)]; }
  LayerKind kind(int64_t layer) const { return KindOfRatio(ratio(layer)); }

  bool operator==(const Config&) const = default;
};

// `where` names the text in messages. Every constraint that later code relies on (positive sizes, H
// a multiple of G, R even and <= C, index_head_dim a power of two, A <= E, ratios for every layer,
// products that stay far from int64 limits ...) is checked here; the message names key, expectation
// and value.
Result<Config> ParseConfig(std::string_view json, const std::string& where);
// DIR/config.json.
Result<Config> LoadConfig(const std::string& dir);
// The published spelling, pretty-printed; ParseConfig reads it back to the same Config.
std::string WriteConfig(const Config& config);

// The published constants, with one MTP block. Ref: model.md 3.1-3.3.
Config FlashPreset();
Config ProPreset();
// The bundled demonstration model's shape. Ref: nano-seed config.json.
Config NanoPreset();

}  // namespace fathom::model
