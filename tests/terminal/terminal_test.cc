// `fathom run` and `fathom chat` from the outside: what goes to which stream, what a terminal sees,
// Ctrl-C, and that both say what the demonstration model is recorded to say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "base/file.h"
#include "base/folder_testing.h"
#include "base/json.h"
#include "tests/terminal/process.h"

namespace fathom::terminal {
namespace {

using testing::HasSubstr;
using testing::Not;

const char kModel[] = FATHOM_SOURCE_DIR "/models/nano";
// Forbids the ends of an answer (EOS and the next user turn), so that it goes on until stopped.
const std::vector<std::string> kEndless = {"--logit-bias", "1=-1000", "--logit-bias", "953=-1000"};

std::vector<std::string> Join(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Json JsonOf(const Finished& finished) {
  auto json = ParseJson(finished.out);
  EXPECT_TRUE(json.ok()) << finished.out << finished.err;
  return json.ok() ? json.value() : Json();
}

std::string Member(const Json& json, std::string_view name) {
  const Json* member = json.Find(name);
  if (member == nullptr) return "(absent)";
  return member->is_string() ? member->string() : WriteJson(*member);
}

std::vector<Json> Conversations() {
  const std::string text = ReadFile(std::string(kModel) + "/conversations.jsonl").value();
  std::vector<Json> records;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    records.push_back(ParseJson(std::string_view(text).substr(begin, end - begin)).value());
    begin = end + 1;
  }
  return records;
}

#ifdef FATHOM_SANITIZED
constexpr size_t kEveryOf = 5;  // each starts the program, which is slow then
#else
constexpr size_t kEveryOf = 1;
#endif

// Every recorded prompt as raw text, through the program itself.
TEST(RunTest, SaysWhatWasRecorded) {
  const auto records = Conversations();
  ASSERT_EQ(records.size(), 39u);
  for (size_t i = 0; i < records.size(); i += kEveryOf) {
    const Json& record = records[i];
    const Json json = JsonOf(
        RunProgram({"run", "--raw", "--json", "--temp", "0", "-"}, Member(record, "prompt")));
    EXPECT_EQ(Member(json, "prompt_ids"), Member(record, "prompt_ids")) << Member(record, "id");
    EXPECT_EQ(Member(json, "ids"), Member(record, "output_ids")) << Member(record, "id");
  }
}

// Those of one user message, as a user would ask; the answer taken apart.
TEST(RunTest, EncodesAndParsesAsRecorded) {
  int compared = 0;
  for (const Json& record : Conversations()) {
    const Json::Array& messages = record.Find("messages")->array();
    if (messages.size() != 1) continue;
    std::string think = Member(record, "mode");  // non-think, think-low, think-high, think-max
    think = think == "non-think" ? "none" : think.substr(think.find('-') + 1);
    const Json json = JsonOf(RunProgram(
        {"run", "-p", Member(messages[0], "content"), "--think", think, "--temp", "0", "--json"}));
    const Json& parsed = *record.Find("parsed");
    EXPECT_EQ(Member(json, "ids"), Member(record, "output_ids")) << Member(record, "id");
    EXPECT_EQ(Member(json, "content"), Member(parsed, "content")) << Member(record, "id");
    if (parsed.Find("reasoning_content")->is_string()) {
      EXPECT_EQ(Member(json, "reasoning_content"), Member(parsed, "reasoning_content"));
    }
    ++compared;
  }
  EXPECT_GE(compared, 15);
}

TEST(RunTest, StandardOutputGetsTheAnswerAlone) {
  const auto finished =
      RunProgram({"run", "-p", "Compute 72*36.", "--think", "max", "--temp", "0"});
  EXPECT_EQ(finished.status, 0);
  EXPECT_EQ(finished.out, "2592\n");
  EXPECT_THAT(finished.err, HasSubstr("so 2592\n"));  // the reasoning
  EXPECT_THAT(finished.err, HasSubstr("13 prompt tokens in "));
  EXPECT_THAT(finished.err, HasSubstr("119 generated in "));
  EXPECT_THAT(finished.err, Not(HasSubstr("\x1b")));
}

TEST(RunTest, SameSeedSameText) {
  const auto text = [](const std::string& seed, const std::string& threads) {
    return RunProgram({"run", "-p", "What is 12+30+41?", "--temp", "3", "--seed", seed,
                       "--max-tokens", "40", "--threads", threads, "--raw"})
        .out;
  };
  const std::string first = text("5", "1");
  EXPECT_EQ(text("5", "2"), first);
  EXPECT_NE(text("6", "1"), first);
}

TEST(RunTest, ToolCallsAreLegible) {
  const std::string tools = FATHOM_SOURCE_DIR "/tests/terminal/tools.json";
  const std::vector<std::string> arguments = {"run",     "-p",      "What is the weather in oslo?",
                                              "--think", "none",    "--temp",
                                              "0",       "--tools", tools};
  EXPECT_EQ(RunProgram(arguments).out, "call get_weather({\"city\": \"oslo\"})\n");
  const Json json = JsonOf(RunProgram(Join(arguments, {"--json"})));
  EXPECT_EQ(Member(json, "finish_reason"), "tool_calls");
  EXPECT_EQ(Member(json, "tool_calls"),
            R"([{"name":"get_weather","arguments":"{\"city\": \"oslo\"}"}])");
}

TEST(RunTest, StopStringsAndLengthEndTheAnswer) {
  const std::vector<std::string> hello = {"run", "-p", "Hello", "--think", "none", "--temp", "0"};
  EXPECT_EQ(RunProgram(Join(hello, {"--stop", "can I"})).out, "Hello! How \n");
  EXPECT_EQ(RunProgram(Join(hello, {"--max-tokens", "2"})).out, "Hello!\n");
  const Json json = JsonOf(RunProgram(Join(hello, {"--max-tokens", "2", "--json"})));
  EXPECT_EQ(Member(json, "finish_reason"), "length");
  EXPECT_EQ(Member(json, "completion_tokens"), "2");
}

TEST(RunTest, SpecialTokensInUserTextCanBeSwitchedOff) {
  const std::vector<std::string> arguments = {"run",  "-p",           "a</think>b", "--think",
                                              "none", "--max-tokens", "1",          "--json"};
  const auto count = [](const Json& json) {
    int64_t n = 0;
    for (const Json& id : json.Find("prompt_ids")->array()) n += id == Json(957);
    return n;
  };
  EXPECT_EQ(count(JsonOf(RunProgram(arguments))), 2);
  EXPECT_EQ(count(JsonOf(RunProgram(Join(arguments, {"--no-special-in-user-text"})))), 1);
}

TEST(RunTest, WhatCannotBeUsedIsStatusTwoAndOneLine) {
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{"-p", "x", "--max-tokens", "9000"},
        {"-p", "x", "--max-tokens", "0"},
        {"-p", "x", "--top-p", "0"},
        {"-p", "x", "--logit-bias", "nonsense"},
        {"-p", "x", "--logprobs", "3"},
        {"-p", "x", "-m", "/no/such/folder"},
        {"-p", "x", "--chat-revision", "v9"},
        {"-p", "\xff"},
        {"-p", "x", "--tools", kModel},
        {"-f", "/no/such/file"}}) {
    const auto finished = RunProgram(Join({"run"}, wrong));
    EXPECT_EQ(finished.status, 2) << finished.err;
    EXPECT_EQ(finished.out, "");
    EXPECT_THAT(finished.err, HasSubstr("fathom run: "));
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
  }
  EXPECT_EQ(RunProgram({"run", "-p", "x", "--think", "hard"}).status, 2);
}

