// One request from its admission to the last byte of its answer. The engine's thread hands over
// tokens; on the connection's executor they become text, deltas, and the bytes of the dialect. The
// client leaving cancels the request; a stop string ends a choice at the same token however late
// the engine hears of it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/answer.h"
#include "api/replay.h"
#include "api/request.h"
#include "chat/encode.h"
#include "chat/token_reader.h"
#include "engine/engine.h"
#include "server/http.h"
#include "server/logprobs.h"
#include "server/pipeline.h"
#include "server/usage.h"
#include "server/workers.h"

namespace fathom::server {

// What an answer needs of the server around it; outlives every answer.
struct AnswerSurroundings {
  engine::Engine& engine;
  const tokenizer::Tokenizer& tokenizer;
  api::ReplayMemory& replay;
  Pipeline& pipeline;
  Workers& workers;                // for prompts above executor_bytes_max
  int64_t executor_bytes_max = 0;  // as of ServiceOptions
  UsageSink* usage = nullptr;      // may be null
  double keep_alive_s = 10;        // of silence in a stream
  double first_keep_alive_s = 15;  // of waiting, when the answer is one body
  double queue_timeout_s = 600;    // a request that has not started by then is closed
};

class Answering : public engine::Sink, public std::enable_shared_from_this<Answering> {
 public:
  Answering(const AnswerSurroundings& around, api::Request request, Prepared prepared,
            const api::Identity& identity, UsageRecord record, std::shared_ptr<Exchange> exchange,
            Headers headers);

  // Submits and takes over the exchange. On a refusal nothing was sent and the error is returned.
  api::Parsed<void> Start();

  void OnCache(const cache::Miss& miss) override;
  void OnStart(int64_t reused) override;
  bool OnToken(int64_t choice, const sampling::Sampled& sampled) override;
  void OnEnd(int64_t choice, engine::FinishReason reason) override;
  void OnDone() override;

 private:
  using Clock = std::chrono::steady_clock;

  // What the engine's thread says, in order.
  struct Event {
    enum class Kind { kStart, kToken, kEnd, kDone };
    Kind kind;
    int64_t choice = 0;
    TokenId token = 0;
    engine::FinishReason reason = engine::FinishReason::kLength;
    int64_t reused = 0;
    float logprob = 0;
    std::vector<sampling::TokenLogprob> top = {};
  };
  struct Choice {
    explicit Choice(chat::TokenReader made) : reader(std::move(made)) {}
    chat::TokenReader reader;
    LogprobQueue logprobs;
    chat::ParsedMessage message;   // for exact replay
    std::vector<TokenId> sampled;  // likewise
    int64_t tokens = 0;
    bool is_over = false;
  };

  void Push(Event event);
  // On the executor.
  void Drain();
  void Begin(int64_t reused);
  void AddToken(const Event& event);
  void AddDeltas(int64_t index, std::vector<chat::Delta> deltas);
  void EndChoice(int64_t index, std::optional<engine::FinishReason> reason);
  void ChoiceDone();
  void FinishAll();
  void GiveUp();
  void Gone();
  void KeepBodyAlive();
  void CloseIfWaiting();
  void RememberCalls(int64_t index);
  void RememberIds(int64_t index);
  void Report(int status, std::string outcome);
  api::Usage UsageOf(const Choice& choice) const;

  const AnswerSurroundings around_;
  const api::Request request_;
  Prepared prepared_;  // its batch goes to the engine
  std::string owner_;
  const std::vector<TokenId> prompt_tokens_;
  const std::string prompt_text_;  // to be echoed
  const std::unique_ptr<api::AnswerWriter> writer_;
  const std::shared_ptr<Exchange> exchange_;
  Headers headers_;
  UsageRecord record_;
  const Clock::time_point received_ = Clock::now();

  std::vector<Choice> choices_;
  // Set on the executor, read on the engine's thread.
  std::unique_ptr<std::atomic<bool>[]> is_stopped_;
  uint64_t ticket_ = 0;  // before anybody may cancel

  std::mutex mutex_;
  std::vector<Event> inbox_;
  std::string miss_;  // set before the start is told
  bool is_posted_ = false;

  // Of the executor.
  std::vector<Event> batch_;
  std::string out_;
  api::Usage usage_;
  int64_t choices_left_;
  bool has_begun_ = false;    // the engine has started it
  bool has_headers_ = false;  // of a body that is kept alive, or of a stream
  bool is_finished_ = false;
  bool has_first_token_ = false;
  std::string last_outcome_;
};

}  // namespace fathom::server
