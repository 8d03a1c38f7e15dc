#include "tokenizer/stages/added_tokens.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace fathom::tokenizer {
namespace {

// Text as it is, tokens as [id].
std::string Shown(const AddedTokenMatcher& matcher, std::string_view text) {
  std::string out;
  matcher.Split(
      text, [&](TokenId id) { out += fmt::format("[{}]", id); },
      [&](std::string_view part) {
        EXPECT_FALSE(part.empty());
        (out += part) += '|';
      });
  return out;
}

TEST(AddedTokenMatcher, LeftmostFirstThenLongest) {
  AddedTokenMatcher matcher;
  matcher.Insert("ab", 1);
  matcher.Insert("abcd", 2);
  matcher.Insert("bcdef", 3);
  matcher.Insert("c", 4);
  EXPECT_EQ(Shown(matcher, "xabx"), "x|[1]x|");
  EXPECT_EQ(Shown(matcher, "abcdef"), "[2]ef|");  // not bcdef: it starts later
  EXPECT_EQ(Shown(matcher, "abc"), "[1][4]");     // abcd is only begun
  EXPECT_EQ(Shown(matcher, "bcdefab"), "[3][1]");
  EXPECT_EQ(Shown(matcher, "aab"), "a|[1]");
  EXPECT_EQ(Shown(matcher, ""), "");
}

TEST(AddedTokenMatcher, WithoutTokensAllIsText) {
  EXPECT_EQ(Shown(AddedTokenMatcher(), "<think>"), "<think>|");
}

TEST(AddedTokenMatcher, MatchesWholeCharactersOfSeveralBytes) {
  AddedTokenMatcher matcher;
  matcher.Insert("\uFF5CDSML\uFF5C", 5);
  EXPECT_EQ(Shown(matcher, "<\uFF5CDSML\uFF5Cx\uFF5C"), "<|[5]x\uFF5C|");
}

}  // namespace
}  // namespace fathom::tokenizer
