// Collecting deltas and adding them up. No rule of the format lives here.
#include "chat/delta.h"

#include "base/check.h"

namespace fathom::chat {

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kToolCalls:
      return "tool_calls";
  }
  return "";
}

void Append(ParsedMessage& message, const Delta& delta) {
  switch (delta.kind) {
    case Delta::Kind::kReasoning:
      message.reasoning_content += delta.text;
      return;
    case Delta::Kind::kContent:
      message.content += delta.text;
      return;
    case Delta::Kind::kToolCallStart:
      FATHOM_CHECK_EQ(delta.call_index, std::ssize(message.tool_calls));
      message.tool_calls.push_back({.name = delta.text, .arguments = ""});
      return;
    case Delta::Kind::kToolCallArguments:
      FATHOM_CHECK_LT(delta.call_index, std::ssize(message.tool_calls));
      message.tool_calls[delta.call_index].arguments += delta.text;
      return;
  }
}

void DeltaList::Add(Delta::Kind kind, std::string_view text, int64_t call_index) {
  const bool is_start = kind == Delta::Kind::kToolCallStart;
  if (text.empty() && !is_start) return;
  if (!deltas_.empty() && !is_start && deltas_.back().kind == kind &&
      deltas_.back().call_index == call_index) {
    deltas_.back().text += text;
  } else {
    deltas_.push_back({.kind = kind, .text = std::string(text), .call_index = call_index});
  }
}

}  // namespace fathom::chat
