// A conversation as the prompt encoder takes it, and the settings of one encoding. These are the
// messages of the reference encoder: tools sit on the system or developer message, tool results are
// messages of their own. What a client's request says in its own dialect is brought into this form
// by the api room; JSON records of this form are read by conversation_json.h.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace fathom::chat {

enum class Role { kSystem, kDeveloper, kUser, kAssistant, kTool, kLatestReminder, kOther };

// One element of a content list.
struct ContentPart {
  enum class Kind { kText, kImage, kToolResult, kOther };
  Kind kind = Kind::kText;
  std::string text;                 // kText
  std::string type = "text";        // the name the client gave the kind
  bool has_source = false;          // kImage: a URL or data is there
  std::string tool_use_id;          // kToolResult
  std::vector<ContentPart> result;  // kToolResult: its parts; plain text is one text part

  static ContentPart Text(std::string text) {
    ContentPart part;
    part.text = std::move(text);
    return part;
  }
};

struct ToolCall {
  std::string id;  // may be empty
  std::string name;
  std::string arguments;  // as received: normally the text of a JSON object
  // The arguments are what OutputParser made of the model's own markup: values keep their spelling,
  // so that the turn reads as it was written.
  bool is_verbatim = false;
};

struct Message {
  Role role = Role::kUser;
  std::string role_name;  // the name that stands behind kOther
  // nullopt is an explicit null, which some roles refuse. Ignored when `parts` is there.
  std::optional<std::string> content = "";
  std::optional<std::vector<ContentPart>> parts;           // a list as content
  std::optional<std::vector<ContentPart>> content_blocks;  // vision only; beside content
  std::vector<Json> tools;                                 // function objects, as received
  Json response_format;                                    // null: none
  std::vector<ToolCall> tool_calls;
  std::string reasoning_content;
  std::string tool_call_id;
  std::optional<std::string> task;  // quick tasks; only DeepSeek's own product sends them
  bool wo_eos = false;              // the model continues this assistant turn
};

struct Conversation {
  // Earlier messages, encoded elsewhere: they count for what is dropped and sorted, and are not
  // rendered.
  std::vector<Message> context;
  std::vector<Message> messages;
};

// The published revisions of the V4 format. V4.1 will need another one.
enum class Revision { kPreview, k0731, kVision };
enum class ThinkingMode { kChat, kThinking };
enum class ReasoningEffort { kLow, kHigh, kMax };

struct EncodeOptions {
  Revision revision = Revision::k0731;
  ThinkingMode thinking_mode = ThinkingMode::kThinking;
  // nullopt is the encoder's own default, no preamble. The platform's default is high.
  std::optional<ReasoningEffort> reasoning_effort = std::nullopt;
  bool drop_thinking = true;
  bool add_default_bos_token = true;
};

}  // namespace fathom::chat
