// Requests of the three dialects that hold conversations, from one description, and their answers
// in common words, so that one table can be put to all of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/error.h"
#include "tests/api/harness.h"
#include "tests/api/reading.h"

namespace fathom::conformance {

using api::Dialect;
inline constexpr Dialect kConversing[] = {Dialect::kChat, Dialect::kAnthropic, Dialect::kResponses};

struct Wish {
  std::string text = "Hello";
  bool thinks = false;
  bool stream = false;
  bool has_tools = false;  // kTools
  std::optional<int64_t> max_tokens = {};
  std::string more = {};  // members of the dialect, as a JSON object
};

// get_weather(city: string, days: integer), now(), search(query: string, limit: integer).
extern const char* const kTools;  // in Chat's form

std::string Target(Dialect dialect);
std::string BodyFor(Dialect dialect, const Wish& wish);
// `end` is "stop", "length", "tool_calls" or "stop_sequence" then.
Answer Read(Dialect dialect, const Reply& reply);
Answer Put(TestServer& server, Dialect dialect, const Wish& wish);
std::string ShowWish(Dialect dialect, const Wish& wish);

// A server that answers prompts with "[long]" in them by some 7000 tokens, which no test waits for,
// and "Hello" by "Hello! How can I help?".
ServerSetup LongAnswers();
Wish LongWish(bool stream);

// The beginning of DSML markup, which no client may see.
inline constexpr std::string_view kMarkup = "｜DSML｜";
// A whole block of calls: names, and their parameters as markup text.
std::string Block(const std::string& invokes);
std::string Invoke(const std::string& name, const std::string& parameters);
std::string TextParameter(const std::string& name, const std::string& value);
std::string JsonParameter(const std::string& name, const std::string& value);

// Members of `changes` put into `base`, both JSON objects.
std::string With(const std::string& base, const std::string& changes);

}  // namespace fathom::conformance
