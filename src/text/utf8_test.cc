// The UTF-8 rules against the tables of the Unicode standard, a second decoder written from the
// definition, and every way of cutting the input.
#include "text/utf8.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace fathom::text {
namespace {

const std::string kFffd(kReplacement);

std::string Encoded(char32_t code_point) {
  std::string out;
  AppendUtf8(out, code_point);
  return out;
}

bool IsScalarValue(char32_t c) { return c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF); }

// Inputs with every kind of damage; used by the stream tests too.
const std::vector<std::string>& Samples() {
  static const std::vector<std::string> kSamples = {
      "",
      "plain",
      "h\u00e9llo \u4e2d\u6587 \U0001F600!",
      "\xF0\x9F\x98",  // cut after three of four bytes
      "\xF0\x9F\x98"
      "A",  // the same, then a letter
      "\x80\xBF"
      "ab\xFF\xFE\xC0\xAF",                        // stray bytes, overlong slash
      "\xE0\x80\x80\xED\xA0\x80\xF4\x90\x80\x80",  // overlong, surrogate, past the end
      "\xE4\xB8\xE4\xB8\xAD\xE4",                  // cut, whole, cut
      "\xF0\x90\x80\xF0\x90\xF0\x80\xC2",
      "\xC2\xC2\xA9\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
      "A",
      std::string("a\0\xE2\x82\0", 5),
  };
  return kSamples;
}

TEST(Utf8, EveryScalarValueRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (!IsScalarValue(c)) continue;
    const std::string bytes = Encoded(c);
    const Utf8Step step = NextUtf8(bytes);
    ASSERT_EQ(step.kind, Utf8Step::Kind::kCodePoint);
    ASSERT_EQ(step.bytes, std::ssize(bytes));
    ASSERT_EQ(step.code_point, c);
    ASSERT_TRUE(IsValidUtf8(bytes));
  }
}

TEST(Utf8, SurrogatesAndLargeValuesAppendTheReplacement) {
  for (const char32_t c : {0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0x110000, 0x7FFFFFFF})
    EXPECT_EQ(Encoded(c), kFffd);
}

// Well-formed three- and four-byte sequences are exactly the encodings of scalar values: counting
// them over all bytes leaves no room for overlong forms.
TEST(Utf8, TwoAndThreeByteSequencesAreExactlyTheScalarValues) {
  int64_t two = 0, three = 0;
  for (int a = 0x80; a < 0x100; ++a) {
    for (int b = 0; b < 0x100; ++b) {
      const std::string pair = {static_cast<char>(a), static_cast<char>(b)};
      two += NextUtf8(pair).kind == Utf8Step::Kind::kCodePoint;
      for (int c = 0x80; c < 0xC0; ++c)
        three += NextUtf8(pair + static_cast<char>(c)).kind == Utf8Step::Kind::kCodePoint &&
                 NextUtf8(pair + static_cast<char>(c)).bytes == 3;
    }
  }
  EXPECT_EQ(two, 0x800 - 0x80);
  EXPECT_EQ(three, 0x10000 - 0x800 - 0x800);
}

// Unicode 3.9, tables 3-8 to 3-11: U+FFFD for maximal subparts.
TEST(Utf8, ReplacesMaximalSubparts) {
  const auto times = [](int n) {
    std::string out;
    while (n-- > 0) out += kReplacement;
    return out;
  };
  EXPECT_EQ(DecodeLossy("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), times(8) + "A");
  EXPECT_EQ(DecodeLossy("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), times(8) + "A");
  EXPECT_EQ(DecodeLossy("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), times(5) + "A" + times(2) + "B");
  EXPECT_EQ(DecodeLossy("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), times(4) + "A");
}

TEST(Utf8, ValidPrefixStopsAtTheFirstDamage) {
  EXPECT_EQ(ValidUtf8Prefix(""), 0);
  EXPECT_EQ(ValidUtf8Prefix("0123456789abcdef"), 16);
  EXPECT_EQ(ValidUtf8Prefix("0123456789abcde\xFF"), 15);
  EXPECT_EQ(ValidUtf8Prefix("01234567\xC3\xA9\xC3"), 10);
}

TEST(Utf8, LossyTextIsValidAndAFixedPoint) {
  for (const std::string& sample : Samples()) {
    const std::string text = DecodeLossy(sample);
    EXPECT_TRUE(IsValidUtf8(text));
    EXPECT_EQ(DecodeLossy(text), text);
    if (IsValidUtf8(sample)) {
      EXPECT_EQ(text, sample);
    }
  }
}

TEST(Utf8Stream, EveryPairOfCutsGivesTheLossyText) {
  for (const std::string& sample : Samples()) {
    for (size_t first = 0; first <= sample.size(); ++first) {
      for (size_t second = first; second <= sample.size(); ++second) {
        Utf8Stream stream;
        std::string out;
        for (const std::string& part :
             {sample.substr(0, first), sample.substr(first, second - first),
              sample.substr(second)}) {
          const std::string text = stream.Add(part);
          EXPECT_TRUE(IsValidUtf8(text));
          out += text;
        }
        out += stream.Flush();
        ASSERT_EQ(out, DecodeLossy(sample)) << "cuts at " << first << " and " << second;
      }
    }
  }
}

TEST(Utf8Stream, RandomBytesOneAtATime) {
  std::mt19937 random(1);
  // Bytes near the borders of the tables, so that most sequences get past their first byte.
  const std::string alphabet = "\x41\x7F\x80\x8F\x90\x9F\xA0\xBF\xC1\xC2\xE0\xE1\xED\xF0\xF4\xF5";
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (int i = 0; i < 12; ++i) bytes += alphabet[random() % alphabet.size()];
    Utf8Stream stream;
    std::string out;
    for (const char byte : bytes) out += stream.Add({&byte, 1});
    ASSERT_EQ(out + stream.Flush(), DecodeLossy(bytes));
  }
}

TEST(Utf8Stream, HoldsBackOnlyWhatMayBeCompleted) {
  Utf8Stream stream;
  EXPECT_EQ(stream.Add("\xE4"), "");
  EXPECT_EQ(stream.Add("\xB8"), "");
  EXPECT_EQ(stream.Add("\xAD"), "\u4e2d");
  EXPECT_EQ(stream.Add("\xF0\x9F"), "");
  EXPECT_EQ(stream.Add("A"), kFffd + "A");  // known to be ill-formed with the letter
  EXPECT_EQ(stream.Add("\xFF"), kFffd);     // at once: no byte could help
  EXPECT_EQ(stream.Add("\xED"), "");
  EXPECT_EQ(stream.Add("\xA0"), kFffd + kFffd);  // a surrogate is none, nor is its second byte
  EXPECT_EQ(stream.Add("x\xC3"), "x");
  EXPECT_EQ(stream.Flush(), kFffd);
  EXPECT_EQ(stream.Flush(), "");
}

}  // namespace
}  // namespace fathom::text
