// The recorded conversations of a demonstration model's folder (its README describes the records).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/types.h"

namespace fathom::nano {

struct Conversation {
  std::string id;
  Json record;
  std::vector<TokenId> prompt_ids;
  std::vector<TokenId> output_ids;  // greedy, EOS at the end
};

inline std::string BundledModel() { return FATHOM_SOURCE_DIR "/models/nano"; }
inline std::string Bf16Model() { return FATHOM_SOURCE_DIR "/testdata/nano-bf16"; }

// Aborts when the file is not as described: nothing can be tested then.
std::vector<Conversation> ReadConversations(const std::string& model_dir);

}  // namespace fathom::nano
