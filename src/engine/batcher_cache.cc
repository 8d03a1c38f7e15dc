// What the batcher does so that no prompt is read twice: memory for states and remembered prefixes
// from one budget, snapshots while prompts are read and answers written, and loads from the disk.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/batcher.h"
#include "engine/state_room.h"

namespace fathom::engine {

using model::kPageTokens;

// Pages in use are those of sequences, of the tree, of loads and of what is being written to disk.
int64_t Batcher::SpokenFor() const {
  int64_t bytes = source_.pool()->bytes_in_use() + source_.stats().tail_bytes;
  for (const auto& job : jobs_) bytes += StillToTake(*job, source_.sizes());
  for (const auto& waiting : loads_) {
    const std::shared_ptr<DiskLoad> load = waiting.lock();
    if (load == nullptr) continue;
    if (load->state == DiskLoad::State::kLoading) {
      bytes += load->bytes;
    } else if (load->state == DiskLoad::State::kDone && load->loaded.tail != nullptr) {
      bytes += source_.sizes().tail;
    }
  }
  return bytes;
}

// Whether `bytes` more are left; remembered prefixes give way. What is being loaded may count twice
// for a while: what was set aside and what is there already.
bool Batcher::MakeRoom(int64_t bytes) {
  for (;;) {
    const int64_t over = SpokenFor() + bytes - options_.state_bytes_max;
    if (over <= 0) return true;
    if (source_.Evict(over) == 0) return false;
  }
}

// Nothing is evicted for a request that would not fit all the same.
bool Batcher::Fits(const Job& job) {
  if (counts_.running + job.count() > options_.sequences_max) return false;
  const auto fits = [&] {
    const int64_t left = options_.state_bytes_max - SpokenFor();
    if (NeedOf(job, 0, source_.sizes()) <= left) return true;
    if (!UsesCache(job)) return NeedOf(job, 0, source_.sizes()) <= left + source_.Evictable();
    // Holding what it would go on from: that cannot make room for it.
    const cache::Prefix found = source_.Peek(job.request.prompt, job.request.key);
    const int64_t loaded = job.load == nullptr ? 0 : job.load->Complete().tokens;
    const int64_t need = NeedOf(job, std::max(found.tokens, loaded), source_.sizes());
    return need <= left + source_.Evictable();
  };
  if (fits()) return true;
  if (!jobs_.empty()) return false;
  // Nobody runs, so only what waits for its turn behind this one can be in the way.
  DropLoads();
  return fits();
}

void Batcher::Expect(std::shared_ptr<DiskLoad> load) { loads_.push_back(std::move(load)); }

void Batcher::StartLoads() {
  std::erase_if(loads_, [](const auto& load) { return load.expired(); });
  for (const auto& waiting : loads_) {
    const std::shared_ptr<DiskLoad> load = waiting.lock();
    if (load->state == DiskLoad::State::kNew && !StartLoad(load)) return;
  }
}

// False when there is no room for what it may bring.
bool Batcher::StartLoad(const std::shared_ptr<DiskLoad>& load) {
  const int64_t findable = (std::ssize(load->prompt) - 1) / kPageTokens * kPageTokens;
  load->known = source_.Peek(load->prompt, load->key);
  load->bytes =
      (findable - load->known.tokens) / kPageTokens * source_.sizes().page + source_.sizes().tail;
  if (load->known.tokens == findable) {
    load->state = DiskLoad::State::kDone;
    load->known = {};
    return true;
  }
  // Nothing is evicted for a load that would not fit all the same.
  const bool can_fit = SpokenFor() + load->bytes - options_.state_bytes_max <= source_.Evictable();
  if (!can_fit || !MakeRoom(load->bytes)) {
    load->known = {};
    return false;
  }
  loader_->Start(load);
  return true;
}

void Batcher::DropLoads() {
  for (const auto& waiting : loads_) {
    const std::shared_ptr<DiskLoad> load = waiting.lock();
    if (load != nullptr && load->state == DiskLoad::State::kDone) load->known = load->loaded = {};
  }
}

void Batcher::CountAdmission(const Job& job, const cache::Miss& miss) {
  if (miss.reason == cache::Miss::Reason::kDisabled) return;
  (job.reused > 0 ? counts_.cache_hits : counts_.cache_misses) += 1;
  counts_.cached_tokens += job.reused;
}

// After a pass over a part of the prompt.
void Batcher::RememberPrompt(Job& job) {
  if (job.cuts.empty() || job.read < job.cuts.front()) return;
  job.cuts.pop_front();
  const auto tokens =
      std::span<const TokenId>(job.request.prompt).first(static_cast<size_t>(job.read));
  if (source_.Knows(tokens, job.request.key) || !MakeRoom(source_.sizes().tail)) return;
  const model::Sequence& sequence = *job.choices.front().sequence;
  source_.Remember(tokens, job.request.key, sequence.pages(),
                   std::make_shared<const std::vector<std::byte>>(sequence.SaveTail()));
}

// Before the choice takes a token. Only the latest snapshot of an answer is kept: the next turn
// goes on from its end.
void Batcher::KeepTail(const Job& job, Choice& choice) {
  const int64_t length = choice.sequence->length();
  if (length % kPageTokens != 0 || !UsesCache(job)) return;
  choice.tail.reset();
  if (!MakeRoom(source_.sizes().tail)) return;
  choice.tail = std::make_shared<const std::vector<std::byte>>(choice.sequence->SaveTail());
  choice.tail_tokens = length;
}

void Batcher::RememberAnswer(const Job& job, Choice& choice) {
  if (choice.tail == nullptr) return;
  std::vector<TokenId> tokens = job.request.prompt;
  const std::span<const TokenId> answer = choice.tokens();
  tokens.insert(tokens.end(), answer.begin(), answer.end());
  tokens.resize(static_cast<size_t>(choice.tail_tokens));
  if (!source_.Knows(tokens, job.request.key))
    source_.Remember(
        tokens, job.request.key,
        choice.sequence->pages().first(static_cast<size_t>(choice.tail_tokens / kPageTokens)),
        std::move(choice.tail));
  choice.tail.reset();
}

void Batcher::CountState() {
  const cache::TreeStats stats = source_.stats();
  counts_.cache_bytes = stats.bytes;
  counts_.cache_nodes = stats.nodes;
  counts_.cache_tails = stats.tails;
  counts_.cache_evictions = stats.evictions;
  counts_.state_bytes = SpokenFor() - stats.bytes;
}

}  // namespace fathom::engine
