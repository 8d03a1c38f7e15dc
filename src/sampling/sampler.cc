// The vocabulary is walked a few times per token; sorting, the only costly step, is confined to
// what top-k or top-p can still keep.
#include "sampling/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "numerics/functions.h"
#include "numerics/philox.h"

namespace fathom::sampling {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool IsAllowed(std::span<const uint64_t> allowed, size_t token) {
  return allowed.empty() || ((allowed[token / 64] >> (token % 64)) & 1) != 0;
}

// NaN counts as the smallest.
float Usable(float logit) { return std::isnan(logit) ? -kInfinity : logit; }

// e^(score - largest) over temperature; with an infinite largest, 1 for those that share it.
float Weight(float score, float largest, float temperature) {
  if (score == largest) return 1;
  if (largest == kInfinity) return 0;
  return numerics::Exp((score - largest) / temperature);
}

// In [0, 1), 53 bits.
double Uniform(uint64_t seed, uint64_t stream, int64_t position) {
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](uint64_t x) { return static_cast<uint32_t>(x >> 32); };
  const auto at = static_cast<uint64_t>(position);
  const std::array<uint32_t, 4> bits =
      numerics::Philox4x32({low(at), high(at), low(stream), high(stream)}, {low(seed), high(seed)});
  return static_cast<double>(((uint64_t{bits[0]} << 32) | bits[1]) >> 11) * 0x1p-53;
}

// The order of candidates: larger first, equal ones by id.
constexpr auto kBetter = [](const auto& a, const auto& b) {
  return a.score != b.score ? a.score > b.score : a.token < b.token;
};

template <typename Candidates>
double TotalWeight(const Candidates& candidates) {
  double total = 0;
  for (const auto& c : candidates) total += c.weight;
  return total;
}

}  // namespace

Sampler::Sampler(const Params& params, int64_t vocab_size)
    : params_(params),
      has_penalties_(params.repetition_penalty != 1 || params.presence_penalty != 0 ||
                     params.frequency_penalty != 0) {
  FATHOM_CHECK_GE(vocab_size, int64_t{1});
  const auto size = static_cast<size_t>(vocab_size);
  scores_.resize(size);
  if (params_.temperature > 0) candidates_.reserve(size);
  if (params_.logprobs) {
    params_.logprobs = std::min(*params_.logprobs, vocab_size);
    top_.reserve(static_cast<size_t>(*params_.logprobs) + 1);
  }
  if (has_penalties_) {
    generated_count_.resize(size);
    is_touched_.resize(size);
    touched_.reserve(size);
  }
}

void Sampler::Begin(std::span<const TokenId> prompt) {
  if (!has_penalties_) return;
  std::fill(generated_count_.begin(), generated_count_.end(), 0);
  std::fill(is_touched_.begin(), is_touched_.end(), false);
  touched_.clear();
  for (const TokenId token : prompt) Touch(token);
}

void Sampler::Touch(TokenId token) {
  FATHOM_CHECK(token >= 0 && token < std::ssize(scores_));
  const auto i = static_cast<size_t>(token);
  if (is_touched_[i]) return;
  is_touched_[i] = true;
  touched_.push_back(token);
}

void Sampler::Accept(TokenId token) {
  if (!has_penalties_) return;
  Touch(token);
  ++generated_count_[static_cast<size_t>(token)];
}

void Sampler::Adjust(std::span<const float> logits, std::span<const uint64_t> allowed) {
  std::transform(logits.begin(), logits.end(), scores_.begin(), Usable);
  for (const TokenId token : touched_) {
    float& score = scores_[static_cast<size_t>(token)];
    const float r = params_.repetition_penalty;
    score = score > 0 ? score / r : score * r;
    const auto count = static_cast<float>(generated_count_[static_cast<size_t>(token)]);
    if (count > 0)
      score = Usable(score - params_.presence_penalty - count * params_.frequency_penalty);
  }
  for (const auto& [token, bias] : params_.logit_bias) scores_[static_cast<size_t>(token)] += bias;
  if (allowed.empty()) return;
  FATHOM_CHECK_GE(allowed.size() * 64, scores_.size());
  for (size_t i = 0; i < scores_.size(); ++i)
    if (!IsAllowed(allowed, i)) scores_[i] = -kInfinity;
}

