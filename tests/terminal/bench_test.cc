// `fathom bench` and the profile of `fathom run` from the outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "base/folder_testing.h"
#include "base/json.h"
#include "tests/terminal/process.h"

namespace fathom::terminal {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// What a profile says it holds, after it was read as JSON.
std::vector<std::string> EventNames(const std::string& file) {
  std::vector<std::string> names;
  const auto text = ReadFile(file);
  EXPECT_TRUE(text.ok()) << text.error().message;
  if (!text.ok()) return names;
  const auto json = ParseJson(text.value());
  EXPECT_TRUE(json.ok()) << json.error().message;
  if (!json.ok()) return names;
  for (const Json& event : json.value().Find("traceEvents")->array())
    names.push_back(event.Find("name")->string());
  return names;
}

TEST(BenchCommandTest, OneObjectOfJson) {
  const TempFolder folder;
  const std::string profile = folder / "profile.json";
  const auto finished =
      RunProgram({"bench", "--json", "--context", "16,64", "--batch", "2", "--prompt", "20",
                  "--chunk", "8", "--steps", "2", "--threads", "1", "--profile", profile});
  ASSERT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(finished.err, "");  // no progress: this is no terminal
  const auto json = ParseJson(finished.out);
  ASSERT_TRUE(json.ok()) << finished.out;
  EXPECT_GT(json.value().Find("machine")->Find("read_gb_s")->ToDouble().value(), 0);
  ASSERT_EQ(json.value().Find("decode")->array().size(), 2u);
  EXPECT_EQ(WriteJson(*json.value().Find("decode")->array()[1].Find("context")), "64");
  EXPECT_EQ(WriteJson(*json.value().Find("decode")->array()[1].Find("batch")), "2");
  EXPECT_EQ(WriteJson(*json.value().Find("threads")), "1");
  ASSERT_EQ(json.value().Find("prefill")->array().size(), 1u);
  EXPECT_EQ(json.value().Find("complete")->boolean(), true);
  const auto names = EventNames(profile);
  EXPECT_THAT(names, testing::Contains("layer 3"));
  EXPECT_THAT(names, testing::Contains("routed experts"));
}

TEST(BenchCommandTest, ATableForPeople) {
  const auto finished =
      RunProgram({"bench", "--context", "32", "--prompt", "0", "--steps", "2", "--threads", "1"});
  ASSERT_EQ(finished.status, 0) << finished.err;
  EXPECT_THAT(finished.out, StartsWith("bench    "));
  EXPECT_THAT(finished.out, HasSubstr("decode, context 32, batch 1: "));
  EXPECT_THAT(finished.out, HasSubstr("% of read bandwidth"));
  EXPECT_THAT(finished.out, HasSubstr("routed experts"));
  EXPECT_THAT(finished.out, testing::Not(HasSubstr("prompt of")));
  EXPECT_THAT(RunProgram({"bench", "--help"}).out, HasSubstr("fathom bench -m slice"));
}

TEST(BenchCommandTest, UnusableArgumentsAreOneLine) {
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{"-m", "/no/such/model"},
                                             {"--context", "100000000"},
                                             {"--batch", "100000"},
                                             {"--prompt", "0", "--context", "8", "--steps", "1",
                                              "--profile", "/no/such/folder/x.json"}}) {
    std::vector<std::string> arguments = {"bench"};
    arguments.insert(arguments.end(), wrong.begin(), wrong.end());
    const auto finished = RunProgram(arguments);
    EXPECT_EQ(finished.status, 2) << finished.err;
    EXPECT_THAT(finished.err, StartsWith("fathom bench: "));
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
  }
  EXPECT_EQ(RunProgram({"bench", "--steps", "0"}).status, 2);
  EXPECT_EQ(RunProgram({"bench", "--context", "x"}).status, 2);
}

TEST(BenchCommandTest, ControlCEndsWithWhatIsMeasured) {
  OnTerminal bench({"bench", "--context", "4096", "--steps", "4000", "--seconds", "300"});
  ASSERT_TRUE(bench.WaitFor(": step 3")) << bench.seen();
  bench.Type("\x03");
  EXPECT_TRUE(bench.WaitFor("decode, context")) << bench.seen();
  EXPECT_TRUE(bench.WaitFor("interrupted: ")) << bench.seen();
  EXPECT_EQ(bench.Wait(), 128 + 2);
}

TEST(RunTest, AProfileShowsThePasses) {
  const TempFolder folder;
  const std::string profile = folder / "profile.json";
  const auto finished =
      RunProgram({"run", "-p", "Hello", "--think", "none", "--temp", "0", "--profile", profile});
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(finished.out, RunProgram({"run", "-p", "Hello", "--think", "none", "--temp", "0"}).out);
  const auto names = EventNames(profile);
  EXPECT_GE(std::count(names.begin(), names.end(), "pass"), 2);
  EXPECT_EQ(std::count(names.begin(), names.end(), "pass"),
            std::count(names.begin(), names.end(), "output head"));
}

}  // namespace
}  // namespace fathom::terminal
