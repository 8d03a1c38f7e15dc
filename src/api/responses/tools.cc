#include "api/responses/tools.h"

#include <fmt/format.h>

#include <string_view>
#include <unordered_set>
#include <utility>

namespace fathom::api {
namespace {

constexpr std::string_view kPatchTool = "apply_patch";

// The schema under which the model is given a custom tool: its one string.
Json InputSchema() {
  return Json::Object{{"type", "object"},
                      {"properties", Json::Object{{"input", Json::Object{{"type", "string"}}}}},
                      {"required", Json::Array{"input"}},
                      {"additionalProperties", false}};
}

Parsed<NamedTool> ReadFunction(const Field& item, std::string path, bool is_custom) {
  NamedTool named;
  named.name_path = std::move(path);
  Tool& tool = named.tool;
  FATHOM_TRY(tool.name, item["name"].String());
  tool.function = Json::Object{{"name", tool.name}};
  FATHOM_TRY(const auto description, item["description"].OptString());
  if (description) tool.function.Set("description", *description);
  if (is_custom) {
    tool.is_custom = true;
    tool.is_strict = true;  // the schema is ours: it hinders no other tool's flag
    tool.parameters = InputSchema();
    tool.function.Set("parameters", tool.parameters);
    return named;
  }
  FATHOM_TRY(const auto strict, item["strict"].OptBool());
  FATHOM_TRY_VOID(item["parameters"].OptObject());
  tool.is_strict = strict.value_or(false);
  tool.parameters = item["parameters"].json();
  if (strict) tool.function.Set("strict", *strict);
  if (!tool.parameters.is_null()) tool.function.Set("parameters", tool.parameters);
  return named;
}

// The functions of {"type": "namespace", "name", "tools": [...]}.
Parsed<void> ReadNamespace(const Field& item, const std::string& path,
                           std::vector<NamedTool>& tools) {
  FATHOM_TRY(const std::string name, item["name"].String());
  FATHOM_TRY(const auto members, item["tools"].OptItems());
  for (size_t i = 0; i < members.size(); ++i) {
    FATHOM_TRY_VOID(members[i].Object("struct Tool"));
    FATHOM_TRY(const std::string type, members[i]["type"].String());
    if (type != "function") continue;
    FATHOM_TRY(NamedTool named, ReadFunction(members[i], fmt::format("{}.tools[{}].name", path, i),
                                             /*is_custom=*/false));
    named.tool.namespace_name = name;
    tools.push_back(std::move(named));
  }
  return {};
}

}  // namespace

Parsed<ResponsesTools> ReadResponsesTools(const Field& tools) {
  ResponsesTools out;
  FATHOM_TRY(const auto items, tools.OptItems());
  for (size_t i = 0; i < items.size(); ++i) {
    const Field& item = items[i];
    const std::string path = fmt::format("tools[{}]", i);
    FATHOM_TRY_VOID(item.Object("struct Tool"));
    FATHOM_TRY(const std::string type, item["type"].String());
    if (type == "namespace") {
      FATHOM_TRY_VOID(ReadNamespace(item, path, out.tools));
      continue;
    }
    const bool is_custom = type == "custom";
    if (is_custom && item["name"].json() != Json(kPatchTool)) {
      if (item.is_strict() && !out.refused) out.refused = path;
      out.has_left_out = true;
      continue;
    }
    if (type != "function" && !is_custom) {
      out.has_left_out = true;
      continue;
    }
    FATHOM_TRY(out.tools.emplace_back(), ReadFunction(item, path + ".name", is_custom));
  }
  return out;
}

Parsed<ResponsesChoice> ReadResponsesChoice(const Field& tool_choice) {
  ResponsesChoice out;
  const Json& type = tool_choice["type"].json();
  if (type == Json("allowed_tools")) {
    FATHOM_TRY(const auto mode, tool_choice["mode"].OptVariant({"auto", "required"}));
    out.wish.choice = mode == 1 ? ToolChoice::kRequired : ToolChoice::kAuto;
    out.allowed.emplace();
    FATHOM_TRY(const auto items, tool_choice["tools"].Items());
    for (const Field& item : items) {
      FATHOM_TRY_VOID(item.Object("struct AllowedTool"));
      FATHOM_TRY(const std::string kind, item["type"].String());
      if (kind != "function" && kind != "custom") continue;
      FATHOM_TRY(out.allowed->emplace_back(), item["name"].String());
    }
    return out;
  }
  // Choosing a tool of a type that is left out leaves the choice to the model.
  const bool is_left_out = !tool_choice.is_strict() && type.is_string() &&
                           type != Json("function") && type != Json("custom");
  if (is_left_out) return out;
  FATHOM_TRY(out.wish, ReadToolChoice(tool_choice));
  return out;
}

Parsed<void> ApplyResponsesChoice(const ResponsesChoice& choice, Profile profile,
                                  Request& request) {
  FATHOM_TRY_VOID(ApplyToolChoice(choice.wish, profile, request));
  if (!choice.allowed) return {};
  std::unordered_set<std::string_view> known;
  for (const Tool& tool : request.tools) known.insert(tool.name);
  for (const std::string& name : *choice.allowed) {
    if (!known.contains(name))
      return BadRequest(
          fmt::format("Invalid tool_choice, there is no tool with the name '{}'.", name));
  }
  request.allowed_tools = *choice.allowed;
  if (request.allowed_tools.empty()) request.tool_choice = ToolChoice::kNone;
  return {};
}

}  // namespace fathom::api
