// Requests of the Responses dialect. Nothing is stored: a request that leans on an earlier response
// is refused rather than answered without its history. Everything is read first, so that wrong
// types are told before anything else; then model, ranges, tools and items are checked in this
// order. Items are items.cc, tools tools.cc. Source: docs/api.md, "Responses". Not here: answers.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "api/common.h"
#include "api/responses/items.h"
#include "api/responses/tools.h"
#include "api/turn_list.h"

namespace fathom::api {
namespace {

constexpr int64_t kTopLogprobsMax = 20;

// The body's members as read.
struct Wishes {
  std::string model;
  std::optional<int64_t> max_tokens;
  ThinkingWish thinking;
  SamplingWish sampling;
  std::optional<int64_t> top_logprobs;
  bool includes_logprobs = false;
  ResponsesTools tools;
  ResponsesChoice choice;
  std::vector<Turn> turns;
};

Parsed<bool> ReadIncludesLogprobs(const Field& include) {
  FATHOM_TRY(const auto items, include.OptItems());
  return std::any_of(items.begin(), items.end(), [](const Field& item) {
    return item.json() == Json("message.output_text.logprobs");
  });
}

Parsed<Wishes> ReadWishes(const Field& body, const Facts& facts, bool counts_only,
                          Request& request) {
  Wishes out;
  FATHOM_TRY(out.model, body["model"].String());
  const bool has_input = body["input"].has_value() || body["instructions"].has_value();
  if (!has_input) return body["input"].Missing();
  FATHOM_TRY(out.turns, ReadInput(body["instructions"], body["input"], facts));
  FATHOM_TRY(out.max_tokens, body["max_output_tokens"].OptInteger());
  const Field reasoning = body["reasoning"];
  FATHOM_TRY_VOID(reasoning.OptObject("struct Reasoning"));
  FATHOM_TRY(out.thinking.effort, ReadEffort(reasoning["effort"]));
  FATHOM_TRY_VOID(ReadThinkingExtensions(body, out.thinking));
  FATHOM_TRY(out.sampling.temperature, body["temperature"].OptNumber());
  FATHOM_TRY(out.sampling.top_p, body["top_p"].OptNumber());
  FATHOM_TRY(out.top_logprobs, body["top_logprobs"].OptInteger(kU8));
  FATHOM_TRY(out.includes_logprobs, ReadIncludesLogprobs(body["include"]));
  FATHOM_TRY_VOID(body["text"].OptObject("struct TextConfig"));
  FATHOM_TRY(request.format, ReadOutputFormat(body["text"]["format"]));
  FATHOM_TRY(out.tools, ReadResponsesTools(body["tools"]));
  FATHOM_TRY(out.choice, ReadResponsesChoice(body["tool_choice"]));
  FATHOM_TRY(const auto stream, body["stream"].OptBool());
  request.stream = stream.value_or(false) && !counts_only;
  FATHOM_TRY(const auto user, body["user"].OptString());
  request.isolation_key = UserKey(user.value_or(""));
  return out;
}

Parsed<void> RefuseStored(const Field& body) {
  for (const std::string_view name : {"previous_response_id", "conversation"}) {
    if (!body[name].has_value()) continue;
    ApiError error = BadRequest(fmt::format(
        "{} is not supported: responses are not stored. Send the whole conversation as input.",
        name));
    error.param = std::string(name);
    return error;
  }
  return {};
}

Parsed<void> ApplyLogprobs(const Wishes& wishes, Request& request) {
  const int64_t top = wishes.top_logprobs.value_or(0);
  if (top > kTopLogprobsMax)
    return BadRequest("Invalid top_logprobs value, the valid range of top_logprobs is [0, 20].");
  if (top > 0 || wishes.includes_logprobs) request.generation.logprobs = top;
  return {};
}

// The platform wants the word somewhere, so that the prompt does not fight the grammar.
Parsed<void> CheckJsonWord(const std::vector<Turn>& turns, Profile profile,
                           const Request& request) {
  if (profile != Profile::kStrict || request.format.kind != OutputFormat::Kind::kJsonObject)
    return {};
  const auto names_json = [](const Turn& turn) {
    const std::string text = turn.message.content.value_or("");
    constexpr std::string_view kWord = "json";
    return std::search(text.begin(), text.end(), kWord.begin(), kWord.end(), [](char a, char b) {
             return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
           }) != text.end();
  };
  if (std::any_of(turns.begin(), turns.end(), names_json)) return {};
  return BadRequest(
      "Prompt must contain the word 'json' in some form to use 'response_format' of type "
      "'json_object'.");
}

// What the response object repeats of the request, with the values that absent members have.
Json Echo(const Field& body, const Request& request) {
  const auto received = [&](std::string_view name, Json otherwise) {
    return body[name].has_value() ? body[name].json() : std::move(otherwise);
  };
  const Json summary = body["reasoning"]["summary"].json();
  Json effort = body["reasoning"]["effort"].json();
  if (effort.is_null() || !request.thinks()) effort = request.thinks() ? "high" : "none";
  Json text = received("text", Json::Object{});
  const Json* format = text.Find("format");
  if (format == nullptr || format->is_null()) text.Set("format", Json::Object{{"type", "text"}});
  const Json metadata = body["metadata"].json();
  return Json::Object{
      {"instructions", body["instructions"].json()},
      {"max_output_tokens", body["max_output_tokens"].json()},
      {"max_tool_calls", body["max_tool_calls"].json()},
      {"parallel_tool_calls", received("parallel_tool_calls", true)},
      {"previous_response_id", nullptr},
      {"reasoning", Json::Object{{"effort", std::move(effort)}, {"summary", summary}}},
      {"safety_identifier", body["safety_identifier"].json()},
      {"service_tier", "default"},
      {"store", false},
      {"temperature", received("temperature", Json::Number{"1.0"})},
      {"text", std::move(text)},
      {"tool_choice", received("tool_choice", "auto")},
      {"tools", received("tools", Json::Array{})},
      {"top_logprobs", received("top_logprobs", 0)},
      {"top_p", received("top_p", Json::Number{"1.0"})},
      {"truncation", received("truncation", "disabled")},
      {"user", body["user"].json()},
      {"metadata", metadata.is_object() ? metadata : Json(Json::Object{})}};
}

Parsed<void> ApplyToolWishes(Wishes& wishes, Profile profile, Request& request) {
  if (wishes.tools.refused)
    return BadRequest(
        fmt::format("Invalid '{}': the only custom tool is apply_patch.", *wishes.tools.refused));
  // Where all tools are left out nothing can be forced: the model then answers in words.
  if (profile == Profile::kDefault && wishes.tools.tools.empty() && wishes.tools.has_left_out)
    wishes.choice = {};
  FATHOM_TRY_VOID(ApplyTools(std::move(wishes.tools.tools), profile, request));
  return ApplyResponsesChoice(wishes.choice, profile, request);
}

}  // namespace

Parsed<Request> ParseResponses(std::string_view text, const Facts& facts, const Origin&,
                               bool counts_only) {
  FATHOM_TRY(const Body body, ReadBody(text, facts.profile));
  const Field root(body);
  FATHOM_TRY_VOID(root.Object("struct ResponsesRequest"));
  Request request;
  request.dialect = Dialect::kResponses;
  FATHOM_TRY(Wishes wishes, ReadWishes(root, facts, counts_only, request));

  FATHOM_TRY(const ModelChoice model, ResolveModel(wishes.model, request.dialect, facts));
  FATHOM_TRY_VOID(CheckSampling(wishes.sampling));
  FATHOM_TRY_VOID(CheckMaxTokens(wishes.max_tokens, facts));
  request.generation.max_tokens = wishes.max_tokens;
  FATHOM_TRY_VOID(ApplyLogprobs(wishes, request));
  FATHOM_TRY_VOID(RefuseStored(root));
  ApplyThinking(wishes.thinking, model, facts, request);
  FATHOM_TRY_VOID(ApplyToolWishes(wishes, facts.profile, request));
  ApplySampling(wishes.sampling, request);

  FATHOM_TRY_VOID(CheckJsonWord(wishes.turns, facts.profile, request));
  FATHOM_TRY_VOID(SettleCalls(facts.profile, wishes.turns));
  FATHOM_TRY_VOID(CheckReasoningReplay(wishes.turns, "reasoning_content", facts.profile, request));
  FATHOM_TRY_VOID(AssembleConversation(std::move(wishes.turns), request));
  request.echoed = Echo(root, request);
  return request;
}

}  // namespace fathom::api
