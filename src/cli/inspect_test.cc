// fathom inspect and fathom synth as a user calls them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/folder_testing.h"
#include "base/json.h"
#include "cli/commands.h"
#include "model/config.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int exit_code = 0;
  std::string out;
  std::string err;
};

Outcome RunCommand(const std::string& arguments) {
  CLI::App app;
  Outcome outcome;
  RegisterInspect(app, outcome.exit_code);
  RegisterSynth(app, outcome.exit_code);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError&) {
    outcome.exit_code = 2;
  }
  std::fflush(stdout);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

Json InspectJson(const std::string& arguments) {
  const Outcome outcome = RunCommand("inspect --json " + arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const Result<Json> json = ParseJson(outcome.out);
  EXPECT_TRUE(json.ok());
  return json.ok() ? json.value() : Json();
}
double Number(const Json& json, const char* group, const char* key) {
  const Json* member = json.Find(group) == nullptr ? nullptr : json.Find(group)->Find(key);
  EXPECT_NE(member, nullptr) << group << "." << key;
  return member == nullptr ? 0 : member->ToDouble().value();
}

class SynthCommand : public testing::Test {
 protected:
  const TempFolder folder_;
  const std::string path_ = folder_ / "model";
};

// The published claims at a million tokens: 10 % of the FLOPs and 7 % of the cache for Flash, 27 %
// and 10 % for Pro, of DeepSeek-V3.2's.
TEST(Inspect, PublishedClaimsOfThePresets) {
  const Json flash = InspectJson("flash");
  EXPECT_NEAR(Number(flash, "parameters", "total"), 284.332e9, 1e6);
  EXPECT_NEAR(Number(flash, "parameters", "active"), 13.270e9, 1e6);
  EXPECT_NEAR(Number(flash, "parameters", "mtp"), 6.610e9, 1e6);
  EXPECT_NEAR(Number(flash, "kv", "bytes_per_token"), 3514.25, 0.005);
  EXPECT_NEAR(Number(flash, "kv", "bytes"), 3.688e9, 1e6);
  EXPECT_NEAR(Number(flash, "flops", "per_token"), 122.0e9, 1e8);
  EXPECT_NEAR(Number(flash, "flops", "ratio_to_v32"), 0.10, 0.02);
  EXPECT_NEAR(Number(flash, "kv", "ratio_to_v32"), 0.07, 0.02);
  const Json pro = InspectJson("pro");
  EXPECT_NEAR(Number(pro, "parameters", "total"), 1572.997e9, 1e6);
  EXPECT_NEAR(Number(pro, "parameters", "active"), 48.852e9, 1e6);
  EXPECT_NEAR(Number(pro, "flops", "ratio_to_v32"), 0.27, 0.02);
  EXPECT_NEAR(Number(pro, "kv", "ratio_to_v32"), 0.10, 0.02);
  const Json* by_format = pro.Find("bytes")->Find("by_format");
  ASSERT_NE(by_format, nullptr);
  EXPECT_NEAR(by_format->Find("I8")->ToDouble().value(), 786.4e9, 1e8);
}

TEST(Inspect, LayersOfFlash) {
  const Json flash = InspectJson("flash --context 4096");
  EXPECT_EQ(*flash.Find("context"), Json(4096));
  const Json::Array& layers = flash.Find("layers")->array();
  ASSERT_EQ(layers.size(), 43u);
  EXPECT_EQ(*layers[0].Find("attention"), Json("window"));
  EXPECT_EQ(*layers[2].Find("attention"), Json("CSA"));
  EXPECT_EQ(*layers[2].Find("routing"), Json("hash"));
  EXPECT_EQ(*layers[3].Find("attention"), Json("HCA"));
  EXPECT_EQ(*layers[3].Find("ratio"), Json(128));
  EXPECT_EQ(*layers[3].Find("routing"), Json("scored"));
  const Outcome page = RunCommand("inspect flash");
  EXPECT_NE(page.out.find("284.332 B total, 13.270 B active per token; MTP head apart 6.610 B"),
            std::string::npos);
  EXPECT_NE(page.out.find(": 4, 6 .. 42\n"), std::string::npos) << page.out;
  EXPECT_NE(page.out.find("10.22 %"), std::string::npos);
}

TEST(Inspect, BundledModelFolderIsAsItsPreset) {
  const Json folder = InspectJson(FATHOM_SOURCE_DIR "/models/nano");
  const Json preset = InspectJson("nano");
  EXPECT_EQ(*folder.Find("bytes"), *preset.Find("bytes"));
  EXPECT_EQ(*folder.Find("parameters"), *preset.Find("parameters"));
  EXPECT_EQ(*folder.Find("layers"), *preset.Find("layers"));
  EXPECT_EQ(*folder.Find("flops"), *preset.Find("flops"));
}

TEST(Inspect, ComplainsInOneLine) {
  const Outcome outcome = RunCommand("inspect /nonexistent");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.err,
            "fathom inspect: /nonexistent/config.json: cannot open: No such file or directory\n");
  EXPECT_EQ(RunCommand("inspect flash --context 0").exit_code, 2);
  EXPECT_EQ(RunCommand("inspect").exit_code, 2);
}

