#include "measure/divergence.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <vector>

#include "base/random.h"
#include "model/forward.h"

namespace fathom::measure {
namespace {

using Clock = std::chrono::steady_clock;

// A copy of the model's sequence in one mode.
class Copy {
 public:
  Copy(const model::LoadedModel& loaded, kernels::Context ctx, int64_t tokens)
      : executor_(loaded.config(), loaded.weights(), {.batch_tokens_max = 1}, ctx),
        sequence_(loaded.config(), tokens, ctx.mode),
        logits_(static_cast<size_t>(loaded.config().vocab_size)),
        log_p_(logits_.size()) {}

  // The logarithms of the next token's probabilities.
  std::span<const double> Next(TokenId token) {
    const model::BatchItem item{&sequence_, {&token, 1}};
    executor_.Forward({&item, 1}, {logits_.data(), 1, std::ssize(logits_)});
    const double largest = *std::max_element(logits_.begin(), logits_.end());
    double sum = 0;
    for (const float logit : logits_) sum += std::exp(logit - largest);
    const double shift = largest + std::log(sum);
    for (size_t i = 0; i < logits_.size(); ++i) log_p_[i] = logits_[i] - shift;
    return log_p_;
  }

 private:
  model::Executor executor_;
  model::Sequence sequence_;
  std::vector<float> logits_;
  std::vector<double> log_p_;
};

double KlOf(std::span<const double> log_p, std::span<const double> log_q) {
  double sum = 0;
  for (size_t i = 0; i < log_p.size(); ++i) sum += std::exp(log_p[i]) * (log_p[i] - log_q[i]);
  return std::max(sum, 0.0);  // of equal distributions, but for the last bits of sums
}

TokenId Draw(std::span<const double> log_p, double uniform) {
  for (size_t i = 0; i < log_p.size(); ++i)
    if ((uniform -= std::exp(log_p[i])) < 0) return static_cast<TokenId>(i);
  return static_cast<TokenId>(
      std::distance(log_p.begin(), std::max_element(log_p.begin(), log_p.end())));
}

}  // namespace

Divergence MeasureDivergence(const model::LoadedModel& loaded, const kernels::Context& ctx,
                             const DivergenceOptions& options) {
  const model::Config& config = loaded.config();
  const int64_t tokens = std::min(options.tokens, config.max_position_embeddings);
  const auto in_mode = [&](numerics::Mode mode) {
    return kernels::Context{ctx.pool, ctx.workspace, ctx.path, mode, nullptr};
  };
  Copy official(loaded, in_mode(numerics::Mode::kOfficial), tokens);
  Copy other(loaded, in_mode(ctx.mode), tokens);
  SplitMix64 random(options.seed);
  Divergence result;
  double sum = 0, same = 0;
  TokenId token = static_cast<TokenId>(config.bos_token_id);
  const auto start = Clock::now();
  while (result.tokens < tokens && !(options.is_cancelled && options.is_cancelled())) {
    const std::chrono::duration<double> passed = Clock::now() - start;
    if (result.tokens > 0 && passed.count() > options.seconds) break;
    if (options.progress) options.progress(result.tokens);
    const std::span<const double> p = official.Next(token), q = other.Next(token);
    const double kl = KlOf(p, q);
    sum += kl;
    result.max_kl = std::max(result.max_kl, kl);
    same += std::max_element(p.begin(), p.end()) - p.begin() ==
            std::max_element(q.begin(), q.end()) - q.begin();
    ++result.tokens;
    token = Draw(p, static_cast<double>(random.Bits() >> 11) * 0x1p-53);
  }
  if (result.tokens == 0) return result;
  result.mean_kl = sum / static_cast<double>(result.tokens);
  result.same_top = same / static_cast<double>(result.tokens);
  return result;
}

}  // namespace fathom::measure
