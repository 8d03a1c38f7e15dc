// Exact replay: what a client sends back of an earlier answer becomes what the model wrote. Clients
// reorder the members of tool arguments, change their spacing and drop reasoning; the prompt of the
// next turn must not change for that, or nothing read before can be reused. Bounded: the oldest
// entries are forgotten first. Thread-safe; JSON is compared without the lock.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "chat/conversation.h"

namespace fathom::api {

class ReplayMemory {
 public:
  explicit ReplayMemory(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // What was sent: a call's arguments under its id, and under the id of a turn's first call the
  // turn's reasoning.
  // `owner`: whose conversation it is; what is remembered of one is never given to another.
  void RememberCall(std::string_view owner, std::string_view call_id, std::string_view arguments);
  void RememberReasoning(std::string_view owner, std::string_view call_id,
                         std::string_view reasoning);

  // Puts the text that was sent back into a conversation: arguments that are the same JSON value
  // (member order and spacing aside) under a known id, and the reasoning of an assistant turn with
  // tool calls when the client left it out. Anything a client changed on purpose stays changed.
  void Restore(std::string_view owner, chat::Conversation& conversation);

  int64_t bytes() const;

 private:
  // Shared with those who look at it while it is forgotten.
  using Text = std::shared_ptr<const std::string>;
  struct Entry {
    std::string key;
    Text text;
  };
  void Remember(std::string key, std::string_view text);
  Text Recall(const std::string& key);

  const int64_t bytes_max_;
  mutable std::mutex mutex_;
  int64_t bytes_ = 0;
  std::list<Entry> entries_;  // latest used first
  std::unordered_map<std::string, std::list<Entry>::iterator> index_;
};

}  // namespace fathom::api
