// The first half of encoding: messages into turns ready to be written. Images become placeholders,
// tool results and neighbouring user messages become one user turn, results are sorted into call
// order, old reasoning is dropped. The room's own; others call encode.h.
// Ref: encoding_dsv4.py, process_image_messages, merge_tool_messages,
// sort_tool_results_by_call_order, _drop_thinking_messages.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "chat/conversation.h"

namespace fathom::chat {

struct Turns {
  // Context included. User turns carry their blocks in content_blocks.
  std::vector<Message> messages;
  int64_t first = 0;       // the first one to be written
  int64_t last_user = -1;  // the last user or developer turn, -1 if none
  bool drop_thinking = false;
};

Result<Turns> PrepareTurns(const Conversation& conversation, const EncodeOptions& options);

}  // namespace fathom::chat
