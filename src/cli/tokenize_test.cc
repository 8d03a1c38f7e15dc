// The command as a user meets it: arguments in, text and exit status out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/folder_testing.h"
#include "cli/commands.h"

namespace fathom::cli {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

const std::string kDeepSeek = FATHOM_SOURCE_DIR "/testdata/tokenizer/deepseek/tokenizer.json";
const std::string kNano = FATHOM_SOURCE_DIR "/models/nano";
const std::string kGoldens = FATHOM_SOURCE_DIR "/testdata/tokenizer/";

struct Ran {
  int status;
  std::string out;
  std::string err;
};

// Lends a stream other bytes for as long as it lives.
class Redirect {
 public:
  Redirect(std::ios& stream, std::streambuf* buffer)
      : stream_(stream), old_(stream.rdbuf(buffer)) {}
  ~Redirect() { stream_.rdbuf(old_); }

 private:
  std::ios& stream_;
  std::streambuf* old_;
};

Ran Tokenize(std::vector<std::string> arguments, const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out, err;
  const Redirect in_guard(std::cin, in.rdbuf());
  const Redirect out_guard(std::cout, out.rdbuf());
  const Redirect err_guard(std::cerr, err.rdbuf());
  CLI::App app;
  int status = 0;
  RegisterTokenize(app, status);
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  reversed.push_back("tokenize");
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    status = app.exit(error, out, err);
  }
  return {status, out.str(), err.str()};
}

TEST(TokenizeCommand, EncodesAndDecodes) {
  const Ran encoded = Tokenize({"-m", kNano, "Hello"});
  EXPECT_EQ(encoded.status, 0);
  EXPECT_EQ(encoded.out, "600\n");
  EXPECT_EQ(Tokenize({"-m", kNano, "--decode", "0 600,[1]"}).out,
            "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>Hello"
            "<\uFF5Cend\u2581of\u2581sentence\uFF5C>");
  EXPECT_EQ(Tokenize({"-m", kNano, "--decode", "--skip-special", "0 600 1"}).out, "Hello");
  EXPECT_EQ(Tokenize({"-m", kNano, "--json", "Hello"}).out,
            "{\"ids\":[600],\"tokens\":[\"Hello\"],\"count\":1}\n");
  EXPECT_EQ(Tokenize({"-m", kNano, "--json", "--decode", "600"}).out,
            "{\"ids\":[600],\"text\":\"Hello\"}\n");
}

TEST(TokenizeCommand, ReadsStandardInputAndFiles) {
  EXPECT_EQ(Tokenize({"-m", kNano}, "Hello").out, "600\n");
  EXPECT_EQ(Tokenize({"-m", kNano, "-"}, "Hello").out, "600\n");
  EXPECT_EQ(Tokenize({"-m", kNano, "--decode"}, "600 600\n").out, "HelloHello");
  const TempFolder folder;
  const std::string path = folder / "text.txt";
  ASSERT_TRUE(WriteFile(path, "Hello").ok());
  EXPECT_EQ(Tokenize({"-m", kNano, "-f", path}).out, "600\n");
}

TEST(TokenizeCommand, ControlTokensCanBeOrdinaryText) {
  EXPECT_EQ(Tokenize({"-m", kNano, "<think>"}).out, "956\n");
  const std::string plain = Tokenize({"-m", kNano, "--no-special-in-user-text", "<think>"}).out;
  EXPECT_EQ(plain.find("956"), std::string::npos);
  EXPECT_EQ(Tokenize({"-m", kNano, "--decode"}, plain).out, "<think>");
}

TEST(TokenizeCommand, RunsTheGoldenRecords) {
  const Ran cases = Tokenize({"--tokenizer", kDeepSeek, "--jsonl", kGoldens + "cases.jsonl"});
  EXPECT_EQ(cases.status, 0);
  EXPECT_THAT(cases.out, EndsWith("\n528 of 528 match\n"));
  EXPECT_EQ(std::count(cases.out.begin(), cases.out.end(), '\n'), 529);
  const Ran decode =
      Tokenize({"--tokenizer", kDeepSeek, "--decode", "--jsonl", kGoldens + "decode.jsonl"});
  EXPECT_EQ(decode.status, 0);
  EXPECT_THAT(decode.out, EndsWith("\n50 of 50 match\n"));
}

