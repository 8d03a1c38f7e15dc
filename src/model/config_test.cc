// The three spellings of config.json, the presets, and what is refused. Ref: model.md 3, 10.2.
#include "model/config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/file.h"
#include "base/json.h"

namespace fathom::model {
namespace {

std::string SourcePath(const std::string& path) {
  return std::string(FATHOM_SOURCE_DIR) + "/" + path;
}

// `config` in the published spelling, as JSON to edit.
Json AsJson(const Config& config) { return ParseJson(WriteConfig(config)).value(); }

void Erase(Json& json, std::string_view name) {
  std::erase_if(json.object(), [&](const Json::Member& member) { return member.first == name; });
}
void Rename(Json& json, std::string_view from, std::string to) {
  for (Json::Member& member : json.object())
    if (member.first == from) member.first = to;
}

Result<Config> Parse(const Json& json) { return ParseConfig(WriteJson(json), "config.json"); }

void ExpectSame(const Json& json, const Config& expected) {
  const Result<Config> read = Parse(json);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_TRUE(read.value() == expected) << WriteConfig(read.value());
}

TEST(Config, GoldenModelsLoad) {
  for (const char* name : {"bf16-tiny", "flash-shape", "fp8-fp4-tiny", "longctx-tiny"}) {
    const Result<Config> config = LoadConfig(SourcePath("testdata/golden/") + name);
    ASSERT_TRUE(config.ok()) << config.error().message;
    EXPECT_EQ(config.value().num_nextn_predict_layers, 1) << name;
    EXPECT_EQ(std::ssize(config.value().compress_ratios), config.value().num_hidden_layers + 1);
    ExpectSame(AsJson(config.value()), config.value());
  }
  const Config tiny = LoadConfig(SourcePath("testdata/golden/bf16-tiny")).value();
  EXPECT_FALSE(tiny.has_quantization_config);
  EXPECT_EQ(tiny.expert_dtype, "");
  EXPECT_EQ(tiny.swiglu_limit, 2.5);
  EXPECT_EQ(tiny.rope_scaling, (RopeScaling{4, 64, 8, 1}));
  EXPECT_EQ(tiny.num_experts_per_tok, 3);
  EXPECT_EQ(tiny.kind(0), LayerKind::kWindow);
  EXPECT_EQ(tiny.kind(1), LayerKind::kCsa);
  EXPECT_EQ(tiny.kind(2), LayerKind::kHca);
}

TEST(Config, NanoPresetIsTheBundledModel) {
  const Result<Config> config = LoadConfig(SourcePath("models/nano"));
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_TRUE(config.value() == NanoPreset()) << WriteConfig(config.value());
}

TEST(Config, PresetsSurviveWriting) {
  for (const Config& config : {FlashPreset(), ProPreset(), NanoPreset()})
    ExpectSame(AsJson(config), config);
}

// Ref: model.md 3.3.
TEST(Config, PresetLayerKinds) {
  const auto count = [](const Config& config, LayerKind kind) {
    int64_t n = 0;
    for (int64_t i = 0; i < config.num_hidden_layers; ++i) n += config.kind(i) == kind;
    return n;
  };
  const Config flash = FlashPreset();
  EXPECT_EQ(flash.compress_ratios.size(), 44u);
  EXPECT_EQ(count(flash, LayerKind::kWindow), 2);
  EXPECT_EQ(count(flash, LayerKind::kCsa), 21);
  EXPECT_EQ(count(flash, LayerKind::kHca), 20);
  EXPECT_EQ(flash.kind(2), LayerKind::kCsa);
  EXPECT_EQ(flash.kind(42), LayerKind::kCsa);
  const Config pro = ProPreset();
  EXPECT_EQ(pro.compress_ratios.size(), 62u);
  EXPECT_EQ(count(pro, LayerKind::kWindow), 0);
  EXPECT_EQ(count(pro, LayerKind::kCsa), 30);
  EXPECT_EQ(count(pro, LayerKind::kHca), 31);
  EXPECT_EQ(pro.kind(0), LayerKind::kHca);
  EXPECT_EQ(pro.kind(60), LayerKind::kCsa);
}

// The published inference/config.json of Flash. Ref: model.md 3.2.
TEST(Config, ReferenceSpellingIsTheSameConfig) {
  const std::string path = SourcePath("testdata/config/flash_inference.json");
  const Result<Config> config = ParseConfig(ReadFile(path).value(), path);
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_TRUE(config.value() == FlashPreset()) << WriteConfig(config.value());
}

TEST(Config, ReferenceArgumentDefaults) {
  const std::string path = SourcePath("testdata/config/flash_inference.json");
  Json json = ParseJson(ReadFile(path).value()).value();
  Erase(json, "compress_rope_theta");
  Erase(json, "rope_factor");
  Config expected = FlashPreset();
  expected.compress_rope_theta = 40000;
  expected.rope_scaling->factor = 40;
  expected.max_position_embeddings = 40 * 65536;
  ExpectSame(json, expected);
  Erase(json, "original_seq_len");  // 0 in the code: no YaRN
  EXPECT_FALSE(Parse(json).ok());   // and then nothing says how long a context may be
  json.Set("max_position_embeddings", 4096);
  expected.rope_scaling.reset();
  expected.max_position_embeddings = 4096;
  ExpectSame(json, expected);
}

// As transformers 5 writes it. Ref: model.md 3.1, renamed keys.
Json TransformersJson(const Config& config) {
  Json json = AsJson(config);
  for (const char* name : {"compress_ratios", "rope_theta", "compress_rope_theta", "rope_scaling",
                           "qk_rope_head_dim", "num_hash_layers"})
    Erase(json, name);
  Json::Array layer_types;
  Json::Array mlp_layer_types;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layer_types.push_back(config.ratio(i) == 0   ? "sliding_attention"
                          : config.ratio(i) == 4 ? "compressed_sparse_attention"
                                                 : "heavily_compressed_attention");
    mlp_layer_types.push_back(i < config.num_hash_layers ? "hash_moe" : "moe");
  }
  json.Set("layer_types", layer_types);
  json.Set("mlp_layer_types", mlp_layer_types);
  json.Set("compress_rates", ParseJson(R"({"compressed_sparse_attention": 4,
                                           "heavily_compressed_attention": 128})")
                                 .value());
  json.Set("rope_parameters", ParseJson(R"({"main": {"rope_type": "default", "rope_theta": 10000.0},
                         "compress": {"rope_type": "yarn", "rope_theta": 160000, "factor": 16,
                                      "original_max_position_embeddings": 65536,
                                      "beta_fast": 32, "beta_slow": 1}})")
                                  .value());
  json.Set("partial_rotary_factor", 0.125);
  Rename(json, "n_routed_experts", "num_local_experts");
  Rename(json, "moe_intermediate_size", "intermediate_size");
  return json;
}

