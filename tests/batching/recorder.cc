// See recorder.h.
#include "tests/batching/recorder.h"

#include <gtest/gtest.h>

#include <chrono>

namespace fathom::batching {

void Recorder::OnStart(int64_t reused) {
  if (miss_.reason == cache::Miss::Reason::kDisabled) {
    EXPECT_EQ(reused, 0);
  }
  reused_ = reused;
  ++starts_;
  if (on_start) on_start();
}

void Recorder::OnPrompt(int64_t done, int64_t total) {
  EXPECT_LE(done, total);
  prompt_steps_.push_back(done);
  if (on_prompt) on_prompt(done);
}

bool Recorder::OnToken(int64_t choice, const sampling::Sampled& sampled) {
  Answer& answer = answers_[choice];
  EXPECT_FALSE(answer.reason.has_value()) << "a token after the end";
  answer.tokens.push_back(sampled.token);
  answer.logprobs.push_back(sampled.logprob);
  return !on_token || on_token(std::ssize(answer.tokens));
}

void Recorder::OnEnd(int64_t choice, engine::FinishReason reason) {
  EXPECT_FALSE(answers_[choice].reason.has_value()) << "ended twice";
  answers_[choice].reason = reason;
  ++ends_;
  if (on_end) on_end();
}

void Recorder::OnDone() {
  const std::lock_guard lock(mutex_);
  ++dones_;
  is_done_ = true;
  done_.notify_all();
}

bool Recorder::Wait() {
  std::unique_lock lock(mutex_);
  return done_.wait_for(lock, std::chrono::minutes(5), [&] { return is_done_; });
}

bool Recorder::is_done() const {
  const std::lock_guard lock(mutex_);
  return is_done_;
}

void KeepLogits(void* context, const engine::Sink* sink, int64_t choice,
                std::span<const float> logits) {
  (void)context;
  // The engine sees sinks it may not change; this one was made by the test.
  auto* recorder = const_cast<Recorder*>(dynamic_cast<const Recorder*>(sink));
  std::vector<float>& all = recorder->answer(choice).logits;
  all.insert(all.end(), logits.begin(), logits.end());
}

void Door::Pass() {
  std::unique_lock lock(mutex_);
  has_caller_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return is_open_; });
}

void Door::Open() {
  const std::lock_guard lock(mutex_);
  is_open_ = true;
  changed_.notify_all();
}

void Door::WaitForCaller() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return has_caller_; });
}

std::string ModelDir(const std::string& name) {
  return std::string(FATHOM_SOURCE_DIR) + "/" + name;
}

std::vector<TokenId> MakeTokens(int64_t count, int64_t vocab_size, uint64_t seed) {
  // A 64-bit congruential generator (Knuth's constants), upper bits.
  std::vector<TokenId> tokens;
  uint64_t state = seed;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    tokens.push_back(static_cast<TokenId>((state >> 33) % static_cast<uint64_t>(vocab_size)));
  }
  return tokens;
}

Asked Ask(std::vector<TokenId> prompt, int64_t max_tokens, const sampling::Params& params) {
  Asked asked;
  asked.recorder = std::make_shared<Recorder>();
  asked.request.prompt = std::move(prompt);
  asked.request.max_tokens = max_tokens;
  asked.request.sink = asked.recorder;
  asked.request.choices.push_back({params, nullptr, std::nullopt});
  return asked;
}

std::unique_ptr<engine::Engine> OpenEngine(const std::string& model,
                                           const engine::EngineOptions& options) {
  auto opened = engine::Engine::Open(ModelDir(model), options);
  if (!opened.ok()) {
    ADD_FAILURE() << opened.error().message;
    std::abort();
  }
  return std::move(opened).value();
}

uint64_t Submit(engine::Engine& engine, engine::BatchRequest request) {
  auto submitted = engine.Submit(std::move(request));
  if (!submitted.ok()) {
    ADD_FAILURE() << submitted.error().message;
    return 0;
  }
  EXPECT_EQ(submitted.value().status, engine::SubmitStatus::kAccepted);
  return submitted.value().ticket;
}

std::unique_ptr<engine::Session> OpenSession(const std::string& model, int64_t capacity,
                                             numerics::Mode mode) {
  engine::SessionOptions options{.threads = 1, .mode = mode};
  options.capacity_tokens = capacity;
  auto opened = engine::Session::Open(ModelDir(model), options);
  if (!opened.ok()) {
    ADD_FAILURE() << opened.error().message;
    std::abort();
  }
  return std::move(opened).value();
}

namespace {

class SessionListener : public engine::Listener {
 public:
  SessionListener(engine::Session& session, Answer& answer) : session_(session), answer_(answer) {}
  bool OnToken(const sampling::Sampled& sampled) override {
    answer_.tokens.push_back(sampled.token);
    answer_.logprobs.push_back(sampled.logprob);
    KeepRow();
    return true;
  }
  void KeepRow() {
    const std::span<const float> row = session_.logits();
    answer_.logits.insert(answer_.logits.end(), row.begin(), row.end());
  }

 private:
  engine::Session& session_;
  Answer& answer_;
};

}  // namespace

Answer Alone(engine::Session& session, const engine::BatchRequest& request) {
  session.Reset();
  Answer answer;
  SessionListener listener(session, answer);
  const engine::Request alone{.prompt = request.prompt,
                              .sampling = request.choices.front().sampling,
                              .max_tokens = request.max_tokens,
                              .stop_tokens = request.stop_tokens};
  const auto generated = session.Generate(alone, listener);
  if (!generated.ok()) {
    ADD_FAILURE() << generated.error().message;
    return answer;
  }
  answer.reason = generated.value().reason;
  // No listener hears of the stop token.
  if (answer.reason == engine::FinishReason::kStopToken) listener.KeepRow();
  return answer;
}

}  // namespace fathom::batching
