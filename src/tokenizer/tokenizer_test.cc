// The door on small files made for the purpose; the real vocabulary is in golden_test.cc.
#include "tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "tokenizer/synthetic.h"

namespace fathom::tokenizer {
namespace {

using Ids = std::vector<TokenId>;
using testing::HasSubstr;

// A valid file to change: 300 entries, the bytes from 3 on ("a" is 67), place holders from 259.
Json BaseFile() { return ParseJson(SyntheticTokenizerJson(300)).value(); }

Json& Member(Json& object, std::string_view name) {
  if (object.Find(name) == nullptr) object.Set(name, nullptr);
  return *object.Find(name);
}

// A file with merges: "ab" 300, "abc" 301, " a" 302.
Json MergesFile(bool as_arrays) {
  Json file = BaseFile();
  Json& model = Member(file, "model");
  Json& vocab = Member(model, "vocab");
  vocab.Set("ab", 300);
  vocab.Set("abc", 301);
  vocab.Set("\u0120a", 302);
  Json::Array merges = {"a b", "ab c", "\u0120 a"};
  if (as_arrays)
    merges = {Json::Array{"a", "b"}, Json::Array{"ab", "c"}, Json::Array{"\u0120", "a"}};
  model.Set("merges", merges);
  return file;
}

Json Added(TokenId id, const std::string& content, bool is_normalized) {
  return Json::Object{
      {"id", id}, {"content", content}, {"normalized", is_normalized}, {"special", false}};
}

Result<Tokenizer> Read(const Json& file) { return Tokenizer::FromJson(WriteJson(file), "t.json"); }

Tokenizer Make(const Json& file) {
  auto made = Read(file);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
  return std::move(made).value();
}

std::string MessageOf(const Json& file) {
  const auto made = Read(file);
  return made.ok() ? "accepted" : made.error().message;
}

TEST(Tokenizer, BothSpellingsOfMergesMeanTheSame) {
  for (const bool as_arrays : {false, true}) {
    const Tokenizer tokenizer = Make(MergesFile(as_arrays));
    EXPECT_EQ(tokenizer.vocab_size(), 303);
    EXPECT_EQ(tokenizer.Encode("abcab"), (Ids{301, 300}));
    EXPECT_EQ(tokenizer.Encode("abc ab"), (Ids{301, 223, 300}));  // "ab" stands before " a"
    EXPECT_EQ(tokenizer.TokenText(301), "abc");
    EXPECT_EQ(tokenizer.TokenBytes(302), " a");
  }
}

TEST(Tokenizer, AddedTokensAreMatchedOnlyWhenAsked) {
  const Tokenizer tokenizer = Make(BaseFile());
  const TokenId think = tokenizer.FindToken("<think>").value();
  EXPECT_EQ(tokenizer.Encode("a<think>a"), (Ids{67, think, 67}));
  const Ids plain = tokenizer.Encode("a<think>a", {.match_added_tokens = false});
  EXPECT_EQ(plain.size(), 9u);
  EXPECT_EQ(tokenizer.Decode(plain).value(), "a<think>a");
  for (const TokenId id : plain) EXPECT_FALSE(tokenizer.IsAdded(id));
}

// The verbatim tokens are cut out first, even where a normalized one starts further left.
TEST(Tokenizer, VerbatimTokensGoBeforeNormalizedOnes) {
  Json file = BaseFile();
  Json::Array& added = Member(file, "added_tokens").array();
  added.push_back(Added(300, "xyz", true));
  added.push_back(Added(301, "yz", false));
  added.push_back(Added(302, "xyzz", true));
  const Tokenizer tokenizer = Make(file);
  EXPECT_EQ(tokenizer.Encode("xyz"), (Ids{90, 301}));
  EXPECT_EQ(tokenizer.FindToken("xyz"), 300);
  EXPECT_EQ(tokenizer.Decode(Ids{300, 301}).value(), "xyzyz");
}

TEST(Tokenizer, SkipsSpecialTokensOnly) {
  const Tokenizer tokenizer = Make(BaseFile());
  const TokenId think = tokenizer.FindToken("<think>").value();
  const Ids ids = {0, 67, think, 1};
  EXPECT_EQ(tokenizer.Decode(ids, {.skip_special = true}).value(), "a<think>");
  EXPECT_EQ(
      tokenizer.Decode(ids).value(),
      "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>a<think><\uFF5Cend\u2581of\u2581sentence\uFF5C>");
  EXPECT_TRUE(tokenizer.IsAdded(think));
  EXPECT_FALSE(tokenizer.IsSpecial(think));
}

TEST(Tokenizer, IdsWithoutATokenAreErrors) {
  Json file = BaseFile();
  Member(Member(file, "model"), "vocab").Set("gap", 310);
  const Tokenizer tokenizer = Make(file);
  EXPECT_EQ(tokenizer.vocab_size(), 311);
  for (const TokenId id : {-1, 300, 309, 311, 2147483647, -2147483647 - 1}) {
    EXPECT_FALSE(tokenizer.IsToken(id)) << id;
    EXPECT_EQ(tokenizer.TokenText(id), "");
    const auto decoded = tokenizer.Decode(Ids{67, id});
    ASSERT_FALSE(decoded.ok()) << id;
    EXPECT_THAT(decoded.error().message, HasSubstr(std::to_string(id)));
    StreamDecoder decoder(tokenizer);
    EXPECT_FALSE(decoder.Add(id).ok());
    EXPECT_EQ(decoder.Add(67).value(), "a");
  }
  EXPECT_EQ(tokenizer.Decode(Ids{310}).value(), "gap");
}

TEST(Tokenizer, BytesThatAreNotTextSurvive) {
  const Tokenizer tokenizer = Make(MergesFile(false));
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  for (const std::string& text : {all,
                                  std::string("ab\xFF"
                                              "ab\xE4\xB8"),
                                  std::string("\0\0", 2), std::string()})
    EXPECT_EQ(tokenizer.DecodeBytes(tokenizer.Encode(text)).value(), text);
  EXPECT_EQ(tokenizer.Encode("ab\xFF"
                             "ab"),
            (Ids{300, 258 - 68, 300}));
}

TEST(StreamDecoder, HoldsBackHalfCharacters) {
  const Tokenizer tokenizer = Make(BaseFile());
  const Ids ids = tokenizer.Encode("\u4e2d");  // three byte tokens
  ASSERT_EQ(ids.size(), 3u);
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.Add(ids[0]).value(), "");
  EXPECT_EQ(decoder.Add(ids[1]).value(), "");
  EXPECT_EQ(decoder.Add(ids[2]).value(), "\u4e2d");
  EXPECT_EQ(decoder.Add(ids[0]).value(), "");
  EXPECT_EQ(decoder.Add(67).value(), "\uFFFDa");
  EXPECT_EQ(decoder.Add(ids[0]).value(), "");
  EXPECT_EQ(decoder.Flush(), "\uFFFD");
}

TEST(Tokenizer, EncodesFromSeveralThreads) {
  const Tokenizer tokenizer = Make(MergesFile(false));
  const std::string text = "abcab 123 \u4e2d<think>\n\n abab";
  const Ids expected = tokenizer.Encode(text);
  std::vector<std::thread> threads;
  std::vector<int> equal(4, 0);
  for (int& count : equal)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) count += tokenizer.Encode(text) == expected;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(equal, std::vector<int>(4, 200));
}

