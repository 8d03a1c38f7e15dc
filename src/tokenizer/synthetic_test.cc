#include "tokenizer/synthetic.h"

#include <gtest/gtest.h>

#include "tokenizer/tokenizer.h"

namespace fathom::tokenizer {
namespace {

Tokenizer Make(int64_t vocab_size) {
  auto made = Tokenizer::FromJson(SyntheticTokenizerJson(vocab_size), "synthetic");
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
  return std::move(made).value();
}

TEST(SyntheticTokenizer, EveryIdHasATokenAndTextComesBack) {
  const std::string text = "Hello 12345 \u4e2d\u6587\n\n<think>\U0001F600";
  for (const int64_t vocab_size : {259, 260, 274, 275, 276, 300, 1024, 129280, 129281}) {
    const Tokenizer tokenizer = Make(vocab_size);
    EXPECT_EQ(tokenizer.vocab_size(), vocab_size);
    for (TokenId id = 0; id < vocab_size; ++id) ASSERT_TRUE(tokenizer.IsToken(id)) << id;
    EXPECT_EQ(tokenizer.DecodeBytes(tokenizer.Encode(text)).value(), text);
    EXPECT_EQ(tokenizer.FindToken("<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>"), 0);
    EXPECT_EQ(tokenizer.FindToken("<\uFF5Cend\u2581of\u2581sentence\uFF5C>"), 1);
    EXPECT_TRUE(tokenizer.IsSpecial(1));
  }
}

TEST(SyntheticTokenizer, V4SizeHasTheRealIds) {
  const Tokenizer tokenizer = Make(129280);
  EXPECT_EQ(tokenizer.FindToken("<\uFF5CUser\uFF5C>"), 128803);
  EXPECT_EQ(tokenizer.FindToken("<\uFF5CAssistant\uFF5C>"), 128804);
  EXPECT_EQ(tokenizer.FindToken("<think>"), 128821);
  EXPECT_EQ(tokenizer.FindToken("</think>"), 128822);
  EXPECT_EQ(tokenizer.FindToken("\uFF5CDSML\uFF5C"), 128825);
  EXPECT_EQ(tokenizer.FindToken("<\uFF5Cread_url\uFF5C>"), 128845);
  EXPECT_FALSE(tokenizer.IsSpecial(128803));
  // The byte tokens of V4: "!" is 3, the space (spelled U+0120) 223.
  EXPECT_EQ(tokenizer.Encode("! "), (std::vector<TokenId>{3, 223}));
}

TEST(SyntheticTokenizer, OtherSizesPackThemAtTheEnd) {
  const Tokenizer tokenizer = Make(300);
  EXPECT_EQ(tokenizer.FindToken("<\uFF5Cfim\u2581hole\uFF5C>"), 284);
  EXPECT_EQ(tokenizer.FindToken("<\uFF5Cread_url\uFF5C>"), 299);
  const Tokenizer small = Make(261);
  EXPECT_EQ(small.FindToken("<\uFF5CUser\uFF5C>"), 259);
  EXPECT_EQ(small.FindToken("<\uFF5CAssistant\uFF5C>"), 260);
  EXPECT_EQ(small.FindToken("<think>"), std::nullopt);
}

// Place holders are tokens a model may emit, never the encoding of a text.
TEST(SyntheticTokenizer, PlaceHoldersAreNotMatched) {
  const Tokenizer tokenizer = Make(300);
  const std::string text = tokenizer.TokenText(260);
  EXPECT_EQ(text,
            "<\uFF5Cplace\u2581holder\u2581no\u2581"
            "260\uFF5C>");
  EXPECT_EQ(tokenizer.Encode(text).size(), text.size());
}

TEST(SyntheticTokenizerDeathTest, TooSmallAVocabularyIsOurMistake) {
  EXPECT_DEATH((void)SyntheticTokenizerJson(258), "kSyntheticVocabMin");
}

}  // namespace
}  // namespace fathom::tokenizer
