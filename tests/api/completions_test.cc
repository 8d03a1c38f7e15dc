// Completions: plain text, fill in the middle, echo, token ids, the old form of log-probabilities.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/api/requests.h"

namespace fathom::conformance {
namespace {

constexpr const char* kPath = "/beta/completions";

std::string Body(const std::string& more) {
  return With(R"({"model":"nano","prompt":"Hello","max_tokens":8,"seed":3})", more);
}

TEST(Completions, BothForms) {
  TestServer server;
  for (const std::string more :
       {R"({"ignore_eos":true})", R"({"temperature":0})", R"({"ignore_eos":true,"echo":true})"}) {
    const Answer whole = ReadCompletion(server.Post(kPath, Body(more)));
    const Answer streamed =
        ReadCompletion(server.Post(kPath, With(Body(more), R"({"stream":true})")));
    EXPECT_EQ(whole.Show(), streamed.Show());
    EXPECT_NE(whole.content, "");
    EXPECT_EQ(whole.prompt_tokens, 2);  // BOS
  }
  const Reply usage =
      server.Post(kPath, Body(R"({"stream":true,"stream_options":{"include_usage":true}})"));
  EXPECT_NE(usage.body.find("\"usage\":null"), std::string::npos);
  ReadCompletion(usage);
}

TEST(Completions, PromptsOfEveryKind) {
  TestServer server;
  const auto text = [&](const std::string& prompt) {
    return ReadCompletion(server.Post(kPath, Body("{\"prompt\":" + prompt + "}"))).content;
  };
  // 0 is BOS, 600 "Hello".
  EXPECT_EQ(text(R"("Hello")"), text(R"(["Hello"])"));
  EXPECT_EQ(text(R"("Hello")"), text("[0,600]"));
  EXPECT_NE(text(R"("Hello")"), text("[600]"));
}

TEST(Completions, EchoPutsThePromptFirst) {
  TestServer server;
  for (const bool stream : {false, true}) {
    const std::string streams = stream ? R"({"stream":true})" : "";
    const std::string plain = ReadCompletion(server.Post(kPath, With(Body("{}"), streams))).content;
    const std::string echoed =
        ReadCompletion(server.Post(kPath, With(Body(R"({"echo":true})"), streams))).content;
    EXPECT_EQ(echoed, "Hello" + plain);
    const std::string ids =
        ReadCompletion(server.Post(kPath, With(Body(R"({"echo":true,"prompt":[600,3]})"), streams)))
            .content;
    EXPECT_TRUE(ids.starts_with("Hello!")) << ids;
    EXPECT_FALSE(ids.starts_with("Hello!Hello!")) << ids;
  }
}

TEST(Completions, FillInTheMiddle) {
  ServerSetup setup;
  setup.script = {{"def f(a):", "    if a < 2:\n"}, {"", "x"}};
  TestServer server(setup);
  const Answer answer = ReadCompletion(server.Post(
      kPath, Body(R"({"prompt":"def f(a):","suffix":"    return 1","max_tokens":100})")));
  EXPECT_EQ(answer.content, "    if a < 2:\n");
  EXPECT_EQ(answer.end, "stop");
}

// Tags are text here: nobody converses.
TEST(Completions, NothingIsParsed) {
  const std::string text = "a</think>b <｜DSML｜tool_calls> <think>";
  ServerSetup setup;
  setup.script = {{"", text}, {"", text}};
  TestServer server(setup);
  for (const std::string more : {R"({"max_tokens":100})", R"({"max_tokens":100,"stream":true})"})
    EXPECT_EQ(ReadCompletion(server.Post(kPath, Body(more))).content, text);
}

TEST(Completions, StopStrings) {
  ServerSetup setup;
  for (int i = 0; i < 3; ++i) setup.script.emplace_back("", "one two three");
  TestServer server(setup);
  const auto ask = [&](const std::string& more) {
    return ReadCompletion(server.Post(kPath, Body(more)));
  };
  for (const std::string more : {R"({"stop":"e t","max_tokens":99})",
                                 R"({"stop":["zzz","e t"],"max_tokens":99,"stream":true})"}) {
    EXPECT_EQ(ask(more).content, "on");
  }
  EXPECT_EQ(ask(R"({"max_tokens":2})").end, "length");
}

TEST(Completions, LegacyLogprobs) {
  const std::string text = "one two, Zürich three";
  ServerSetup setup;
  for (int i = 0; i < 5; ++i) setup.script.emplace_back("", text);
  TestServer server(setup);
  for (const bool stream : {false, true}) {
    for (const bool echo : {false, true}) {
      const std::string more =
          fmt::format(R"({{"logprobs":3,"max_tokens":99,"temperature":1,"stream":{},"echo":{}}})",
                      stream, echo);
      const Answer answer = ReadCompletion(server.Post(kPath, Body(more)));
      Json::Array tokens, logprobs, top, offsets;
      for (const Json& piece : answer.logprobs) {
        EXPECT_EQ(Names(piece), (std::vector<std::string>{"tokens", "token_logprobs",
                                                          "top_logprobs", "text_offset"}));
        const auto append = [&](const char* name, Json::Array& to) {
          const Json list = At(piece, name);
          to.insert(to.end(), list.array().begin(), list.array().end());
        };
        append("tokens", tokens);
        append("token_logprobs", logprobs);
        append("top_logprobs", top);
        append("text_offset", offsets);
      }
      const size_t count = tokens.size();
      EXPECT_EQ(static_cast<int64_t>(count), answer.completion_tokens);
      ASSERT_EQ(logprobs.size(), count);
      ASSERT_EQ(top.size(), count);
      ASSERT_EQ(offsets.size(), count);
      EXPECT_EQ(offsets[0], Json(echo ? 5 : 0));
      for (size_t i = 0; i < count; ++i) {
        const std::string token = tokens[i].string();
        EXPECT_LE(logprobs[i].ToDouble().value(), 0);
        EXPECT_GE(top[i].object().size(), 1u);
        EXPECT_LE(top[i].object().size(), 4u);
        EXPECT_EQ(WriteJson(At(top[i], "x")), "null");
        ASSERT_NE(top[i].Find(token), nullptr) << "the chosen token is always there";
        EXPECT_EQ(WriteJson(*top[i].Find(token)), WriteJson(logprobs[i]));
        if (i > 0) {
          EXPECT_GE(offsets[i].ToInt64().value(), offsets[i - 1].ToInt64().value());
        }
      }
    }
  }
  EXPECT_TRUE(ReadCompletion(server.Post(kPath, Body("{}"))).logprobs.empty());
}

}  // namespace
}  // namespace fathom::conformance
