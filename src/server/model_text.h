// What turns a model's tokens into a conversation: its tokenizer, the revision of the chat format
// it speaks, what ends its answers, and the sampling it recommends. All from the files of its
// folder.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "chat/revision.h"
#include "engine/session.h"
#include "model/weights.h"
#include "sampling/params.h"
#include "tokenizer/tokenizer.h"

namespace fathom::server {

struct ModelText {
  tokenizer::Tokenizer tokenizer;
  chat::RevisionChoice revision;
  sampling::Params sampling_defaults;  // generation_config.json
  std::vector<TokenId> stop_tokens;    // ascending
};

// `chat_revision` overrides what the checkpoint says.
Result<ModelText> LoadModelText(const std::string& dir, const model::LoadedModel& model,
                                const std::optional<std::string>& chat_revision);

// One line for the operator: the model, how it is computed, the chat revision and why. `options` as
// resolved.
std::string DescribeModel(const std::string& dir, const model::Config& config,
                          const engine::SessionOptions& options,
                          const chat::RevisionChoice& revision);

}  // namespace fathom::server
