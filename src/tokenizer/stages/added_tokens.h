// Finds added tokens in text: at the leftmost position where one starts, the longest. A trie over
// bytes, entered only at bytes that start some token.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "base/function_ref.h"
#include "base/types.h"

namespace fathom::tokenizer {

class AddedTokenMatcher {
 public:
  // `content` must not be empty.
  void Insert(std::string_view content, TokenId id);

  // Cuts `text` into tokens and the text between them, in order; empty stretches are left out.
  void Split(std::string_view text, FunctionRef<void(TokenId)> on_token,
             FunctionRef<void(std::string_view)> on_text) const;

 private:
  struct Match {
    TokenId id = -1;
    size_t bytes = 0;
  };
  Match LongestAt(std::string_view text) const;

  // Edges of the trie: node and byte to node; node 0 is the root.
  std::unordered_map<uint64_t, uint32_t> edges_;
  std::unordered_map<uint32_t, TokenId> ends_;
  std::array<bool, 256> starts_{};
};

}  // namespace fathom::tokenizer
