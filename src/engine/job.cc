// The order of what happens to a token is Session::Generate's, so that both say the same.
#include "engine/job.h"

#include <algorithm>

namespace fathom::engine {
namespace {

bool AllowsAny(std::span<const uint64_t> mask, int64_t vocab_size) {
  const size_t words = static_cast<size_t>(vocab_size / 64);
  const uint64_t rest = (uint64_t{1} << (vocab_size % 64)) - 1;
  return std::any_of(mask.begin(), mask.begin() + static_cast<int64_t>(words),
                     [](uint64_t word) { return word != 0; }) ||
         (rest != 0 && (mask[words] & rest) != 0);
}

}  // namespace

void Choice::Begin(std::span<const TokenId> prompt, int64_t vocab_size) {
  sampler_.emplace(request_.sampling, vocab_size);
  sampler_->Begin(prompt);
}

Choice::Mask Choice::Allowed(const BatchRequest& request, int64_t vocab_size) {
  const std::span<const uint64_t> own =
      request_.constraint ? request_.constraint->Allowed() : std::span<const uint64_t>();
  if (!own.empty() && !AllowsAny(own, vocab_size)) return {{}, true};
  if (std::ssize(tokens_) >= request.min_tokens || request.stop_tokens.empty()) return {own, false};
  if (own.empty()) {
    mask_.assign(static_cast<size_t>((vocab_size + 63) / 64), ~uint64_t{0});
  } else {
    mask_.assign(own.begin(), own.end());
  }
  for (const TokenId stop : request.stop_tokens)
    mask_[static_cast<size_t>(stop / 64)] &= ~(uint64_t{1} << (stop % 64));
  // A constraint that allows the end only is stronger than a wish for length.
  if (!AllowsAny(mask_, vocab_size)) return {own, false};
  return {mask_, false};
}

std::optional<FinishReason> Choice::Take(std::span<const float> logits, const Job& job,
                                         int64_t number, int64_t capacity) {
  const BatchRequest& request = job.request;
  sampling::Sampled sampled;
  if (request_.scripted) {
    if (tokens_.size() == request_.scripted->size()) return FinishReason::kStopToken;
    sampled = sampler_->Given(logits, (*request_.scripted)[tokens_.size()]);
  } else {
    const Mask mask = Allowed(request, std::ssize(logits));
    if (mask.is_over) return FinishReason::kStopToken;
    sampled = sampler_->Sample(logits, sequence->length(), mask.allowed);
  }
  tokens_.push_back(sampled.token);
  sampler_->Accept(sampled.token);
  if (request_.constraint) request_.constraint->Accept(sampled.token);
  const std::vector<TokenId>& stops = request.stop_tokens;
  if (std::find(stops.begin(), stops.end(), sampled.token) != stops.end())
    return FinishReason::kStopToken;
  if (!request.sink->OnToken(number, sampled)) return FinishReason::kListener;
  if (std::ssize(tokens_) == request.max_tokens) return FinishReason::kLength;
  if (sequence->length() == capacity) return FinishReason::kContextFull;
  return std::nullopt;
}

}  // namespace fathom::engine
