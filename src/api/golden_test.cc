// Recorded requests (testdata/api/README.md): bodies of real clients to prompts, and prompts to the
// token counts that the platform reported.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/request.h"
#include "base/file.h"
#include "base/json.h"
#include "chat/encode.h"
#include "tokenizer/tokenizer.h"

namespace fathom::api {
namespace {

struct Record {
  std::string text;  // as it stands in the file
  Json json;
};

std::vector<Record> Records(const std::string& name) {
  const std::string lines = ReadFile(FATHOM_SOURCE_DIR "/testdata/api/" + name).value();
  std::vector<Record> records;
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    records.push_back({lines.substr(begin, end - begin), {}});
    records.back().json = ParseJson(records.back().text).value();
    begin = end + 1;
  }
  return records;
}

Parsed<Request> ParseByRoute(std::string_view route, std::string_view body, const Facts& facts) {
  route = route.substr(0, route.find('?'));
  const Origin origin = {.is_beta = route.starts_with("/beta/")};
  if (route.ends_with("/chat/completions")) return ParseChat(body, facts, origin);
  if (route.ends_with("/completions")) return ParseCompletions(body, facts, origin);
  if (route.ends_with("/messages")) return ParseMessages(body, facts, origin);
  if (route.ends_with("/responses")) return ParseResponses(body, facts, origin);
  return NotFound("POST", std::string(route));
}

std::string PromptOf(const Request& request) {
  switch (request.prompt) {
    case Request::Prompt::kConversation:
      return chat::Encode(request.conversation, request.encode).value().text;
    case Request::Prompt::kText:
      return chat::EncodeRaw(request.text).value().text;
    case Request::Prompt::kFillInMiddle:
      return chat::EncodeFillInMiddle(request.text, request.suffix).value().text;
    case Request::Prompt::kTokens:
      break;
  }
  return "tokens";
}

TEST(ApiGolden, RequestsGiveThePrompts) {
  const std::vector<Record> records = Records("requests.jsonl");
  EXPECT_EQ(records.size(), 16u);
  std::map<std::string, int> routes;
  for (const Profile profile : {Profile::kDefault, Profile::kStrict}) {
    Facts facts;
    facts.profile = profile;
    for (const Record& record : records) {
      const std::string& id = record.json.Find("id")->string();
      const std::string& route = record.json.Find("route")->string();
      ++routes[route];
      const auto request = ParseByRoute(route, WriteJson(*record.json.Find("body")), facts);
      ASSERT_TRUE(request.ok()) << id << ": " << request.error().message;
      EXPECT_EQ(PromptOf(request.value()), record.json.Find("prompt")->string()) << id;
    }
  }
  EXPECT_EQ(routes.size(), 7u);
}

TEST(ApiGolden, PromptsHaveThePlatformsTokenCounts) {
  const auto tokenizer =
      tokenizer::Tokenizer::Load(FATHOM_SOURCE_DIR "/testdata/tokenizer/deepseek/tokenizer.json");
  ASSERT_TRUE(tokenizer.ok());
  const std::vector<Record> records = Records("platform_usage.jsonl");
  EXPECT_EQ(records.size(), 5u);
  const Facts facts = {.profile = Profile::kStrict, .revision = chat::Revision::kPreview};
  for (const Record& record : records) {
    const std::string& id = record.json.Find("id")->string();
    const auto request = ParseChat(WriteJson(*record.json.Find("request")), facts, {});
    ASSERT_TRUE(request.ok()) << id << ": " << request.error().message;
    EXPECT_FALSE(request.value().thinks()) << id;
    EXPECT_EQ(request.value().generation.logprobs, 20) << id;
    EXPECT_EQ(request.value().generation.max_tokens, 4) << id;
    EXPECT_EQ(request.value().generation.temperature, 0.0) << id;
    const auto tokens = tokenizer.value().Encode(PromptOf(request.value()));
    const Json& usage = *record.json.Find("usage");
    EXPECT_EQ(std::ssize(tokens), usage.Find("prompt_tokens")->ToInt64().value()) << id;
  }
}

}  // namespace
}  // namespace fathom::api
