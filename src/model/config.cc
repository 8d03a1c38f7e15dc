// Reads config.json in its three spellings into one Config and checks every constraint that later
// code relies on, so that sizes can be multiplied and buffers allocated without asking again. The
// published name of a key wins over transformers' and the reference's names for it. Keys without
// which a model would be silently wrong have no default. Ref: model.md 3.1, 3.2, 10.2. Writing and
// the presets are config_write.cc.
#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "base/file.h"
#include "base/json.h"

namespace fathom::model {
namespace {

using Names = std::initializer_list<std::string_view>;

// Upper limits. Far above every published model (Pro: 61 layers, 384 experts, width 7168) and low
// enough that no product of sizes comes near 2^63 and no list built from a configuration grows
// beyond some hundred megabytes.
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kBlocksMax = 16;  // MTP blocks or DSpark stages
constexpr int64_t kExpertsMax = 65536;
constexpr int64_t kExpertsOfAllLayersMax = int64_t{1} << 20;
constexpr int64_t kWidthMax = int64_t{1} << 20;
constexpr int64_t kHeadDimMax = 1 << 14;
constexpr int64_t kHeadsMax = 1 << 14;
constexpr int64_t kVocabularyMax = int64_t{1} << 24;
constexpr int64_t kPositionsMax = int64_t{1} << 30;
constexpr double kWeightsMax = 0x1p50;

// What a message shows of the value found: its JSON text, cut where it gets long.
std::string Shown(const Json& value) {
  std::string text = WriteJson(value);
  constexpr size_t kShownBytesMax = 60;
  if (text.size() > kShownBytesMax)
    return fmt::format("{} of {} bytes", value.KindName(), text.size());
  return text;
}

// Typed, range-checked members of an object of the configuration. The first complaint is kept in
// `error` and later reads return something harmless, so that a caller reads everything and asks
// once.
class Reader {
 public:
  Reader(const Json& object, std::string where, std::string& error)
      : object_(object), where_(std::move(where)), error_(error) {}

  bool failed() const { return !error_.empty(); }

  void Fail(std::string_view key, std::string_view expected, std::string_view found) {
    if (!failed())
      error_ = fmt::format("{}: \"{}\": expected {}, found {}", where_, key, expected, found);
  }
  // A constraint between values.
  void Require(bool is_met, std::string_view key, std::string_view expected, int64_t found) {
    if (!is_met) Fail(key, expected, std::to_string(found));
  }

  // The first of the names that is present and not null.
  const Json* Find(Names names) {
    found_ = *names.begin();
    for (const std::string_view name : names) {
      const Json* member = object_.Find(name);
      if (member == nullptr || member->is_null()) continue;
      found_ = name;
      return member;
    }
    return nullptr;
  }
  bool Has(std::string_view name) { return Find({name}) != nullptr; }

  // A member that is an object; nullptr when absent.
  const Json* Object(std::string_view name) {
    const Json* member = Find({name});
    if (member == nullptr || member->is_object()) return member;
    Fail(name, "an object", Shown(*member));
    return nullptr;
  }
  Reader Inside(const Json& member, std::string_view name) {
    return {member, fmt::format("{}: {}", where_, name), error_};
  }

  // Without a fallback the key must be there.
  int64_t Int(Names names, int64_t min, int64_t max, std::optional<int64_t> fallback = {}) {
    const Json* member = Find(names);
    if (member != nullptr) return ToInt(*member, found_, min, max);
    if (fallback.has_value()) return *fallback;
    Fail(found_, fmt::format("an integer in [{}, {}]", min, max), "no such key");
    return min;
  }
  int64_t ToInt(const Json& value, std::string_view key, int64_t min, int64_t max) {
    if (value.is_number()) {
      const Result<int64_t> number = value.ToInt64();
      if (number.ok() && number.value() >= min && number.value() <= max) return number.value();
    }
    Fail(key, fmt::format("an integer in [{}, {}]", min, max), Shown(value));
    return min;
  }

  double Number(Names names, double min, double max, std::optional<double> fallback = {}) {
    const Json* member = Find(names);
    if (member == nullptr && fallback.has_value()) return *fallback;
    if (member != nullptr && member->is_number()) {
      const Result<double> number = member->ToDouble();
      if (number.ok() && number.value() >= min && number.value() <= max) return number.value();
    }
    Fail(found_, fmt::format("a number in [{}, {}]", min, max),
         member == nullptr ? "no such key" : Shown(*member));
    return min;
  }

