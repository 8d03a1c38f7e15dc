// Many sequences on one model: tokens in, tokens out, batched. One thread owns the model, every
// sequence's state and the samplers; Submit and Cancel may be called from any thread and only
// queue.
//
// Each step is one forward pass over the next token of every running choice and chunks of the
// prompts that are being read, within a budget of tokens, so that answers keep flowing while a long
// prompt is read. Requests wait in queues by priority; within one priority the keys take turns. A
// request is admitted when its state fits the memory set aside for sequences.
//
// What a choice says is a function of its prompt, parameters and seed alone: not of what else runs,
// of how its prompt was cut, or of the number of threads.
//
// Text is not known here.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "cache/disk_store.h"
#include "cache/prefix_tree.h"
#include "engine/session.h"
#include "sampling/sampler.h"

namespace fathom::engine {

// Which tokens a choice may take next; lives and runs on the engine's thread.
class Constraint {
 public:
  virtual ~Constraint() = default;
  // Bit (id mod 64) of word (id / 64) says whether a token may come next; empty allows all. Valid
  // until the next call.
  virtual std::span<const uint64_t> Allowed() = 0;
  virtual void Accept(TokenId token) = 0;
};

// Told what happens to one request, on the engine's thread: it must not block, and what it is given
// is valid during the call only.
class Sink {
 public:
  virtual ~Sink() = default;
  // Just before OnStart: why no more of the prompt was remembered.
  virtual void OnCache(const cache::Miss& miss) { (void)miss; }
  // Its turn has come; `reused` tokens of the prompt need not be read.
  virtual void OnStart(int64_t reused) { (void)reused; }
  // `done` of the `total` prompt tokens that had to be read.
  virtual void OnPrompt(int64_t done, int64_t total) { (void)done, (void)total; }
  // A token of a choice, but no stop token. False ends the choice with kListener.
  virtual bool OnToken(int64_t choice, const sampling::Sampled& sampled) = 0;
  virtual void OnEnd(int64_t choice, FinishReason reason) = 0;
  // After the last OnEnd, or alone when the request was cancelled before it started: nothing more
  // comes, and the engine lets go of the sink.
  virtual void OnDone() = 0;
};

struct ChoiceRequest {
  sampling::Params sampling;
  std::unique_ptr<Constraint> constraint;  // may be null
  std::optional<std::vector<TokenId>>
      scripted;  // taken instead of sampled tokens, then a stop token
};

struct BatchRequest {
  std::vector<TokenId> prompt;
  std::vector<ChoiceRequest> choices;  // at least one; all continue the one prompt, read once
  std::optional<int64_t> max_tokens;   // nullopt: as many as the context holds
  int64_t min_tokens = 0;              // stop tokens are not taken before
  std::vector<TokenId> stop_tokens;    // empty: none ends a choice
  std::string key;                     // whose it is: keys take turns, and share no prefixes
  int priority = 0;                    // higher first
  // Of the prompt: ends of its system prompt and messages. The state at the last multiple of 128
  // before each is remembered, of the latest 64.
  std::vector<int64_t> boundaries;
  bool use_cache = true;       // neither looks for what is remembered nor adds to it when false
  std::shared_ptr<Sink> sink;  // shared with the submitter, which may outlive or leave it
};

struct EngineOptions {
  SessionOptions session;       // chunk_tokens is the budget of a step
  int64_t sequences_max = 64;   // running choices at once
  int64_t queue_max = 256;      // requests that wait
  int64_t state_bytes_max = 0;  // for sequences' states; 0: 80 % of the memory free at start
  // Of it, for remembered prefixes while sequences leave the room; 0: none, negative: a quarter.
  int64_t cache_bytes = 0;
  int64_t cache_every = 4096;  // prompt tokens between snapshots, beside those asked for; 0: none
  // Prefixes that outlive the process; none when its dir is empty. What tells models and formats
  // apart is filled in, the fingerprint in any case.
  cache::DiskOptions disk;
  std::shared_ptr<cache::DiskStore> disk_store;  // instead, for tests, which share it
  // For tests: called on the engine's thread with each choice's logits before a token is taken.
  void (*watch_logits)(void* context, const Sink* sink, int64_t choice,
                       std::span<const float> logits) = nullptr;
  void* watch_context = nullptr;
};

struct EngineStats {
  int64_t accepted = 0;  // requests, since start
  int64_t refused = 0;   // because the queue was full
  int64_t done = 0;      // accepted and over, whatever ended them
  int64_t queued = 0;
  int64_t reading = 0;      // requests whose prompt is being read
  int64_t running = 0;      // choices, those of prompts being read included
  int64_t state_bytes = 0;  // of running sequences and what they may grow to, beside cache_bytes
  int64_t steps = 0;
  int64_t prompt_tokens = 0;  // read, since start
  int64_t output_tokens = 0;
  int64_t cache_hits = 0;     // requests, since start, that found something
  int64_t cache_misses = 0;   // and that found nothing
  int64_t cached_tokens = 0;  // of prompts, that needed no reading
  int64_t cache_bytes = 0;    // now
  int64_t cache_nodes = 0;    // pages
  int64_t cache_tails = 0;    // snapshots
  int64_t cache_evictions = 0;
  cache::DiskStats disk;       // zeros without a disk tier
  double forward_seconds = 0;  // wall time inside forward passes
  // Processor time of all threads inside them; the workers' with what they spin before they sleep.
  double forward_cpu_seconds = 0;
  double seconds_since_forward = 0;  // since the latest pass ended
};

enum class SubmitStatus { kAccepted, kQueueFull, kShuttingDown };
struct Submitted {
  SubmitStatus status = SubmitStatus::kAccepted;
  uint64_t ticket = 0;        // kAccepted
  int64_t retry_after_s = 0;  // kQueueFull: a guess from the speed so far
};

class Engine {
 public:
  // Loads the model and starts the thread. Errors: those of Session::Open.
  static Result<std::unique_ptr<Engine>> Open(const std::string& dir, const EngineOptions& options);
  ~Engine();  // cancels what is left
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const model::Config& config() const;
  const model::LoadedModel& model() const;
  const EngineOptions& options() const;  // as resolved
  int64_t capacity() const;              // tokens of one sequence

  // Errors: those of Session::Generate (an empty or too long prompt, ids or settings out of range).
  // A full queue is a status.
  Result<Submitted> Submit(BatchRequest request);
  // Ends all choices of a request with kCancelled before the next step. Unknown tickets are
  // ignored: the request may be over.
  void Cancel(uint64_t ticket);
  // Runs one token through the model as a request of its own ahead of others, unless a pass ended
  // within the last `fresh_s` seconds; false when none has ended within `timeout_s`.
  bool IsAlive(double fresh_s, double timeout_s);
  EngineStats stats() const;
  // No more requests; what runs may finish within `grace_s` seconds and is cancelled then. Returns
  // when nothing runs.
  void Drain(double grace_s);

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fathom::engine
