#include "api/common_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace fathom::api {
namespace {

constexpr int64_t kNameBytesMax = 128;
constexpr size_t kToolsMax = 128;

Parsed<void> CheckName(const std::string& name, const std::string& path) {
  const bool matches = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
  if (!matches)
    return BadRequest(
        fmt::format("Invalid '{}': string does not match pattern. Expected a string that matches "
                    "the pattern '^[a-zA-Z0-9_-]+$'.",
                    path));
  if (std::ssize(name) > kNameBytesMax)
    return BadRequest(
        fmt::format("Invalid '{}': string too long. Expected a string with maximum length {}, but "
                    "got a string with length {} instead.",
                    path, kNameBytesMax, name.size()));
  return {};
}

ApiError BadChoice(const Field& tool_choice) {
  return tool_choice.Refuse("expected one of `none`, `auto`, `required` or a tool");
}

}  // namespace

Parsed<void> ApplyTools(std::vector<NamedTool> tools, Profile profile, Request& request) {
  if (profile == Profile::kStrict && tools.size() > kToolsMax)
    return BadRequest(
        fmt::format("Invalid 'tools': array too long. Expected an array with maximum length {}, "
                    "but got an array with length {} instead.",
                    kToolsMax, tools.size()));
  std::unordered_set<std::string> names;
  for (const NamedTool& named : tools) {
    FATHOM_TRY_VOID(CheckName(named.tool.name, named.name_path));
    if (!names.insert(named.tool.name).second) return BadRequest("Tool names must be unique.");
  }
  const bool are_strict = std::all_of(tools.begin(), tools.end(),
                                      [](const NamedTool& named) { return named.tool.is_strict; });
  request.tools.clear();
  for (NamedTool& named : tools) {
    named.tool.is_strict = are_strict;
    request.tools.push_back(std::move(named.tool));
  }
  return {};
}

Parsed<ToolChoiceWish> ReadToolChoice(const Field& tool_choice) {
  ToolChoiceWish wish;
  if (!tool_choice.has_value()) return wish;
  const Json& json = tool_choice.json();
  if (json.is_string()) {
    const std::string& name = json.string();
    if (name == "none") wish.choice = ToolChoice::kNone;
    if (name == "auto") wish.choice = ToolChoice::kAuto;
    if (name == "required") wish.choice = ToolChoice::kRequired;
    if (!wish.choice) return BadChoice(tool_choice);
    return wish;
  }
  if (!json.is_object()) return BadChoice(tool_choice);
  const Json* type = json.Find("type");
  if (type == nullptr || (*type != Json("function") && *type != Json("custom")))
    return BadChoice(tool_choice);
  const Json* function = json.Find(type->string());
  const Json* name = (function != nullptr ? *function : json).Find("name");
  if (name == nullptr || !name->is_string()) return BadChoice(tool_choice);
  wish.choice = ToolChoice::kRequired;
  wish.name = name->string();
  return wish;
}

Parsed<void> ApplyToolChoice(const ToolChoiceWish& wish, Profile profile, Request& request) {
  const bool has_tools = !request.tools.empty();
  request.tool_choice = wish.choice.value_or(has_tools ? ToolChoice::kAuto : ToolChoice::kNone);
  request.allowed_tools.clear();
  if (request.tool_choice == ToolChoice::kRequired) {
    if (profile == Profile::kStrict && request.thinks())
      return BadRequest("Thinking mode does not support this tool_choice");
    if (wish.name) {
      const bool is_known = std::any_of(request.tools.begin(), request.tools.end(),
                                        [&](const Tool& tool) { return tool.name == *wish.name; });
      if (!is_known)
        return BadRequest(
            fmt::format("Invalid tool_choice, there is no tool with the name '{}'.", *wish.name));
      request.allowed_tools = {*wish.name};
    }
    if (!has_tools)
      return BadRequest("Invalid tool_choice, 'required' is only allowed when tools are given.");
  }
  if (!has_tools) request.tool_choice = ToolChoice::kNone;
  return {};
}

}  // namespace fathom::api