  std::string String(Names names, std::string fallback) {
    const Json* member = Find(names);
    if (member == nullptr) return fallback;
    if (member->is_string()) return member->string();
    Fail(found_, "a string", Shown(*member));
    return fallback;
  }

  // Keys that describe a choice of architecture: absent, or exactly this.
  void MustBe(std::string_view key, const Json& expected) {
    const Json* member = Find({key});
    if (member != nullptr && *member != expected) Fail(key, WriteJson(expected), Shown(*member));
  }

  // nullptr and a complaint when the key is absent or something else.
  const Json::Array* Array(std::string_view key) {
    const Json* member = Find({key});
    if (member != nullptr && member->is_array()) return &member->array();
    Fail(key, "a list", member == nullptr ? "no such key" : Shown(*member));
    return nullptr;
  }
  std::vector<int64_t> Ints(std::string_view key, int64_t min, int64_t max) {
    std::vector<int64_t> values;
    const Json::Array* array = Array(key);
    if (array == nullptr) return values;
    for (const Json& item : *array)
      values.push_back(ToInt(item, fmt::format("{}[{}]", key, values.size()), min, max));
    return values;
  }

 private:
  const Json& object_;
  std::string where_;
  std::string& error_;
  std::string_view found_;  // name under which the last read found its value
};

// The frequencies divide by ln(theta).
constexpr double kThetaMin = 1.001;
constexpr double kThetaMax = 1e12;

void ReadBetas(Reader& reader, RopeScaling& scaling) {
  scaling.beta_fast = reader.Number({"beta_fast"}, 1e-3, 1e6, 32.0);
  scaling.beta_slow = reader.Number({"beta_slow"}, 1e-3, 1e6, 1.0);
}

// An object that names its type; only "yarn", and "default" for none, are known.
std::optional<RopeScaling> ReadRopeScaling(Reader reader) {
  const std::string type = reader.String({"type", "rope_type"}, "");
  if (type == "default") return std::nullopt;
  if (type != "yarn") reader.Fail("type", "\"yarn\"", type.empty() ? "no such key" : type);
  RopeScaling scaling;
  scaling.factor = reader.Number({"factor"}, 1, 1e6);
  scaling.original_max_position_embeddings =
      reader.Int({"original_max_position_embeddings"}, 1, kPositionsMax);
  ReadBetas(reader, scaling);
  return scaling;
}

// transformers' `main` (layers of ratio 0, never scaled) and `compress`.
void ReadRopeParameters(Reader reader, Config& config) {
  if (const Json* main = reader.Object("main")) {
    Reader inside = reader.Inside(*main, "main");
    inside.MustBe("rope_type", "default");
    config.rope_theta = inside.Number({"rope_theta"}, kThetaMin, kThetaMax, 10000.0);
  }
  if (const Json* compress = reader.Object("compress")) {
    Reader inside = reader.Inside(*compress, "compress");
    config.compress_rope_theta = inside.Number({"rope_theta"}, kThetaMin, kThetaMax);
    config.rope_scaling = ReadRopeScaling(inside);
  } else {
    reader.Fail("compress", "an object", "no such key");
  }
}

// The reference's spelling is known by its `dim`. Its argument defaults (factor 40, compressed
// theta 40000) are not those of the published models, but what the reference would compute with.
void ReadRope(Reader& reader, bool is_reference, Config& config) {
  if (const Json* parameters = reader.Object("rope_parameters")) {
    ReadRopeParameters(reader.Inside(*parameters, "rope_parameters"), config);
    return;
  }
  config.rope_theta = reader.Number({"rope_theta"}, kThetaMin, kThetaMax, 10000.0);
  if (is_reference) {
    config.compress_rope_theta =
        reader.Number({"compress_rope_theta"}, kThetaMin, kThetaMax, 40000.0);
    const int64_t original = reader.Int({"original_seq_len"}, 0, kPositionsMax, 0);
    if (original == 0) return;
    RopeScaling scaling;
    scaling.original_max_position_embeddings = original;
    scaling.factor = reader.Number({"rope_factor"}, 1, 1e6, 40.0);
    ReadBetas(reader, scaling);
    config.rope_scaling = scaling;
    return;
  }
  config.compress_rope_theta = reader.Number({"compress_rope_theta"}, kThetaMin, kThetaMax);
  if (const Json* scaling = reader.Object("rope_scaling"))
    config.rope_scaling = ReadRopeScaling(reader.Inside(*scaling, "rope_scaling"));
}

// The longest context: named, or in the reference's spelling what YaRN stretches to.
void ReadPositions(Reader& reader, bool is_reference, Config& config) {
  std::optional<int64_t> fallback;
  if (is_reference && config.rope_scaling.has_value()) {
    const double stretched =
        config.rope_scaling->factor *
        static_cast<double>(config.rope_scaling->original_max_position_embeddings);
    fallback = std::min(kPositionsMax, static_cast<int64_t>(stretched));
  }
  config.max_position_embeddings =
      reader.Int({"max_position_embeddings"}, 1, kPositionsMax, fallback);
}

// transformers' layer_types, one a main layer, with compress_rates from type to ratio.
std::vector<int64_t> RatiosOfLayerTypes(Reader& reader) {
  int64_t csa = 4;
  int64_t hca = 128;
  if (const Json* rates = reader.Object("compress_rates")) {
    Reader inside = reader.Inside(*rates, "compress_rates");
    csa = inside.Int({"compressed_sparse_attention"}, 4, 4, csa);
    hca = inside.Int({"heavily_compressed_attention"}, 1, kCompressRatioMax, hca);
    if (KindOfRatio(hca) != LayerKind::kHca)
      inside.Fail("heavily_compressed_attention", "a ratio other than 4", std::to_string(hca));
  }
  std::vector<int64_t> ratios;
  const Json::Array* types = reader.Array("layer_types");
  if (types == nullptr) return ratios;
  for (const Json& type : *types) {
    if (type == Json("sliding_attention")) {
      ratios.push_back(0);
    } else if (type == Json("compressed_sparse_attention")) {
      ratios.push_back(csa);
    } else if (type == Json("heavily_compressed_attention")) {
      ratios.push_back(hca);
    } else {
      reader.Fail(fmt::format("layer_types[{}]", ratios.size()),
                  "sliding_attention, compressed_sparse_attention or heavily_compressed_attention",
                  Shown(type));
      return ratios;
    }
  }
  return ratios;
}

void ReadRatios(Reader& reader, Config& config) {
  const bool is_typed = !reader.Has("compress_ratios") && reader.Has("layer_types");
  const char* key = is_typed ? "layer_types" : "compress_ratios";
  std::vector<int64_t> ratios =
      is_typed ? RatiosOfLayerTypes(reader) : reader.Ints("compress_ratios", 0, kCompressRatioMax);
  const int64_t layers = config.num_hidden_layers;
  reader.Require(std::ssize(ratios) >= layers, key, fmt::format("at least {} entries", layers),
                 std::ssize(ratios));
  if (reader.failed()) return;
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t ratio = ratios[static_cast<size_t>(i)];
    // Pages of the state hold whole blocks.
    reader.Require(ratio == 0 || kCompressRatioMax % ratio == 0, fmt::format("{}[{}]", key, i),
                   fmt::format("0 or a divisor of {}", kCompressRatioMax), ratio);
  }
  const int64_t blocks =
      config.dspark.has_value() ? config.dspark->stages : config.num_nextn_predict_layers;
  ratios.resize(static_cast<size_t>(layers + blocks), 0);
  for (int64_t i = layers; i < layers + blocks; ++i) {
    const int64_t ratio = ratios[static_cast<size_t>(i)];
    reader.Require(ratio == 0, fmt::format("{}[{}]", key, i),
                   fmt::format("0, as entries from {} on are MTP or DSpark blocks", layers), ratio);
  }
  config.compress_ratios = std::move(ratios);
}

// transformers' mlp_layer_types: hash_moe for the first layers, moe for the rest.
int64_t ReadHashLayers(Reader& reader, int64_t layers) {
  const bool is_typed = !reader.Has("num_hash_layers") && !reader.Has("n_hash_layers") &&
                        reader.Has("mlp_layer_types");
  if (!is_typed) return reader.Int({"num_hash_layers", "n_hash_layers"}, 0, layers);
  const Json::Array* types = reader.Array("mlp_layer_types");
  if (types == nullptr) return 0;
  reader.Require(std::ssize(*types) == layers, "mlp_layer_types", fmt::format("{} entries", layers),
                 std::ssize(*types));
  int64_t count = 0;
  for (size_t i = 0; i < types->size(); ++i) {
    const Json& type = (*types)[i];
    const bool is_hash = type == Json("hash_moe");
    if (is_hash && count == static_cast<int64_t>(i)) {
      ++count;
    } else if (type != Json("moe")) {
      reader.Fail(fmt::format("mlp_layer_types[{}]", i),
                  is_hash ? "moe after the first moe" : "hash_moe or moe", Shown(type));
    }
  }
  return count;
}

// Ref: model.md 10.2.
void ReadSpeculativeHead(Reader& reader, bool is_reference, Config& config) {
  const bool has_dspark = reader.Has("dspark_block_size") ||
                          reader.Has("dspark_target_layer_ids") || reader.Has("dspark_markov_rank");
  if (!has_dspark) {
    config.num_nextn_predict_layers = reader.Int({"num_nextn_predict_layers", "n_mtp_layers"}, 0,
                                                 kBlocksMax, is_reference ? 1 : 0);
    return;
  }
  // The published file keeps saying 1 here, whatever the number of stages.
  config.num_nextn_predict_layers = reader.Int({"num_nextn_predict_layers"}, 0, kBlocksMax, 1);
  DsparkConfig dspark;
  dspark.block_size = reader.Int({"dspark_block_size"}, 1, 64);
  dspark.noise_token_id = reader.Int({"dspark_noise_token_id"}, 0, config.vocab_size - 1);
  dspark.markov_rank = reader.Int({"dspark_markov_rank"}, 1, kWidthMax);
  dspark.stages = reader.Int({"n_mtp_layers"}, 1, kBlocksMax, 3);
  dspark.target_layer_ids = reader.Ints("dspark_target_layer_ids", 0, config.num_hidden_layers - 1);
  const int64_t targets = std::ssize(dspark.target_layer_ids);
  reader.Require(targets >= 1 && targets <= kBlocksMax, "dspark_target_layer_ids",
                 fmt::format("1 to {} entries", kBlocksMax), targets);
  config.dspark = std::move(dspark);
}

void ReadAttention(Reader& reader, Config& c) {
  c.num_attention_heads = reader.Int({"num_attention_heads", "n_heads"}, 1, kHeadsMax);
  c.head_dim = reader.Int({"head_dim"}, 2, kHeadDimMax);
  if (const Json* fraction = reader.Find({"partial_rotary_factor"});
      fraction != nullptr && !reader.Has("qk_rope_head_dim") && !reader.Has("rope_head_dim")) {
    const double dims =
        static_cast<double>(c.head_dim) * reader.Number({"partial_rotary_factor"}, 0, 1);
    c.qk_rope_head_dim = std::llround(dims);
    if (std::abs(dims - std::round(dims)) > 1e-3)
      reader.Fail("partial_rotary_factor", "a whole number when multiplied with head_dim",
                  Shown(*fraction));
  } else {
    c.qk_rope_head_dim = reader.Int({"qk_rope_head_dim", "rope_head_dim"}, 2, kHeadDimMax);
  }
  c.q_lora_rank = reader.Int({"q_lora_rank"}, 1, kWidthMax);
  c.o_groups = reader.Int({"o_groups"}, 1, kHeadsMax);
  c.o_lora_rank = reader.Int({"o_lora_rank"}, 1, kWidthMax);
  c.sliding_window = reader.Int({"sliding_window", "window_size"}, 1, kWidthMax);
  reader.Require(c.num_attention_heads % c.o_groups == 0, "o_groups",
                 fmt::format("a divisor of num_attention_heads = {}", c.num_attention_heads),
                 c.o_groups);
  reader.Require(
      c.qk_rope_head_dim % 2 == 0 && c.qk_rope_head_dim >= 2 && c.qk_rope_head_dim <= c.head_dim,
      "qk_rope_head_dim", fmt::format("an even number in [2, head_dim = {}]", c.head_dim),
      c.qk_rope_head_dim);
  reader.Require(c.qk_rope_head_dim <= kRotaryDimsMax, "qk_rope_head_dim",
                 fmt::format("at most {}", kRotaryDimsMax), c.qk_rope_head_dim);
}

// Needed only where a layer has an indexer.
void ReadIndexer(Reader& reader, Config& c) {
  bool has_csa = false;
  for (int64_t i = 0; i < std::ssize(c.compress_ratios); ++i)
    has_csa |= KindOfRatio(c.compress_ratios[static_cast<size_t>(i)]) == LayerKind::kCsa;
  const int64_t min = has_csa ? 1 : 0;
  const std::optional<int64_t> fallback = has_csa ? std::nullopt : std::optional<int64_t>(0);
  c.index_n_heads = reader.Int({"index_n_heads"}, min, kHeadsMax, fallback);
  c.index_head_dim = reader.Int({"index_head_dim"}, min, kHeadDimMax, fallback);
  c.index_topk = reader.Int({"index_topk"}, min, kWidthMax, fallback);
  if (!has_csa) return;
  // The Hadamard rotation wants a power of two.
  reader.Require(
      (c.index_head_dim & (c.index_head_dim - 1)) == 0 && c.index_head_dim >= c.qk_rope_head_dim,
      "index_head_dim",
      fmt::format("a power of two, at least qk_rope_head_dim = {}", c.qk_rope_head_dim),
      c.index_head_dim);
}

void ReadExperts(Reader& reader, Config& c) {
  c.n_routed_experts = reader.Int({"n_routed_experts", "num_local_experts"}, 1, kExpertsMax);
  c.n_shared_experts = reader.Int({"n_shared_experts"}, 1, 64, 1);
  c.num_experts_per_tok =
      reader.Int({"num_experts_per_tok", "n_activated_experts"}, 1, c.n_routed_experts);
  c.moe_intermediate_size =
      reader.Int({"moe_intermediate_size", "intermediate_size", "moe_inter_dim"}, 2, kWidthMax);
  c.num_hash_layers = ReadHashLayers(reader, c.num_hidden_layers);
  c.routed_scaling_factor = reader.Number({"routed_scaling_factor", "route_scale"}, 1e-6, 1e6);
  c.swiglu_limit = reader.Number({"swiglu_limit"}, 0, 1e30);
  // Packed FP4 holds two inputs a byte.
  reader.Require(c.hidden_size % 2 == 0, "hidden_size", "an even number", c.hidden_size);
  reader.Require(c.moe_intermediate_size % 2 == 0, "moe_intermediate_size", "an even number",
                 c.moe_intermediate_size);
  reader.Require((c.num_hidden_layers + kBlocksMax) * c.n_routed_experts <= kExpertsOfAllLayersMax,
                 "n_routed_experts",
                 fmt::format("at most {} experts in all layers", kExpertsOfAllLayersMax),
                 c.n_routed_experts);
}

void ReadFormats(Reader& reader, bool is_reference, Config& c) {
  c.expert_dtype = reader.String({"expert_dtype"}, "");
  if (c.expert_dtype != "" && c.expert_dtype != "fp4" && c.expert_dtype != "fp8" &&
      c.expert_dtype != "bf16")
    reader.Fail("expert_dtype", "fp4, fp8 or bf16", c.expert_dtype);
  if (is_reference && reader.String({"dtype"}, "bf16") == "fp8") c.has_quantization_config = true;
  const Json* quantization = reader.Object("quantization_config");
  if (quantization == nullptr) return;
  c.has_quantization_config = true;
  Reader inside = reader.Inside(*quantization, "quantization_config");
  inside.MustBe("quant_method", "fp8");
  inside.MustBe("fmt", "e4m3");
  inside.MustBe("weight_block_size", Json::Array{128, 128});
}

// Choices of architecture that are the same in every model of the family and that the forward pass
// therefore does not ask about. `kv_source_layer_ids` belongs to V4.1, another architecture.
void CheckArchitecture(Reader& reader) {
  reader.MustBe("model_type", "deepseek_v4");
  reader.MustBe("num_key_value_heads", 1);
  reader.MustBe("scoring_func", "sqrtsoftplus");
  reader.MustBe("score_func", "sqrtsoftplus");
  reader.MustBe("topk_method", "noaux_tc");
  reader.MustBe("norm_topk_prob", true);
  reader.MustBe("hidden_act", "silu");
  reader.MustBe("tie_word_embeddings", false);
  reader.MustBe("attention_bias", false);
  if (const Json* v41 = reader.Find({"kv_source_layer_ids"}))
    reader.Fail("kv_source_layer_ids", "no such key (it is V4.1's)", Shown(*v41));
}

// Bounds every product of sizes that sizes.cc, layout.cc and the buffers form. Doubles, because the
// point is that int64_t might not hold it.
void CheckTotal(Reader& reader, const Config& c) {
  const auto d = [](int64_t n) { return static_cast<double>(n); };
  const double layers = d(c.num_hidden_layers + kBlocksMax);
  const double experts = d(c.n_routed_experts + c.n_shared_experts) * 3 * d(c.hidden_size) *
                         d(c.moe_intermediate_size);
  const double heads = d(c.num_attention_heads) * d(c.head_dim);
  const double out = d(c.o_groups) * d(c.o_lora_rank);
  const double attention =
      d(c.q_lora_rank) * (d(c.hidden_size) + heads) + heads * d(c.o_lora_rank) +
      out * d(c.hidden_size) + d(c.index_n_heads) * d(c.index_head_dim) * d(c.q_lora_rank) +
      5 * (d(c.hidden_size) + kCompressRatioMax) * (d(c.head_dim) + d(c.index_head_dim));
  const double tables =
      d(c.vocab_size) * (2 * d(c.hidden_size) + d(c.num_experts_per_tok) * layers);
  const double total = layers * (experts + attention) + tables;
  if (total > kWeightsMax)
    reader.Fail("hidden_size",
                fmt::format("sizes of a model of at most {:.3g} weights", kWeightsMax),
                fmt::format("sizes of {:.3g} weights", total));
}

bool DescribesVision(const Json& object) {
  for (const Json::Member& member : object.object())
    if (member.first.starts_with("vision") && !member.second.is_null() &&
        member.second != Json(false))
      return true;
  return false;
}

}  // namespace

