// Byte-pair merging of one piece: start from a token per byte, and as long as two neighbours stand
// in the merge list, merge the pair that stands first in the list (of equal ones the leftmost).
// Short pieces, which is nearly all of them, keep the ranks in a small array; long ones keep a
// linked list and a heap, so that a piece of n bytes costs O(n log n) whatever it holds.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace fathom::tokenizer {

// What a pair of tokens merges to, and its place in the merge list.
struct Merge {
  int32_t rank;
  TokenId result;  // -1: the pair does not merge
};

// From pairs of tokens to merges: open addressing, at most half full.
class MergeTable {
 public:
  explicit MergeTable(int64_t merges);
  // A repeated pair takes the last merge, as in the reference.
  void Insert(TokenId left, TokenId right, Merge merge);
  Merge Find(TokenId left, TokenId right) const;

 private:
  struct Slot {
    uint64_t pair;
    Merge merge;
  };
  size_t SlotOf(uint64_t pair) const;

  std::vector<Slot> slots_;
  int shift_;
};

class Bpe {
 public:
  Bpe(const std::array<TokenId, 256>& byte_tokens, MergeTable merges)
      : byte_tokens_(byte_tokens), merges_(std::move(merges)) {}

  // Memory that calls share; it grows to the longest piece. One per thread.
  struct Scratch {
    struct Symbol {
      TokenId id;  // -1: absorbed by the symbol before it
      int32_t previous;
      int32_t next;
    };
    struct Candidate {
      int32_t rank;
      int32_t at;  // the left symbol
      TokenId result;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // Appends the tokens of `piece`.
  void Encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const;

  // The two ways, for the test that they agree; EncodeShort takes at most kShortBytesMax bytes.
  static constexpr int64_t kShortBytesMax = 48;
  void EncodeShort(std::string_view piece, std::vector<TokenId>& ids) const;
  void EncodeLong(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const;

 private:
  std::array<TokenId, 256> byte_tokens_;
  MergeTable merges_;
};

}  // namespace fathom::tokenizer
