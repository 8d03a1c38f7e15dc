// Empty sequences are not kept for the next request: making one costs address space only, and one
// that was used would have to give its pages back first.
#include "engine/sequence_source.h"

#include <utility>

#include "base/check.h"

namespace fathom::engine {

using cache::Miss;
using cache::Prefix;
using model::Sequence;

StateSizes SizesOf(const model::Config& config, numerics::Mode mode) {
  return {.page = model::MakePageLayout(config, mode).bytes,
          .own = Sequence::BytesFor(config, 0, mode),
          .tail = Sequence::TailBytes(config, mode)};
}

SequenceSource::SequenceSource(const model::Config& config, numerics::Mode mode,
                               int64_t cache_bytes, std::shared_ptr<cache::DiskStore> disk)
    : config_(config),
      mode_(mode),
      sizes_(SizesOf(config, mode)),
      pool_(model::PagePool::Make(sizes_.page)),
      disk_(std::move(disk)) {
  if (cache_bytes > 0) tree_.emplace(sizes_.page, cache_bytes);
}

SequenceSource::Acquired SequenceSource::Acquire(int64_t capacity) const {
  return {std::make_unique<Sequence>(config_, capacity, mode_, pool_),
          0,
          {.reason = Miss::Reason::kDisabled}};
}

SequenceSource::Acquired SequenceSource::Acquire(std::span<const TokenId> prompt,
                                                 std::string_view key, int64_t capacity,
                                                 const DiskLoad* load) {
  Acquired acquired = Acquire(capacity);
  Prefix loaded = load == nullptr ? Prefix{} : load->Complete();
  if (loaded.tokens > 0 && tree_)
    tree_->Insert(key, prompt.first(static_cast<size_t>(loaded.tokens)), loaded.pages, loaded.tail);
  Prefix found = tree_ ? tree_->Find(key, prompt) : Prefix{};
  if (!tree_)
    found.miss = {.reason = loaded.tokens > 0 ? Miss::Reason::kNone : Miss::Reason::kCold};
  acquired.miss = std::move(found.miss);
  // The tree may be too small to hold it.
  const Prefix& prefix = loaded.tokens > found.tokens ? loaded : found;
  if (prefix.tokens == 0) return acquired;
  FATHOM_CHECK_LT(prefix.tokens, std::ssize(prompt));
  const bool fits = acquired.sequence->Restore(prefix.tokens, prefix.pages, *prefix.tail);
  FATHOM_CHECK(fits, "a tail of another model");
  acquired.reused = prefix.tokens;
  return acquired;
}

// All but the last token, whose logits are wanted.
int64_t SequenceSource::Depth(std::span<const TokenId> prompt, std::string_view key) const {
  return tree_ ? tree_->Depth(key, prompt.first(prompt.size() - 1)) : 0;
}

Prefix SequenceSource::Peek(std::span<const TokenId> prompt, std::string_view key) const {
  return tree_ ? tree_->Peek(key, prompt) : Prefix{};
}

std::unique_ptr<Sequence> SequenceSource::Fork(const Sequence& sequence, int64_t capacity) {
  return sequence.Fork(capacity);
}

bool SequenceSource::Knows(std::span<const TokenId> tokens, std::string_view key) const {
  return tree_ && tree_->Depth(key, tokens) == std::ssize(tokens);
}

void SequenceSource::Remember(std::span<const TokenId> tokens, std::string_view key,
                              std::span<const model::PageRef> pages, cache::Tail tail) {
  if (disk_ != nullptr) disk_->Write(key, tokens, pages, tail);
  if (tree_) tree_->Insert(key, tokens, pages, std::move(tail));
}

}  // namespace fathom::engine
