// How a token is chosen from logits: the settings of one generation. What each does, and in which
// order they apply, is sampler.h.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace fathom::sampling {

inline constexpr float kUnlikelyLogprob = -9999;

struct Params {
  float temperature = 1.0f;         // 0: greedy
  int64_t top_k = 0;                // 0: off
  double top_p = 1.0;               // 1: off
  double min_p = 0.0;               // 0: off
  float repetition_penalty = 1.0f;  // 1: off
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  std::vector<std::pair<TokenId, float>> logit_bias = {};  // added to the logit of the token
  uint64_t seed = 0;
  uint64_t stream = 0;  // tells generations of one seed apart (choice 0, 1, ...)
  // Log-probability of the chosen token, and of this many best ones.
  std::optional<int64_t> logprobs = {};
  // Of the distribution after temperature, as DeepSeek's platform reports them; otherwise of the
  // model's own. At temperature 0 the largest logit then has 0 and every other kUnlikelyLogprob.
  bool logprobs_after_temperature = false;
};

// Ranges: temperature, top_k, min_p >= 0, 0 < top_p <= 1, min_p <= 1, repetition_penalty > 0, all
// finite, logprobs >= 0, biased tokens in [0, vocab_size). The message names the setting.
Result<void> CheckParams(const Params& params, int64_t vocab_size);

}  // namespace fathom::sampling
