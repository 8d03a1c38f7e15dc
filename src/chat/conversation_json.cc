// Member by member reading of messages. Python formats whatever value it is given; here scalars
// become what str() prints, and containers where text belongs are errors rather than their repr.
// Ref: encoding_dsv4.py, merge_tool_messages, render_message, process_image_messages.
#include "chat/conversation_json.h"

#include <fmt/format.h>

#include <utility>

#include "chat/python_json.h"
#include "chat/revision.h"

namespace fathom::chat {
namespace {

Error Expected(std::string_view where, const char* expected, const Json& found) {
  return Error{fmt::format("{}: expected {}, found {}", where, expected, found.KindName())};
}

// str(value) for what is not a container.
Result<std::string> ScalarText(const Json& json, std::string_view where) {
  if (json.is_string()) return json.string();
  if (json.is_null()) return std::string("None");
  if (json.is_bool()) return std::string(json.boolean() ? "True" : "False");
  if (json.is_number()) {
    const std::string& text = json.number().text;
    if (text == "NaN") return std::string("nan");
    if (text == "Infinity") return std::string("inf");
    if (text == "-Infinity") return std::string("-inf");
    return text;
  }
  return Expected(where, "text", json);
}

// str(value or "").
Result<std::string> TextOrEmpty(const Json* json, std::string_view where) {
  if (json == nullptr || !IsTruthy(*json)) return std::string();
  return ScalarText(*json, where);
}

// Ids are compared, never printed, so any JSON value will do.
std::string IdText(const Json* json) {
  if (json == nullptr || !IsTruthy(*json)) return "";
  return json->is_string() ? json->string() : WritePythonJson(*json);
}

Result<std::vector<ContentPart>> ReadParts(const Json& json, std::string_view where);

bool HasSource(const Json& block, std::string_view type) {
  if (type == "image_url") {
    const Json* url = block.Find("image_url");
    if (url != nullptr && url->is_object()) url = url->Find("url");
    return url != nullptr && IsTruthy(*url);
  }
  for (const char* name : {"source", "url", "data"})
    if (const Json* source = block.Find(name); source != nullptr && IsTruthy(*source)) return true;
  return false;
}

Result<ContentPart> ReadPart(const Json& json, std::string_view where) {
  if (!json.is_object()) return Expected(where, "an object", json);
  ContentPart part;
  const Json* type = json.Find("type");
  FATHOM_TRY(part.type, ScalarText(type == nullptr ? Json() : *type, where));
  if (part.type == "text") {
    part.kind = ContentPart::Kind::kText;
    const Json* text = json.Find("text");
    if (text != nullptr && !text->is_string()) return Expected(where, "text as a string", *text);
    if (text != nullptr) part.text = text->string();
  } else if (part.type == "image" || part.type == "image_url") {
    part.kind = ContentPart::Kind::kImage;
    part.has_source = HasSource(json, part.type);
  } else if (part.type == "tool_result") {
    part.kind = ContentPart::Kind::kToolResult;
    part.tool_use_id = IdText(json.Find("tool_use_id"));
    const Json* content = json.Find("content");
    if (content != nullptr && content->is_array()) {
      FATHOM_TRY(part.result, ReadParts(*content, where));
    } else if (content != nullptr) {
      FATHOM_TRY(std::string text, ScalarText(*content, where));
      part.result.push_back(ContentPart::Text(std::move(text)));
    }
  } else {
    part.kind = ContentPart::Kind::kOther;
  }
  return part;
}

Result<std::vector<ContentPart>> ReadParts(const Json& json, std::string_view where) {
  if (!json.is_array()) return Expected(where, "a list", json);
  std::vector<ContentPart> parts;
  for (const Json& item : json.array()) {
    FATHOM_TRY(ContentPart part, ReadPart(item, where));
    parts.push_back(std::move(part));
  }
  return parts;
}

Role ReadRole(std::string_view name) {
  constexpr std::pair<std::string_view, Role> kRoles[] = {
      {"system", Role::kSystem}, {"developer", Role::kDeveloper},
      {"user", Role::kUser},     {"assistant", Role::kAssistant},
      {"tool", Role::kTool},     {"latest_reminder", Role::kLatestReminder},
  };
  for (const auto& [role_name, role] : kRoles)
    if (role_name == name) return role;
  return Role::kOther;
}

Result<void> ReadContent(const Json* content, Message& message) {
  if (content == nullptr) {
    // str(None) is what the reference writes for a reminder without text.
    if (message.role == Role::kLatestReminder) message.content = std::nullopt;
    return {};
  }
  if (content->is_array()) {
    FATHOM_TRY(message.parts, ReadParts(*content, "content"));
    return {};
  }
  if (content->is_null()) {
    message.content = std::nullopt;
    return {};
  }
  switch (message.role) {
    case Role::kUser:
    case Role::kDeveloper:
      if (!content->is_string()) return Expected("content", "a string", *content);
      message.content = content->string();
      return {};
    case Role::kSystem:
    case Role::kAssistant: {
      FATHOM_TRY(message.content, TextOrEmpty(content, "content"));
      return {};
    }
    default: {
      FATHOM_TRY(message.content, ScalarText(*content, "content"));
      return {};
    }
  }
}

Result<ToolCall> ReadToolCall(const Json& json) {
  const Json* function = json.Find("function");
  if (function == nullptr || !function->is_object())
    return Error{"tool_calls: expected objects with a \"function\" object"};
  const Json* name = function->Find("name");
  const Json* arguments = function->Find("arguments");
  if (name == nullptr || arguments == nullptr)
    return Error{"tool_calls: expected a function with \"name\" and \"arguments\""};
  ToolCall call;
  call.id = IdText(json.Find("id"));
  if (call.id.empty()) call.id = IdText(function->Find("id"));
  FATHOM_TRY(call.name, ScalarText(*name, "tool_calls: name"));
  if (arguments->is_string()) {
    call.arguments = arguments->string();
  } else {
    // The reference fails to parse a value that is not text and wraps it; so does this object.
    call.arguments = WritePythonJson(Json::Object{{"arguments", *arguments}});
  }
  return call;
}

Result<void> ReadTools(const Json* tools, Message& message) {
  if (tools == nullptr || !IsTruthy(*tools)) return {};
  if (!tools->is_array()) return Expected("tools", "a list", *tools);
  for (const Json& tool : tools->array()) {
    const Json* function = tool.Find("function");
    if (function == nullptr) return Error{"tools: expected objects with a \"function\" member"};
    message.tools.push_back(*function);
  }
  return {};
}

Result<void> ReadToolCalls(const Json* calls, Message& message) {
  if (calls == nullptr || !IsTruthy(*calls)) return {};
  if (!calls->is_array()) return Expected("tool_calls", "a list", *calls);
  for (const Json& item : calls->array()) {
    FATHOM_TRY(ToolCall call, ReadToolCall(item));
    message.tool_calls.push_back(std::move(call));
  }
  return {};
}

Result<std::vector<Message>> ReadMessages(const Json& json, const char* name) {
  if (!json.is_array()) return Expected(name, "a list", json);
  std::vector<Message> messages;
  for (const Json& item : json.array()) {
    auto message = ReadMessage(item);
    if (!message.ok())
      return std::move(message).error().In(fmt::format("{}[{}]", name, messages.size()));
    messages.push_back(std::move(message).value());
  }
  return messages;
}

// The member when it is there and not null.
const Json* FindValue(const Json& record, std::string_view name) {
  const Json* member = record.Find(name);
  return member == nullptr || member->is_null() ? nullptr : member;
}

Result<void> ReadMode(const Json& record, EncodeOptions& options) {
  if (const Json* mode = FindValue(record, "thinking_mode")) {
    if (*mode == Json("chat")) {
      options.thinking_mode = ThinkingMode::kChat;
    } else if (*mode == Json("thinking")) {
      options.thinking_mode = ThinkingMode::kThinking;
    } else {
      return Error{fmt::format("thinking_mode: expected \"chat\" or \"thinking\", found {}",
                               WritePythonJson(*mode))};
    }
  }
  if (const Json* effort = FindValue(record, "reasoning_effort")) {
    if (*effort == Json("low")) {
      options.reasoning_effort = ReasoningEffort::kLow;
    } else if (*effort == Json("high")) {
      options.reasoning_effort = ReasoningEffort::kHigh;
    } else if (*effort == Json("max")) {
      options.reasoning_effort = ReasoningEffort::kMax;
    } else {
      return Error{fmt::format("reasoning_effort: expected \"low\", \"high\" or \"max\", found {}",
                               WritePythonJson(*effort))};
    }
  }
  return {};
}

}  // namespace

Result<Message> ReadMessage(const Json& json) {
  if (!json.is_object()) return Expected("message", "an object", json);
  Message message;
  const Json* role = json.Find("role");
  if (role != nullptr && role->is_string()) message.role_name = role->string();
  message.role = ReadRole(message.role_name);
  FATHOM_TRY_VOID(ReadContent(json.Find("content"), message));
  if (const Json* blocks = FindValue(json, "content_blocks")) {
    FATHOM_TRY(message.content_blocks, ReadParts(*blocks, "content_blocks"));
  }
  FATHOM_TRY_VOID(ReadTools(json.Find("tools"), message));
  if (const Json* format = json.Find("response_format"); format != nullptr && IsTruthy(*format))
    message.response_format = *format;
  FATHOM_TRY_VOID(ReadToolCalls(json.Find("tool_calls"), message));
  FATHOM_TRY(message.reasoning_content,
             TextOrEmpty(json.Find("reasoning_content"), "reasoning_content"));
  message.tool_call_id = IdText(json.Find("tool_call_id"));
  if (const Json* task = FindValue(json, "task"))
    message.task = task->is_string() ? task->string() : WritePythonJson(*task);
  if (const Json* wo_eos = json.Find("wo_eos")) message.wo_eos = IsTruthy(*wo_eos);
  return message;
}

Result<EncodeRecord> ReadEncodeRecord(const Json& record, const EncodeOptions& defaults) {
  if (!record.is_object()) return Expected("conversation", "an object", record);
  EncodeRecord out{.conversation = {}, .options = defaults};
  if (const Json* revision = FindValue(record, "revision")) {
    if (!revision->is_string()) return Expected("revision", "a string", *revision);
    FATHOM_TRY(out.options.revision, ParseRevision(revision->string()));
  }
  FATHOM_TRY_VOID(ReadMode(record, out.options));
  if (const Json* drop = FindValue(record, "drop_thinking"))
    out.options.drop_thinking = IsTruthy(*drop);
  if (const Json* bos = FindValue(record, "add_default_bos_token"))
    out.options.add_default_bos_token = IsTruthy(*bos);
  if (const Json* context = FindValue(record, "context")) {
    FATHOM_TRY(out.conversation.context, ReadMessages(*context, "context"));
  }
  const Json* messages = record.Find("messages");
  if (messages == nullptr) return Error{"conversation: missing key \"messages\""};
  FATHOM_TRY(out.conversation.messages, ReadMessages(*messages, "messages"));
  return out;
}

}  // namespace fathom::chat
