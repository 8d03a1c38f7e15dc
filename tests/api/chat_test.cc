// Chat Completions with the model's own words: choices, seeds, log-probabilities, stop strings,
// prefixes, and what counts in which mode.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/api/requests.h"

namespace fathom::conformance {
namespace {

constexpr const char* kPath = "/v1/chat/completions";

std::string Chat(const std::string& more, bool thinks = false, const std::string& text = "Hello") {
  return BodyFor(Dialect::kChat, {.text = text, .thinks = thinks, .more = more});
}

// Warm enough that nano does not say the same twice.
constexpr const char* kWarm = R"({"temperature":2,"seed":7,"max_tokens":12,"ignore_eos":true})";

TEST(Chat, NanoAnswers) {
  TestServer server;
  const Answer answer = ReadChat(server.Post(kPath, Chat(R"({"temperature":0})")))[0];
  EXPECT_EQ(answer.content, "Hello! How can I help?");
  EXPECT_EQ(answer.end, "stop");
  EXPECT_EQ(answer.prompt_tokens, 5);
  EXPECT_EQ(answer.completion_tokens, 7);  // without EOS
  EXPECT_FALSE(answer.has_reasoning);
  EXPECT_EQ(answer.id.size(), 36u);
  EXPECT_EQ(answer.id[8], '-');
}

TEST(Chat, ChoicesDifferAndThePromptCountsOnce) {
  TestServer server;
  const std::string one = Chat(kWarm);
  const Answer alone = ReadChat(server.Post(kPath, one))[0];
  const std::string three = With(one, R"({"n":3})");
  const std::vector<Answer> whole = ReadChat(server.Post(kPath, three));
  const std::vector<Answer> streamed =
      ReadChat(server.Post(kPath, With(three, R"({"stream":true})")));
  ASSERT_EQ(whole.size(), 3u);
  ASSERT_EQ(streamed.size(), 3u);
  EXPECT_EQ(whole[0].content, alone.content);
  EXPECT_NE(whole[0].content, whole[1].content);
  EXPECT_NE(whole[1].content, whole[2].content);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(whole[i].content, streamed[i].content);
    EXPECT_EQ(whole[i].end, "length");
    EXPECT_EQ(streamed[i].end, "length");
    EXPECT_EQ(whole[i].prompt_tokens, alone.prompt_tokens);
    EXPECT_EQ(whole[i].completion_tokens, 36);
    EXPECT_EQ(streamed[i].completion_tokens, 36);
  }
}

TEST(Chat, SeedsDecide) {
  TestServer server;
  const auto text = [&](const std::string& more) {
    return ReadChat(server.Post(kPath, With(Chat(kWarm), more)))[0].content;
  };
  const std::string first = text("{}");
  EXPECT_EQ(text("{}"), first);
  EXPECT_EQ(text(R"({"stream":true})"), first);
  EXPECT_EQ(text(R"({"presence_penalty":2,"frequency_penalty":-2})"), first) << "no effect";
  EXPECT_EQ(text(R"({"user_id":"somebody"})"), first);
  EXPECT_NE(text(R"({"seed":8})"), first);
  EXPECT_NE(text(R"({"seed":null})"), text(R"({"seed":null})"));
}

TEST(Chat, CompanyChangesNothing) {
  TestServer server;
  const std::string asked = With(Chat(kWarm), R"({"max_tokens":40,"logprobs":true})");
  const std::vector<Answer> alone = ReadChat(server.Post(kPath, asked));
  std::vector<std::shared_ptr<MemoryExchange>> strangers;
  for (int i = 0; i < 7; ++i)
    strangers.push_back(server.Begin(
        "POST", kPath,
        Chat(fmt::format(R"({{"max_tokens":{},"ignore_eos":true,"stream":true,"seed":{}}})",
                         20 + 7 * i, i),
             i % 2 == 0, std::string(static_cast<size_t>(40 * i), 'x'))));
  const std::vector<Answer> among = ReadChat(server.Post(kPath, asked));
  EXPECT_EQ(among[0].content, alone[0].content);
  EXPECT_EQ(WriteJson(among[0].logprobs), WriteJson(alone[0].logprobs));
  for (const auto& stranger : strangers) EXPECT_EQ(ReadChat(stranger->Wait())[0].end, "length");
}

TEST(Chat, IncludeUsage) {
  TestServer server;
  const Reply without = server.Post(kPath, Chat(R"({"stream":true})"));
  EXPECT_EQ(without.body.find("\"usage\":null"), std::string::npos);
  const Reply with =
      server.Post(kPath, Chat(R"({"stream":true,"stream_options":{"include_usage":true}})"));
  EXPECT_NE(with.body.find("\"usage\":null"), std::string::npos);
  EXPECT_GT(ReadChat(with)[0].completion_tokens, 0);
  EXPECT_GT(ReadChat(without)[0].completion_tokens, 0);
}

// Log-probabilities
// --------------------------------------------------------------------------------

std::string BytesOf(const std::vector<Json>& entries) {
  std::string bytes;
  for (const Json& entry : entries) {
    const Json list = At(entry, "bytes");
    for (const Json& byte : list.array()) bytes += static_cast<char>(byte.ToInt64().value());
  }
  return bytes;
}

double NumberAt(const Json& json, std::string_view path) {
  return At(json, path).ToDouble().value();
}

TEST(Chat, LogprobsOfTheDistributionSampledFrom) {
  const std::string text = "Hello there, Zürich 北! 42";
  ServerSetup setup;
  setup.script = {{"", text}, {"", text}};
  TestServer server(setup);
  for (const bool stream : {false, true}) {
    const Answer answer =
        Put(server, Dialect::kChat,
            {.stream = stream, .more = R"({"logprobs":true,"top_logprobs":5,"temperature":1.5})"});
    EXPECT_EQ(BytesOf(answer.logprobs), text);
    EXPECT_EQ(std::ssize(answer.logprobs), answer.completion_tokens);
    for (const Json& entry : answer.logprobs) {
      EXPECT_EQ(Names(entry),
                (std::vector<std::string>{"token", "logprob", "bytes", "top_logprobs"}));
      const Json::Array top = At(entry, "top_logprobs").array();
      ASSERT_EQ(top.size(), 5u);
      double sum = 0;
      for (size_t i = 0; i < 5; ++i) {
        EXPECT_EQ(Names(top[i]), (std::vector<std::string>{"token", "logprob", "bytes"}));
        sum += std::exp(NumberAt(top[i], "logprob"));
        if (i > 0) {
          EXPECT_LE(NumberAt(top[i], "logprob"), NumberAt(top[i - 1], "logprob"));
        }
      }
      EXPECT_LE(sum, 1.00001);
      EXPECT_LE(NumberAt(entry, "logprob"), NumberAt(top[0], "logprob"));
      EXPECT_GE(NumberAt(entry, "logprob"), -9999);
    }
  }
}

// Half the temperature doubles the distances between the values. With a seed, because the first
// draw may be the end of the answer, which has no entry.
TEST(Chat, LogprobsAreTakenAfterTemperature) {
  TestServer server;
  const auto distance = [&](double temperature) {
    const std::vector<Answer> answers = ReadChat(server.Post(
        kPath,
        Chat(fmt::format(
            R"({{"logprobs":true,"top_logprobs":2,"max_tokens":1,"seed":7,"temperature":{}}})",
            temperature))));
    EXPECT_EQ(answers[0].logprobs.size(), 1u);
    const Json& entry = answers[0].logprobs.at(0);
    return NumberAt(entry, "top_logprobs.0.logprob") - NumberAt(entry, "top_logprobs.1.logprob");
  };
  const double at_one = distance(1);
  EXPECT_GT(at_one, 0);
  EXPECT_NEAR(distance(2), at_one / 2, 1e-4 * at_one);
}

TEST(Chat, LogprobsAtTemperatureZero) {
  TestServer server;
  const std::vector<Answer> answers =
      ReadChat(server.Post(kPath, Chat(R"({"logprobs":true,"top_logprobs":3,"temperature":0})")));
  EXPECT_EQ(answers[0].logprobs.size(), 7u);
  for (const Json& entry : answers[0].logprobs) {
    EXPECT_EQ(WriteJson(At(entry, "logprob")), "0.0");
    EXPECT_EQ(WriteJson(At(entry, "top_logprobs.0.token")), WriteJson(At(entry, "token")));
    EXPECT_EQ(WriteJson(At(entry, "top_logprobs.0.logprob")), "0.0");
    EXPECT_EQ(WriteJson(At(entry, "top_logprobs.1.logprob")), "-9999.0");
    EXPECT_EQ(WriteJson(At(entry, "top_logprobs.2.logprob")), "-9999.0");
  }
  const std::vector<Answer> none =
      ReadChat(server.Post(kPath, Chat(R"({"logprobs":true,"seed":7})")));
  ASSERT_FALSE(none[0].logprobs.empty());
  for (const Json& entry : none[0].logprobs) {
    EXPECT_EQ(WriteJson(At(entry, "top_logprobs")), "[]");
  }
}

TEST(Chat, LogprobsOfReasoningStandApartAndMarkupHasNone) {
  ServerSetup setup;
  const std::string text = "Why not?</think>Fine." + Block(Invoke("now", ""));
  setup.script = {{"", text}, {"", text}};
  TestServer server(setup);
  for (const bool stream : {false, true}) {
    const Answer answer = Put(server, Dialect::kChat,
                              {.thinks = true,
                               .stream = stream,
                               .has_tools = true,
                               .more = R"({"logprobs":true,"top_logprobs":20})"});
    EXPECT_EQ(BytesOf(answer.reasoning_logprobs), "Why not?");
    EXPECT_EQ(BytesOf(answer.logprobs), "Fine.");
    // Control tokens among the alternatives are spelled with doubled bars.
    const std::string all = WriteJson(answer.logprobs) + WriteJson(answer.reasoning_logprobs);
    EXPECT_EQ(all.find("<｜end"), std::string::npos);
    EXPECT_NE(all.find("<｜｜end▁of▁sentence｜｜>"), std::string::npos) << all;
  }
}

// Ends
// ------------------------------------------------------------------------------------------

TEST(Chat, StopStrings) {
  struct Case {
    std::string stop, text, content;
    bool thinks = false;
    std::string reasoning = "";
  };
  const std::vector<Case> cases = {
      {R"("STOP")", "one two STOP three", "one two "},
      {R"("two")", "one two three", "one "},
      {R"(["x","e t"])", "one two three", "on"},
      {R"(["",""])", "one two", "one two"},
      {R"("never")", "one nev", "one nev"},
      {R"("\n\n")", "one\n\ntwo", "one"},
      {R"("one")", "one two</think>three one four", "three ", true, "one two"},
      {R"("one")", "one</think>two", "two", true, "one"},
      {R"("北")", "東北", "東"}};
  ServerSetup setup;
  for (const Case& each : cases)
    for (int i = 0; i < 2; ++i) setup.script.emplace_back("", each.text);
  TestServer server(setup);
  for (const Case& each : cases) {
    for (const bool stream : {false, true}) {
      SCOPED_TRACE(each.stop + " in " + each.text);
      const Answer answer =
          Put(server, Dialect::kChat,
              {.thinks = each.thinks, .stream = stream, .more = "{\"stop\":" + each.stop + "}"});
      EXPECT_EQ(answer.content, each.content);
      EXPECT_EQ(answer.reasoning, each.reasoning);
      EXPECT_EQ(answer.end, "stop");
    }
  }
}

TEST(Chat, StopStringsDoNotReachIntoCalls) {
  ServerSetup setup;
  setup.script = {{"", "Look." + Block(Invoke("search", TextParameter("query", "a STOP b")))}};
  TestServer server(setup);
  const Answer answer =
      Put(server, Dialect::kChat, {.has_tools = true, .more = R"({"stop":["STOP"]})"});
  EXPECT_EQ(answer.end, "tool_calls");
  ASSERT_EQ(answer.calls.size(), 1u);
  EXPECT_EQ(answer.calls[0].arguments, R"({"query": "a STOP b"})");
}

TEST(Chat, TokenLimits) {
  TestServer server;
  const auto tokens = [&](const std::string& more) {
    const Answer answer = ReadChat(server.Post(kPath, Chat(more)))[0];
    EXPECT_EQ(answer.end, "length");
    return answer.completion_tokens;
  };
  EXPECT_EQ(tokens(R"({"ignore_eos":true,"max_tokens":5})"), 5);
  EXPECT_EQ(tokens(R"({"ignore_eos":true,"max_completion_tokens":6})"), 6);
  EXPECT_EQ(tokens(R"({"ignore_eos":true,"max_completion_tokens":7,"max_tokens":4})"), 4);
  EXPECT_EQ(tokens(R"({"ignore_eos":true,"max_completion_tokens":3,"max_tokens":4})"), 3);
  // Greedy, the answer has 7 tokens.
  const Answer longer =
      ReadChat(server.Post(kPath, Chat(R"({"temperature":0,"min_tokens":9,"max_tokens":30})")))[0];
  EXPECT_GE(longer.completion_tokens, 9);
}

TEST(Chat, LogitBias) {
  TestServer server;
  const auto text = [&](const std::string& bias) {
    return ReadChat(server.Post(
        kPath, Chat(R"({"temperature":0,"max_tokens":3,"logit_bias":)" + bias + "}")))[0]
        .content;
  };
  EXPECT_EQ(text("{}"), "Hello! How");
  EXPECT_FALSE(text(R"({"600":-100})").starts_with("Hello"));  // 600 is "Hello"
  EXPECT_EQ(text(R"({"600":100})"), "HelloHelloHello");
  for (const std::string bad : {R"({"600":101})", R"({"600":-101})", R"({"5000":1})", R"({"x":1})"})
    EXPECT_EQ(server.Post(kPath, Chat("{\"logit_bias\":" + bad + "}")).status, 400) << bad;
}

// In thinking mode a request's temperature has no effect.
TEST(Chat, SamplingSettingsCountInChatModeOnly) {
  TestServer server;
  for (const bool thinks : {false, true}) {
    const auto text = [&](const std::string& more) {
      const Answer answer = ReadChat(server.Post(
          kPath, With(Chat(R"({"seed":3,"max_tokens":16})", thinks, "Tell me all"), more)))[0];
      return answer.reasoning + "|" + answer.content;
    };
    const std::string plain = text("{}");
    for (const std::string more : {R"({"temperature":2})", R"({"temperature":1.8,"top_k":500})"})
      EXPECT_EQ(text(more) == plain, thinks) << more;
  }
}

// Prefixes
// --------------------------------------------------------------------------------------

TEST(Chat, PrefixIsContinued) {
  ServerSetup setup;
  setup.script = {{"<｜User｜>Hi<｜Assistant｜></think>The sky is", " blue."},
                  {"<｜User｜>Hi<｜Assistant｜><think>Because</think>The sky is", " blue."},
                  {"<｜User｜>Hi<｜Assistant｜></think>The sky is", " blue."}};
  TestServer server(setup);
  const auto ask = [&](const std::string& path, bool thinks, const std::string& members) {
    const std::string last = R"({"role":"assistant","content":"The sky is")" + members + "}";
    const std::string messages = R"({"messages":[{"role":"user","content":"Hi"},)" + last + "]}";
    return ReadChat(server.Post(path, With(Chat("{}", thinks), messages)))[0];
  };
  const Answer plain = ask("/beta/chat/completions", false, R"(,"prefix":true)");
  EXPECT_EQ(plain.content, " blue.");
  const Answer reasoned =
      ask("/beta/chat/completions", true, R"(,"prefix":true,"reasoning_content":"Because")");
  EXPECT_EQ(reasoned.content, " blue.");
  EXPECT_EQ(reasoned.reasoning, "");
  // Without the flag the default profile takes it the same way.
  EXPECT_EQ(ask("/chat/completions", false, "").content, " blue.");
}

}  // namespace
}  // namespace fathom::conformance
