// What the tests of the batching engine share: sinks that keep everything they are told, a session
// that says what a request alone gives, and a door that holds the engine's thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace fathom::batching {

// One choice, or a session's answer.
struct Answer {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  std::vector<float> logits;  // one row for each time a token was taken
  std::optional<engine::FinishReason> reason;

  bool operator==(const Answer&) const = default;
};

// Keeps what it is told. The hooks run on the engine's thread, where events of several recorders
// come one at a time; everybody else reads after Wait.
class Recorder : public engine::Sink {
 public:
  void OnCache(const cache::Miss& miss) override { miss_ = miss; }
  void OnStart(int64_t reused) override;
  void OnPrompt(int64_t done, int64_t total) override;
  bool OnToken(int64_t choice, const sampling::Sampled& sampled) override;
  void OnEnd(int64_t choice, engine::FinishReason reason) override;
  void OnDone() override;

  // Until OnDone; false after five minutes.
  bool Wait();
  bool is_done() const;
  Answer& answer(int64_t choice = 0) { return answers_[choice]; }
  int64_t ends() const { return ends_; }
  int64_t dones() const { return dones_; }
  int64_t starts() const { return starts_; }
  int64_t reused() const { return reused_; }
  const cache::Miss& miss() const { return miss_; }
  const std::vector<int64_t>& prompt_steps() const { return prompt_steps_; }

  std::function<void()> on_start;
  std::function<void(int64_t done)> on_prompt;
  std::function<bool(int64_t tokens)> on_token;  // false ends the choice
  std::function<void()> on_end;

 private:
  std::map<int64_t, Answer> answers_;
  std::vector<int64_t> prompt_steps_;
  int64_t starts_ = 0, ends_ = 0, dones_ = 0, reused_ = 0;
  cache::Miss miss_;
  mutable std::mutex mutex_;
  std::condition_variable done_;
  bool is_done_ = false;
};

// EngineOptions::watch_logits that adds each row to the recorder's answer. Every sink of that
// engine must be a Recorder.
void KeepLogits(void* context, const engine::Sink* sink, int64_t choice,
                std::span<const float> logits);

// Holds the engine's thread in Pass until Open.
class Door {
 public:
  void Pass();
  void Open();
  // Until somebody stands in front of it.
  void WaitForCaller();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = false, has_caller_ = false;
};

std::string ModelDir(const std::string& name);  // below the source folder
// Tokens without a pattern.
std::vector<TokenId> MakeTokens(int64_t count, int64_t vocab_size, uint64_t seed);

// A request of one choice with a recorder; fields may be changed afterwards.
struct Asked {
  engine::BatchRequest request;
  std::shared_ptr<Recorder> recorder;
};
Asked Ask(std::vector<TokenId> prompt, int64_t max_tokens, const sampling::Params& params = {});

std::unique_ptr<engine::Engine> OpenEngine(const std::string& model,
                                           const engine::EngineOptions& options);
// Submits, expecting that it is accepted; the ticket.
uint64_t Submit(engine::Engine& engine, engine::BatchRequest request);

// What a session answers; `chunk_tokens` as ever.
Answer Alone(engine::Session& session, const engine::BatchRequest& request);
std::unique_ptr<engine::Session> OpenSession(const std::string& model, int64_t capacity,
                                             numerics::Mode mode = numerics::Mode::kOfficial);

}  // namespace fathom::batching
