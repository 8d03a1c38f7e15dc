// One request inside the engine, and its choices. A job waits in the line (waiting_line.h), then
// belongs to the batcher until its last choice has ended.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cache/prefix_tree.h"
#include "engine/disk_load.h"
#include "engine/engine.h"
#include "model/sequence.h"
#include "sampling/sampler.h"

namespace fathom::engine {

struct Job;

// One continuation of the prompt.
class Choice {
 public:
  explicit Choice(ChoiceRequest request) : request_(std::move(request)) {}

  // Before the first token: `prompt` counts for the penalties.
  void Begin(std::span<const TokenId> prompt, int64_t vocab_size);
  // Takes a token from the logits after everything its sequence holds and tells the sink. A reason
  // when the choice ends with that; otherwise tokens().back() has to pass through the model.
  // `number` is the choice's place in the job.
  std::optional<FinishReason> Take(std::span<const float> logits, const Job& job, int64_t number,
                                   int64_t capacity);

  std::span<const TokenId> tokens() const { return tokens_; }

  std::unique_ptr<model::Sequence> sequence;  // null before it starts and after it has ended
  bool has_ended = false;
  // The latest snapshot of this choice that is to be remembered at its end, and what it holds.
  cache::Tail tail;
  int64_t tail_tokens = 0;

 private:
  struct Mask {
    std::span<const uint64_t> allowed;  // empty: everything
    bool is_over = false;               // nothing may come
  };
  Mask Allowed(const BatchRequest& request, int64_t vocab_size);

  ChoiceRequest request_;
  std::optional<sampling::Sampler> sampler_;
  std::vector<TokenId> tokens_;  // all that were taken
  std::vector<uint64_t> mask_;   // working memory
};

struct Job {
  uint64_t ticket = 0;
  BatchRequest request;  // its choices have moved to `choices`
  std::vector<Choice> choices;
  int64_t capacity = 0;  // tokens of each choice's sequence
  std::chrono::steady_clock::time_point submitted;
  std::shared_ptr<DiskLoad> load;  // shared with the loader; null without a disk tier

  // While it runs.
  int64_t reused = 0;
  int64_t read = 0;     // tokens of the prompt that are in the first choice's sequence
  int64_t planned = 0;  // of the coming step
  int64_t open_choices = 0;
  std::deque<int64_t> cuts;  // lengths of the prompt, ascending, at which a snapshot is wanted

  int64_t count() const { return std::ssize(choices); }
  int64_t unread() const { return std::ssize(request.prompt) - read; }
  // Tokens that may come next: a snapshot is taken between passes.
  int64_t readable() const { return cuts.empty() ? unread() : cuts.front() - read; }
};

}  // namespace fathom::engine
