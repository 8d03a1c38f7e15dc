#include "cli/chat_file.h"

#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "chat/conversation_json.h"
#include "chat/python_json.h"

namespace fathom::cli {
namespace {

const char* RoleName(chat::Role role) {
  if (role == chat::Role::kSystem) return "system";
  return role == chat::Role::kAssistant ? "assistant" : "user";
}

Json MessageJson(const chat::Message& message) {
  Json json =
      Json::Object{{"role", RoleName(message.role)}, {"content", message.content.value_or("")}};
  if (!message.reasoning_content.empty()) json.Set("reasoning_content", message.reasoning_content);
  Json::Array calls;
  for (const chat::ToolCall& call : message.tool_calls)
    calls.push_back(Json::Object{
        {"type", "function"},
        {"function", Json::Object{{"name", call.name}, {"arguments", call.arguments}}}});
  if (!calls.empty()) json.Set("tool_calls", std::move(calls));
  return json;
}

}  // namespace

Result<void> SaveConversation(const std::string& path, const std::vector<chat::Message>& messages) {
  std::string text = "{\"messages\": [";
  for (size_t i = 0; i < messages.size(); ++i)
    text += (i == 0 ? "\n" : ",\n") + chat::WritePythonJson(MessageJson(messages[i]));
  return WriteFile(path, text + "\n]}\n");
}

Result<std::vector<chat::Message>> LoadConversation(const std::string& path) {
  FATHOM_TRY(const std::string text, ReadFile(path));
  auto json = chat::ParsePythonJson(text);
  if (!json.ok()) return std::move(json).error().In(path);
  auto record = chat::ReadEncodeRecord(json.value(), {});
  if (!record.ok()) return std::move(record).error().In(path);
  std::vector<chat::Message>& messages = record.value().conversation.messages;
  for (size_t i = 0; i < messages.size(); ++i) {
    const chat::Role role = messages[i].role;
    const bool is_turn = role == chat::Role::kUser || role == chat::Role::kAssistant;
    if (!is_turn && !(role == chat::Role::kSystem && i == 0))
      return Error{path +
                   ": expected user and assistant messages after a system message, found "
                   "another role at message " +
                   std::to_string(i)};
  }
  return std::move(messages);
}

}  // namespace fathom::cli
