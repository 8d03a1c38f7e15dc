// From an encoded prompt to token ids.
#pragma once

#include <vector>

#include "base/types.h"
#include "chat/encode.h"
#include "tokenizer/tokenizer.h"

namespace fathom::chat {

struct PromptTokenOptions {
  // The reference finds control tokens anywhere, also where a user spelled them. With false they
  // are found only where the format put them; foreign text is plain text then.
  bool special_in_user_text = true;
};

std::vector<TokenId> TokenizePrompt(const EncodedPrompt& prompt,
                                    const tokenizer::Tokenizer& tokenizer,
                                    const PromptTokenOptions& options = {});

}  // namespace fathom::chat
