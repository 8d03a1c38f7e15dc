#include "grammar/vocabulary.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "text/utf8.h"

namespace fathom::grammar {
namespace {

// Characters of a token that is plain for the kind, or -1. U+FF5C, which begins the mark, never is.
int64_t PlainCharacters(std::string_view bytes, Plain kind) {
  if (!text::IsValidUtf8(bytes) || bytes.find("｜") != std::string_view::npos) return -1;
  const bool is_json = kind == Plain::kJsonString;
  int64_t characters = 0;
  for (const char byte : bytes) {
    const auto code = static_cast<uint8_t>(byte);
    if (is_json ? code < 0x20 || byte == '"' || byte == '\\' : byte == '<') return -1;
    if ((code & 0xC0) != 0x80) ++characters;
  }
  return characters;
}

PlainTokens Classify(const std::vector<TokenTree::Token>& tokens, Plain kind, size_t words) {
  PlainTokens plain;
  std::vector<TokenTree::Token> others;
  std::vector<std::vector<TokenId>> by_length(1);
  for (const TokenTree::Token& token : tokens) {
    const int64_t characters = PlainCharacters(token.first, kind);
    if (characters < 0) {
      others.push_back(token);
      continue;
    }
    const auto length = static_cast<size_t>(characters);
    if (by_length.size() <= length) by_length.resize(length + 1);
    by_length[length].push_back(token.second);
  }
  TokenMask mask(words);
  for (const auto& ids : by_length) {
    for (const TokenId id : ids) SetBit(mask, id);
    plain.up_to.push_back(mask);
  }
  plain.others = TokenTree(std::move(others));
  return plain;
}

}  // namespace

Vocabulary::Vocabulary(const tokenizer::Tokenizer& tokenizer, int64_t vocab_size) {
  auto state = std::make_unique<State>();
  state->words = static_cast<size_t>((vocab_size + 63) / 64);
  state->tokens.resize(state->words);
  std::vector<TokenTree::Token> ordinary;
  const int64_t size = std::min(vocab_size, tokenizer.vocab_size());
  for (TokenId id = 0; id < size; ++id) {
    state->begins.push_back(static_cast<uint32_t>(state->bytes.size()));
    if (!tokenizer.IsToken(id)) continue;
    SetBit(state->tokens, id);
    const std::string_view bytes = tokenizer.TokenBytes(id);
    if (tokenizer.IsAdded(id) || bytes.empty()) continue;
    ordinary.emplace_back(bytes, id);
    state->bytes.append(bytes);
    state->characters_max = std::max(state->characters_max, static_cast<uint32_t>(bytes.size()));
  }
  state->begins.push_back(static_cast<uint32_t>(state->bytes.size()));
  for (const Plain kind : {Plain::kJsonString, Plain::kRawText}) {
    state->plain[static_cast<size_t>(kind)] = Classify(ordinary, kind, state->words);
  }
  state->all = TokenTree(std::move(ordinary));
  const auto find = [&](std::string_view content) {
    std::optional<TokenId> token = tokenizer.FindToken(content);
    if (token && *token >= vocab_size) token.reset();
    return token;
  };
  state->mark = find(kMarkText);
  state->close_thinking = find("</think>");
  state_ = std::move(state);
}

std::string_view Vocabulary::State::Bytes(TokenId id) const {
  const auto at = static_cast<size_t>(id);
  if (id < 0 || at + 1 >= begins.size()) return {};
  return std::string_view(bytes).substr(begins[at], begins[at + 1] - begins[at]);
}

Vocabulary::~Vocabulary() = default;

}  // namespace fathom::grammar
