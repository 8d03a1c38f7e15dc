// generation_config.json, the sampling defaults that a checkpoint recommends. Flags and requests
// override them; a checkpoint without the file samples with the defaults of Params.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sampling/params.h"

namespace fathom::sampling {

struct GenerationConfig {
  Params params;
  std::vector<TokenId> eos_token_ids;  // a number or a list in the file
};

// Reads temperature, top_p, top_k, min_p, repetition_penalty, do_sample (false is temperature 0)
// and eos_token_id; null is absent, other keys are ignored. `where` names the text in messages.
Result<GenerationConfig> ParseGenerationConfig(std::string_view json, const std::string& where);
// DIR/generation_config.json; the defaults when there is no such file.
Result<GenerationConfig> LoadGenerationConfig(const std::string& dir);

}  // namespace fathom::sampling