Sampled Sampler::Sample(std::span<const float> logits, int64_t position,
                        std::span<const uint64_t> allowed) {
  FATHOM_CHECK_EQ(logits.size(), scores_.size());
  Adjust(logits, allowed);
  Sampled sampled;
  const auto largest = std::max_element(scores_.begin(), scores_.end());  // the first of equals
  if (*largest == -kInfinity) {
    size_t first = 0;
    while (first < scores_.size() && !IsAllowed(allowed, first)) ++first;
    FATHOM_CHECK_LT(first, scores_.size());
    sampled.token = static_cast<TokenId>(first);
  } else if (params_.temperature == 0) {
    sampled.token = static_cast<TokenId>(largest - scores_.begin());
  } else {
    sampled.token = Draw(*largest, position);
  }
  if (params_.logprobs) ReportLogprobs(logits, sampled);
  return sampled;
}

Sampled Sampler::Given(std::span<const float> logits, TokenId token) {
  FATHOM_CHECK_EQ(logits.size(), scores_.size());
  FATHOM_CHECK(token >= 0 && token < std::ssize(logits));
  Sampled sampled;
  sampled.token = token;
  if (params_.logprobs) ReportLogprobs(logits, sampled);
  return sampled;
}

void Sampler::Collect(float largest) {
  candidates_.clear();
  for (size_t i = 0; i < scores_.size(); ++i) {
    const float weight = Weight(scores_[i], largest, params_.temperature);
    if (weight > 0) candidates_.push_back({scores_[i], weight, static_cast<TokenId>(i)});
  }
}

void Sampler::KeepTopK() {
  const auto k = static_cast<size_t>(params_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + params_.top_k, candidates_.end(),
                   kBetter);
  candidates_.resize(k);
  // nth_element leaves the kept ones in no particular order.
  std::sort(candidates_.begin(), candidates_.end(), kBetter);
}

void Sampler::KeepTopP() {
  if (params_.top_p == 1) return;
  const double total = TotalWeight(candidates_);
  // n tokens that each hold less than (1 - p) / n hold less than 1 - p together, so the others
  // reach p without them: they need no sorting.
  const double least = total * (1 - params_.top_p) / static_cast<double>(candidates_.size());
  std::erase_if(candidates_, [least](const Candidate& c) { return c.weight < least; });
  std::sort(candidates_.begin(), candidates_.end(), kBetter);
  double sum = 0;
  size_t kept = 0;
  while (kept < candidates_.size() && (kept == 0 || sum < params_.top_p * total))
    sum += candidates_[kept++].weight;
  candidates_.resize(kept);
}

TokenId Sampler::Draw(float largest, int64_t position) {
  Collect(largest);
  KeepTopK();
  KeepTopP();
  // The largest has weight 1, so weights compare with min_p directly.
  std::erase_if(candidates_, [this](const Candidate& c) { return c.weight < params_.min_p; });
  const double target = Uniform(params_.seed, params_.stream, position) * TotalWeight(candidates_);
  double sum = 0;
  for (const Candidate& c : candidates_) {
    sum += c.weight;
    if (sum > target) return c.token;
  }
  return candidates_.back().token;  // only if rounding made the target the total
}

void Sampler::ReportLogprobs(std::span<const float> logits, Sampled& sampled) {
  float largest = -kInfinity;
  for (const float logit : logits) largest = std::max(largest, Usable(logit));
  const float temperature = params_.logprobs_after_temperature ? params_.temperature : 1;
  double sum = 0;
  if (temperature > 0)
    for (const float logit : logits) sum += Weight(Usable(logit), largest, temperature);
  const double log_sum = std::log(sum);
  const auto logprob = [&](TokenId token) {
    const float logit = Usable(logits[static_cast<size_t>(token)]);
    if (temperature == 0) return logit == largest ? 0 : kUnlikelyLogprob;
    if (logit == largest) return static_cast<float>(-log_sum);
    const double below = (static_cast<double>(logit) - static_cast<double>(largest)) / temperature;
    return static_cast<float>(below - log_sum);
  };
  sampled.logprob = logprob(sampled.token);
  // A heap of the n best logits so far, the worst in front.
  const auto n = static_cast<size_t>(*params_.logprobs);
  const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  };
  top_.clear();
  for (size_t i = 0; i < logits.size() && n > 0; ++i) {
    const TokenLogprob entry{static_cast<TokenId>(i), Usable(logits[i])};
    if (top_.size() == n && !better(entry, top_.front())) continue;
    if (top_.size() == n) {
      std::pop_heap(top_.begin(), top_.end(), better);
      top_.pop_back();
    }
    top_.push_back(entry);
    std::push_heap(top_.begin(), top_.end(), better);
  }
  std::sort_heap(top_.begin(), top_.end(), better);
  for (TokenLogprob& entry : top_) entry.logprob = logprob(entry.token);
  sampled.top = top_;
}

}  // namespace fathom::sampling
