// Tools of a request and which of them may be called, for all dialects. Reading a tool's own
// members differs by dialect and is not here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/error.h"
#include "api/fields.h"
#include "api/request.h"

namespace fathom::api {

// A tool as read, not checked yet.
struct NamedTool {
  Tool tool;
  std::string name_path;  // where its name stands, such as "tools[0].function.name": for messages
};
// Checks names (pattern, length, uniqueness) and the count, and gives the tools to the request. The
// strict flags stay only if every function has one.
Parsed<void> ApplyTools(std::vector<NamedTool> tools, Profile profile, Request& request);

struct ToolChoiceWish {
  std::optional<ToolChoice> choice;
  std::optional<std::string> name;  // a named function: kRequired
};
// "none", "auto", "required", {"type": "function", "function": {"name": ...}} or, flat, {"type":
// "function" or "custom", "name": ...}; null and absent say nothing.
Parsed<ToolChoiceWish> ReadToolChoice(const Field& tool_choice);
// Default: auto with tools, else none. Errors: a name that no tool has; required without tools;
// strict: forcing while thinking. After thinking and tools are settled.
Parsed<void> ApplyToolChoice(const ToolChoiceWish& wish, Profile profile, Request& request);

}  // namespace fathom::api
