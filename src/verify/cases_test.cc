#include "verify/cases.h"

#include <gtest/gtest.h>

#include <string>

namespace fathom::verify {
namespace {

const std::string kTolerance =
    R"("tolerance": {"logits": {"mean": 0.1, "p99": 0.5, "top1_agree": 0.9}, )"
    R"("pure_logits_max": 0.002})";

std::string WithCases(const std::string& cases) {
  return "{" + kTolerance + R"(, "cases": [)" + cases + "]}";
}

TEST(ParseCases, ReadsKindsAndLengths) {
  const auto file = ParseCases(
      WithCases(R"({"name": "a", "file": "a.st", "kind": "decode", "prompt_len": 3, "end": 9},
                   {"name": "b", "file": "b.st", "kind": "greedy", "robust_len": 7})"),
      "dir", "cases.json");
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_EQ(file.value().cases.size(), 2u);
  const CaseSpec& decode = file.value().cases[0];
  EXPECT_EQ(decode.kind, CaseKind::kDecode);
  EXPECT_EQ(decode.file, "dir/a.st");
  EXPECT_EQ(decode.prompt_len, 3);
  EXPECT_EQ(decode.end, 9);
  EXPECT_EQ(file.value().cases[1].robust_len, 7);
  EXPECT_EQ(file.value().logits->p99, 0.5);
  EXPECT_FALSE(file.value().mtp.has_value());
  EXPECT_EQ(file.value().pure_logits_max, 0.002);
}

TEST(ParseCases, NamesWhatIsWrongInOneLine) {
  const std::string good = R"({"name": "a", "file": "f", "kind": "prefill"})";
  for (const std::string& text :
       {std::string("x"), std::string("[]"), std::string("{}"), WithCases(""), WithCases("3"),
        WithCases(R"({"file": "f", "kind": "prefill"})"),
        WithCases(R"({"name": "a", "file": "f"})"),
        WithCases(R"({"name": "a", "file": "f", "kind": "pre\nfill"})"),
        WithCases(R"({"name": "a", "file": "f", "kind": "prefill", "prompt_len": -1})"),
        WithCases(R"({"name": "a", "file": "f", "kind": "prefill", "prompt_len": "3"})"),
        R"({"tolerance": 1, "cases": [)" + good + "]}",
        R"({"tolerance": {"logits": {"mean": 1}}, "cases": [)" + good + "]}"}) {
    const auto file = ParseCases(text, "dir", "cases.json");
    ASSERT_FALSE(file.ok()) << text;
    EXPECT_TRUE(file.error().message.starts_with("cases.json")) << file.error().message;
    EXPECT_EQ(file.error().message.find('\n'), std::string::npos) << file.error().message;
  }
}

}  // namespace
}  // namespace fathom::verify