TEST(Config, TransformersSpellingIsTheSameConfig) {
  ExpectSame(TransformersJson(FlashPreset()), FlashPreset());
  ExpectSame(TransformersJson(ProPreset()), ProPreset());
  Json json = TransformersJson(ProPreset());
  Erase(json, "compress_rates");
  ExpectSame(json, ProPreset());
}

TEST(Config, TransformersSpellingIsCheckedToo) {
  const auto message = [](const std::function<void(Json&)>& edit) {
    Json json = TransformersJson(FlashPreset());
    edit(json);
    const Result<Config> read = Parse(json);
    return read.ok() ? std::string() : read.error().message;
  };
  EXPECT_EQ(message([](Json& j) { j.Find("layer_types")->array()[3] = "full_attention"; }),
            "config.json: \"layer_types[3]\": expected sliding_attention, "
            "compressed_sparse_attention or heavily_compressed_attention, found "
            "\"full_attention\"");
  EXPECT_EQ(message([](Json& j) { j.Find("mlp_layer_types")->array()[7] = "hash_moe"; }),
            "config.json: \"mlp_layer_types[7]\": expected moe after the first moe, found "
            "\"hash_moe\"");
  EXPECT_EQ(message([](Json& j) { j.Find("mlp_layer_types")->array().pop_back(); }),
            "config.json: \"mlp_layer_types\": expected 43 entries, found 42");
  EXPECT_EQ(
      message([](Json& j) { j.Find("rope_parameters")->Find("main")->Set("rope_type", "yarn"); }),
      "config.json: rope_parameters: main: \"rope_type\": expected \"default\", found "
      "\"yarn\"");
  EXPECT_EQ(message([](Json& j) { j.Set("partial_rotary_factor", 0.3); }),
            "config.json: \"partial_rotary_factor\": expected a whole number when multiplied with "
            "head_dim, found 0.3");
}

