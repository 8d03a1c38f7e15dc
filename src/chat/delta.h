// What a completion turns into: pieces of reasoning, content and tool calls in the order produced,
// and the message they add up to. The parser that makes them is output_parser.h; the api room turns
// them into events.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom::chat {

struct Delta {
  enum class Kind {
    kReasoning,          // text
    kContent,            // text
    kToolCallStart,      // call_index; text is the function's name. Its arguments follow
    kToolCallArguments,  // call_index; text is a piece of the arguments' JSON
  };
  Kind kind;
  std::string text;         // whole UTF-8 characters
  int64_t call_index = -1;  // counts the calls of the completion from 0
  bool operator==(const Delta&) const = default;
};

enum class FinishReason { kStop, kLength, kToolCalls };
// "stop", "length", "tool_calls".
std::string_view FinishReasonName(FinishReason reason);

struct ParsedCall {
  std::string name;
  std::string arguments;
  bool operator==(const ParsedCall&) const = default;
};

struct ParsedMessage {
  std::string reasoning_content;
  std::string content;
  std::vector<ParsedCall> tool_calls;
  FinishReason finish_reason = FinishReason::kStop;
  bool operator==(const ParsedMessage&) const = default;
};

// Adds a delta to the message it belongs to.
void Append(ParsedMessage& message, const Delta& delta);

// Collects deltas; neighbours of one kind become one.
class DeltaList {
 public:
  void Add(Delta::Kind kind, std::string_view text, int64_t call_index = -1);
  std::vector<Delta> Take() { return std::exchange(deltas_, {}); }

 private:
  std::vector<Delta> deltas_;
};

}  // namespace fathom::chat
