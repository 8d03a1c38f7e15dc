#include "engine/session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/checks.h"

namespace fathom::engine {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool IsCancelled(const std::atomic<bool>* cancel) {
  return cancel != nullptr && cancel->load(std::memory_order_relaxed);
}

}  // namespace

Result<std::unique_ptr<Session>> Session::Open(const std::string& dir,
                                               const SessionOptions& options) {
  FATHOM_TRY(model::LoadedModel model, model::LoadedModel::Load(dir, options.load));
  FATHOM_TRY(const SessionOptions resolved, Resolve(options, model.config()));
  return std::unique_ptr<Session>(new Session(std::move(model), resolved));
}

Session::Session(model::LoadedModel model, const SessionOptions& options)
    : options_(options),
      model_(std::move(model)),
      pool_(options.threads, options.pinning),
      executor_(model_.config(), model_.weights(), {.batch_tokens_max = options.chunk_tokens},
                kernels::Context{pool_, workspace_, *options.path, options.mode, options.trace}),
      sequence_(model_.config(), options.capacity_tokens, options.mode),
      logits_(model_.config().vocab_size) {
  options_.threads = pool_.threads();
  tokens_.reserve(static_cast<size_t>(options.capacity_tokens));
}

void Session::Reset() {
  sequence_.Reset();
  tokens_.clear();
  has_logits_ = false;
}

void Session::Append(std::span<const TokenId> tokens, model::LogitRows want) {
  const model::BatchItem item{&sequence_, tokens, want};
  const bool wants_logits = want == model::LogitRows::kLast;
  executor_.Forward({&item, 1}, logits_.matrix(wants_logits ? 1 : 0, config().vocab_size));
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  has_logits_ = wants_logits;
}

Result<int64_t> Session::Prefill(std::span<const TokenId> prompt, Listener* listener,
                                 const std::atomic<bool>* cancel) {
  FATHOM_TRY_VOID(CheckPrompt(prompt, capacity(), config().vocab_size));
  const bool extends =
      prompt.size() >= tokens_.size() && std::equal(tokens_.begin(), tokens_.end(), prompt.begin());
  // The whole prompt may be there already, but its last logits only if nothing came after them.
  if (!extends || (prompt.size() == tokens_.size() && !has_logits_)) Reset();
  const int64_t reused = std::ssize(tokens_), total = std::ssize(prompt) - reused;
  for (int64_t done = 0; done < total && !IsCancelled(cancel);) {
    const int64_t count = std::min(options_.chunk_tokens, total - done);
    const bool is_last = done + count == total;
    Append(prompt.subspan(static_cast<size_t>(reused + done), static_cast<size_t>(count)),
           is_last ? model::LogitRows::kLast : model::LogitRows::kNone);
    done += count;
    if (listener != nullptr) listener->OnPrompt(done, total);
  }
  return reused;
}

std::span<const float> Session::Step(TokenId token) {
  Append({&token, 1}, model::LogitRows::kLast);
  return logits();
}

Result<Generated> Session::Generate(const Request& request, Listener& listener) {
  FATHOM_TRY_VOID(sampling::CheckParams(request.sampling, config().vocab_size));
  FATHOM_TRY_VOID(CheckPrompt(request.prompt, capacity(), config().vocab_size));
  FATHOM_TRY_VOID(CheckMaxTokens(request.max_tokens, std::ssize(request.prompt), capacity()));
  Generated generated;
  generated.prompt_tokens = std::ssize(request.prompt);
  const int64_t room = capacity() - generated.prompt_tokens;
  // One more than there is room for: the last one need not pass through the model.
  generated.tokens.reserve(static_cast<size_t>(request.max_tokens.value_or(room + 1)));
  const auto start = std::chrono::steady_clock::now();
  FATHOM_TRY(generated.reused_tokens, Prefill(request.prompt, &listener, request.cancel));
  generated.prompt_seconds = SecondsSince(start);
  if (!has_logits_) {
    generated.reason = FinishReason::kCancelled;
    return generated;
  }
  const auto first = std::chrono::steady_clock::now();
  generated.reason = Decode(request, listener, generated.tokens);
  generated.generation_seconds = SecondsSince(first);
  return generated;
}

FinishReason Session::Decode(const Request& request, Listener& listener,
                             std::vector<TokenId>& tokens) {
  sampling::Sampler sampler(request.sampling, config().vocab_size);
  sampler.Begin(request.prompt);
  const std::vector<TokenId>& stops = request.stop_tokens;
  for (;;) {
    if (IsCancelled(request.cancel)) return FinishReason::kCancelled;
    const sampling::Sampled sampled = sampler.Sample(logits(), std::ssize(tokens_));
    tokens.push_back(sampled.token);
    sampler.Accept(sampled.token);
    if (std::find(stops.begin(), stops.end(), sampled.token) != stops.end())
      return FinishReason::kStopToken;
    if (!listener.OnToken(sampled)) return FinishReason::kListener;
    if (std::ssize(tokens) == request.max_tokens) return FinishReason::kLength;
    if (std::ssize(tokens_) == capacity()) return FinishReason::kContextFull;
    Step(sampled.token);
  }
}

}  // namespace fathom::engine
