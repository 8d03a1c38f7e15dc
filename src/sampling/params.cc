#include "sampling/params.h"

#include <cmath>
#include <string>

namespace fathom::sampling {
namespace {

Error Unexpected(const std::string& name, const std::string& expected, double found) {
  return Error{name + ": expected " + expected + ", found " + std::to_string(found)};
}

}  // namespace

Result<void> CheckParams(const Params& p, int64_t vocab_size) {
  if (!std::isfinite(p.temperature) || p.temperature < 0)
    return Unexpected("temperature", "a number >= 0", p.temperature);
  if (p.top_k < 0) return Unexpected("top_k", "a number >= 0", static_cast<double>(p.top_k));
  if (!(p.top_p > 0 && p.top_p <= 1)) return Unexpected("top_p", "a number in (0, 1]", p.top_p);
  if (!(p.min_p >= 0 && p.min_p <= 1)) return Unexpected("min_p", "a number in [0, 1]", p.min_p);
  if (!std::isfinite(p.repetition_penalty) || p.repetition_penalty <= 0)
    return Unexpected("repetition_penalty", "a number > 0", p.repetition_penalty);
  if (!std::isfinite(p.presence_penalty))
    return Unexpected("presence_penalty", "a finite number", p.presence_penalty);
  if (!std::isfinite(p.frequency_penalty))
    return Unexpected("frequency_penalty", "a finite number", p.frequency_penalty);
  if (p.logprobs && *p.logprobs < 0)
    return Unexpected("logprobs", "a number >= 0", static_cast<double>(*p.logprobs));
  for (const auto& [token, bias] : p.logit_bias) {
    if (token < 0 || token >= vocab_size)
      return Error{"logit_bias: expected token ids below " + std::to_string(vocab_size) +
                   ", found " + std::to_string(token)};
    if (!std::isfinite(bias))
      return Unexpected("logit_bias of token " + std::to_string(token), "a finite number", bias);
  }
  return {};
}

}  // namespace fathom::sampling
