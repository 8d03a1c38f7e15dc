#include "api/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "chat/python_json.h"

namespace fathom::api {
namespace {

// What an entry costs beside its text, about: two nodes, a bucket, the text's count and string.
constexpr int64_t kEntryOverheadBytes = 240;

std::string Key(char kind, std::string_view owner, std::string_view call_id) {
  return fmt::format("{}{}:{}{}", kind, owner.size(), owner, call_id);
}
std::string ArgumentsKey(std::string_view owner, std::string_view call_id) {
  return Key('a', owner, call_id);
}
std::string ReasoningKey(std::string_view owner, std::string_view call_id) {
  return Key('r', owner, call_id);
}

// Spellings of one number are equal: clients print 2.50 as 2.5 and 1e5 as 100000.
bool AreSameNumber(const Json& a, const Json& b) {
  if (a.number() == b.number()) return true;
  const auto x = a.ToDouble();
  const auto y = b.ToDouble();
  return x.ok() && y.ok() && x.value() == y.value();
}

std::vector<const Json::Member*> ByName(const Json::Object& object) {
  std::vector<const Json::Member*> members;
  for (const Json::Member& member : object) members.push_back(&member);
  std::sort(members.begin(), members.end(),
            [](const Json::Member* a, const Json::Member* b) { return a->first < b->first; });
  return members;
}

bool AreSame(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return AreSameNumber(a, b);
  if (a.is_array() && b.is_array())
    return std::equal(a.array().begin(), a.array().end(), b.array().begin(), b.array().end(),
                      AreSame);
  if (!a.is_object() || !b.is_object()) return a == b;
  if (a.object().size() != b.object().size()) return false;
  const auto members_a = ByName(a.object());
  const auto members_b = ByName(b.object());
  for (size_t i = 0; i < members_a.size(); ++i) {
    if (members_a[i]->first != members_b[i]->first) return false;
    if (!AreSame(members_a[i]->second, members_b[i]->second)) return false;
  }
  return true;
}

bool AreSameText(std::string_view a, std::string_view b) {
  const auto x = chat::ParsePythonJson(a);
  const auto y = chat::ParsePythonJson(b);
  return x.ok() && y.ok() && AreSame(x.value(), y.value());
}

}  // namespace

void ReplayMemory::RememberCall(std::string_view owner, std::string_view call_id,
                                std::string_view arguments) {
  Remember(ArgumentsKey(owner, call_id), arguments);
}

void ReplayMemory::RememberReasoning(std::string_view owner, std::string_view call_id,
                                     std::string_view reasoning) {
  if (!reasoning.empty()) Remember(ReasoningKey(owner, call_id), reasoning);
}

void ReplayMemory::Restore(std::string_view owner, chat::Conversation& conversation) {
  for (chat::Message& message : conversation.messages) {
    for (chat::ToolCall& call : message.tool_calls) {
      const Text sent = Recall(ArgumentsKey(owner, call.id));
      if (sent == nullptr) continue;
      if (*sent != call.arguments && !AreSameText(*sent, call.arguments)) continue;
      call.arguments = *sent;
      call.is_verbatim = true;
    }
    if (message.tool_calls.empty() || !message.reasoning_content.empty()) continue;
    if (const Text sent = Recall(ReasoningKey(owner, message.tool_calls[0].id)))
      message.reasoning_content = *sent;
  }
}

void ReplayMemory::Remember(std::string key, std::string_view text) {
  const auto cost = [](const Entry& entry) {
    return kEntryOverheadBytes + std::ssize(entry.key) * 2 + std::ssize(*entry.text);
  };
  Entry entry{std::move(key), std::make_shared<const std::string>(text)};
  const std::lock_guard lock(mutex_);
  if (const auto known = index_.find(entry.key); known != index_.end()) {
    bytes_ -= cost(*known->second);
    entries_.erase(known->second);
    index_.erase(known);
  }
  if (cost(entry) > bytes_max_) return;  // it would drive everything else out
  bytes_ += cost(entry);
  entries_.push_front(std::move(entry));
  index_[entries_.front().key] = entries_.begin();
  while (bytes_ > bytes_max_) {
    bytes_ -= cost(entries_.back());
    index_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

ReplayMemory::Text ReplayMemory::Recall(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto known = index_.find(key);
  if (known == index_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, known->second);
  return known->second->text;
}

int64_t ReplayMemory::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace fathom::api
