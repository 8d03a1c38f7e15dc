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
  std::optional<int64_t> logprobs =
      {};  // log-probability of the chosen token, and this many best ones
};

// Ranges: temperature, top_k, min_p >= 0, 0 < top_p <= 1, min_p <= 1, repetition_penalty > 0, all
// finite, logprobs >= 0, biased tokens in [0, vocab_size). The message names the setting.
Result<void> CheckParams(const Params& params, int64_t vocab_size);

}  // namespace fathom::sampling
