// One loaded model and one sequence: tokens in, tokens out. A session owns the checkpoint's
// mapping, the threads, the working memory and the sequence's state. A prompt that begins with
// everything the sequence already holds goes on from there; any other starts over. The results are
// those of the model alone: chunk size, threads, path and what is reused do not change a bit.
// Text is not known here, and a session serves one sequence: batches are the scheduler's part.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/context.h"
#include "model/forward.h"
#include "model/weights.h"
#include "numerics/mode.h"
#include "sampling/sampler.h"
#include "tensor/buffer.h"

namespace fathom::engine {

// Prompt tokens per pass. Products are as fast as they get from some 48 rows on, as measured,
// and 2048 tokens give each of 256 experts 48; with more, progress and interruption, which happen
// between passes, only get coarser.
inline constexpr int64_t kDefaultChunkTokens = 2048;

struct SessionOptions {
  int threads = 0;  // 0: one per physical core
  Pinning pinning = Pinning::kAuto;
  model::LoadOptions load = {};  // how the weights come into memory
  int64_t chunk_tokens = kDefaultChunkTokens;
  std::optional<kernels::Path> path = {};  // nullopt: the fastest this machine runs
  numerics::Mode mode = numerics::Mode::kOfficial;
  // Tokens the sequence can hold; 0: the model's max_position_embeddings. Unused room costs
  // address space only.
  int64_t capacity_tokens = 0;
  kernels::Trace* trace = nullptr;  // told what every pass costs; outlives the session
};

enum class FinishReason {
  kStopToken,    // one of Request::stop_tokens
  kListener,     // the listener said so: a stop string
  kLength,       // Request::max_tokens
  kContextFull,  // the sequence's capacity
  kCancelled,    // Request::cancel
};

struct Request {
  std::span<const TokenId> prompt;  // the whole sequence up to here, at least one token
  sampling::Params sampling;
  std::optional<int64_t> max_tokens;  // nullopt: as many as the context holds
  std::vector<TokenId> stop_tokens;
  const std::atomic<bool>* cancel = nullptr;  // looked at after every pass
};

// Told what happens while it happens, on the thread that called Generate.
class Listener {
 public:
  virtual ~Listener() = default;
  // `done` of the `total` prompt tokens that had to be processed.
  virtual void OnPrompt(int64_t done, int64_t total) { (void)done, (void)total; }
  // A token, but no stop token. False ends the generation.
  virtual bool OnToken(const sampling::Sampled& sampled) = 0;
};

struct Generated {
  FinishReason reason = FinishReason::kLength;
  std::vector<TokenId> tokens;  // all that were sampled, a final stop token included
  int64_t prompt_tokens = 0;
  int64_t reused_tokens = 0;  // of the prompt, not processed again
  double prompt_seconds = 0;
  double generation_seconds = 0;
};

class Session {
 public:
  // Errors: a checkpoint that cannot be opened, options outside their range.
  static Result<std::unique_ptr<Session>> Open(const std::string& dir,
                                               const SessionOptions& options = {});
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const model::Config& config() const { return model_.config(); }
  const model::LoadedModel& model() const { return model_; }
  const SessionOptions& options() const { return options_; }  // as resolved: nothing is 0
  int64_t capacity() const { return sequence_.capacity(); }

  // The tokens that have passed through the model.
  std::span<const TokenId> tokens() const { return tokens_; }
  void Reset();

  // Brings the sequence to `prompt`, in chunks, and leaves the logits of its last token. Returns
  // how many tokens were reused. `cancel` stops it between chunks: then the sequence holds a part,
  // and there are no logits. Errors: an empty prompt, more tokens than the capacity, an id outside
  // the vocabulary.
  Result<int64_t> Prefill(std::span<const TokenId> prompt, Listener* listener = nullptr,
                          const std::atomic<bool>* cancel = nullptr);
  // Appends one token (room must be left) and returns the logits after it. Allocates nothing once
  // every kind of step has run.
  std::span<const float> Step(TokenId token);
  bool has_logits() const { return has_logits_; }
  // Of the latest Prefill or Step.
  std::span<const float> logits() const { return {logits_.data(), vocab_size()}; }

  // Prefill and then a token at a time. Errors: those of Prefill and of CheckParams, max_tokens
  // below 1, a prompt that leaves no room for max_tokens.
  Result<Generated> Generate(const Request& request, Listener& listener);

 private:
  Session(model::LoadedModel model, const SessionOptions& options);

  size_t vocab_size() const { return static_cast<size_t>(config().vocab_size); }
  FinishReason Decode(const Request& request, Listener& listener, std::vector<TokenId>& tokens);
  void Append(std::span<const TokenId> tokens, model::LogitRows want);

  SessionOptions options_;
  model::LoadedModel model_;
  ThreadPool pool_;
  kernels::Workspace workspace_;
  model::Executor executor_;
  model::Sequence sequence_;
  std::vector<TokenId> tokens_;
  tensor::Buffer<float> logits_;  // [1, V]
  bool has_logits_ = false;
};

}  // namespace fathom::engine
