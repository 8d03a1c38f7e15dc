// The flags that say how an answer is chosen and when it ends, shared by `run` and `chat`.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sampling/params.h"

namespace fathom::cli {

struct GenerationOptions {
  std::string think = "high";
  std::optional<float> temperature;
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<float> repetition_penalty;
  std::optional<float> presence_penalty;
  std::optional<float> frequency_penalty;
  std::vector<std::string> logit_bias;  // "ID=BIAS"
  std::optional<uint64_t> seed;
  std::optional<int64_t> max_tokens;
  std::vector<std::string> stop;
  std::optional<std::string> chat_revision;
  bool no_special_in_user_text = false;

  // The object must outlive the parse.
  void AddTo(CLI::App& command);

  // The flags over the checkpoint's defaults; without --seed, a seed from the system.
  Result<sampling::Params> Params(const sampling::Params& defaults) const;
};

}  // namespace fathom::cli
