// The tokens of a vocabulary as a tree of their bytes, laid out flat in the order of a walk from
// the root: tokens with a common beginning are tried together, and a dead beginning skips them all.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.h"
#include "grammar/automaton/machine.h"

namespace fathom::grammar {

// A set of tokens: bit (id mod 64) of word (id / 64).
using TokenMask = std::vector<uint64_t>;
inline void SetBit(TokenMask& mask, TokenId id) {
  mask[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

class TokenTree {
 public:
  using Token = std::pair<std::string_view, TokenId>;
  // No token is empty. The texts are only read here.
  explicit TokenTree(std::vector<Token> tokens);

  // Sets the bits of the tokens that the machine can read from the last of the states. True when it
  // forgot others than these meanwhile, and gave these new names.
  bool AddReadable(Machine& machine, std::span<StateId> kept, TokenMask& mask) const;

 private:
  struct Node {
    uint32_t next;  // the node after everything below this one
    TokenId token;  // -1: none ends here
    uint16_t depth;
    uint8_t byte;
  };
  std::vector<Node> nodes_;
  std::vector<std::pair<TokenId, TokenId>> same_;  // tokens of equal bytes: first, another
  size_t depth_max_ = 0;
};

}  // namespace fathom::grammar
