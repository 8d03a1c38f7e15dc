#include "tokenizer/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "base/types.h"
#include "text/utf8.h"
#include "tokenizer/stages/byte_level.h"

namespace fathom::tokenizer {
namespace {

constexpr int64_t kV4VocabSize = 129280;
constexpr TokenId kFirstByte = 3;

struct ChatToken {
  const char* content;
  TokenId v4_id;
};

// The control tokens besides BOS, EOS and padding, the most needed first.
constexpr ChatToken kChatTokens[] = {
    {"<｜User｜>", 128803},     {"<｜Assistant｜>", 128804}, {"<think>", 128821},
    {"</think>", 128822},       {"｜DSML｜", 128825},        {"<｜latest_reminder｜>", 128828},
    {"<｜fim▁hole｜>", 128800}, {"<｜fim▁begin｜>", 128801}, {"<｜fim▁end｜>", 128802},
    {"<｜action｜>", 128829},   {"<｜query｜>", 128830},     {"<｜authority｜>", 128831},
    {"<｜domain｜>", 128832},   {"<｜title｜>", 128836},     {"<｜extracted_url｜>", 128844},
    {"<｜read_url｜>", 128845},
};

Json AddedToken(TokenId id, const std::string& content, bool is_special) {
  return Json::Object{
      {"id", id},        {"content", content},        {"single_word", false}, {"lstrip", false},
      {"rstrip", false}, {"normalized", !is_special}, {"special", is_special}};
}

Json IsolatedSplit(const char* pattern) {
  return Json::Object{{"type", "Split"},
                      {"pattern", Json::Object{{"Regex", pattern}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
}

Json ByteLevel() {
  return Json::Object{{"type", "ByteLevel"},
                      {"add_prefix_space", false},
                      {"trim_offsets", true},
                      {"use_regex", false}};
}

// Ref: tokenizer.json of DeepSeek-V4, pre_tokenizer.
Json DeepSeekPreTokenizer() {
  return Json::Object{
      {"type", "Sequence"},
      {"pretokenizers",
       Json::Array{
           IsolatedSplit("\\p{N}{1,3}"), IsolatedSplit("[一-龥\u3040-ゟ゠-ヿ]+"),
           IsolatedSplit("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
                         "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
                         "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"),
           ByteLevel()}}};
}

// Id to content of the control tokens that fit, by the rule of the header.
std::map<TokenId, std::string> PlaceChatTokens(int64_t vocab_size) {
  const int64_t room = vocab_size - kSyntheticVocabMin;
  const int64_t count = std::min<int64_t>(std::ssize(kChatTokens), room);
  std::vector<ChatToken> chosen(std::begin(kChatTokens), std::begin(kChatTokens) + count);
  std::sort(chosen.begin(), chosen.end(),
            [](const ChatToken& a, const ChatToken& b) { return a.v4_id < b.v4_id; });
  std::map<TokenId, std::string> placed;
  auto next = static_cast<TokenId>(vocab_size - count);
  for (const ChatToken& token : chosen)
    placed[vocab_size == kV4VocabSize ? token.v4_id : next++] = token.content;
  return placed;
}

}  // namespace

std::string SyntheticTokenizerJson(int64_t vocab_size) {
  FATHOM_CHECK_GE(vocab_size, kSyntheticVocabMin);
  const std::map<TokenId, std::string> chat_tokens = PlaceChatTokens(vocab_size);
  Json::Array added = {AddedToken(0, "<｜begin▁of▁sentence｜>", true),
                       AddedToken(1, "<｜end▁of▁sentence｜>", true),
                       AddedToken(2, "<｜▁pad▁｜>", true)};
  for (const auto& [id, content] : chat_tokens) added.push_back(AddedToken(id, content, false));

  Json::Object vocab;
  // DeepSeek's byte tokens stand in the order of their characters.
  std::array<char32_t, 256> characters = ByteCharacters();
  std::sort(characters.begin(), characters.end());
  for (TokenId i = 0; i < 256; ++i) {
    std::string content;
    text::AppendUtf8(content, characters[static_cast<size_t>(i)]);
    vocab.emplace_back(std::move(content), kFirstByte + i);
  }
  // No merge leads to the place holders, so text never becomes one; a model may still emit them.
  for (TokenId id = kFirstByte + 256; id < vocab_size; ++id)
    if (!chat_tokens.contains(id))
      vocab.emplace_back(fmt::format("<｜place▁holder▁no▁{}｜>", id), id);

  return WriteJson(Json::Object{{"version", "1.0"},
                                {"truncation", nullptr},
                                {"padding", nullptr},
                                {"added_tokens", std::move(added)},
                                {"normalizer", nullptr},
                                {"pre_tokenizer", DeepSeekPreTokenizer()},
                                {"post_processor", ByteLevel()},
                                {"decoder", ByteLevel()},
                                {"model", Json::Object{{"type", "BPE"},
                                                       {"dropout", nullptr},
                                                       {"unk_token", nullptr},
                                                       {"continuing_subword_prefix", nullptr},
                                                       {"end_of_word_suffix", nullptr},
                                                       {"fuse_unk", false},
                                                       {"byte_fallback", false},
                                                       {"vocab", std::move(vocab)},
                                                       {"merges", Json::Array{}}}}});
}

}  // namespace fathom::tokenizer