TEST_F(SynthCommand, OptionsReachTheConfiguration) {
  const Outcome outcome = RunCommand(fmt::format(
      "synth --preset nano --layers 3 --experts 6 --hidden 64 --vocab 300 --heads 6 --o-groups 3 "
      "--moe-intermediate 32 --context 512 --mtp off --experts-format bf16 --dense bf16 --seed 9 "
      "--threads 1 -o {}",
      path_));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const model::Config config = model::LoadConfig(path_).value();
  EXPECT_EQ(config.num_hidden_layers, 3);
  EXPECT_EQ(config.compress_ratios, (std::vector<int64_t>{0, 4, 128}));
  EXPECT_EQ(config.n_routed_experts, 6);
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.vocab_size, 300);
  EXPECT_EQ(config.max_position_embeddings, 512);
  EXPECT_EQ(config.expert_dtype, "bf16");
  EXPECT_FALSE(config.has_quantization_config);
  const Json json = InspectJson(path_);
  EXPECT_EQ(*json.Find("speculative_head"), Json("none"));
  EXPECT_EQ(*json.Find("formats")->Find("experts"), Json("BF16"));
  for (const char* name : {"tokenizer.json", "generation_config.json"}) {
    const Result<std::string> text = ReadFile(path_ + "/" + name);
    ASSERT_TRUE(text.ok()) << text.error().message;
    EXPECT_TRUE(ParseJson(text.value()).ok()) << name;
  }
  const std::string again = fmt::format("synth --preset nano -o {}", path_);
  EXPECT_EQ(RunCommand(again).exit_code, 2);
  EXPECT_EQ(RunCommand(again + " --force").exit_code, 0);
  EXPECT_TRUE(model::LoadConfig(path_).value().hidden_size == 128);
}

TEST_F(SynthCommand, RefusesShapesThatNoModelHas) {
  const auto complaint = [&](const std::string& options) {
    const Outcome outcome = RunCommand(fmt::format("synth --preset nano {} -o {}", options, path_));
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_FALSE(fs::exists(path_));
    return outcome.err;
  };
  EXPECT_EQ(complaint("--heads 5"),
            "fathom synth: the options' config.json: \"o_groups\": expected a divisor of "
            "num_attention_heads = 5, found 2\n");
  EXPECT_EQ(complaint("--layers 5"),
            "fathom synth: --layers: expected 1 to 4, those of nano, found 5\n");
  EXPECT_EQ(complaint("--vocab 100"), "fathom synth: --vocab: expected at least 259, found 100\n");
  EXPECT_EQ(complaint("--experts 1"),
            "fathom synth: the options' config.json: \"num_experts_per_tok\": expected an integer "
            "in [1, 1], found 2\n");
}

}  // namespace
}  // namespace fathom::cli
