#include "api/replay.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "chat/encode.h"

namespace fathom::api {
namespace {

chat::Message Assistant(const std::string& id, const std::string& arguments,
                        const std::string& reasoning = "") {
  chat::Message message;
  message.role = chat::Role::kAssistant;
  message.tool_calls.push_back({.id = id, .name = "f", .arguments = arguments});
  message.reasoning_content = reasoning;
  return message;
}

chat::Conversation Of(chat::Message message) {
  chat::Conversation conversation;
  conversation.messages.push_back(std::move(message));
  return conversation;
}

std::string RestoredArguments(ReplayMemory& memory, const std::string& id,
                              const std::string& arguments) {
  chat::Conversation conversation = Of(Assistant(id, arguments));
  memory.Restore("me", conversation);
  return conversation.messages[0].tool_calls[0].arguments;
}

TEST(Replay, SameValueInAnySpellingIsRestored) {
  const std::string sent =
      R"({"b": 2.50, "a": [1, {"y": null, "x": "\u00e9\u2028"}], "n": 1e5, "z": -0,)"
      R"( "big": 12345678901234567890})";
  ReplayMemory memory(1 << 20);
  memory.RememberCall("me", "call_1", sent);
  for (const char* returned : {
           "{\"a\":[1,{\"x\":\"é\u2028\",\"y\":null}],\"b\":2.5,\"big\":12345678901234567000,"
           "\"n\":100000,\"z\":0}",
           "\n{ \"big\" : 12345678901234567890, \"z\":0.0,\"n\" :1E5,\"b\":25e-1,"
           "\"a\":[1.0,{\"y\":null,\"x\":\"\\u00E9\\u2028\"}] }",
       })
    EXPECT_EQ(RestoredArguments(memory, "call_1", returned), sent) << returned;
}

TEST(Replay, WhatAClientChangedStaysChanged) {
  ReplayMemory memory(1 << 20);
  memory.RememberCall("me", "call_1", R"({"a": [1, 2], "b": "x"})");
  for (const char* returned :
       {R"({"a":[2,1],"b":"x"})", R"({"a":[1,2],"b":"y"})", R"({"a":[1,2]})",
        R"({"a":[1,2],"b":"x","c":null})", R"({"a":[1,2],"c":"x"})", R"({"a":["1",2],"b":"x"})",
        R"({"a":[1,2,3],"b":"x"})", "[]", "not JSON", "", R"({"a":[1,2],"b":null})"}) {
    EXPECT_EQ(RestoredArguments(memory, "call_1", returned), returned);
  }
  EXPECT_EQ(RestoredArguments(memory, "call_2", R"({"b":"x","a":[1,2]})"),
            R"({"b":"x","a":[1,2]})");
}

TEST(Replay, ReasoningComesBackWhenItWasLeftOut) {
  ReplayMemory memory(1 << 20);
  memory.RememberReasoning("me", "call_1", "thought");
  memory.RememberReasoning("me", "call_2", "");
  for (const auto& [id, given, expected] :
       std::vector<std::tuple<std::string, std::string, std::string>>{{"call_1", "", "thought"},
                                                                      {"call_1", "other", "other"},
                                                                      {"call_2", "", ""},
                                                                      {"call_3", "", ""}}) {
    chat::Conversation conversation = Of(Assistant(id, "{}", given));
    memory.Restore("me", conversation);
    EXPECT_EQ(conversation.messages[0].reasoning_content, expected) << id;
  }
  chat::Conversation no_calls;
  no_calls.messages.emplace_back();
  no_calls.messages[0].role = chat::Role::kAssistant;
  memory.Restore("me", no_calls);
  EXPECT_EQ(no_calls.messages[0].reasoning_content, "");
}

TEST(Replay, PromptIsTheSameForEverySpelling) {
  ReplayMemory memory(1 << 20);
  memory.RememberCall("me", "c", R"({"path": "a", "lines": [1, 2]})");
  memory.RememberReasoning("me", "c", "hm");
  std::vector<std::string> prompts;
  for (const char* arguments :
       {R"({"path": "a", "lines": [1, 2]})", R"({"lines":[1,2],"path":"a"})"}) {
    chat::Conversation conversation;
    conversation.messages.emplace_back();
    conversation.messages[0].content = "go";
    conversation.messages.push_back(Assistant("c", arguments));
    memory.Restore("me", conversation);
    prompts.push_back(chat::Encode(conversation, {}).value().text);
  }
  EXPECT_EQ(prompts[0], prompts[1]);
  EXPECT_NE(prompts[0].find("<think>hm</think>"), std::string::npos);
}

TEST(Replay, ForgetsTheOldestFirst) {
  ReplayMemory memory(10'000);
  const std::string text = "{\"t\": \"" + std::string(1000, 'x') + "\"}";
  const std::string other = "{\"t\":\"" + std::string(1000, 'x') + "\"}";
  for (int i = 0; i < 20; ++i) {
    memory.RememberCall("me", fmt::format("call_{}", i), text);
    EXPECT_LE(memory.bytes(), 10'000);
    // Used again and again: stays.
    EXPECT_EQ(RestoredArguments(memory, "call_0", other), text) << i;
  }
  EXPECT_GT(memory.bytes(), 8'000);
  EXPECT_EQ(RestoredArguments(memory, "call_1", other), other);
  EXPECT_EQ(RestoredArguments(memory, "call_19", other), text);
  const int64_t before = memory.bytes();
  memory.RememberCall("me", "call_huge", std::string(20'000, 'x'));
  EXPECT_EQ(memory.bytes(), before);
  memory.RememberCall("me", "call_19", text);  // again: replaces itself
  EXPECT_EQ(memory.bytes(), before);
}

}  // namespace
}  // namespace fathom::api
