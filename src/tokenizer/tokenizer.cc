#include "tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <utility>

#include "tokenizer/stages/state.h"

namespace fathom::tokenizer {
namespace {

// Bytes of text per token, for reserving: written text has three to five.
constexpr size_t kBytesPerToken = 4;

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> ids;
  ids.reserve(text.size() / kBytesPerToken);
  PreTokenizer::Session session(state_->pre_tokenizer);
  Bpe::Scratch scratch;
  const auto on_piece = [&](std::string_view piece) { state_->bpe.Encode(piece, scratch, ids); };
  // The patterns need well-formed text; a byte that is none is a piece by itself.
  const auto on_text = [&](std::string_view plain) {
    while (!plain.empty()) {
      const auto valid = static_cast<size_t>(text::ValidUtf8Prefix(plain));
      if (valid > 0) state_->pre_tokenizer.Split(plain.substr(0, valid), session, on_piece);
      plain.remove_prefix(valid);
      if (plain.empty()) break;
      on_piece(plain.substr(0, 1));
      plain.remove_prefix(1);
    }
  };
  if (!options.match_added_tokens) {
    on_text(text);
    return ids;
  }
  const auto on_token = [&](TokenId id) { ids.push_back(id); };
  state_->verbatim.Split(text, on_token, [&](std::string_view rest) {
    state_->normalized.Split(rest, on_token, on_text);
  });
  return ids;
}

Result<std::string> Tokenizer::DecodeBytes(std::span<const TokenId> ids,
                                           const DecodeOptions& options) const {
  std::string bytes;
  for (const TokenId id : ids) {
    if (!IsToken(id))
      return Error{fmt::format("token id {}: expected one of the {} tokens", id, vocab_size())};
    if (options.skip_special && IsSpecial(id)) continue;
    bytes += TokenBytes(id);
  }
  return bytes;
}

Result<std::string> Tokenizer::Decode(std::span<const TokenId> ids,
                                      const DecodeOptions& options) const {
  FATHOM_TRY(const std::string bytes, DecodeBytes(ids, options));
  return text::DecodeLossy(bytes);
}

int64_t Tokenizer::vocab_size() const { return state_->tokens.size(); }

bool Tokenizer::IsToken(TokenId id) const { return state_->tokens.Has(id, TokenTable::kPresent); }
bool Tokenizer::IsAdded(TokenId id) const { return state_->tokens.Has(id, TokenTable::kAdded); }
bool Tokenizer::IsSpecial(TokenId id) const { return state_->tokens.Has(id, TokenTable::kSpecial); }

std::string_view Tokenizer::TokenBytes(TokenId id) const {
  FATHOM_CHECK(IsToken(id), fmt::format("token id {}", id));
  return state_->tokens.Bytes(id);
}

std::string Tokenizer::TokenText(TokenId id) const {
  return IsToken(id) ? text::DecodeLossy(TokenBytes(id)) : std::string();
}

std::optional<TokenId> Tokenizer::FindToken(std::string_view content) const {
  const auto found = state_->added_ids.find(std::string(content));
  if (found == state_->added_ids.end()) return std::nullopt;
  return found->second;
}

Result<std::string> StreamDecoder::Add(TokenId id) {
  FATHOM_TRY(const std::string bytes, tokenizer_->DecodeBytes({&id, 1}, options_));
  return stream_.Add(bytes);
}

}  // namespace fathom::tokenizer
