// Answers taken apart: the two forms of each dialect, streamed and whole, become one Answer, so
// that tests can compare them. On the way every rule of the form is checked: which members each
// event has, in which order they come, which ids agree.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tests/api/harness.h"

namespace fathom::conformance {

// The value at a path such as "choices.0.message.content"; null when there is none.
Json At(const Json& json, std::string_view path);
std::string TextAt(const Json& json, std::string_view path);  // "" and a failure when no string
int64_t IntAt(const Json& json, std::string_view path);       // likewise
std::vector<std::string> Names(const Json& object);           // of its members
Json Parse(std::string_view text);                            // null and a failure when no JSON
Json BodyOf(const Reply& reply);

struct Event {
  std::string name;  // may be empty
  std::string data;
};
// Comments are left out, and counted.
std::vector<Event> ReadSse(std::string_view body, int* comments = nullptr);

struct Call {
  std::string id, name, arguments;
  bool operator==(const Call&) const = default;
};
struct Answer {
  std::string id, model;
  bool has_reasoning = false;  // a member, block or item for it, even an empty one
  std::string reasoning, content;
  std::vector<Call> calls;
  std::string end;            // finish_reason, stop_reason, status
  std::string stop_sequence;  // Anthropic
  // Of the whole answer.
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;
  std::vector<Json> logprobs, reasoning_logprobs;  // entries

  // Without ids.
  std::string Show() const;
};

// One for each choice.
std::vector<Answer> ReadChat(const Reply& reply);
Answer ReadCompletion(const Reply& reply);
Answer ReadMessage(const Reply& reply);
Answer ReadResponse(const Reply& reply);

}  // namespace fathom::conformance