TEST(TokenizerFile, AcceptsWhatChangesNothing) {
  Json file = BaseFile();
  file.Set("normalizer", Json::Object{{"type", "Sequence"}, {"normalizers", Json::Array{}}});
  file.Set("added_tokens", nullptr);
  Member(file, "model").Set("dropout", 0.0);
  Member(file, "model").Set("end_of_word_suffix", "");
  const Tokenizer tokenizer = Make(file);
  EXPECT_EQ(tokenizer.FindToken("<think>"), std::nullopt);
  // An added token may repeat its entry in the vocabulary.
  file.Set("added_tokens", Json::Array{Added(0, "<B>", false)});
  Member(Member(file, "model"), "vocab").Set("<B>", 0);
  EXPECT_EQ(Make(file).Encode("<B>"), (Ids{0}));
}

TEST(TokenizerFile, RefusesOtherModelsByName) {
  const auto with = [](std::string_view name, Json value) {
    Json file = BaseFile();
    file.Set(name, std::move(value));
    return MessageOf(file);
  };
  const auto with_model = [](std::string_view name, Json value) {
    Json file = BaseFile();
    Member(file, "model").Set(name, std::move(value));
    return MessageOf(file);
  };
  EXPECT_THAT(with("normalizer", Json::Object{{"type", "NFC"}}), HasSubstr("\"NFC\""));
  EXPECT_THAT(with("pre_tokenizer", nullptr), HasSubstr("pre_tokenizer"));
  EXPECT_THAT(with("decoder", Json::Object{{"type", "WordPiece"}}), HasSubstr("\"WordPiece\""));
  EXPECT_THAT(with("decoder", nullptr), HasSubstr("decoder"));
  EXPECT_THAT(with("model", nullptr), HasSubstr("model"));
  EXPECT_THAT(with_model("type", "Unigram"), HasSubstr("\"Unigram\""));
  EXPECT_THAT(with_model("byte_fallback", true), HasSubstr("byte_fallback"));
  EXPECT_THAT(with_model("ignore_merges", true), HasSubstr("ignore_merges"));
  EXPECT_THAT(with_model("dropout", 0.1), HasSubstr("dropout"));
  EXPECT_THAT(with_model("continuing_subword_prefix", "##"), HasSubstr("continuing_subword"));
  EXPECT_THAT(with_model("vocab", nullptr), HasSubstr("vocab"));
  EXPECT_THAT(with_model("merges", nullptr), HasSubstr("merges"));
  EXPECT_THAT(with_model("merges", Json::Array{"a b c"}), HasSubstr("merges[0]"));
  EXPECT_THAT(with_model("merges", Json::Array{"ab"}), HasSubstr("space between"));
  EXPECT_THAT(with_model("merges", Json::Array{7}), HasSubstr("found number"));
  EXPECT_THAT(with_model("merges", Json::Array{"a b"}), HasSubstr("\"ab\" is not in the vocab"));
}

