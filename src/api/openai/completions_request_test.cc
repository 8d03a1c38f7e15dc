// Every row of docs/api.md, "Completions and FIM", in both profiles.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api/request.h"
#include "api/turn_list.h"
#include "chat/encode.h"

namespace fathom::api {
namespace {

constexpr std::string_view kShape = "Failed to deserialize the JSON body into the target type: ";

Parsed<Request> Parse(std::string_view body, Profile profile = Profile::kDefault,
                      bool is_beta = true) {
  Facts facts;
  facts.profile = profile;
  return ParseCompletions(body, facts, {.is_beta = is_beta});
}

Request Read(std::string_view body) {
  auto request = Parse(body);
  EXPECT_TRUE(request.ok()) << body << ": " << request.error().message;
  return request.ok() ? std::move(request).value() : Request();
}

std::string With(std::string_view members) {
  return fmt::format(R"({{"model":"deepseek-v4-pro","prompt":"p"{}{}}})",
                     members.empty() ? "" : ",", members);
}

struct Case {
  std::string body;
  std::string strict;
  std::string tolerant;
};
Case Both(std::string body, const std::string& message) {
  return {std::move(body), message, message};
}

TEST(CompletionsRequest, Refusals) {
  const std::string ids = "Invalid prompt value, the valid range of token ids is [0, 129279]";
  const std::vector<Case> cases = {
      Both("{",
           "Failed to parse the request body as JSON: EOF while parsing an object at line 1 "
           "column 1"),
      Both("{}", "...missing field `model`"),
      Both(R"({"model":"deepseek-v4-pro"})", "...missing field `prompt`"),
      Both(R"({"model":"deepseek-v4-pro","prompt":5})",
           "...prompt: invalid type: integer `5`, expected a string or a sequence"),
      Both(R"({"model":"deepseek-v4-pro","prompt":[1,"x"]})",
           "...prompt[1]: invalid type: string \"x\", expected i64"),
      Both(R"({"model":"deepseek-v4-pro","prompt":[]})", "Empty input prompt"),
      Both(R"({"model":"deepseek-v4-pro","prompt":["a","b"]})",
           "Invalid prompt value, only one prompt is supported in a request"),
      Both(R"({"model":"deepseek-v4-pro","prompt":[129280]})", ids),
      Both(R"({"model":"deepseek-v4-pro","prompt":[-1]})", ids),
      Both(R"({"model":"deepseek-v4-pro","prompt":[1],"suffix":"s"})",
           "Invalid prompt value, a prompt with suffix must be a string"),
      {R"({"model":"davinci","prompt":"p"})",
       "The supported API model names are deepseek-v4-flash, deepseek-v4-pro, but you passed "
       "davinci.",
       ""},
      Both(With(R"("suffix":5)"), "...suffix: invalid type: integer `5`, expected a string"),
      Both(With(R"("suffix":"s","echo":true)"), "echo is not supported with suffix"),
      Both(With(R"("max_tokens":0)"),
           "Invalid max_tokens value, the valid range of max_tokens is [1, 393216]"),
      {With(R"("suffix":"s","max_tokens":4097)"),
       "Invalid max_tokens value, the valid range of max_tokens is [1, 4096]", ""},
      Both(With(R"("logprobs":21)"),
           "Invalid logprobs value, the valid range of logprobs is [0, 20]."),
      Both(With(R"("logprobs":-1)"), "...logprobs: invalid value: integer `-1`, expected u8"),
      Both(With(R"("logprobs":true)"), "...logprobs: invalid type: boolean `true`, expected u8"),
      Both(With(R"("n":2)"), "Invalid n value (currently only n = 1 is supported)"),
      Both(With(R"("best_of":2)"),
           "Invalid best_of value (currently only best_of = 1 is supported)"),
      Both(With(R"("temperature":3)"),
           "Invalid temperature value, the valid range of temperature is [0, 2]"),
      Both(With(R"("top_p":0)"), "Invalid top_p value, the valid range of top_p is (0, 1.0]"),
      Both(With(R"("presence_penalty":99,"frequency_penalty":-99)"), ""),
      Both(With(R"("stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16",)"
                R"("17"])"),
           "Stop string array too long: 17"),
      Both(With(R"("user_id":"é")"),
           "Invalid user_id, expected 1 to 512 characters of the pattern '^[a-zA-Z0-9_-]+$'."),
  };
  for (const Case& c : cases) {
    for (const Profile profile : {Profile::kStrict, Profile::kDefault}) {
      std::string expected = profile == Profile::kStrict ? c.strict : c.tolerant;
      const auto parsed = Parse(c.body, profile);
      const std::string found = parsed.ok() ? "" : parsed.error().message;
      const bool is_shape = expected.starts_with("...");
      if (is_shape) {
        expected = std::string(kShape) + expected.substr(3) + " at line 1 column ";
        EXPECT_TRUE(found.starts_with(expected)) << found << "\n" << expected;
      } else {
        EXPECT_EQ(found, expected) << c.body;
      }
      if (!parsed.ok()) {
        EXPECT_EQ(parsed.error().status, is_shape && profile == Profile::kStrict ? 422 : 400);
      }
    }
  }
}

TEST(CompletionsRequest, StrictWantsBeta) {
  EXPECT_EQ(Parse(With(""), Profile::kStrict, false).error().message,
            "completions api is only available when using beta api (set "
            "base_url=\"https://api.deepseek.com/beta\")");
  EXPECT_TRUE(Parse(With(""), Profile::kStrict, true).ok());
  EXPECT_TRUE(Parse(With(""), Profile::kDefault, false).ok());
}

TEST(CompletionsRequest, Prompts) {
  const Request text = Read(With(""));
  EXPECT_EQ(text.dialect, Dialect::kCompletions);
  EXPECT_EQ(text.prompt, Request::Prompt::kText);
  EXPECT_EQ(text.text, "p");
  EXPECT_FALSE(text.thinks());
  EXPECT_EQ(text.model, "deepseek-v4-flash");
  EXPECT_EQ(Read(R"({"model":"m","prompt":["one"]})").text, "one");
  const Request ids = Read(R"({"model":"m","prompt":[0,129279],"echo":true})");
  EXPECT_EQ(ids.prompt, Request::Prompt::kTokens);
  EXPECT_EQ(ids.tokens, (std::vector<TokenId>{0, 129279}));
  EXPECT_TRUE(ids.echo);
  EXPECT_EQ(Read(R"({"model":"m","prompt":[[5]]})").tokens, std::vector<TokenId>{5});
  for (const char* suffix : {"", "s"}) {
    const Request fim = Read(With(fmt::format(R"("suffix":"{}")", suffix)));
    EXPECT_EQ(fim.prompt, Request::Prompt::kFillInMiddle);
    EXPECT_EQ(fim.suffix, suffix);
  }
  EXPECT_EQ(Read(With(R"("suffix":null)")).prompt, Request::Prompt::kText);
}

TEST(CompletionsRequest, RemainingMembers) {
  const Request plain = Read(With(""));
  EXPECT_EQ(plain.generation.max_tokens, 4096);
  EXPECT_TRUE(plain.generation.is_max_tokens_default);
  EXPECT_EQ(plain.generation.logprobs, std::nullopt);
  const Request full = Read(With(
      R"("max_tokens":7,"logprobs":0,"echo":true,"stop":"\n","stream":true,"seed":3,"user":"u v",)"
      R"("stream_options":{"include_usage":true},"temperature":0.5,"top_p":0.5,"n":1,)"
      R"("best_of":1)"));
  EXPECT_EQ(full.generation.max_tokens, 7);
  EXPECT_FALSE(full.generation.is_max_tokens_default);
  EXPECT_EQ(full.generation.logprobs, 0);
  EXPECT_EQ(full.generation.stop, std::vector<std::string>{"\n"});
  EXPECT_EQ(full.generation.seed, 3);
  EXPECT_EQ(full.generation.temperature, 0.5);
  EXPECT_EQ(full.generation.top_p, 0.5);
  EXPECT_TRUE(full.stream && full.include_usage && full.echo);
  EXPECT_EQ(full.isolation_key, HashedUser("u v"));
  EXPECT_EQ(Read(With(R"("suffix":"","max_tokens":9000)")).generation.max_tokens, 4096);
  Facts small;
  small.output_tokens_max = 100;
  EXPECT_EQ(ParseCompletions(With(""), small, {}).value().generation.max_tokens, 100);
}

}  // namespace
}  // namespace fathom::api