TEST(TokenizeCommand, ReportsEveryMismatch) {
  const std::string records =
      "{\"id\":\"good\",\"text\":\"Hello\",\"ids\":[600],\"decoded\":\"Hello\"}\n\n"
      "{\"id\":\"ids\",\"text\":\"Hello\",\"ids\":[600,600]}\n"
      "{\"id\":\"decoded\",\"text\":\"Hello\",\"decoded\":\"hello\"}\n"
      "{\"id\":\"unknown\",\"text\":\"Hello\",\"ids\":[99999]}\n"
      "{\"text\":\"Hello\"}\n";
  const Ran ran = Tokenize({"-m", kNano, "--jsonl", "-"}, records);
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.out, HasSubstr("good: match {\"ids\":[600],\"decoded\":\"Hello\"}\n"));
  EXPECT_THAT(ran.out, HasSubstr("ids:   ids: expected [600, 600], found [600]\n"));
  EXPECT_THAT(
      ran.out,
      HasSubstr("decoded:   decoded: differs at byte 0: expected \"hello\", found \"Hello\"\n"));
  EXPECT_THAT(ran.out, HasSubstr("unknown:   decoded: token id 99999"));
  EXPECT_THAT(ran.out, HasSubstr("line 6: not compared {\"ids\":[600]"));
  EXPECT_THAT(ran.out, EndsWith("\n1 of 4 match\n"));

  const Ran json = Tokenize({"-m", kNano, "--json", "--jsonl", "-"}, records);
  EXPECT_EQ(json.status, 1);
  EXPECT_THAT(json.out, HasSubstr("{\"id\":\"good\",\"match\":true,\"ids\":[600],\"decoded\":"
                                  "\"Hello\"}\n"));
  EXPECT_THAT(json.out, EndsWith("\n1 of 4 match\n"));

  const Ran decode = Tokenize({"-m", kNano, "--decode", "--jsonl", "-"},
                              "{\"id\":\"x\",\"ids\":[0,600],\"text_skip_special\":\"Hell\"}\n");
  EXPECT_EQ(decode.status, 1);
  EXPECT_THAT(decode.out, HasSubstr("expected \"Hell\", found \"Hello\""));
  EXPECT_THAT(decode.out, EndsWith("\n0 of 1 match\n"));
}

TEST(TokenizeCommand, UnusableInputIsStatusTwo) {
  const auto expect = [](const Ran& ran, const char* message) {
    EXPECT_EQ(ran.status, 2) << message;
    EXPECT_THAT(ran.err, HasSubstr(message));
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  };
  expect(Tokenize({"--tokenizer", "/nonexistent.json", "a"}), "/nonexistent.json");
  expect(Tokenize({"-m", "/nonexistent", "a"}), "/nonexistent/tokenizer.json");
  expect(Tokenize({"-m", kNano, "-f", "/nonexistent.txt"}), "/nonexistent.txt");
  expect(Tokenize({"-m", kNano}, "ab\xFF"), "invalid byte at 2");
  expect(Tokenize({"-m", kNano, "--decode", "1 x"}), "found \"x\"");
  expect(Tokenize({"-m", kNano, "--decode", "1024"}), "token id 1024");
  expect(Tokenize({"-m", kNano, "--jsonl", "-"}, "{\"text\":\"a\"}\n{"), "-:2: ");
  expect(Tokenize({"-m", kNano, "--jsonl", "-"}, "{\"ids\":[1]}"), "missing key \"text\"");
  expect(Tokenize({"-m", kNano, "--jsonl", "-"}, "{\"text\":\"\",\"ids\":7}"), "found number");
  expect(Tokenize({"-m", kNano, "--decode", "--jsonl", "-"}, "{\"text\":\"a\"}"),
         "missing key \"ids\"");
}

TEST(TokenizeCommand, HelpIsCompleteAndHasAnExample) {
  const Ran help = Tokenize({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* part : {"--model", "--tokenizer", "--file", "--jsonl", "--decode", "--json",
                           "--skip-special", "--no-special-in-user-text", "Examples:"})
    EXPECT_THAT(help.out, HasSubstr(part));
}

}  // namespace
}  // namespace fathom::cli