TEST(Config, OptionalKeysMayBeMissingOrNull) {
  Json json = AsJson(FlashPreset());
  Config expected = FlashPreset();
  expected.expert_dtype = "";
  expected.rope_scaling.reset();
  expected.has_quantization_config = false;
  expected.num_nextn_predict_layers = 0;
  expected.compress_ratios.pop_back();
  json.Set("expert_dtype", nullptr);
  json.Set("rope_scaling", nullptr);
  for (const char* name :
       {"quantization_config", "num_nextn_predict_layers", "hc_mult", "hc_sinkhorn_iters", "hc_eps",
        "rms_norm_eps", "bos_token_id", "eos_token_id", "rope_theta", "n_shared_experts",
        "architectures", "model_type", "torch_dtype", "scoring_func", "num_key_value_heads"})
    Erase(json, name);
  ExpectSame(json, expected);
  Erase(json, "rope_scaling");
  ExpectSame(json, expected);
}

TEST(Config, RatiosOfMtpBlocksMayBeMissing) {
  Json json = AsJson(FlashPreset());
  json.Find("compress_ratios")->array().pop_back();
  ExpectSame(json, FlashPreset());
}

// Ref: model.md 10.2.
TEST(Config, Dspark) {
  Config flash = FlashPreset();
  flash.dspark = DsparkConfig{5, 128799, {40, 41, 42}, 256, 3};
  flash.compress_ratios = FlashPreset().compress_ratios;
  flash.compress_ratios.insert(flash.compress_ratios.end(), {0, 0});
  ExpectSame(AsJson(flash), flash);
  Json json = AsJson(flash);
  json.Find("compress_ratios")->array().resize(43);
  ExpectSame(json, flash);
  json.Set("dspark_target_layer_ids", Json::Array{40, 41, 43});
  EXPECT_EQ(
      Parse(json).error().message,
      "config.json: \"dspark_target_layer_ids[2]\": expected an integer in [0, 42], found 43");
}

TEST(Config, OurKeysAndVision) {
  Config config = NanoPreset();
  config.chat_revision = "first";
  config.has_vision = true;
  ExpectSame(AsJson(config), config);
  Json json = AsJson(NanoPreset());
  json.Set("vision_config", ParseJson(R"({"depth": 32})").value());
  EXPECT_TRUE(Parse(json).value().has_vision);
}

struct Refusal {
  const char* key;
  const char* value;  // JSON; empty removes the key
  const char* message;
};

class RefusedConfig : public testing::TestWithParam<Refusal> {};

TEST_P(RefusedConfig, NamesKeyExpectationAndValue) {
  const Refusal& refusal = GetParam();
  Json json = AsJson(FlashPreset());
  Erase(json, refusal.key);
  if (*refusal.value != 0) json.Set(refusal.key, ParseJson(refusal.value).value());
  const Result<Config> read = Parse(json);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().message,
            fmt::format("config.json: \"{}\": expected {}", refusal.key, refusal.message));
}