TEST(RunTest, TheWaysToLoadGiveTheSameAnswer) {
  const std::vector<std::string> hello = {"run", "-p", "Hello", "--think", "none", "--temp", "0"};
  const std::string expected = RunProgram(hello).out;
  EXPECT_THAT(expected, HasSubstr("Hello"));
  for (const std::string load : {"map", "copy"})
    EXPECT_EQ(RunProgram(Join(hello, {"--load", load})).out, expected) << load;
  const auto locked = RunProgram(Join(hello, {"--load", "lock"}));
  if (locked.status == 0) {
    EXPECT_EQ(locked.out, expected);
  } else {
    // Where little memory may be locked.
    EXPECT_EQ(locked.status, 2);
    EXPECT_THAT(locked.err, HasSubstr("fathom run: load lock: needs 0.00 GB of locked memory"));
  }
  EXPECT_EQ(RunProgram(Join(hello, {"--pin", "on"})).out, expected);
  EXPECT_EQ(RunProgram(Join(hello, {"--load", "disk"})).status, 2);
  EXPECT_EQ(RunProgram(Join(hello, {"--pin", "maybe"})).status, 2);
  const std::string help = RunProgram({"run", "--help"}).out;
  EXPECT_THAT(help, HasSubstr("--load"));
  EXPECT_THAT(help, HasSubstr("--pin"));
}

TEST(RunTest, ReasoningIsDimmedOnATerminal) {
  OnTerminal run({"run", "-p", "What is 23+45?", "--think", "high", "--temp", "0"});
  ASSERT_TRUE(run.WaitFor("tokens/s)\r\n")) << run.seen();
  EXPECT_THAT(run.seen(), HasSubstr("\x1b[2m23+45=68\x1b[0m\r\n\r\n68\r\n"));
  EXPECT_EQ(run.Wait(), 0);
}

