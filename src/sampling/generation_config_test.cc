#include "sampling/generation_config.h"

#include <gtest/gtest.h>

namespace fathom::sampling {
namespace {

TEST(GenerationConfigTest, ReadsThePublishedForm) {
  const auto config = ParseGenerationConfig(
      R"({"_from_model_config": true, "bos_token_id": 0, "eos_token_id": 1, "do_sample": true,
          "temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.05,
          "repetition_penalty": 1.1})",
      "here");
  ASSERT_TRUE(config.ok()) << config.error().message;
  const Params& params = config.value().params;
  EXPECT_EQ(params.temperature, 0.6f);
  EXPECT_EQ(params.top_p, 0.95);
  EXPECT_EQ(params.top_k, 20);
  EXPECT_EQ(params.min_p, 0.05);
  EXPECT_EQ(params.repetition_penalty, 1.1f);
  EXPECT_EQ(config.value().eos_token_ids, (std::vector<TokenId>{1}));
}

TEST(GenerationConfigTest, AbsentKeysKeepTheDefaults) {
  const auto config = ParseGenerationConfig(R"({"top_k": null, "eos_token_id": null})", "here");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config.value().params.temperature, 1.0f);
  EXPECT_EQ(config.value().params.top_p, 1.0);
  EXPECT_EQ(config.value().params.top_k, 0);
  EXPECT_TRUE(config.value().eos_token_ids.empty());
}

TEST(GenerationConfigTest, NoSamplingIsGreedyAndSeveralEndsAreKept) {
  const auto config = ParseGenerationConfig(
      R"({"do_sample": false, "temperature": 0.7, "eos_token_id": [1, 7]})", "here");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config.value().params.temperature, 0.0f);
  EXPECT_EQ(config.value().eos_token_ids, (std::vector<TokenId>{1, 7}));
}

TEST(GenerationConfigTest, WrongValuesAreErrorsThatNameTheFile) {
  for (const char* text : {"", "[]", R"({"temperature": "hot"})", R"({"temperature": -1})",
                           R"({"top_k": 1.5})", R"({"top_p": 0})", R"({"do_sample": 1})",
                           R"({"eos_token_id": -1})", R"({"eos_token_id": 4294967296})",
                           R"({"eos_token_id": [1, "x"]})", R"({"temperature": 1e999})"}) {
    const auto config = ParseGenerationConfig(text, "here");
    ASSERT_FALSE(config.ok()) << text;
    EXPECT_EQ(config.error().message.find("here: "), 0u) << config.error().message;
  }
}

TEST(GenerationConfigTest, TheFileMayBeMissing) {
  EXPECT_TRUE(LoadGenerationConfig(FATHOM_SOURCE_DIR "/testdata").ok());
  const auto config = LoadGenerationConfig(FATHOM_SOURCE_DIR "/models/nano");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config.value().eos_token_ids, (std::vector<TokenId>{1}));
}

}  // namespace
}  // namespace fathom::sampling
