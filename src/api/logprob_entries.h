// Log-probabilities of text as Chat Completions and Responses both write them.
#pragma once

#include <string>
#include <vector>

#include "api/answer.h"

namespace fathom::api {

// {"token": ..., "logprob": ..., "bytes": [...], "top_logprobs": [...]} for each, commas between.
// `append_logprob` spells the numbers, which the dialects do differently.
void AppendLogprobEntries(std::string& out, const std::vector<LogprobEntry>& entries,
                          void (*append_logprob)(std::string& out, double logprob));

}  // namespace fathom::api
