// Writing turns: one function per role, and the transition that opens the next turn. Everything
// that came from outside goes through PromptWriter::Foreign, everything of the format through
// Control, which is all the guard against forged control tokens needs.
// Ref: encoding_dsv4.py, render_message, encode_arguments_to_dsml.
#include "chat/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "chat/prepare.h"
#include "chat/python_json.h"
#include "chat/revision.h"
#include "chat/templates.h"
#include "text/utf8.h"

namespace fathom::chat {
namespace {

// How the values of an object that CallWriter wrote are spelled: `{"KEY": VALUE, "KEY": VALUE}`.
std::vector<std::string_view> SpelledValues(std::string_view object) {
  constexpr size_t kSeparatorBytes = 2;  // ": "
  std::vector<std::string_view> values;
  int depth = 0;
  bool is_in_string = false;
  size_t begin = object.npos;
  for (size_t i = 0; i < object.size(); ++i) {
    const char c = object[i];
    if (is_in_string) {
      if (c == '\\') ++i;
      if (c == '"') is_in_string = false;
      continue;
    }
    if (c == '"') is_in_string = true;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (depth == 1 && c == ':' && begin == object.npos) begin = i + kSeparatorBytes;
    if (begin != object.npos && (depth == 0 || (depth == 1 && c == ','))) {
      if (begin <= i) values.push_back(object.substr(begin, i - begin));
      begin = object.npos;
    }
  }
  return values;
}

class PromptWriter {
 public:
  void Control(std::string_view text) { prompt_.text += text; }
  void Foreign(std::string_view text) {
    if (text.empty()) return;
    const int64_t begin = std::ssize(prompt_.text);
    prompt_.text += text;
    const int64_t end = std::ssize(prompt_.text);
    if (!prompt_.foreign.empty() && prompt_.foreign.back().end == begin) {
      prompt_.foreign.back().end = end;
    } else {
      prompt_.foreign.push_back({begin, end});
    }
  }

  Result<EncodedPrompt> Take(bool starts_in_reasoning) && {
    if (const int64_t valid = text::ValidUtf8Prefix(prompt_.text);
        valid != std::ssize(prompt_.text))
      return Error{fmt::format(
          "prompt: expected UTF-8, found a lone surrogate or stray byte at byte {}", valid)};
    prompt_.starts_in_reasoning = starts_in_reasoning;
    return std::move(prompt_);
  }

 private:
  EncodedPrompt prompt_;
};

class Renderer {
 public:
  Renderer(const Turns& turns, const EncodeOptions& options)
      : turns_(turns), is_thinking_(options.thinking_mode == ThinkingMode::kThinking) {}

  Result<EncodedPrompt> Render(std::string_view bos, std::string_view preamble) && {
    out_.Control(bos);
    bool starts_in_reasoning = false;
    for (int64_t i = turns_.first; i < std::ssize(turns_.messages); ++i) {
      if (i == 0 && is_thinking_) out_.Control(preamble);
      FATHOM_TRY_VOID(WriteBody(i));
      FATHOM_TRY(starts_in_reasoning, WriteTransition(i));
    }
    return std::move(out_).Take(starts_in_reasoning);
  }

 private:
  Result<void> WriteBody(int64_t index) {
    const Message& message = turns_.messages[index];
    switch (message.role) {
      case Role::kSystem:
        out_.Foreign(message.content.value_or(""));
        WriteSections(message);
        return {};
      case Role::kDeveloper:
        if (message.content.value_or("").empty())
          return Error{"developer message: expected content, found none"};
        out_.Control(kUser);
        out_.Foreign(*message.content);
        WriteSections(message);
        return {};
      case Role::kUser:
        out_.Control(kUser);
        WriteBlocks(message);
        return {};
      case Role::kLatestReminder:
        out_.Control(kLatestReminder);
        out_.Foreign(message.content.value_or("None"));
        return {};
      case Role::kAssistant:
        WriteAssistant(index);
        return {};
      case Role::kTool:
      case Role::kOther:
        break;
    }
    return Error{fmt::format("message: expected a known role, found \"{}\"", message.role_name)};
  }

  void WriteSections(const Message& message) {
    if (!message.tools.empty()) {
      out_.Control("\n\n");
      out_.Control(kToolsBefore);
      bool is_first = true;
      for (const Json& function : message.tools) {
        if (!std::exchange(is_first, false)) out_.Control("\n");
        out_.Foreign(WritePythonJson(function));
      }
      out_.Control(kToolsAfter);
    }
    if (!message.response_format.is_null()) {
      out_.Control("\n\n");
      out_.Control(kResponseFormat);
      out_.Foreign(WritePythonJson(message.response_format));
    }
  }

