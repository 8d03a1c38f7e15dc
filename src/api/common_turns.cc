#include "api/common_turns.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <unordered_map>
#include <utility>

#include "api/common.h"

namespace fathom::api {
namespace {

using chat::Message;
using chat::Role;

constexpr std::string_view kUnanswered =
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
    "'tool_call_id'. (insufficient tool messages following tool_calls message)";

Message EmptyMessage(Role role, const char* name) {
  Message message;
  message.role = role;
  message.role_name = name;
  return message;
}

// Calls of one assistant message that wait for their results. Both may be many.
class OpenCalls {
 public:
  void Open(const std::vector<chat::ToolCall>& calls) {
    ids_.clear();
    open_.clear();
    for (const chat::ToolCall& call : calls) {
      ids_.push_back(call.id);
      ++open_[call.id];
    }
    open_count_ = calls.size();
  }
  bool empty() const { return open_count_ == 0; }

  Parsed<void> Answer(const std::string& id, Profile profile) {
    const auto call = open_.find(id);
    if (call != open_.end() && call->second > 0) {
      --call->second;
      --open_count_;
      return {};
    }
    const bool is_repeated = call != open_.end();
    if (is_repeated && profile == Profile::kDefault) return {};
    if (empty())
      return BadRequest(
          "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'");
    std::vector<std::string> unanswered;
    for (const std::string& open : ids_)
      if (open_.at(open) > 0) unanswered.push_back(open);
    return BadRequest(
        fmt::format("An assistant message with 'tool_calls' must be followed by tool messages "
                    "responding to each 'tool_call_id', The following tool_call_ids did not have "
                    "response messages: {}",
                    fmt::join(unanswered, ", ")));
  }

 private:
  std::vector<std::string> ids_;
  std::unordered_map<std::string, int64_t> open_;  // how many results each id waits for
  size_t open_count_ = 0;
};

// Leading system and developer messages as one; the index of the first other one.
size_t TakeLeadingSystem(std::vector<Turn>& turns, std::vector<Message>& messages) {
  std::vector<std::string> texts;
  size_t i = 0;
  for (; i < turns.size(); ++i) {
    Message& message = turns[i].message;
    if (message.role != Role::kSystem && message.role != Role::kDeveloper) break;
    texts.push_back(message.content.value_or(""));
  }
  if (i == 0) return 0;
  messages.push_back(EmptyMessage(Role::kSystem, "system"));
  messages.back().content = JoinTexts(texts);
  return i;
}

void MergeAssistant(Message& turn, Message& more) {
  std::string content = std::move(turn.content).value_or("");
  AppendParagraph(content, more.content.value_or(""));
  turn.content = std::move(content);
  AppendParagraph(turn.reasoning_content, more.reasoning_content);
  std::move(more.tool_calls.begin(), more.tool_calls.end(), std::back_inserter(turn.tool_calls));
}

bool IsUserSide(const Message& message) {
  return message.role == Role::kUser || message.role == Role::kTool;
}

void MoveBehind(std::vector<Message>& messages, std::vector<Message>& more) {
  std::move(more.begin(), more.end(), std::back_inserter(messages));
  more.clear();
}

Parsed<void> OpenAnswer(std::vector<Message>& messages, Request& request) {
  if (messages.back().role == Role::kAssistant) {
    if (!messages.back().tool_calls.empty()) return BadRequest(std::string(kUnanswered));
    messages.back().wo_eos = true;
    request.continues_prefix = true;
    const bool has_header = messages.size() > 1 && IsUserSide(messages[messages.size() - 2]);
    if (!has_header) messages.insert(std::prev(messages.end()), EmptyMessage(Role::kUser, "user"));
  } else if (!IsUserSide(messages.back())) {
    messages.push_back(EmptyMessage(Role::kUser, "user"));
  }
  return {};
}

void AttachSchema(const OutputFormat& format, std::vector<Message>& messages) {
  if (format.kind != OutputFormat::Kind::kJsonSchema) return;
  if (messages.front().role != Role::kSystem)
    messages.insert(messages.begin(), EmptyMessage(Role::kSystem, "system"));
  messages.front().response_format = PromptJson(format.schema);
}

}  // namespace

Parsed<void> CheckToolResults(const std::vector<Turn>& turns, Profile profile) {
  OpenCalls calls;
  for (const Turn& turn : turns) {
    const Message& message = turn.message;
    if (message.role == Role::kTool) {
      FATHOM_TRY_VOID(calls.Answer(message.tool_call_id, profile));
      continue;
    }
    if (!calls.empty()) return BadRequest(std::string(kUnanswered));
    calls.Open(message.tool_calls);
  }
  if (!calls.empty()) return BadRequest(std::string(kUnanswered));
  return {};
}

Parsed<void> CheckReasoningReplay(const std::vector<Turn>& turns, std::string_view member,
                                  Profile profile, const Request& request) {
  if (profile != Profile::kStrict || !request.thinks() || turns.empty()) return {};
  if (turns.back().message.role != Role::kTool) return {};
  const auto issuing = std::find_if(turns.rbegin(), turns.rend(), [](const Turn& turn) {
    return turn.message.role == Role::kAssistant;
  });
  if (issuing == turns.rend() || issuing->has_reasoning) return {};
  return BadRequest(
      fmt::format("The `{}` in the thinking mode must be passed back to the API.", member));
}

Parsed<void> AssembleConversation(std::vector<Turn> turns, Request& request) {
  std::vector<Message>& messages = request.conversation.messages;
  messages.clear();
  size_t i = TakeLeadingSystem(turns, messages);
  // The user turn in progress waits, since a reminder goes before the one that it stands in.
  std::vector<Message> user_turn;
  for (; i < turns.size(); ++i) {
    Message& message = turns[i].message;
    if (message.role == Role::kSystem || message.role == Role::kDeveloper) {
      message.role = Role::kUser;
      message.role_name = "user";
    }
    if (IsUserSide(message)) {
      user_turn.push_back(std::move(message));
      continue;
    }
    if (message.role != Role::kLatestReminder) MoveBehind(messages, user_turn);
    if (message.role == Role::kAssistant && !messages.empty() &&
        messages.back().role == Role::kAssistant) {
      MergeAssistant(messages.back(), message);
    } else {
      messages.push_back(std::move(message));
    }
  }
  MoveBehind(messages, user_turn);
  if (messages.empty()) return BadRequest("Empty input messages");
  FATHOM_TRY_VOID(OpenAnswer(messages, request));

  std::vector<Json> functions;
  for (const Tool& tool : request.tools) functions.push_back(PromptJson(tool.function));
  chat::AttachTools(request.conversation, functions);
  AttachSchema(request.format, messages);
  return {};
}

}  // namespace fathom::api
