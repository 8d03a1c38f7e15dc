// `fathom encode` and `fathom parse` as a user meets them: arguments in, text and exit status out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.h"

namespace fathom::cli {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

const std::string kChat = FATHOM_SOURCE_DIR "/testdata/chat/";
const std::string kDeepSeek = FATHOM_SOURCE_DIR "/testdata/tokenizer/deepseek/tokenizer.json";

struct Ran {
  int status;
  std::string out;
  std::string err;
};

Ran RunCommand(const std::vector<std::string>& arguments, const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out, err;
  std::streambuf* const old_in = std::cin.rdbuf(in.rdbuf());
  std::streambuf* const old_out = std::cout.rdbuf(out.rdbuf());
  std::streambuf* const old_err = std::cerr.rdbuf(err.rdbuf());
  CLI::App app;
  int status = 0;
  RegisterEncode(app, status);
  RegisterParse(app, status);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    status = app.exit(error, out, err);
  }
  std::cin.rdbuf(old_in);
  std::cout.rdbuf(old_out);
  std::cerr.rdbuf(old_err);
  return {status, out.str(), err.str()};
}

TEST(EncodeCommand, MatchesTheRecordedPromptsAndTokens) {
  const Ran ran =
      RunCommand({"encode", "--jsonl", kChat + "encode.jsonl", "--tokenizer", kDeepSeek});
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.out, EndsWith("\n180 of 180 match\n"));
}

TEST(EncodeCommand, ReportsEachDifference) {
  const Ran ran = RunCommand(
      {"encode", "--jsonl", "-"},
      R"({"id":"a","thinking_mode":"chat","messages":[],"prompt":"<｜begin▁of▁sentence｜>x"}
{"id":"b","messages":[],"error":"TypeError"}
{"id":"c","messages":[{"role":"user","content":null}],"error":"TypeError"}
{"id":"d","messages":[{"role":"user","content":null}],"prompt":""}
{"id":"e","tags":["toolargs"],"messages":[],"error":"AttributeError"}
{"id":"f","messages":[]}
)");
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.out, HasSubstr("a: DIFFERS"));
  EXPECT_THAT(ran.out, HasSubstr("b:   error: expected a rejection, found a prompt"));
  EXPECT_THAT(ran.out, HasSubstr("c: match"));
  EXPECT_THAT(ran.out, HasSubstr("d:   error: expected a prompt"));
  EXPECT_THAT(ran.out, HasSubstr("e: DIFFERS"));
  EXPECT_THAT(ran.out, HasSubstr("f: not compared"));
  EXPECT_THAT(ran.out, EndsWith("\n1 of 5 match\n"));
}

TEST(EncodeCommand, PrintsOnePrompt) {
  const std::string messages = R"([{"role": "user", "content": "<think>"}])";
  EXPECT_EQ(RunCommand({"encode", "--think", "none"}, messages).out,
            "<｜begin▁of▁sentence｜><｜User｜><think><｜Assistant｜></think>");
  const std::vector<std::string> arguments = {"encode", "--think",     "low",
                                              "--json", "--tokenizer", kDeepSeek};
  EXPECT_THAT(RunCommand(arguments, messages).out,
              HasSubstr(R"("ids":[0,128803,128821,128804,128821])"));
  std::vector<std::string> guarded = arguments;
  guarded.push_back("--no-special-in-user-text");
  EXPECT_THAT(RunCommand(guarded, messages).out,
              HasSubstr(R"("ids":[0,128803,30,37947,32,128804,128821])"));
}

TEST(EncodeCommand, RefusesWhatItCannotUse) {
  EXPECT_EQ(RunCommand({"encode"}, "[1]").status, 2);
  EXPECT_EQ(RunCommand({"encode"}, "no json").status, 2);
  EXPECT_EQ(RunCommand({"encode", "--think", "hard"}, "[]").status, 2);
  EXPECT_EQ(RunCommand({"encode", "--chat-revision", "v5"}, "[]").status, 2);
  EXPECT_EQ(RunCommand({"encode", "/nowhere/conversation.json"}).status, 2);
}

TEST(ParseCommand, MatchesTheRecordedMessages) {
  const Ran ran = RunCommand({"parse", "--jsonl", kChat + "parse.jsonl"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.out, EndsWith("\n63 of 63 match\n"));
}

TEST(ParseCommand, ReportsDifferences) {
  const Ran ran = RunCommand({"parse", "--json", "--jsonl", "-"},
                             R"({"id":"a","thinking_mode":"chat","text":"x","expect":{
"reasoning_content":"","content":"y","tool_calls":[],"finish_reason":"stop"}})");
  EXPECT_EQ(ran.status, 2) << "a record is one line";
  const Ran one_line = RunCommand({"parse", "--json", "--jsonl", "-"},
                                  R"({"id":"a","thinking_mode":"chat","text":"x",)"
                                  R"("expect":{"reasoning_content":"","content":"y",)"
                                  R"("tool_calls":[],"finish_reason":"stop"}})");
  EXPECT_EQ(one_line.status, 1);
  EXPECT_THAT(one_line.out, HasSubstr(R"("match":false)"));
  EXPECT_THAT(one_line.out, EndsWith("\n0 of 1 match\n"));
}

TEST(ParseCommand, PrintsOneMessage) {
  EXPECT_EQ(RunCommand({"parse"}, "Easy.</think>4").out,
            "{\"reasoning_content\":\"Easy.\",\"content\":\"4\",\"tool_calls\":[],"
            "\"finish_reason\":\"stop\"}\n");
  EXPECT_THAT(RunCommand({"parse", "--chat", "--stop", "END", "-"}, "aENDb").out,
              HasSubstr(R"("content":"a")"));
  EXPECT_THAT(RunCommand({"parse", "--chat", "--truncated"}, "a").out,
              HasSubstr(R"("finish_reason":"length")"));
}

}  // namespace
}  // namespace fathom::cli
