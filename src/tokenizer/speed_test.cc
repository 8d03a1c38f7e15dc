// A megabyte of anything (less under sanitizers) encodes within a time that a quadratic step would
// miss by far.
#include <gtest/gtest.h>

#include <ctime>
#include <random>
#include <string>

#include "base/file.h"
#include "tokenizer/tokenizer.h"

namespace fathom::tokenizer {
namespace {

// Seconds for one text. Optimised code takes 0.1 s for a megabyte of mixed text and up to 0.5 s for
// the worst inputs below on one core of a small machine; sanitized or unoptimised code some twenty
// times as much per byte, and gets shorter texts. A quadratic pass takes minutes in either.
#if defined(NDEBUG) && !defined(FATHOM_SANITIZED)
constexpr double kMixedSecondsMax = 1;
constexpr double kWorstSecondsMax = 5;
constexpr size_t kBytes = 1'000'000;
#else
constexpr double kMixedSecondsMax = 30;
constexpr double kWorstSecondsMax = 30;
constexpr size_t kBytes = 200'000;
#endif

std::string Repeated(const std::string& unit) {
  std::string out;
  while (out.size() < kBytes) out += unit;
  return out;
}

// Random choices from `alphabet`.
std::string Random(std::string_view alphabet) {
  std::mt19937 random(3);
  std::string out;
  for (size_t i = 0; i < kBytes; ++i) out += alphabet[random() % alphabet.size()];
  return out;
}

void ExpectFastAndExact(const Tokenizer& tokenizer, const std::string& text, double seconds_max) {
  // Processor time of this process: other programs on the machine do not count.
  const std::clock_t start = std::clock();
  const std::vector<TokenId> ids = tokenizer.Encode(text);
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  EXPECT_LT(seconds, seconds_max) << "for " << text.substr(0, 40);
  EXPECT_TRUE(tokenizer.DecodeBytes(ids).value() == text) << "for " << text.substr(0, 40);
}

TEST(TokenizerSpeed, OneMegabyteOfAnything) {
  const auto loaded =
      Tokenizer::Load(FATHOM_SOURCE_DIR "/testdata/tokenizer/deepseek/tokenizer.json");
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const Tokenizer& tokenizer = loaded.value();

  // Text in many languages, code, and JSON around it.
  const std::string mixed = ReadFile(FATHOM_SOURCE_DIR "/testdata/tokenizer/cases.jsonl").value() +
                            ReadFile(FATHOM_SOURCE_DIR "/src/tokenizer/load.cc").value();
  ExpectFastAndExact(tokenizer, Repeated(mixed).substr(0, kBytes), kMixedSecondsMax);

  for (const char* unit : {"a",       " ",      "\n",   "\t",  "\u4e2d",  "!",       "\u0301",
                           "e\u0301", "1",      " \n",  "  a", "<",       "<\uFF5C", "\U0001F600",
                           "\u00A0",  "\u0085", "\x80", "ab",  "<think>", "!a",      "1a"})
    ExpectFastAndExact(tokenizer, Repeated(unit), kWorstSecondsMax);
  ExpectFastAndExact(tokenizer, Repeated(" ") + "x", kWorstSecondsMax);
  ExpectFastAndExact(tokenizer, Random("abcdefghijklmnopqrstuvwxyz"), kWorstSecondsMax);
  ExpectFastAndExact(tokenizer, Random(" \t\r\n"), kWorstSecondsMax);
  ExpectFastAndExact(tokenizer, Random("!,.-/ "), kWorstSecondsMax);
  ExpectFastAndExact(tokenizer, Random("\xE4\xB8\xAD\xF0\x9F\x80 a"), kWorstSecondsMax);
}

}  // namespace
}  // namespace fathom::tokenizer
