// Writes a Config in the published spelling, and the presets of the published models. Ref: model.md
// 3.1-3.3. Reading is config.cc.
#include "base/json.h"
#include "model/config.h"

namespace fathom::model {
namespace {

// A member a line, lists of plain values on one line.
void AppendPretty(std::string& out, const Json& json, int depth) {
  if (!json.is_object() || json.object().empty()) {
    out += WriteJson(json, {.item_separator = ", ", .name_separator = ": "});
    return;
  }
  out += "{\n";
  const Json::Object& members = json.object();
  for (size_t i = 0; i < members.size(); ++i) {
    out.append(static_cast<size_t>(2 * depth + 2), ' ');
    AppendJsonString(out, members[i].first);
    out += ": ";
    AppendPretty(out, members[i].second, depth + 1);
    out += i + 1 < members.size() ? ",\n" : "\n";
  }
  out.append(static_cast<size_t>(2 * depth), ' ');
  out += "}";
}

Json::Array ToArray(const std::vector<int64_t>& values) {
  return Json::Array(values.begin(), values.end());
}

void SetRope(Json& json, const Config& c) {
  json.Set("rope_theta", c.rope_theta);
  json.Set("compress_rope_theta", c.compress_rope_theta);
  if (!c.rope_scaling.has_value()) {
    json.Set("rope_scaling", nullptr);
    return;
  }
  Json scaling;
  scaling.Set("type", "yarn");
  scaling.Set("factor", c.rope_scaling->factor);
  scaling.Set("original_max_position_embeddings", c.rope_scaling->original_max_position_embeddings);
  scaling.Set("beta_fast", c.rope_scaling->beta_fast);
  scaling.Set("beta_slow", c.rope_scaling->beta_slow);
  json.Set("rope_scaling", std::move(scaling));
}

void SetAttention(Json& json, const Config& c) {
  json.Set("num_attention_heads", c.num_attention_heads);
  json.Set("num_key_value_heads", 1);
  json.Set("head_dim", c.head_dim);
  json.Set("qk_rope_head_dim", c.qk_rope_head_dim);
  json.Set("q_lora_rank", c.q_lora_rank);
  json.Set("o_groups", c.o_groups);
  json.Set("o_lora_rank", c.o_lora_rank);
  json.Set("sliding_window", c.sliding_window);
  json.Set("compress_ratios", ToArray(c.compress_ratios));
  SetRope(json, c);
  json.Set("max_position_embeddings", c.max_position_embeddings);
  json.Set("index_n_heads", c.index_n_heads);
  json.Set("index_head_dim", c.index_head_dim);
  json.Set("index_topk", c.index_topk);
  json.Set("attention_bias", false);
  json.Set("attention_dropout", Json::Number{"0.0"});
}

void SetExperts(Json& json, const Config& c) {
  json.Set("n_routed_experts", c.n_routed_experts);
  json.Set("n_shared_experts", c.n_shared_experts);
  json.Set("num_experts_per_tok", c.num_experts_per_tok);
  json.Set("moe_intermediate_size", c.moe_intermediate_size);
  json.Set("num_hash_layers", c.num_hash_layers);
  json.Set("scoring_func", "sqrtsoftplus");
  json.Set("topk_method", "noaux_tc");
  json.Set("norm_topk_prob", true);
  json.Set("routed_scaling_factor", c.routed_scaling_factor);
  json.Set("swiglu_limit", c.swiglu_limit);
  json.Set("hidden_act", "silu");
}

void SetFormats(Json& json, const Config& c) {
  json.Set("torch_dtype", "bfloat16");
  if (c.has_quantization_config) {
    Json quantization;
    quantization.Set("quant_method", "fp8");
    quantization.Set("fmt", "e4m3");
    quantization.Set("scale_fmt", "ue8m0");
    quantization.Set("activation_scheme", "dynamic");
    quantization.Set("weight_block_size", Json::Array{128, 128});
    json.Set("quantization_config", std::move(quantization));
  }
  if (!c.expert_dtype.empty()) json.Set("expert_dtype", c.expert_dtype);
}

// Ref: model.md 10.2. The published files do not name the stages, which are 3.
void SetDspark(Json& json, const DsparkConfig& dspark) {
  json.Set("dspark_block_size", dspark.block_size);
  json.Set("dspark_noise_token_id", dspark.noise_token_id);
  json.Set("dspark_target_layer_ids", ToArray(dspark.target_layer_ids));
  json.Set("dspark_markov_rank", dspark.markov_rank);
  if (dspark.stages != 3) json.Set("n_mtp_layers", dspark.stages);
}

// `first` twice, then `pairs` times (4, 128), then 4, then the MTP block.
std::vector<int64_t> AlternatingRatios(int64_t first, int pairs) {
  std::vector<int64_t> ratios = {first, first};
  for (int i = 0; i < pairs; ++i) ratios.insert(ratios.end(), {4, 128});
  ratios.insert(ratios.end(), {4, 0});
  return ratios;
}

}  // namespace

std::string WriteConfig(const Config& config) {
  Json json;
  json.Set("architectures", Json::Array{"DeepseekV4ForCausalLM"});
  json.Set("model_type", "deepseek_v4");
  json.Set("hidden_size", config.hidden_size);
  json.Set("num_hidden_layers", config.num_hidden_layers);
  SetAttention(json, config);
  SetExperts(json, config);
  json.Set("hc_mult", config.hc_mult);
  json.Set("hc_sinkhorn_iters", config.hc_sinkhorn_iters);
  json.Set("hc_eps", config.hc_eps);
  json.Set("rms_norm_eps", config.rms_norm_eps);
  json.Set("vocab_size", config.vocab_size);
  json.Set("num_nextn_predict_layers", config.num_nextn_predict_layers);
  json.Set("tie_word_embeddings", false);
  json.Set("initializer_range", 0.02);
  json.Set("bos_token_id", config.bos_token_id);
  json.Set("eos_token_id", config.eos_token_id);
  json.Set("transformers_version", "4.57.1");
  SetFormats(json, config);
  if (config.dspark.has_value()) SetDspark(json, *config.dspark);
  if (!config.chat_revision.empty()) json.Set("chat_revision", config.chat_revision);
  // Only that there is a tower is known of it; its constants are not kept.
  if (config.has_vision) json.Set("vision_config", Json::Object{});
  std::string text;
  AppendPretty(text, json, 0);
  return text + "\n";
}

Config FlashPreset() {
  Config c;
  c.hidden_size = 4096;
  c.num_hidden_layers = 43;
  c.num_attention_heads = 64;
  c.head_dim = 512;
  c.qk_rope_head_dim = 64;
  c.q_lora_rank = 1024;
  c.o_groups = 8;
  c.o_lora_rank = 1024;
  c.sliding_window = 128;
  c.compress_ratios = AlternatingRatios(0, 20);
  c.rope_scaling = RopeScaling{16, 65536, 32, 1};
  c.max_position_embeddings = 1048576;
  c.index_n_heads = 64;
  c.index_head_dim = 128;
  c.index_topk = 512;
  c.n_routed_experts = 256;
  c.num_experts_per_tok = 6;
  c.moe_intermediate_size = 2048;
  c.num_hash_layers = 3;
  c.routed_scaling_factor = 1.5;
  c.swiglu_limit = 10;
  c.vocab_size = 129280;
  c.num_nextn_predict_layers = 1;
  c.expert_dtype = "fp4";
  c.has_quantization_config = true;
  return c;
}

Config ProPreset() {
  Config c = FlashPreset();
  c.hidden_size = 7168;
  c.num_hidden_layers = 61;
  c.num_attention_heads = 128;
  c.q_lora_rank = 1536;
  c.o_groups = 16;
  c.compress_ratios = AlternatingRatios(128, 29);
  c.index_topk = 1024;
  c.n_routed_experts = 384;
  c.moe_intermediate_size = 3072;
  c.routed_scaling_factor = 2.5;
  return c;
}

Config NanoPreset() {
  Config c = FlashPreset();
  c.hidden_size = 128;
  c.num_hidden_layers = 4;
  c.num_attention_heads = 4;
  c.head_dim = 96;
  c.qk_rope_head_dim = 32;
  c.q_lora_rank = 128;
  c.o_groups = 2;
  c.o_lora_rank = 64;
  c.sliding_window = 64;
  c.compress_ratios = {0, 4, 128, 4, 0};
  c.rope_scaling->factor = 1;
  c.max_position_embeddings = 8192;
  c.index_n_heads = 4;
  c.index_head_dim = 32;
  c.index_topk = 32;
  c.n_routed_experts = 8;
  c.num_experts_per_tok = 2;
  c.moe_intermediate_size = 128;
  c.num_hash_layers = 1;
  c.vocab_size = 1024;
  c.chat_revision = "0731";
  return c;
}

}  // namespace fathom::model
