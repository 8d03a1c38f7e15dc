#include "tokenizer/stages/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fathom::tokenizer {
namespace {

Json Split(const std::string& kind, const std::string& pattern) {
  return Json::Object{{"type", "Split"},
                      {"pattern", Json::Object{{kind, pattern}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
}

Json ByteLevel() {
  return Json::Object{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
}

Json Sequence(Json::Array splits) {
  splits.push_back(ByteLevel());
  return Json::Object{{"type", "Sequence"}, {"pretokenizers", std::move(splits)}};
}

PreTokenizer Make(const Json& json) {
  auto made = PreTokenizer::FromJson(json);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
  return std::move(made).value();
}

struct Outcome {
  std::vector<std::string> pieces;
  int failures;
};

Outcome Cut(const Json& json, std::string_view text) {
  const PreTokenizer pre_tokenizer = Make(json);
  PreTokenizer::Session session(pre_tokenizer);
  Outcome out;
  pre_tokenizer.Split(text, session,
                      [&](std::string_view piece) { out.pieces.emplace_back(piece); });
  out.failures = session.failures();
  return out;
}

using Pieces = std::vector<std::string>;

TEST(PreTokenizer, IsolatesMatchesAndKeepsWhatIsBetween) {
  EXPECT_EQ(Cut(Sequence({Split("Regex", "[0-9]{1,3}")}), "ab1234c5").pieces,
            (Pieces{"ab", "123", "4", "c", "5"}));
  EXPECT_EQ(Cut(Sequence({Split("Regex", "x")}), "none").pieces, (Pieces{"none"}));
  EXPECT_EQ(Cut(Sequence({Split("Regex", "x")}), "").pieces, (Pieces{}));
}

TEST(PreTokenizer, LaterSplitsSeeOnePieceOnly) {
  // "1" ends the piece, so that the look-ahead of the second pattern finds its end.
  EXPECT_EQ(Cut(Sequence({Split("Regex", "[0-9]"), Split("Regex", "a(?!\\S)")}), "ba1ac").pieces,
            (Pieces{"b", "a", "1", "ac"}));
}

TEST(PreTokenizer, StringPatternsAreLiteral) {
  EXPECT_EQ(Cut(Sequence({Split("String", ".*")}), "a.*b").pieces, (Pieces{"a", ".*", "b"}));
  EXPECT_EQ(Cut(Sequence({Split("String", "\\s")}), "a\\s b").pieces, (Pieces{"a", "\\s", " b"}));
}

TEST(PreTokenizer, ByteLevelAloneKeepsTheText) {
  EXPECT_EQ(Cut(ByteLevel(), "a b 1").pieces, (Pieces{"a b 1"}));
}

TEST(PreTokenizer, EmptyMatchesCutButNotAfterAMatch) {
  EXPECT_EQ(Cut(Sequence({Split("Regex", "(?=b)")}), "abab").pieces, (Pieces{"a", "ba", "b"}));
  EXPECT_EQ(Cut(Sequence({Split("Regex", "x*")}), "axx\u4e2db").pieces,
            (Pieces{"a", "xx", "\u4e2d", "b"}));
}

TEST(PreTokenizer, WhiteSpaceIsTheUnicodeProperty) {
  // No-break space, next line, ideographic space are white space; the Mongolian vowel separator
  // and the zero width space are not.
  EXPECT_EQ(Cut(Sequence({Split("Regex", "\\s+")}), "a \u00A0\u0085\u3000b").pieces,
            (Pieces{"a", " \u00A0\u0085\u3000", "b"}));
  EXPECT_EQ(Cut(Sequence({Split("Regex", "[\\s]+")}), "a\u180Eb\u200Bc").pieces,
            (Pieces{"a\u180Eb\u200Bc"}));
  EXPECT_EQ(Cut(Sequence({Split("Regex", "[^\\S\\n]+")}), "a\u2003\nb").pieces,
            (Pieces{"a", "\u2003", "\nb"}));
  EXPECT_EQ(Cut(Sequence({Split("Regex", "\\\\s")}), "a\\s ").pieces, (Pieces{"a", "\\s", " "}));
}

TEST(PreTokenizer, PropertiesAreThoseOfUnicode) {
  EXPECT_EQ(Cut(Sequence({Split("Regex", "\\p{N}{1,3}")}), "x\u0663\u0664\u00BDy").pieces,
            (Pieces{"x", "\u0663\u0664\u00BD", "y"}));
}

// Exponential backtracking: the text comes through unsplit from the first failure on, and later
// pieces after kFailuresMax of them are not tried.
TEST(PreTokenizer, RunawayPatternsAreStopped) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1";
  const Outcome outcome =
      Cut(Sequence({Split("Regex", "[0-9]"), Split("Regex", "(?:a+)+(?:!| \\z(?<=b))|z")}), text);
  std::string joined;
  for (const std::string& piece : outcome.pieces) joined += piece;
  EXPECT_EQ(joined, text);
  EXPECT_EQ(outcome.failures, PreTokenizer::kFailuresMax);
}

// Deep recursion: more than the JIT stack holds.
TEST(PreTokenizer, DeepPatternsEitherMatchOrLeaveTheText) {
  const std::string text = std::string(200000, '(') + std::string(200000, ')');
  const Outcome outcome = Cut(Sequence({Split("Regex", "(\\((?1)*\\))")}), text);
  std::string joined;
  for (const std::string& piece : outcome.pieces) joined += piece;
  EXPECT_EQ(joined, text);
}

TEST(PreTokenizer, RefusesWhatItDoesNotDo) {
  const auto message = [](const Json& json) {
    const auto made = PreTokenizer::FromJson(json);
    return made.ok() ? std::string("accepted") : made.error().message;
  };
  const auto with = [](Json json, const char* name, Json value) {
    json.Set(name, std::move(value));
    return json;
  };
  EXPECT_THAT(message(nullptr), testing::HasSubstr("expected \"ByteLevel\""));
  EXPECT_THAT(message(Json::Object{{"type", "Whitespace"}}), testing::HasSubstr("\"ByteLevel\""));
  EXPECT_THAT(message(with(ByteLevel(), "add_prefix_space", true)),
              testing::HasSubstr("add_prefix_space"));
  EXPECT_THAT(message(with(ByteLevel(), "use_regex", true)), testing::HasSubstr("use_regex"));
  EXPECT_THAT(message(Json::Object{{"type", "ByteLevel"}}), testing::HasSubstr("use_regex"));
  EXPECT_THAT(message(Json::Object{{"type", "Sequence"}}), testing::HasSubstr("pretokenizers"));
  EXPECT_THAT(message(Json::Object{{"type", "Sequence"},
                                   {"pretokenizers", Json::Array{Split("Regex", "a")}}}),
              testing::HasSubstr("at the end"));
  EXPECT_THAT(message(Sequence({Json::Object{{"type", "Digits"}}})), testing::HasSubstr("Digits"));
  EXPECT_THAT(message(Sequence({with(Split("Regex", "a"), "behavior", "Removed")})),
              testing::HasSubstr("Isolated"));
  EXPECT_THAT(message(Sequence({with(Split("Regex", "a"), "invert", true)})),
              testing::HasSubstr("inverted"));
  EXPECT_THAT(message(Sequence({Split("Word", "a")})), testing::HasSubstr("\"Regex\""));
  EXPECT_THAT(message(Sequence({Split("Regex", "")})), testing::HasSubstr("found 0"));
  EXPECT_THAT(message(Sequence({Split("Regex", "(a")})), testing::HasSubstr("cannot compile"));
  EXPECT_THAT(message(Sequence({Split("Regex", "\\C")})), testing::HasSubstr("cannot compile"));
  EXPECT_THAT(message(Sequence(Json::Array(33, Split("Regex", "a")))),
              testing::HasSubstr("at most 32"));
}

}  // namespace
}  // namespace fathom::tokenizer