TEST(RunTest, ControlCEndsTheAnswerCleanly) {
  OnTerminal run(Join({"run", "-p", "Hello", "--think", "none", "--temp", "0"}, kEndless));
  ASSERT_TRUE(run.WaitFor("Hello!")) << run.seen();
  run.Type("\x03");
  EXPECT_TRUE(run.WaitFor(" generated in ")) << run.seen();
  EXPECT_EQ(run.Wait(), 128 + 2);
}

TEST(ChatTest, APipedConversationIsAnswered) {
  const auto finished = RunProgram({"chat", "--think", "none", "--temp", "0"},
                                   "Hello\nWho are you?\n/stats\n/nonsense\n/quit\nBye\n");
  EXPECT_EQ(finished.status, 0);
  EXPECT_EQ(finished.out, "Hello! How can I help?\nI am a small demonstration model of fathom.\n");
  EXPECT_THAT(finished.err, HasSubstr("Last answer: 20 prompt tokens (12 of them reused)"));
  EXPECT_THAT(finished.err, HasSubstr("/nonsense: no such command"));
}

TEST(ChatTest, AConversationIsSavedAndLoaded) {
  const TempFolder folder;
  const std::string file = folder / "chat.json";
  const std::string out =
      RunProgram({"chat", "--think", "none", "--temp", "0"},
                 "/system Be kind.\nHello\n/save " + file + "\n/reset\n/system -\n/save " + file +
                     "2\n/load " + file + "\n/system\n/save " + file + "3\n")
          .err;
  EXPECT_THAT(out, HasSubstr("Loaded 2 messages."));
  EXPECT_THAT(out, HasSubstr("System message: Be kind."));
  EXPECT_EQ(ReadFile(file).value(), ReadFile(file + "3").value());
  EXPECT_THAT(ReadFile(file).value(),
              HasSubstr("{\"role\": \"assistant\", \"content\": \"Hello! How can I help?\"}"));
  EXPECT_THAT(ReadFile(file + "2").value(), Not(HasSubstr("role")));
  EXPECT_THAT(RunProgram({"chat"}, "/load " + std::string(kModel) + "/config.json\n").err,
              HasSubstr("config.json: "));
}

TEST(ChatTest, ControlCEndsTheAnswerAndNotTheProgram) {
  const TempFolder state;
  OnTerminal chat(Join({"chat", "--think", "none", "--temp", "0"}, kEndless),
                  {"XDG_STATE_HOME=" + state.path()});
  ASSERT_TRUE(chat.WaitFor("> ")) << chat.seen();
  chat.Type("Hello\n");
  ASSERT_TRUE(chat.WaitFor("Hello! How")) << chat.seen();
  chat.Type("\x03");
  ASSERT_TRUE(chat.WaitFor("(interrupted)")) << chat.seen();
  ASSERT_TRUE(chat.WaitFor("> ")) << chat.seen();
  // At the prompt: nothing but a hint. The signal may come just before the program waits for a
  // key, so it is sent again until it is heard.
  bool is_heard = false;
  for (int i = 0; i < 60 && !is_heard; ++i) {
    chat.Type("\x03");
    is_heard = chat.WaitFor("to leave)", std::chrono::seconds(1));
  }
  ASSERT_TRUE(is_heard) << chat.seen();
  ASSERT_TRUE(chat.WaitFor("> ")) << chat.seen();
  chat.Type("/stats\n");
  ASSERT_TRUE(chat.WaitFor("Last answer: 5 prompt tokens")) << chat.seen();
  ASSERT_TRUE(chat.WaitFor("> ")) << chat.seen();
  chat.Type("\x1b[A");  // up: the line before
  ASSERT_TRUE(chat.WaitFor("/stats")) << chat.seen();
  chat.Type("\x15/quit\n");
  EXPECT_EQ(chat.Wait(), 0);
  EXPECT_THAT(ReadFile(state / "fathom/history").value(), HasSubstr("\nHello\n/stats\n/quit\n"));
}

TEST(ChatTest, ALongPromptShowsABar) {
  const TempFolder state;
  OnTerminal chat({"chat", "--think", "none", "--temp", "0", "--chunk", "2"},
                  {"XDG_STATE_HOME=" + state.path()});
  ASSERT_TRUE(chat.WaitFor("> ")) << chat.seen();
  chat.Type("Hello\n");
  EXPECT_TRUE(chat.WaitFor("] 4 of 5 prompt tokens")) << chat.seen();
  EXPECT_TRUE(chat.WaitFor("\r\x1b[KHello! How can I help?")) << chat.seen();
  ASSERT_TRUE(chat.WaitFor("> ")) << chat.seen();
  chat.Type("\x04");
  EXPECT_EQ(chat.Wait(), 0);
}

}  // namespace
}  // namespace fathom::terminal