  // The placeholder of an image is the format's own; a typed one is foreign text.
  void WriteText(const ContentPart& part) {
    if (part.type == "text") {
      out_.Foreign(part.text);
    } else {
      out_.Control(part.text);
    }
  }

  void WriteBlocks(const Message& message) {
    if (!message.content_blocks || message.content_blocks->empty()) {
      out_.Foreign(message.content.value_or(""));
      return;
    }
    bool is_first = true;
    for (const ContentPart& block : *message.content_blocks) {
      if (!std::exchange(is_first, false)) out_.Control("\n\n");
      if (block.kind == ContentPart::Kind::kText) {
        WriteText(block);
      } else if (block.kind == ContentPart::Kind::kToolResult) {
        WriteToolResult(block);
      } else {
        out_.Foreign("[Unsupported " + block.type + "]");
      }
    }
  }

  void WriteToolResult(const ContentPart& block) {
    out_.Control(kToolResultOpen);
    bool is_first = true;
    for (const ContentPart& part : block.result) {
      if (!std::exchange(is_first, false)) out_.Control("\n\n");
      if (part.kind == ContentPart::Kind::kText) {
        WriteText(part);
      } else {
        out_.Foreign("[Unsupported " + part.type + "]");
      }
    }
    out_.Control(kToolResultClose);
  }

  void WriteAssistant(int64_t index) {
    const Message& message = turns_.messages[index];
    const bool answers_task = index > 0 && turns_.messages[index - 1].task.has_value();
    if (is_thinking_ && !answers_task && (!turns_.drop_thinking || index > turns_.last_user)) {
      out_.Foreign(message.reasoning_content);
      out_.Control(kEndThink);
    }
    out_.Foreign(message.content.value_or(""));
    if (!message.tool_calls.empty()) WriteToolCalls(message.tool_calls);
    if (!message.wo_eos) out_.Control(kEos);
  }

  void WriteToolCalls(const std::vector<ToolCall>& calls) {
    out_.Control("\n\n");
    out_.Control(kCallsOpen);
    for (const ToolCall& call : calls) {
      out_.Control("\n");
      out_.Control(kInvokeOpen);
      out_.Control(" name=\"");
      out_.Foreign(call.name);
      out_.Control("\">\n");
      WriteArguments(call);
      out_.Control("\n");
      out_.Control(kInvokeClose);
    }
    out_.Control("\n");
    out_.Control(kCallsClose);
  }

  void WriteArguments(const ToolCall& call) {
    const auto parsed = ParsePythonJson(call.arguments);
    if (!parsed.ok() || !parsed.value().is_object()) {
      // Not an object: passed on as text. The reference raises when it is JSON all the same.
      WriteParameter("arguments", Json(call.arguments), {});
      return;
    }
    const Json::Object& members = parsed.value().object();
    std::vector<std::string_view> spelled;
    if (call.is_verbatim) spelled = SpelledValues(call.arguments);
    const bool is_spelled = spelled.size() == members.size();
    for (size_t i = 0; i < members.size(); ++i) {
      if (i > 0) out_.Control("\n");
      const auto& [key, value] = members[i];
      WriteParameter(key, value, is_spelled ? std::optional(spelled[i]) : std::nullopt);
    }
  }

  // `spelled`: how the model wrote a value that is no string.
  void WriteParameter(const std::string& key, const Json& value,
                      std::optional<std::string_view> spelled) {
    out_.Control(kParameterOpen);
    out_.Control(" name=\"");
    out_.Foreign(key);
    out_.Control(value.is_string() ? "\" string=\"true\">" : "\" string=\"false\">");
    if (value.is_string()) {
      out_.Foreign(value.string());
    } else {
      out_.Foreign(spelled ? std::string(*spelled) : WritePythonJson(value));
    }
    out_.Control(kParameterClose);
  }

