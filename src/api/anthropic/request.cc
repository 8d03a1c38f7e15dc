// Requests of the Anthropic dialect. Everything is read first, so that wrong types are told before
// anything else; then model, ranges, tools and messages are checked in this order. What a block
// means here is decided in content.cc. Source: docs/api.md, "Anthropic Messages". Not here:
// answers.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "api/anthropic/content.h"
#include "api/common.h"
#include "api/common_tools.h"
#include "api/turn_list.h"

namespace fathom::api {
namespace {

struct Tools {
  std::vector<NamedTool> tools;
  std::vector<std::string> dropped;  // names of tools that only Anthropic's servers can run
};

Parsed<Tools> ReadTools(const Field& tools) {
  Tools out;
  FATHOM_TRY(const auto items, tools.OptItems());
  for (size_t i = 0; i < items.size(); ++i) {
    const Field& item = items[i];
    FATHOM_TRY_VOID(item.Object("struct Tool"));
    FATHOM_TRY(const auto type, item["type"].OptString());
    if (type && *type != "custom") {
      const Json* name = item.json().Find("name");
      out.dropped.push_back(name != nullptr && name->is_string() ? name->string() : *type);
      continue;
    }
    NamedTool named;
    FATHOM_TRY(named.tool.name, item["name"].String());
    named.name_path = fmt::format("tools[{}].name", i);
    FATHOM_TRY(const auto description, item["description"].OptString());
    FATHOM_TRY_VOID(item["input_schema"].OptObject());
    named.tool.parameters = item["input_schema"].json();
    named.tool.function = Json::Object{{"name", named.tool.name}};
    if (description) named.tool.function.Set("description", *description);
    if (!named.tool.parameters.is_null())
      named.tool.function.Set("parameters", named.tool.parameters);
    out.tools.push_back(std::move(named));
  }
  return out;
}

Parsed<ToolChoiceWish> ReadChoice(const Field& choice) {
  ToolChoiceWish wish;
  FATHOM_TRY_VOID(choice.OptObject("struct ToolChoice"));
  if (!choice.has_value()) return wish;
  FATHOM_TRY(const int64_t type, choice["type"].Variant({"auto", "any", "tool", "none"}));
  constexpr ToolChoice kChoices[] = {ToolChoice::kAuto, ToolChoice::kRequired,
                                     ToolChoice::kRequired, ToolChoice::kNone};
  wish.choice = kChoices[type];
  if (type == 2) {
    FATHOM_TRY(wish.name, choice["name"].String());
  }
  return wish;
}

// Forcing a tool that was dropped forces nothing: the model then answers in words.
void ForgetDropped(const Tools& tools, Profile profile, ToolChoiceWish& wish) {
  if (profile == Profile::kStrict || tools.dropped.empty()) return;
  const bool names_dropped = wish.name && std::find(tools.dropped.begin(), tools.dropped.end(),
                                                    *wish.name) != tools.dropped.end();
  if (names_dropped || tools.tools.empty()) wish = {};
}

// The body's members as read.
struct Wishes {
  std::string model;
  std::optional<int64_t> max_tokens;
  ThinkingWish thinking;
  SamplingWish sampling;
  std::vector<std::string> stop;
  Tools tools;
  ToolChoiceWish choice;
  Content content;
};

Parsed<std::optional<int64_t>> ReadMaxTokens(const Field& max_tokens, bool counts_only) {
  if (counts_only) return std::optional<int64_t>();
  if (max_tokens.is_strict() && !max_tokens.has_value()) {
    ApiError error = max_tokens.Missing();
    error.status = 400;
    return error;
  }
  return max_tokens.OptInteger();
}

Parsed<Wishes> ReadWishes(const Field& body, const Facts& facts, bool counts_only,
                          Request& request) {
  Wishes out;
  FATHOM_TRY(out.model, body["model"].String());
  FATHOM_TRY(out.content, ReadContent(body["system"], body["messages"], facts));
  FATHOM_TRY(out.max_tokens, ReadMaxTokens(body["max_tokens"], counts_only));
  FATHOM_TRY(out.thinking.is_enabled, ReadThinkingSwitch(body["thinking"]));
  const Field config = body["output_config"];
  FATHOM_TRY_VOID(config.OptObject("struct OutputConfig"));
  FATHOM_TRY(out.thinking.effort, ReadEffort(config["effort"]));
  FATHOM_TRY(request.format, ReadOutputFormat(config["format"]));
  FATHOM_TRY_VOID(ReadThinkingExtensions(body, out.thinking));
  FATHOM_TRY(out.sampling.temperature, body["temperature"].OptNumber());
  FATHOM_TRY(out.sampling.top_p, body["top_p"].OptNumber());
  FATHOM_TRY(out.stop, ReadStop(body["stop_sequences"]));
  FATHOM_TRY(out.tools, ReadTools(body["tools"]));
  FATHOM_TRY(out.choice, ReadChoice(body["tool_choice"]));
  FATHOM_TRY(const auto stream, body["stream"].OptBool());
  request.stream = stream.value_or(false) && !counts_only;
  // Claude Code sends a JSON document here, and it is never refused.
  const Json& user = body["metadata"]["user_id"].json();
  if (user.is_string() && !user.string().empty()) request.isolation_key = HashedUser(user.string());
  return out;
}

}  // namespace

Parsed<Request> ParseMessages(std::string_view text, const Facts& facts, const Origin& origin,
                              bool counts_only) {
  FATHOM_TRY(const Body body, ReadBody(text, facts.profile));
  const Field root(body);
  FATHOM_TRY_VOID(root.Object("struct MessagesRequest"));
  Request request;
  request.dialect = Dialect::kAnthropic;
  request.wants_context_exceeded = origin.wants_context_exceeded;
  FATHOM_TRY(Wishes wishes, ReadWishes(root, facts, counts_only, request));

  FATHOM_TRY(const ModelChoice model, ResolveModel(wishes.model, request.dialect, facts));
  FATHOM_TRY_VOID(CheckSampling(wishes.sampling));
  FATHOM_TRY_VOID(CheckMaxTokens(wishes.max_tokens, facts));
  request.generation.max_tokens = wishes.max_tokens;
  FATHOM_TRY_VOID(ApplyStop(std::move(wishes.stop), request));
  ForgetDropped(wishes.tools, facts.profile, wishes.choice);
  FATHOM_TRY_VOID(ApplyTools(std::move(wishes.tools.tools), facts.profile, request));
  ApplyThinking(wishes.thinking, model, facts, request);
  FATHOM_TRY_VOID(ApplyToolChoice(wishes.choice, facts.profile, request));
  ApplySampling(wishes.sampling, request);

  // Taken for an ordinary request, the next turn would come without what was said before it.
  if (!root["thread"].json().is_null()) return ThreadsUnsupported();
  if (wishes.content.is_empty) return BadRequest("Empty input messages");
  if (wishes.content.has_image && !facts.sees_images)
    return BadRequest("This model does not support image");
  const std::vector<Turn>& turns = wishes.content.turns;
  FATHOM_TRY_VOID(CheckResultsInAnyOrder(turns, facts.profile));
  FATHOM_TRY_VOID(CheckReasoningReplay(turns, "content[].thinking", facts.profile, request));
  FATHOM_TRY_VOID(AssembleConversation(std::move(wishes.content.turns), request));
  return request;
}

}  // namespace fathom::api