TEST(TokenizerFile, RefusesBadVocabularies) {
  const auto with_token = [](const std::string& content, Json id) {
    Json file = BaseFile();
    Member(Member(file, "model"), "vocab").Set(content, std::move(id));
    return MessageOf(file);
  };
  EXPECT_THAT(with_token("new", -1), HasSubstr("found -1"));
  EXPECT_THAT(with_token("new", int64_t{1} << 40), HasSubstr("expected an id"));
  EXPECT_THAT(with_token("new", "5"), HasSubstr("found string"));
  EXPECT_THAT(with_token("new", 5), HasSubstr("taken"));
  EXPECT_THAT(with_token("a", 4), HasSubstr("taken"));
  Json file = BaseFile();
  Member(Member(file, "model"), "vocab")
      .object()
      .erase(Member(Member(file, "model"), "vocab").object().begin());
  EXPECT_THAT(MessageOf(file), HasSubstr("no token for byte 0x21"));
}

TEST(TokenizerFile, RefusesBadAddedTokens) {
  const auto with_added = [](Json token) {
    Json file = MergesFile(false);
    Member(file, "added_tokens").array().push_back(std::move(token));
    return MessageOf(file);
  };
  const auto with_flag = [&](const char* flag, Json value) {
    Json token = Added(400, "<new>", false);
    token.Set(flag, std::move(value));
    return with_added(std::move(token));
  };
  EXPECT_EQ(with_added(Added(400, "<new>", true)), "accepted");
  EXPECT_THAT(with_added(7), HasSubstr("added_tokens[19]"));
  EXPECT_THAT(with_added(Added(400, "", true)), HasSubstr("found 0"));
  EXPECT_THAT(with_added(Added(400, std::string(1025, 'x'), true)), HasSubstr("found 1025"));
  EXPECT_THAT(with_added(Added(-4, "<new>", true)), HasSubstr("found -4"));
  EXPECT_THAT(with_added(Added(67, "<new>", true)), HasSubstr("taken"));
  EXPECT_THAT(with_added(Added(400, "<think>", true)), HasSubstr("appears twice"));
  EXPECT_THAT(with_added(Added(400, "ab", true)), HasSubstr("expected its id in the vocabulary"));
  EXPECT_THAT(with_added(Added(300, "ab", true)), HasSubstr("no merge produces"));
  EXPECT_THAT(with_added(Added(67, "a", true)), HasSubstr("no merge produces"));
  EXPECT_THAT(with_flag("lstrip", true), HasSubstr("lstrip"));
  EXPECT_THAT(with_flag("rstrip", true), HasSubstr("rstrip"));
  EXPECT_THAT(with_flag("single_word", true), HasSubstr("single_word"));
  EXPECT_THAT(with_flag("special", 1), HasSubstr("expected a boolean"));
}

TEST(TokenizerFile, NamesTheFileInOneLine) {
  for (const char* json : {"", "[]", "{", "{}", "null", "{\"model\": 1}"}) {
    const auto made = Tokenizer::FromJson(json, "dir/tokenizer.json");
    ASSERT_FALSE(made.ok()) << json;
    EXPECT_THAT(made.error().message, testing::StartsWith("dir/tokenizer.json: "));
    EXPECT_EQ(made.error().message.find('\n'), std::string::npos) << made.error().message;
  }
  const auto missing = Tokenizer::Load("/nonexistent/tokenizer.json");
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, HasSubstr("/nonexistent/tokenizer.json"));
}

}  // namespace
}  // namespace fathom::tokenizer
