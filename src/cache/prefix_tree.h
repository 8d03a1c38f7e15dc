// Which beginnings of prompts the machine remembers: a tree over token ids, a page of 128 tokens an
// edge. Pages along a path hold the compressed rows; a node with a tail (the window's rows and what
// the compressors carry over a boundary) is one from which a sequence can go on. Pages without a
// tail below them serve nobody and are not kept.
//
// Keys separate whose prompts they are: a prompt never finds what another key left.
//
// Bounded: when pages and tails take more than the budget, leaves go first, by value: old, seldom
// used and large ones before others. For the engine's thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "model/pages.h"

namespace fathom::cache {

// What a sequence carries over a page boundary (model::Sequence::SaveTail). Shared between the
// tree, the disk tier's writer and a sequence that is being restored.
using Tail = std::shared_ptr<const std::vector<std::byte>>;

// Why no more of a prompt was found.
struct Miss {
  enum class Reason {
    kNone,      // all that could be found was
    kCold,      // nothing of that key begins like this
    kEvicted,   // it was there, and had to make room
    kDiverged,  // the stored prompt goes on differently at `position`, or where this one ends
    kOtherKey,  // another key's prompt begins like this
    kDisabled,
  };
  Reason reason = Reason::kNone;
  int64_t position = 0;              // kDiverged: the first token that differs
  std::vector<TokenId> stored = {};  // kDiverged: up to five tokens either side of it
  std::vector<TokenId> wanted = {};
};

struct Prefix {
  int64_t tokens = 0;  // a multiple of 128; 0: nothing
  std::vector<model::PageRef> pages;
  Tail tail;
  Miss miss;
};

struct TreeStats {
  int64_t nodes = 0;
  int64_t tails = 0;
  int64_t bytes = 0;       // pages and tails, shared ones once
  int64_t tail_bytes = 0;  // of it
  int64_t hits = 0, misses = 0, evictions = 0;
};

class PrefixTree {
 public:
  PrefixTree(int64_t page_bytes, int64_t bytes_max);
  ~PrefixTree();

  // The longest stored beginning of `tokens` that has a tail and leaves at least one token to read,
  // and why it is no longer one.
  Prefix Find(std::string_view key, std::span<const TokenId> tokens);
  // The same without counting as use, and without a reason.
  Prefix Peek(std::string_view key, std::span<const TokenId> tokens) const;
  // Remembers the state after `tokens`, a multiple of 128 of them: the pages of all of them and the
  // tail. Pages that the tree has already are kept, and the given ones dropped. What is larger than
  // the budget is not taken.
  void Insert(std::string_view key, std::span<const TokenId> tokens,
              std::span<const model::PageRef> pages, Tail tail);
  // How far the tree knows `tokens` with a tail, without counting as use.
  int64_t Depth(std::string_view key, std::span<const TokenId> tokens) const;
  // Gives at least `bytes` back, least valuable first, or all it can; for when sequences need room.
  // What it freed: pages that somebody else refers to are forgotten but do not count.
  int64_t Evict(int64_t bytes);
  // The most that Evict could free now.
  int64_t Evictable() const;

  const TreeStats& stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom::cache
