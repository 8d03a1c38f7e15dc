#include <gtest/gtest.h>

#include "api/answer.h"

namespace fathom::api {
namespace {

TEST(Models, BothShapes) {
  const Facts facts = {.context_tokens = 1000, .output_tokens_max = 100};
  EXPECT_EQ(WriteModels(facts, false),
            R"({"object":"list","data":[{"id":"deepseek-v4-flash","object":"model",)"
            R"("owned_by":"deepseek","created":1776988800,"context_length":1000,)"
            R"("max_model_len":1000,"max_output_tokens":100}]})");
  EXPECT_EQ(WriteModels(facts, true),
            R"({"data":[{"type":"model","id":"deepseek-v4-flash",)"
            R"("display_name":"deepseek-v4-flash","created_at":"2026-04-24T00:00:00Z"}],)"
            R"("has_more":false,"first_id":"deepseek-v4-flash","last_id":"deepseek-v4-flash"})");
}

TEST(Models, ByName) {
  Facts facts;
  facts.model = "my-model";
  for (const char* name : {"my-model", "deepseek-chat", "deepseek-reasoner", "deepseek-flash",
                           "deepseek-v4-flash", "deepseek-v4-pro", "deepseek-v4-pro[1m]"})
    EXPECT_TRUE(WriteModel(facts, name, false)->starts_with("{\"id\":\"my-model\"")) << name;
  EXPECT_EQ(WriteModel(facts, "gpt-4", false), std::nullopt);
  EXPECT_EQ(WriteModel(facts, "claude-opus-4-5", false), std::nullopt);
  EXPECT_TRUE(WriteModel(facts, "claude-opus-4-5", true)->starts_with("{\"type\":\"model\""));
}

TEST(Models, BalanceAndTokenCounts) {
  EXPECT_EQ(WriteBalance(),
            R"({"is_available":true,"balance_infos":[{"currency":"USD","total_balance":"0.00",)"
            R"("granted_balance":"0.00","topped_up_balance":"0.00"}]})");
  EXPECT_EQ(WriteTokenCount(Dialect::kAnthropic, 12), R"({"input_tokens":12})");
  EXPECT_EQ(WriteTokenCount(Dialect::kResponses, 12),
            R"({"object":"response.input_tokens","input_tokens":12})");
}

}  // namespace
}  // namespace fathom::api
