#include "tokenizer/stages/added_tokens.h"

#include "base/check.h"

namespace fathom::tokenizer {
namespace {

uint64_t EdgeOf(uint32_t node, char byte) {
  return (static_cast<uint64_t>(node) << 8) | static_cast<uint8_t>(byte);
}

}  // namespace

void AddedTokenMatcher::Insert(std::string_view content, TokenId id) {
  FATHOM_CHECK(!content.empty());
  starts_[static_cast<uint8_t>(content[0])] = true;
  uint32_t node = 0;
  for (const char byte : content)
    node = edges_.try_emplace(EdgeOf(node, byte), static_cast<uint32_t>(edges_.size()) + 1)
               .first->second;
  ends_[node] = id;
}

AddedTokenMatcher::Match AddedTokenMatcher::LongestAt(std::string_view text) const {
  Match best;
  uint32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto edge = edges_.find(EdgeOf(node, text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (const auto end = ends_.find(node); end != ends_.end()) best = {end->second, i + 1};
  }
  return best;
}

void AddedTokenMatcher::Split(std::string_view text, FunctionRef<void(TokenId)> on_token,
                              FunctionRef<void(std::string_view)> on_text) const {
  size_t begin = 0;  // of the text since the last token
  for (size_t at = 0; at < text.size();) {
    Match match;
    if (starts_[static_cast<uint8_t>(text[at])]) match = LongestAt(text.substr(at));
    if (match.bytes == 0) {
      ++at;
      continue;
    }
    if (at > begin) on_text(text.substr(begin, at - begin));
    on_token(match.id);
    at += match.bytes;
    begin = at;
  }
  if (begin < text.size()) on_text(text.substr(begin));
}

}  // namespace fathom::tokenizer
