// The four passes in the reference's order. Each takes the list by value and returns it, so that
// the caller's conversation stays as it was.
#include "chat/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "chat/templates.h"

namespace fathom::chat {
namespace {

using Kind = ContentPart::Kind;

Error PlaceholderError(const char* where) {
  return Error{
      fmt::format("{}: expected images as content parts, found the text {}", where, kImage)};
}

bool HasPlaceholder(std::string_view text) { return text.find(kImage) != text.npos; }

// Images become text parts with the placeholder; written by a user it is refused.
Result<void> PlaceImages(std::vector<ContentPart>& parts) {
  for (ContentPart& part : parts) {
    if (part.kind == Kind::kImage) {
      if (!part.has_source)
        return Error{fmt::format("{} part: expected a URL or data, found neither", part.type)};
      part.kind = Kind::kText;  // its type still says image: this text is the format's
      part.text = kImage;
    } else if (part.kind == Kind::kToolResult) {
      FATHOM_TRY_VOID(PlaceImages(part.result));
    } else if (part.kind == Kind::kText && HasPlaceholder(part.text)) {
      return PlaceholderError("text part");
    }
  }
  return {};
}

Result<void> NormalizeImages(std::vector<Message>& messages) {
  for (Message& message : messages) {
    const bool has_text = !message.parts && message.content;
    if (has_text && HasPlaceholder(*message.content)) return PlaceholderError("content");
    if (HasPlaceholder(message.reasoning_content)) return PlaceholderError("reasoning_content");
    if (message.parts && !message.content_blocks) {
      message.content_blocks = std::move(message.parts);
      message.content = "";
    }
    if (message.content_blocks && !message.content_blocks->empty()) {
      FATHOM_TRY_VOID(PlaceImages(*message.content_blocks));
      if (!has_text) {
        std::string text;
        bool is_first = true;
        for (const ContentPart& part : *message.content_blocks) {
          if (part.kind != Kind::kText) continue;
          if (!std::exchange(is_first, false)) text += "\n\n";
          text += part.text;
        }
        message.content = std::move(text);
      }
    }
    message.parts.reset();
  }
  return {};
}

Result<void> RefuseLists(const std::vector<Message>& messages) {
  for (const Message& message : messages)
    if (message.parts && message.role != Role::kTool)
      return Error{
          fmt::format("{} message: content: expected a string, found a list", message.role_name)};
  return {};
}

ContentPart ToolResultBlock(Message& message) {
  ContentPart block;
  block.kind = Kind::kToolResult;
  block.type = "tool_result";
  block.tool_use_id = std::move(message.tool_call_id);
  if (message.parts) {
    block.result = std::move(*message.parts);
  } else {
    block.result.push_back(ContentPart::Text(message.content.value_or("None")));
  }
  return block;
}

// Consecutive user and tool messages become one user turn of blocks, except after a task.
Result<std::vector<Message>> MergeUserTurns(std::vector<Message> messages, bool is_vision) {
  std::vector<Message> merged;
  const auto follows_user = [&] { return !merged.empty() && merged.back().role == Role::kUser; };
  for (Message& message : messages) {
    if (message.role == Role::kTool) {
      if (!follows_user()) {
        merged.emplace_back();
        merged.back().role_name = "user";
        merged.back().content_blocks.emplace();
      }
      merged.back().content_blocks->push_back(ToolResultBlock(message));
      continue;
    }
    if (message.role != Role::kUser) {
      merged.push_back(std::move(message));
      continue;
    }
    std::vector<ContentPart> blocks;
    if (is_vision && message.content_blocks) {
      blocks = std::move(*message.content_blocks);
    } else {
      if (!message.content) return Error{"user message: content: expected a string, found null"};
      blocks.push_back(ContentPart::Text(*message.content));
    }
    if (follows_user() && !merged.back().task) {
      std::move(blocks.begin(), blocks.end(), std::back_inserter(*merged.back().content_blocks));
      continue;
    }
    if (!is_vision) {  // only these survive on a user turn of the text revisions
      message.tools.clear();
      message.response_format = Json();
    }
    message.content_blocks = std::move(blocks);
    merged.push_back(std::move(message));
  }
  return merged;
}

// Refills the places that hold tool results in the order of the latest calls; text stays.
void SortToolResults(std::vector<Message>& messages) {
  std::unordered_map<std::string, size_t> order;
  for (Message& message : messages) {
    if (message.role == Role::kAssistant && !message.tool_calls.empty()) {
      order.clear();
      for (size_t i = 0; i < message.tool_calls.size(); ++i)
        if (const std::string& id = message.tool_calls[i].id; !id.empty()) order[id] = i;
    } else if (message.role == Role::kUser && message.content_blocks && !order.empty()) {
      std::vector<ContentPart> results;
      for (ContentPart& block : *message.content_blocks)
        if (block.kind == Kind::kToolResult) results.push_back(std::move(block));
      const auto rank = [&](const ContentPart& block) {
        const auto it = order.find(block.tool_use_id);
        return it == order.end() ? size_t{0} : it->second;
      };
      std::stable_sort(results.begin(), results.end(),
                       [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
      auto next = results.begin();
      for (ContentPart& block : *message.content_blocks)
        if (block.kind == Kind::kToolResult) block = std::move(*next++);
    }
  }
}

int64_t LastUser(const std::vector<Message>& messages) {
  for (int64_t i = std::ssize(messages) - 1; i >= 0; --i)
    if (messages[i].role == Role::kUser || messages[i].role == Role::kDeveloper) return i;
  return -1;
}

// direct_search_results is kept by the reference, which then has no form for it.
bool SurvivesDropping(const Message& message) {
  return (message.role != Role::kDeveloper && message.role != Role::kOther) ||
         message.role_name == "direct_search_results";
}

// How many of the first `count` messages dropping would leave if they were all.
int64_t CountAfterDropping(const std::vector<Message>& messages, int64_t count) {
  int64_t last_user = -1;
  for (int64_t i = 0; i < count; ++i)
    if (messages[i].role == Role::kUser || messages[i].role == Role::kDeveloper) last_user = i;
  int64_t kept = 0;
  for (int64_t i = 0; i < count; ++i) kept += i >= last_user || SurvivesDropping(messages[i]);
  return kept;
}

std::vector<Message> DropThinking(std::vector<Message> messages) {
  const int64_t last_user = LastUser(messages);
  std::vector<Message> kept;
  for (int64_t i = 0; i < std::ssize(messages); ++i) {
    if (i < last_user) {
      if (!SurvivesDropping(messages[i])) continue;
      if (messages[i].role == Role::kAssistant) messages[i].reasoning_content.clear();
    }
    kept.push_back(std::move(messages[i]));
  }
  return kept;
}

}  // namespace

Result<Turns> PrepareTurns(const Conversation& conversation, const EncodeOptions& options) {
  const bool is_vision = options.revision == Revision::kVision;
  Turns turns;
  // Context and messages are merged apart: a tool result never joins a turn that is not rendered.
  for (const auto* part : {&conversation.context, &conversation.messages}) {
    std::vector<Message> messages = *part;
    if (is_vision) {
      FATHOM_TRY_VOID(NormalizeImages(messages));
    } else {
      FATHOM_TRY_VOID(RefuseLists(messages));
    }
    FATHOM_TRY(messages, MergeUserTurns(std::move(messages), is_vision));
    if (part == &conversation.context) turns.first = std::ssize(messages);
    std::move(messages.begin(), messages.end(), std::back_inserter(turns.messages));
  }
  SortToolResults(turns.messages);

  const bool has_tools = std::any_of(turns.messages.begin(), turns.messages.end(),
                                     [](const Message& m) { return !m.tools.empty(); });
  turns.drop_thinking = options.drop_thinking && !has_tools;
  if (turns.drop_thinking && options.thinking_mode == ThinkingMode::kThinking) {
    // The reference counts what the context alone would keep. That differs from what is kept of it
    // here only when developer turns stand in the context, and goldens are made with it.
    turns.first = CountAfterDropping(turns.messages, turns.first);
    turns.messages = DropThinking(std::move(turns.messages));
  }
  turns.last_user = LastUser(turns.messages);
  return turns;
}

}  // namespace fathom::chat
