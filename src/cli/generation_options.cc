#include "cli/generation_options.h"

#include <charconv>
#include <string_view>

#include "base/random.h"

namespace fathom::cli {
namespace {

template <typename T>
bool ParseWhole(std::string_view text, T& value) {
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc() && end == text.data() + text.size();
}

Result<std::pair<TokenId, float>> ParseBias(const std::string& text) {
  const size_t equals = text.find('=');
  TokenId token = 0;
  float bias = 0;
  if (equals == text.npos || !ParseWhole(std::string_view(text).substr(0, equals), token) ||
      !ParseWhole(std::string_view(text).substr(equals + 1), bias))
    return Error{"--logit-bias: expected ID=BIAS, found \"" + text + "\""};
  return std::pair(token, bias);
}

}  // namespace

void GenerationOptions::AddTo(CLI::App& command) {
  command
      .add_option("--think", think,
                  "How much the model reasons before it answers (none: not at all)")
      ->check(CLI::IsMember({"none", "low", "high", "max"}))
      ->capture_default_str();
  command.add_option("--max-tokens", max_tokens,
                     "Tokens to generate at most (default: what the context holds)");
  command.add_option("--stop", stop, "End the answer before this text; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--temp,--temperature", temperature,
                     "0 always takes the likeliest token (default: generation_config.json, or 1)");
  command.add_option("--seed", seed,
                     "Same seed, same text, on every machine (default: another one each time)");
  command.add_option("--top-k", top_k, "Choose among the K likeliest tokens (0: off)");
  command.add_option("--top-p", top_p,
                     "Choose among the likeliest tokens that hold P of the probability (1: off)");
  command.add_option("--min-p", min_p,
                     "Choose among tokens with at least P of the best one's probability (0: off)");
  command.add_option("--repetition-penalty", repetition_penalty,
                     "Divide the logits of tokens in prompt and answer by this (1: off)");
  command.add_option("--presence-penalty", presence_penalty,
                     "Subtract this from the logits of tokens in the answer");
  command.add_option("--frequency-penalty", frequency_penalty,
                     "Subtract this as often as a token is in the answer");
  command
      .add_option("--logit-bias", logit_bias,
                  "ID=BIAS: add BIAS to the logit of a token; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--chat-revision", chat_revision,
                     "preview, 0731 or vision: the prompt format, if the checkpoint's own choice "
                     "is wrong");
  command.add_flag("--no-special-in-user-text", no_special_in_user_text,
                   "Control tokens spelled in the prompt's text stay text");
}

Result<sampling::Params> GenerationOptions::Params(const sampling::Params& defaults) const {
  sampling::Params params = defaults;
  params.temperature = temperature.value_or(params.temperature);
  params.top_k = top_k.value_or(params.top_k);
  params.top_p = top_p.value_or(params.top_p);
  params.min_p = min_p.value_or(params.min_p);
  params.repetition_penalty = repetition_penalty.value_or(params.repetition_penalty);
  params.presence_penalty = presence_penalty.value_or(params.presence_penalty);
  params.frequency_penalty = frequency_penalty.value_or(params.frequency_penalty);
  for (const std::string& text : logit_bias) {
    FATHOM_TRY(const auto bias, ParseBias(text));
    params.logit_bias.push_back(bias);
  }
  // Below 2^53, so that a reader of JSON with doubles gets it back exactly.
  params.seed = seed ? *seed : RandomFromSystem() >> 11;
  return params;
}

}  // namespace fathom::cli
