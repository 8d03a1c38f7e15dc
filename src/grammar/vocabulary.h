// What Vocabulary holds: all tokens as a tree, and for each kind of plain text which tokens are
// plain with how many characters, and the others as a smaller tree.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/automaton/grammar.h"
#include "grammar/automaton/token_tree.h"
#include "grammar/constraint.h"

namespace fathom::grammar {

struct PlainTokens {
  std::vector<TokenMask> up_to;  // [n]: plain tokens of up to n characters; the last: all of them
  TokenTree others{{}};          // the tokens that are not plain
};

struct Vocabulary::State {
  size_t words = 0;
  TokenMask tokens;              // every id that is a token
  std::string bytes;             // of the ordinary tokens, one after another
  std::vector<uint32_t> begins;  // where each id's bytes begin, and the end
  TokenTree all{{}};
  std::array<PlainTokens, kPlainKinds> plain;  // none for kNone
  uint32_t characters_max = 0;                 // of any token
  std::optional<TokenId> mark;
  std::optional<TokenId> close_thinking;

  // Empty for added tokens and for ids without a token.
  std::string_view Bytes(TokenId id) const;
};

}  // namespace fathom::grammar
