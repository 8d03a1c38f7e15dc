// Plain text between two control tokens is encoded in one go, whoever wrote it: the split into
// pieces is at control tokens only, so that merges across a message's edge stay as trained.
#include "chat/prompt_tokens.h"

namespace fathom::chat {

std::vector<TokenId> TokenizePrompt(const EncodedPrompt& prompt,
                                    const tokenizer::Tokenizer& tokenizer,
                                    const PromptTokenOptions& options) {
  if (options.special_in_user_text) return tokenizer.Encode(prompt.text);
  std::vector<TokenId> ids;
  for (const PromptPiece& piece : SplitAtControlTokens(prompt)) {
    const std::optional<TokenId> control =
        piece.is_control ? tokenizer.FindToken(piece.text) : std::nullopt;
    if (control) {
      ids.push_back(*control);
      continue;
    }
    // Text, or a control token that this vocabulary lacks (the image placeholder).
    const std::vector<TokenId> plain = tokenizer.Encode(piece.text, {.match_added_tokens = false});
    ids.insert(ids.end(), plain.begin(), plain.end());
  }
  return ids;
}

}  // namespace fathom::chat