constexpr Refusal kRefusals[] = {
    {"hidden_size", "", "an integer in [2, 1048576], found no such key"},
    {"hidden_size", "\"4096\"", "an integer in [2, 1048576], found \"4096\""},
    {"hidden_size", "4096.5", "an integer in [2, 1048576], found 4096.5"},
    {"hidden_size", "-4096", "an integer in [2, 1048576], found -4096"},
    {"hidden_size", "99999999999999999999999",
     "an integer in [2, 1048576], found 99999999999999999999999"},
    {"hidden_size", "4095", "an even number, found 4095"},
    {"num_hidden_layers", "1000000000", "an integer in [1, 1024], found 1000000000"},
    {"n_routed_experts", "65536", "at most 1048576 experts in all layers, found 65536"},
    {"o_groups", "7", "a divisor of num_attention_heads = 64, found 7"},
    {"qk_rope_head_dim", "63", "an even number in [2, head_dim = 512], found 63"},
    {"qk_rope_head_dim", "514", "an even number in [2, head_dim = 512], found 514"},
    {"index_head_dim", "96", "a power of two, at least qk_rope_head_dim = 64, found 96"},
    {"index_head_dim", "32", "a power of two, at least qk_rope_head_dim = 64, found 32"},
    {"num_experts_per_tok", "257", "an integer in [1, 256], found 257"},
    {"num_hash_layers", "44", "an integer in [0, 43], found 44"},
    {"hc_mult", "9", "an integer in [1, 8], found 9"},
    {"swiglu_limit", "", "a number in [0, 1e+30], found no such key"},
    {"rope_theta", "1", "a number in [1.001, 1000000000000], found 1"},
    {"compress_ratios", "[0, 4, 128]", "at least 43 entries, found 3"},
    {"compress_ratios", "4", "a list, found 4"},
    {"expert_dtype", "\"int4\"", "fp4, fp8 or bf16, found int4"},
    {"model_type", "\"deepseek_v3\"", "\"deepseek_v4\", found \"deepseek_v3\""},
    {"scoring_func", "\"sigmoid\"", "\"sqrtsoftplus\", found \"sigmoid\""},
    {"kv_source_layer_ids", "[2, 8, 14, 20]", "no such key (it is V4.1's), found [2,8,14,20]"},
};
INSTANTIATE_TEST_SUITE_P(Config, RefusedConfig, testing::ValuesIn(kRefusals));

TEST(Config, RefusesOtherRopeScaling) {
  Json json = AsJson(FlashPreset());
  json.Find("rope_scaling")->Set("type", "linear");
  EXPECT_EQ(Parse(json).error().message,
            "config.json: rope_scaling: \"type\": expected \"yarn\", found linear");
}

TEST(Config, RefusesRatioInMtpBlock) {
  Json json = AsJson(ProPreset());
  json.Find("compress_ratios")->array().back() = 128;
  EXPECT_EQ(Parse(json).error().message,
            "config.json: \"compress_ratios[61]\": expected 0, as entries from 61 on are MTP or "
            "DSpark blocks, found 128");
}

TEST(Config, RefusesRatiosThatPagesCannotHold) {
  Json json = AsJson(FlashPreset());
  json.Find("compress_ratios")->array()[26] = 218;
  EXPECT_EQ(Parse(json).error().message,
            "config.json: \"compress_ratios[26]\": expected an integer in [0, 128], found 218");
  json.Find("compress_ratios")->array()[26] = 100;
  EXPECT_EQ(Parse(json).error().message,
            "config.json: \"compress_ratios[26]\": expected 0 or a divisor of 128, found 100");
}

TEST(Config, RefusesAbsurdTotals) {
  Json json = AsJson(FlashPreset());
  json.Set("hidden_size", 1 << 20);
  json.Set("moe_intermediate_size", 1 << 20);
  EXPECT_EQ(Parse(json).error().message,
            "config.json: \"hidden_size\": expected sizes of a model of at most 1.13e+15 weights, "
            "found sizes of 5e+16 weights");
}

TEST(Config, RefusesWhatIsNoObject) {
  EXPECT_EQ(ParseConfig("[1]", "x/config.json").error().message,
            "x/config.json: expected an object, found [1]");
  EXPECT_EQ(ParseConfig("{", "x/config.json").error().message.substr(0, 39),
            "x/config.json: not valid JSON at byte 2");
  EXPECT_FALSE(LoadConfig("/nonexistent").ok());
}

}  // namespace
}  // namespace fathom::model