LayerKind KindOfRatio(int64_t ratio) {
  if (ratio == 0) return LayerKind::kWindow;
  return ratio == 4 ? LayerKind::kCsa : LayerKind::kHca;
}

const char* Name(LayerKind kind) {
  switch (kind) {
    case LayerKind::kWindow:
      return "window";
    case LayerKind::kCsa:
      return "CSA";
    case LayerKind::kHca:
      return "HCA";
  }
  return "?";
}

Result<Config> ParseConfig(std::string_view json, const std::string& where) {
  Result<Json> parsed = ParseJson(json);
  if (!parsed.ok()) return std::move(parsed).error().In(where);
  const Json& object = parsed.value();
  if (!object.is_object())
    return Error{fmt::format("{}: expected an object, found {}", where, Shown(object))};
  std::string error;
  Reader reader(object, where, error);
  const bool is_reference = reader.Has("dim") && !reader.Has("hidden_size");
  Config c;
  CheckArchitecture(reader);
  c.hidden_size = reader.Int({"hidden_size", "dim"}, 2, kWidthMax);
  c.num_hidden_layers = reader.Int({"num_hidden_layers", "n_layers"}, 1, kLayersMax);
  c.vocab_size = reader.Int({"vocab_size"}, 1, kVocabularyMax);
  c.bos_token_id = reader.Int({"bos_token_id"}, 0, c.vocab_size - 1, 0);
  c.eos_token_id = reader.Int({"eos_token_id"}, 0, c.vocab_size - 1, c.vocab_size > 1 ? 1 : 0);
  ReadAttention(reader, c);
  ReadRope(reader, is_reference, c);
  ReadPositions(reader, is_reference, c);
  ReadSpeculativeHead(reader, is_reference, c);
  ReadRatios(reader, c);
  ReadIndexer(reader, c);
  ReadExperts(reader, c);
  c.hc_mult = reader.Int({"hc_mult"}, 1, 8, 4);
  c.hc_sinkhorn_iters = reader.Int({"hc_sinkhorn_iters"}, 1, 1000, 20);
  c.hc_eps = reader.Number({"hc_eps"}, 0, 1, 1e-6);
  c.rms_norm_eps = reader.Number({"rms_norm_eps", "norm_eps"}, 0, 1, 1e-6);
  ReadFormats(reader, is_reference, c);
  c.chat_revision = reader.String({"chat_revision"}, "");
  c.has_vision = DescribesVision(object);
  CheckTotal(reader, c);
  if (reader.failed()) return Error{std::move(error)};
  return c;
}

Result<Config> LoadConfig(const std::string& dir) {
  constexpr int64_t kConfigBytesMax = int64_t{16} << 20;
  const std::string path = dir + "/config.json";
  FATHOM_TRY(const std::string text, ReadFile(path, kConfigBytesMax));
  return ParseConfig(text, path);
}

}  // namespace fathom::model
