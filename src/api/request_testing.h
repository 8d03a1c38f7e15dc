// For tests of request parsers: bodies with one thing changed, what both profiles say to them, and
// prompts with their long fixed texts shortened.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/request.h"
#include "chat/encode.h"
#include "chat/templates.h"

namespace fathom::api {

inline Facts TestFacts(Profile profile) {
  Facts facts;
  facts.profile = profile;
  return facts;
}

// A body and the beginning or a part of the error it gets; empty: it is accepted.
struct RefusalCase {
  std::string body;
  std::string default_error;
  std::string strict_error;
};

using Parse = Parsed<Request> (*)(std::string_view body, Profile profile);

inline void ExpectRefusals(const std::vector<RefusalCase>& cases, Parse parse) {
  for (const RefusalCase& c : cases) {
    for (const Profile profile : {Profile::kDefault, Profile::kStrict}) {
      SCOPED_TRACE(c.body.substr(0, 300));
      const bool is_strict = profile == Profile::kStrict;
      SCOPED_TRACE(is_strict ? "strict" : "default");
      const std::string& expected = is_strict ? c.strict_error : c.default_error;
      const auto request = parse(c.body, profile);
      EXPECT_EQ(request.ok(), expected.empty())
          << (request.ok() ? "accepted" : request.error().message);
      if (request.ok() || expected.empty()) continue;
      const std::string& message = request.error().message;
      EXPECT_NE(message.find(expected), message.npos) << message << "\nexpected " << expected;
      EXPECT_EQ(request.error().type, "invalid_request_error");
      const bool is_shape = message.starts_with("Failed to deserialize") &&
                            message.find("`max_tokens`") == message.npos;
      EXPECT_EQ(request.error().status, is_strict && is_shape ? 422 : 400);
    }
  }
}

inline void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
    text.replace(at, from.size(), to);
}

// The prompt of a request with <U>, <A> and <E> for the control tokens and [..] for long texts.
inline std::string ShortPrompt(const Parsed<Request>& request) {
  if (!request.ok()) return "error: " + request.error().message;
  const auto prompt = chat::Encode(request.value().conversation, request.value().encode);
  if (!prompt.ok()) return "error: " + prompt.error().message;
  std::string text = prompt.value().text;
  const std::pair<std::string_view, std::string_view> kShort[] = {
      {chat::kBos, ""},
      {chat::kUser, "<U>"},
      {chat::kAssistant, "<A>"},
      {chat::kEos, "<E>"},
      {chat::kAbsoluteMaximum, "[high]"},
      {chat::kBeyondMaximum, "[max]"},
      {chat::kToolsBefore, "[tools:"},
      {chat::kToolsAfter, "]"},
      {chat::kResponseFormat, "[schema]"},
      {"<｜DSML｜", "<:"},
      {"</｜DSML｜", "</:"},
  };
  for (const auto& [from, to] : kShort) ReplaceAll(text, from, to);
  return text;
}

}  // namespace fathom::api