  // Opens the turn that follows, if it is the model's. True when that turn starts by reasoning.
  Result<bool> WriteTransition(int64_t index) {
    if (index + 1 < std::ssize(turns_.messages)) {
      const Role next = turns_.messages[index + 1].role;
      if (next != Role::kAssistant && next != Role::kLatestReminder) return false;
    }
    const Message& message = turns_.messages[index];
    if (message.task) {
      const std::string_view token = TaskToken(*message.task);
      if (token.empty())
        return Error{
            fmt::format("task: expected action, query, authority, domain, title or "
                        "read_url, found \"{}\"",
                        *message.task)};
      if (token == kAction) {
        out_.Control(kAssistant);
        out_.Control(is_thinking_ ? kThink : kEndThink);
      }
      out_.Control(token);
      return false;
    }
    if (message.role != Role::kUser && message.role != Role::kDeveloper) return false;
    const bool thinks = is_thinking_ && (!turns_.drop_thinking || index >= turns_.last_user);
    out_.Control(kAssistant);
    out_.Control(thinks ? kThink : kEndThink);
    return thinks;
  }

  const Turns& turns_;
  const bool is_thinking_;
  PromptWriter out_;
};

Result<std::string_view> Preamble(Revision revision, std::optional<ReasoningEffort> effort) {
  if (revision == Revision::kPreview) {
    if (effort == ReasoningEffort::kLow)
      return Error{"reasoning_effort: expected high or max in revision preview, found low"};
    return effort == ReasoningEffort::kMax ? kAbsoluteMaximum : std::string_view();
  }
  if (effort == ReasoningEffort::kMax) return kBeyondMaximum;
  if (effort == ReasoningEffort::kHigh) return kAbsoluteMaximum;
  return std::string_view();
}

}  // namespace

Result<EncodedPrompt> Encode(const Conversation& conversation, const EncodeOptions& options) {
  FATHOM_TRY(const std::string_view preamble, Preamble(options.revision, options.reasoning_effort));
  FATHOM_TRY(const Turns turns, PrepareTurns(conversation, options));
  const bool has_bos = options.add_default_bos_token && conversation.context.empty();
  return Renderer(turns, options).Render(has_bos ? kBos : std::string_view(), preamble);
}

Result<EncodedPrompt> EncodeRaw(std::string_view prompt) {
  PromptWriter out;
  out.Control(kBos);
  out.Foreign(prompt);
  return std::move(out).Take(/*starts_in_reasoning=*/false);
}

Result<EncodedPrompt> EncodeFillInMiddle(std::string_view prompt, std::string_view suffix) {
  PromptWriter out;
  out.Control(kBos);
  out.Control(kFimBegin);
  out.Foreign(prompt);
  out.Control(kFimHole);
  out.Foreign(suffix);
  out.Control(kFimEnd);
  return std::move(out).Take(/*starts_in_reasoning=*/false);
}

void AttachTools(Conversation& conversation, const std::vector<Json>& functions) {
  if (functions.empty()) return;
  std::vector<Message>& messages = conversation.messages;
  auto system = std::find_if(messages.begin(), messages.end(),
                             [](const Message& m) { return m.role == Role::kSystem; });
  if (system == messages.end()) {
    Message empty;
    empty.role = Role::kSystem;
    empty.role_name = "system";
    system = messages.insert(messages.begin(), std::move(empty));
  }
  system->tools.insert(system->tools.end(), functions.begin(), functions.end());
}

std::vector<PromptPiece> SplitAtControlTokens(const EncodedPrompt& prompt) {
  std::vector<PromptPiece> pieces;
  const std::string_view text = prompt.text;
  size_t begin = 0;  // of the text piece being collected
  const auto add_text = [&](size_t end) {
    if (end > begin) pieces.push_back({text.substr(begin, end - begin), false});
  };
  auto foreign = prompt.foreign.begin();
  size_t at = 0;
  while (at < text.size()) {
    size_t stop = text.size();  // of the format's own bytes from here
    if (foreign != prompt.foreign.end()) {
      if (at >= static_cast<size_t>(foreign->begin)) {
        at = static_cast<size_t>((foreign++)->end);
        continue;
      }
      stop = static_cast<size_t>(foreign->begin);
    }
    const std::string_view rest = text.substr(at, stop - at);
    const auto token =
        std::find_if(kControlTokens.begin(), kControlTokens.end(),
                     [&](std::string_view candidate) { return rest.starts_with(candidate); });
    if (token == kControlTokens.end()) {
      ++at;
      continue;
    }
    add_text(at);
    pieces.push_back({rest.substr(0, token->size()), true});
    at += token->size();
    begin = at;
  }
  add_text(text.size());
  return pieces;
}

}  // namespace fathom::chat
