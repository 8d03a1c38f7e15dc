// Where the state of a prompt comes from and where it goes: empty, from the tree of remembered
// prefixes (cache/prefix_tree.h), or from the disk tier, whose loads are started here and waited
// for elsewhere (disk_load.h). All sequences and the tree share one pool of pages. For the engine's
// thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/types.h"
#include "cache/disk_store.h"
#include "cache/prefix_tree.h"
#include "engine/disk_load.h"
#include "model/config.h"
#include "model/sequence.h"
#include "numerics/mode.h"

namespace fathom::engine {

// What states consist of, in bytes.
struct StateSizes {
  int64_t page = 0;  // of 128 tokens
  int64_t own = 0;   // of each sequence beside its pages
  int64_t tail = 0;  // of each snapshot beside its pages
};
StateSizes SizesOf(const model::Config& config, numerics::Mode mode);

class SequenceSource {
 public:
  // A tree of up to `cache_bytes`; none when that is 0. `disk` may be null. Keeps the reference.
  SequenceSource(const model::Config& config, numerics::Mode mode, int64_t cache_bytes,
                 std::shared_ptr<cache::DiskStore> disk);

  // Whether anything can be remembered at all.
  bool is_on() const { return tree_ || disk_ != nullptr; }
  const StateSizes& sizes() const { return sizes_; }
  const std::shared_ptr<model::PagePool>& pool() const { return pool_; }

  struct Acquired {
    std::unique_ptr<model::Sequence> sequence;
    // Tokens of the prompt that it holds already: fewer than all, since the last one's logits are
    // wanted.
    int64_t reused = 0;
    cache::Miss miss;
  };
  // Empty, with room for `capacity` tokens.
  Acquired Acquire(int64_t capacity) const;
  // In the state after the longest known prefix of the prompt, what `load` (may be null) brought
  // from the disk included. `key` is whose prompt it is.
  Acquired Acquire(std::span<const TokenId> prompt, std::string_view key, int64_t capacity,
                   const DiskLoad* load);
  // How many tokens Acquire would find in memory.
  int64_t Depth(std::span<const TokenId> prompt, std::string_view key) const;
  // What Acquire would find in memory; holding it keeps its pages from going.
  cache::Prefix Peek(std::span<const TokenId> prompt, std::string_view key) const;

  // Another one in the same state.
  std::unique_ptr<model::Sequence> Fork(const model::Sequence& sequence, int64_t capacity);

  bool Knows(std::span<const TokenId> tokens, std::string_view key) const;
  // Remembers the state after `tokens`, a multiple of 128 of them.
  void Remember(std::span<const TokenId> tokens, std::string_view key,
                std::span<const model::PageRef> pages, cache::Tail tail);

  // Forgets what is worth least until `bytes` are free, or nothing is left; what it freed.
  int64_t Evict(int64_t bytes) { return tree_ ? tree_->Evict(bytes) : 0; }
  int64_t Evictable() const { return tree_ ? tree_->Evictable() : 0; }
  // Of the tree; zeros without one.
  cache::TreeStats stats() const { return tree_ ? tree_->stats() : cache::TreeStats{}; }

 private:
  const model::Config& config_;
  const numerics::Mode mode_;
  const StateSizes sizes_;
  const std::shared_ptr<model::PagePool> pool_;
  std::optional<cache::PrefixTree> tree_;
  // Shared with the loader's thread.
  const std::shared_ptr<cache::DiskStore> disk_;
};

}  // namespace fathom::engine
