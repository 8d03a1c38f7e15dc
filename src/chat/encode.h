// From a conversation to the exact prompt text that the models were trained on, byte for byte what
// DeepSeek's reference encoder writes. The prompt also says which of its bytes came from outside
// (messages, schemas, arguments), so that control tokens spelled there need not be believed.
// Not here: which requests become which conversations (api), and token ids (tokenizer).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "chat/conversation.h"

namespace fathom::chat {

// Bytes [begin, end) of a prompt.
struct TextSpan {
  int64_t begin;
  int64_t end;
  bool operator==(const TextSpan&) const = default;
};

struct EncodedPrompt {
  std::string text;                  // valid UTF-8
  std::vector<TextSpan> foreign;     // what was passed in, ascending, apart from each other
  bool starts_in_reasoning = false;  // the model's first token continues a reasoning block
};

// Errors: roles and values that the format has no form for, an effort that the revision does not
// know, text that is not UTF-8. Tool arguments that are not a JSON object are no error: they become
// one parameter named "arguments".
Result<EncodedPrompt> Encode(const Conversation& conversation, const EncodeOptions& options);

// BOS and the text, no chat markup.
Result<EncodedPrompt> EncodeRaw(std::string_view prompt);

// Fill in the middle: what belongs between prompt and suffix is generated until EOS. Never thinks.
Result<EncodedPrompt> EncodeFillInMiddle(std::string_view prompt, std::string_view suffix);

// Where tools go that came apart from the messages: on the first system message, or on an empty one
// inserted at the front.
void AttachTools(Conversation& conversation, const std::vector<Json>& functions);

// A stretch of the prompt: one control token, or text in which none is to be looked for.
struct PromptPiece {
  std::string_view text;  // into the prompt
  bool is_control;
};

// The prompt cut at the control tokens that lie outside its foreign spans; the pieces concatenate
// to the whole. A tokenizer that maps the control pieces to their ids and encodes the others as
// plain bytes cannot be made to forge a turn by what a user writes.
std::vector<PromptPiece> SplitAtControlTokens(const EncodedPrompt& prompt);

}  // namespace fathom::chat
