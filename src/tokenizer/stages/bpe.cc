#include "tokenizer/stages/bpe.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"

namespace fathom::tokenizer {
namespace {

// No pair of token ids, which are not negative.
constexpr uint64_t kEmpty = std::numeric_limits<uint64_t>::max();
constexpr Merge kNoMerge = {std::numeric_limits<int32_t>::max(), -1};

// Longer pieces are cut here, because positions in a piece have 32 bits and a symbol takes 12
// bytes of scratch. No written text has such a piece.
constexpr size_t kPieceBytesMax = size_t{1} << 28;

uint64_t PairOf(TokenId left, TokenId right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

using Candidate = Bpe::Scratch::Candidate;

// The order of std::push_heap's largest-on-top heap: first in the list, then leftmost, on top.
bool IsLater(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
}

}  // namespace

MergeTable::MergeTable(int64_t merges) {
  const uint64_t slots = std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(merges, 1)) * 2);
  slots_.assign(slots, {kEmpty, kNoMerge});
  shift_ = 64 - std::countr_zero(slots);
}

// Fibonacci hashing (Knuth, vol. 3, sec. 6.4): the high bits of a product with 2^64 / phi.
size_t MergeTable::SlotOf(uint64_t pair) const {
  size_t slot = (pair * 0x9E3779B97F4A7C15u) >> shift_;
  while (slots_[slot].pair != pair && slots_[slot].pair != kEmpty)
    slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void MergeTable::Insert(TokenId left, TokenId right, Merge merge) {
  const uint64_t pair = PairOf(left, right);
  slots_[SlotOf(pair)] = {pair, merge};
}

Merge MergeTable::Find(TokenId left, TokenId right) const {
  return slots_[SlotOf(PairOf(left, right))].merge;
}

void Bpe::Encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const {
  for (; piece.size() > kPieceBytesMax; piece.remove_prefix(kPieceBytesMax))
    EncodeLong(piece.substr(0, kPieceBytesMax), scratch, ids);
  if (std::ssize(piece) <= kShortBytesMax) {
    EncodeShort(piece, ids);
  } else {
    EncodeLong(piece, scratch, ids);
  }
}

void Bpe::EncodeShort(std::string_view piece, std::vector<TokenId>& ids) const {
  FATHOM_DCHECK(std::ssize(piece) <= kShortBytesMax);
  if (piece.empty()) return;
  std::array<TokenId, kShortBytesMax> symbols;
  std::array<Merge, kShortBytesMax> merges;  // of each symbol with the next one
  size_t count = piece.size();
  for (size_t i = 0; i < count; ++i) symbols[i] = byte_tokens_[static_cast<uint8_t>(piece[i])];
  for (size_t i = 0; i + 1 < count; ++i) merges[i] = merges_.Find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (merges[i].rank < merges[best].rank) best = i;
    if (merges[best].result < 0) break;
    symbols[best] = merges[best].result;
    std::copy(symbols.begin() + best + 2, symbols.begin() + count, symbols.begin() + best + 1);
    if (best + 2 < count)
      std::copy(merges.begin() + best + 2, merges.begin() + count - 1, merges.begin() + best + 1);
    --count;
    if (best > 0) merges[best - 1] = merges_.Find(symbols[best - 1], symbols[best]);
    if (best + 1 < count) merges[best] = merges_.Find(symbols[best], symbols[best + 1]);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + count);
}

void Bpe::EncodeLong(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const auto count = static_cast<int32_t>(piece.size());
  symbols.resize(piece.size());
  heap.clear();
  for (int32_t i = 0; i < count; ++i)
    symbols[i] = {byte_tokens_[static_cast<uint8_t>(piece[i])], i - 1, i + 1};
  const auto candidate = [&](int32_t left, int32_t right) {
    const Merge merge = merges_.Find(symbols[left].id, symbols[right].id);
    return Candidate{merge.rank, left, merge.result};
  };
  for (int32_t i = 0; i + 1 < count; ++i)
    if (const Candidate c = candidate(i, i + 1); c.result >= 0) heap.push_back(c);
  std::make_heap(heap.begin(), heap.end(), IsLater);
  const auto push = [&](int32_t left, int32_t right) {
    const Candidate c = candidate(left, right);
    if (c.result < 0) return;
    heap.push_back(c);
    std::push_heap(heap.begin(), heap.end(), IsLater);
  };
  while (!heap.empty()) {
    const Candidate top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), IsLater);
    heap.pop_back();
    // A candidate is stale once one of its symbols was merged otherwise. Symbols only grow, so the
    // pair still stands exactly when it still merges to the same token at the same rank.
    const int32_t right = symbols[top.at].next;
    if (symbols[top.at].id < 0 || right >= count) continue;
    const Merge merge = merges_.Find(symbols[top.at].id, symbols[right].id);
    if (merge.rank != top.rank || merge.result != top.result) continue;
    const int32_t after = symbols[right].next;
    symbols[top.at].id = top.result;
    symbols[top.at].next = after;
    symbols[right].id = -1;
    if (after < count) {
      symbols[after].previous = top.at;
      push(top.at, after);
    }
    if (symbols[top.at].previous >= 0) push(symbols[top.at].previous, top.at);
  }
  for (int32_t i = 0; i < count; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace fathom::tokenizer
