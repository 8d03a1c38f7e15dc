#include "api/turn_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "api/common.h"
#include "base/hash.h"

namespace fathom::api {
namespace {

using chat::ContentPart;
using chat::Role;

Turn NewTurn(Role role, const char* name) {
  Turn turn;
  turn.message.role = role;
  turn.message.role_name = name;
  return turn;
}

// A list as content is for models that see; others get its texts.
void SetContent(chat::Message& message, std::vector<ContentPart> parts) {
  const bool has_image = std::any_of(parts.begin(), parts.end(), [](const ContentPart& part) {
    return part.kind == ContentPart::Kind::kImage;
  });
  if (has_image) {
    message.parts = std::move(parts);
    return;
  }
  std::vector<std::string> texts;
  for (ContentPart& part : parts) texts.push_back(std::move(part.text));
  message.content = JoinTexts(texts);
}

}  // namespace

void TurnList::AddSystem(std::string text) {
  turns_.push_back(NewTurn(Role::kSystem, "system"));
  turns_.back().message.content = std::move(text);
}

void TurnList::AddUser(std::vector<ContentPart> parts) {
  turns_.push_back(NewTurn(Role::kUser, "user"));
  SetContent(turns_.back().message, std::move(parts));
}

void TurnList::AddResult(std::string call_id, std::vector<ContentPart> parts) {
  turns_.push_back(NewTurn(Role::kTool, "tool"));
  turns_.back().message.tool_call_id = std::move(call_id);
  SetContent(turns_.back().message, std::move(parts));
}

Turn& TurnList::Assistant() {
  if (turns_.empty() || turns_.back().message.role != Role::kAssistant)
    turns_.push_back(NewTurn(Role::kAssistant, "assistant"));
  return turns_.back();
}

void TurnList::AddReasoning(const std::string& text) {
  Turn& turn = Assistant();
  turn.has_reasoning = true;
  AppendParagraph(turn.message.reasoning_content, text);
}

void TurnList::AddAssistantText(const std::string& text) {
  std::optional<std::string>& content = Assistant().message.content;
  if (!content) content.emplace();
  AppendParagraph(*content, text);
}

std::string Unsupported(std::string_view what) { return fmt::format("[Unsupported {}]", what); }

ContentPart ImagePart(const Facts& facts) {
  if (!facts.sees_images) return ContentPart::Text(Unsupported("image"));
  ContentPart part;
  part.kind = ContentPart::Kind::kImage;
  part.type = "image";
  part.has_source = true;
  return part;
}

Parsed<void> CheckResultsInAnyOrder(const std::vector<Turn>& turns, Profile profile) {
  std::vector<Turn> ordered;  // what the check looks at, results first in each user turn
  std::vector<Turn> texts;
  for (const Turn& turn : turns) {
    const bool is_assistant = turn.message.role == Role::kAssistant;
    if (is_assistant) ordered.insert(ordered.end(), texts.begin(), texts.end());
    if (is_assistant) texts.clear();
    Turn skeleton;
    skeleton.message.role = turn.message.role;
    skeleton.message.tool_call_id = turn.message.tool_call_id;
    for (const chat::ToolCall& call : turn.message.tool_calls)
      skeleton.message.tool_calls.push_back({.id = call.id, .name = {}, .arguments = {}});
    const bool is_text = !is_assistant && turn.message.role != Role::kTool;
    (is_text ? texts : ordered).push_back(std::move(skeleton));
  }
  ordered.insert(ordered.end(), texts.begin(), texts.end());
  return CheckToolResults(ordered, profile);
}

std::string HashedUser(std::string_view user) {
  // Two hashes with unlike starts: enough that strangers do not meet by chance.
  return fmt::format("user:{:016x}{:016x}", HashText(user), HashText(user, 0x9e3779b97f4a7c15));
}

std::string UserKey(const std::string& user) {
  return user.empty() || CheckUserId(user).ok() ? user : HashedUser(user);
}

}  // namespace fathom::api
