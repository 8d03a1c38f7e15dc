// What a session and the batching engine ask of options and requests alike, in the same words.
// Everything checked here comes from outside.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "base/types.h"
#include "engine/session.h"
#include "model/config.h"

namespace fathom::engine {

// The options with every "0: as measured" replaced, except threads, which the pool decides.
Result<SessionOptions> Resolve(SessionOptions options, const model::Config& config);

// At least one token, at most `capacity`, all of the vocabulary.
Result<void> CheckPrompt(std::span<const TokenId> prompt, int64_t capacity, int64_t vocab_size);

// At least one token, and no more than the prompt leaves room for.
Result<void> CheckMaxTokens(std::optional<int64_t> max_tokens, int64_t prompt_tokens,
                            int64_t capacity);

// Ids of the vocabulary; `what` names them in the message.
Result<void> CheckIds(const char* what, std::span<const TokenId> ids, int64_t vocab_size);

}  // namespace fathom::engine
