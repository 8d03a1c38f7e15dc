// For tests of Chat Completions requests: bodies made of the part that matters.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>

#include "api/request.h"

namespace fathom::api {

inline constexpr std::string_view kShape =
    "Failed to deserialize the JSON body into the target type: ";

inline Parsed<Request> Parse(std::string_view body, Profile profile = Profile::kDefault,
                             bool is_beta = false) {
  Facts facts;
  facts.profile = profile;
  return ParseChat(body, facts, {.is_beta = is_beta});
}

inline Request Read(std::string_view body, Profile profile = Profile::kDefault,
                    bool is_beta = false) {
  auto request = Parse(body, profile, is_beta);
  EXPECT_TRUE(request.ok()) << body << ": " << request.error().message;
  return request.ok() ? std::move(request).value() : Request();
}

// A body with one user message and these members.
inline std::string With(std::string_view members) {
  return fmt::format(
      R"({{"model":"deepseek-v4-flash","messages":[{{"role":"user","content":"Hi"}}]{}{}}})",
      members.empty() ? "" : ",", members);
}
inline std::string Messages(std::string_view messages, std::string_view members = "") {
  return fmt::format(R"({{"model":"deepseek-v4-flash","messages":[{}]{}{}}})", messages,
                     members.empty() ? "" : ",", members);
}

inline constexpr const char* kTool =
    R"({"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}})";
inline constexpr const char* kCallA =
    R"({"role":"assistant","content":"","reasoning_content":"","tool_calls":[{"id":"a",)"
    R"("type":"function","function":{"name":"f","arguments":"{}"}}]})";
inline constexpr const char* kCallsAB =
    R"({"role":"assistant","reasoning_content":"","tool_calls":[{"id":"a","type":"function",)"
    R"("function":{"name":"f","arguments":"{}"}},{"id":"b","type":"function",)"
    R"("function":{"name":"f","arguments":"{}"}}]})";
inline constexpr const char* kUser = R"({"role":"user","content":"Hi"})";

inline std::string Result(const char* id) {
  return fmt::format(R"({{"role":"tool","tool_call_id":"{}","content":"r"}})", id);
}

}  // namespace fathom::api
