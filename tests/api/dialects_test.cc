// The same completion in every dialect and both forms: the reasoning, content, calls, end and usage
// that a client reads are those that the model wrote, and markup is seen by nobody.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/api/requests.h"
#include "tokenizer/tokenizer.h"

namespace fathom::conformance {
namespace {

#ifdef FATHOM_SANITIZED
constexpr bool kIsSlowBuild = true;
#else
constexpr bool kIsSlowBuild = false;
#endif

const tokenizer::Tokenizer& NanoTokenizer() {
  static const tokenizer::Tokenizer tokenizer =
      tokenizer::Tokenizer::Load(NanoDir() + "/tokenizer.json").value();
  return tokenizer;
}
int64_t Count(const std::string& text) { return std::ssize(NanoTokenizer().Encode(text)); }

struct Completion {
  std::string name;
  bool thinks;
  std::string text;
  std::string reasoning, content;
  std::vector<Call> calls;  // without ids
  std::string end = "stop";
};

std::vector<Completion> Completions() {
  const std::string weather =
      Invoke("get_weather", TextParameter("city", "Zürich \"北\"\n") + JsonParameter("days", "3"));
  const Call weather_call = {"", "get_weather",
                             "{\"city\": \"Zürich \\\"北\\\"\\n\", \"days\": 3}"};
  const std::string now = Invoke("now", "");
  const Call now_call = {"", "now", "{}"};
  return {{"plain",
           false,
           "Hello 🙂, the answer is 42.\n",
           "",
           "Hello 🙂, the answer is 42.\n",
           {}},
          {"empty", false, "", "", "", {}},
          {"thinking",
           true,
           "Let me see.\nYes.</think>The answer.",
           "Let me see.\nYes.",
           "The answer.",
           {}},
          {"leading newlines", true, "r</think>\n\nText", "r", "\n\nText", {}},
          {"thinking nothing", true, "</think>Only content", "", "Only content", {}},
          {"never done thinking", true, "I think and think", "I think and think", "", {}},
          {"one call", false, Block(weather), "", "", {weather_call}, "tool_calls"},
          {"text and calls",
           false,
           "I look." + Block(weather + now),
           "",
           "I look.",
           {weather_call, now_call},
           "tool_calls"},
          {"all of it",
           true,
           "A tool?</think>Wait." + Block(now + weather),
           "A tool?",
           "Wait.",
           {now_call, weather_call},
           "tool_calls"},
          {"calls after reasoning",
           true,
           "Call it.</think>" + Block(now),
           "Call it.",
           "",
           {now_call},
           "tool_calls"},
          {"word, no markup",
           false,
           "DSML is <b>markup</b> & \\ \"quoted\"",
           "",
           "DSML is <b>markup</b> & \\ \"quoted\"",
           {}}};
}

void ExpectAnswer(const Completion& expected, const Answer& got, Dialect dialect) {
  EXPECT_EQ(got.has_reasoning, expected.thinks);
  EXPECT_EQ(got.reasoning, expected.reasoning);
  EXPECT_EQ(got.content, expected.content);
  EXPECT_EQ(got.end, expected.end);
  EXPECT_EQ(got.model, "nano");
  ASSERT_EQ(got.calls.size(), expected.calls.size());
  for (size_t i = 0; i < got.calls.size(); ++i) {
    EXPECT_EQ(got.calls[i].name, expected.calls[i].name);
    EXPECT_EQ(got.calls[i].arguments, expected.calls[i].arguments);
    const std::string prefix =
        dialect == Dialect::kAnthropic ? "toolu_" : fmt::format("call_{:02}_", i);
    EXPECT_TRUE(got.calls[i].id.starts_with(prefix)) << got.calls[i].id;
    EXPECT_EQ(got.calls[i].id.size(), prefix.size() + 24);
  }
  EXPECT_EQ(got.completion_tokens, Count(expected.text));
  if (dialect != Dialect::kAnthropic) {
    EXPECT_EQ(got.reasoning_tokens, Count(expected.reasoning));
  }
}

TEST(Dialects, SayWhatTheModelWrote) {
  ServerSetup setup;
  const std::vector<Completion> completions = Completions();
  for (const Completion& completion : completions)
    for (int i = 0; i < 6; ++i)
      setup.script.emplace_back("[" + completion.name + "]", completion.text);
  TestServer server(setup);
  for (const Completion& completion : completions) {
    for (const Dialect dialect : kConversing) {
      std::string whole;
      for (const bool stream : {false, true}) {
        SCOPED_TRACE(completion.name + (stream ? ", streamed " : ", whole ") + Target(dialect));
        const Answer answer = Put(server, dialect,
                                  {.text = "[" + completion.name + "]",
                                   .thinks = completion.thinks,
                                   .stream = stream,
                                   .has_tools = !completion.calls.empty()});
        ExpectAnswer(completion, answer, dialect);
        if (stream) {
          EXPECT_EQ(answer.Show(), whole);
        } else {
          whole = answer.Show();
        }
      }
    }
  }
}

// All bodies at once, answers in their order.
std::vector<Answer> PutAll(TestServer& server,
                           const std::vector<std::pair<Dialect, Wish>>& wishes) {
  constexpr size_t kAtOnce = 60;
  std::vector<Answer> answers;
  for (size_t begin = 0; begin < wishes.size(); begin += kAtOnce) {
    const size_t end = std::min(begin + kAtOnce, wishes.size());
    std::vector<std::shared_ptr<MemoryExchange>> asked;
    for (size_t i = begin; i < end; ++i)
      asked.push_back(server.Begin("POST", Target(wishes[i].first),
                                   BodyFor(wishes[i].first, wishes[i].second)));
    for (size_t i = begin; i < end; ++i)
      answers.push_back(Read(wishes[i].first, asked[i - begin]->Wait()));
  }
  return answers;
}

// Cut by max_tokens after every token, both forms and all dialects agree on what came out.
TEST(Dialects, CutAnywhere) {
  const std::string text =
      "A tool?</think>Wait ü." +
      Block(Invoke("get_weather", TextParameter("city", "Zürich") + JsonParameter("days", "[3]")));
  const int64_t tokens = Count(text);
  ServerSetup setup;
  std::vector<std::pair<Dialect, Wish>> wishes;
  for (int64_t cut = 1; cut <= tokens + 1; cut += kIsSlowBuild ? 7 : 1)
    for (const Dialect dialect : kConversing)
      for (const bool stream : {false, true}) {
        wishes.push_back({dialect, {.thinks = true, .stream = stream, .max_tokens = cut}});
        setup.script.emplace_back("", text);
      }
  TestServer server(setup);
  const std::vector<Answer> answers = PutAll(server, wishes);
  std::string first;
  for (size_t i = 0; i < wishes.size(); ++i) {
    const auto& [dialect, wish] = wishes[i];
    const int64_t cut = *wish.max_tokens;
    const Answer& answer = answers[i];
    SCOPED_TRACE(fmt::format("{} {}: {}", Target(dialect), cut, answer.Show()));
    EXPECT_EQ(answer.end, cut > tokens ? "tool_calls" : "length");
    EXPECT_EQ(answer.completion_tokens, std::min(cut, tokens));
    EXPECT_TRUE(answer.has_reasoning);
    EXPECT_TRUE(std::string_view("A tool?").starts_with(answer.reasoning));
    // Half a character is shown as U+FFFD.
    const std::string content = answer.content.substr(0, answer.content.find("\uFFFD"));
    EXPECT_TRUE(std::string_view("Wait ü.\n\n<").starts_with(content));
    for (const Call& call : answer.calls) {
      EXPECT_EQ(call.name, "get_weather");
      EXPECT_TRUE(ParseJson(call.arguments).ok() || answer.end == "length");
    }
    // Anthropic does not tell the tokens of reasoning, and its whole form leaves a call out that
    // was cut off.
    if (dialect == Dialect::kAnthropic) continue;
    if (i % 6 == 0) first = answer.Show();
    EXPECT_EQ(answer.Show(), first);
  }
}

// Damaged markup
// ------------------------------------------------------------------------------------

std::vector<std::string> Damaged() {
  const std::string whole =
      Block(Invoke("search", TextParameter("query", "a") + JsonParameter("limit", "5")));
  const auto without = [&](const std::string& piece) {
    std::string text = whole;
    return text.erase(text.find(piece), piece.size());
  };
  return {"Text" + whole,
          "Text" + without("</｜DSML｜tool_calls>"),
          "Text" + without("</｜DSML｜invoke>"),
          "Text" + without("</｜DSML｜parameter>"),
          "Text" + without("<｜DSML｜tool_calls>\n"),
          "Text" + without("name=\"search\""),
          "Text" + without(" string=\"true\""),
          "Text</｜DSML｜tool_calls> more",
          "Text</｜DSML｜parameter> more</｜DSML｜invoke>",
          "Text <｜DSML｜tool_calls",
          "Text <｜DSML｜nonsense> more",
          "Text <｜DSML｜> more ｜DSML｜ and more",
          "Text" + whole + whole + " and <｜DSML｜invoke name=\"now\"></｜DSML｜invoke>",
          "<｜DSML｜<｜DSML｜tool_calls><｜DSML｜invoke name=\"now\"",
          "</think>Text</think><｜DSML｜tool_calls>\n</｜DSML｜tool_calls>"};
}

void ExpectNoMarkup(const Answer& answer, const std::string& where) {
  EXPECT_EQ(answer.content.find(kMarkup), std::string::npos) << where << answer.Show();
  for (const Call& call : answer.calls)
    EXPECT_EQ(call.name.find(kMarkup), std::string::npos) << where << answer.Show();
}

TEST(Dialects, NoMarkupInContentHoweverDamagedOrCut) {
  ServerSetup setup;
  std::vector<std::pair<Dialect, Wish>> wishes;
  const std::vector<std::string> all = Damaged();
  for (const std::string& damaged : all)
    for (const bool thinks : {false, true}) {
      if (thinks && (kIsSlowBuild || &damaged != &all.front())) continue;
      const std::string text = thinks ? "Why?</think>" + damaged : damaged;
      for (int64_t cut = 1; cut <= Count(text) + 1; cut += kIsSlowBuild ? 5 : 1) {
        const size_t i = wishes.size();
        wishes.push_back(
            {kConversing[i % 3], {.thinks = thinks, .stream = i % 2 == 0, .max_tokens = cut}});
        setup.script.emplace_back("", text);
      }
    }
  TestServer server(setup);
  const std::vector<Answer> answers = PutAll(server, wishes);
  for (size_t i = 0; i < wishes.size(); ++i)
    ExpectNoMarkup(answers[i], fmt::format("{} cut {} of {}: ", Target(wishes[i].first),
                                           *wishes[i].second.max_tokens, setup.script[i].second));
}

// Calls that a model ended badly are closed as long as nothing of them is missing.
TEST(Dialects, DamagedCallsAreRepaired) {
  const std::string call = Invoke("now", "");
  const std::vector<std::string> texts = {
      "\n\n<｜DSML｜tool_calls>\n" + call,
      "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"now\">\n",
      "\n\n<｜DSML｜function_calls>\n" + call + "</｜DSML｜function_calls>",
      "\n\n<｜DSML｜tool_calls> junk " + call + " junk</｜DSML｜tool_calls>\n\n"};
  ServerSetup setup;
  for (const std::string& text : texts)
    for (int i = 0; i < 3; ++i) setup.script.emplace_back("", text);
  TestServer server(setup);
  for (const std::string& text : texts) {
    for (const Dialect dialect : kConversing) {
      SCOPED_TRACE(text);
      const Answer answer = Put(server, dialect, {.stream = true, .has_tools = true});
      EXPECT_EQ(answer.end, "tool_calls");
      ASSERT_EQ(answer.calls.size(), 1u);
      EXPECT_EQ(answer.calls[0].name, "now");
      EXPECT_EQ(answer.calls[0].arguments, "{}");
      EXPECT_EQ(answer.content, "");
    }
  }
}

}  // namespace
}  // namespace fathom::conformance
