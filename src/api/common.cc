#include "api/common.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "chat/python_json.h"

namespace fathom::api {
namespace {

constexpr std::string_view kChatAlias = "deepseek-chat";          // forces non-thinking
constexpr std::string_view kReasonerAlias = "deepseek-reasoner";  // forces thinking

// Names of the platform; a server with one model gives them all to it.
constexpr std::array<std::string_view, 5> kModelNames = {
    "deepseek-v4-flash", "deepseek-v4-pro", "deepseek-flash", kChatAlias, kReasonerAlias};

constexpr int64_t kUserIdBytesMax = 512;
constexpr size_t kStopStringsMax = 16;

std::string_view WithoutWindowSuffix(std::string_view name) {
  constexpr std::string_view kSuffix = "[1m]";  // how Claude Code asks for the long context
  if (name.ends_with(kSuffix)) name.remove_suffix(kSuffix.size());
  return name;
}

ApiError OutOfRange(std::string_view name, std::string_view range) {
  return BadRequest(fmt::format("Invalid {0} value, the valid range of {0} is {1}", name, range));
}

std::optional<Effort> EffortOf(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, Effort>, 8> kEfforts = {
      {{"none", Effort::kNone},
       {"minimal", Effort::kLow},
       {"low", Effort::kLow},
       {"medium", Effort::kHigh},
       {"high", Effort::kHigh},
       {"xhigh", Effort::kHigh},
       {"max", Effort::kMax},
       {"ultra", Effort::kMax}}};
  for (const auto& [known, effort] : kEfforts)
    if (known == name) return effort;
  return std::nullopt;
}

}  // namespace

bool IsModelName(std::string_view name, const Facts& facts) {
  name = WithoutWindowSuffix(name);
  return name == facts.model ||
         std::find(kModelNames.begin(), kModelNames.end(), name) != kModelNames.end();
}

Parsed<ModelChoice> ResolveModel(std::string_view asked, Dialect dialect, const Facts& facts) {
  const bool is_claude = dialect == Dialect::kAnthropic && asked.starts_with("claude");
  if (facts.profile == Profile::kStrict && !is_claude && !IsModelName(asked, facts)) {
    std::string names = "deepseek-v4-flash, deepseek-v4-pro";
    if (names.find(facts.model) == names.npos) names = facts.model + ", " + names;
    return BadRequest(
        fmt::format("The supported API model names are {}, but you passed {}.", names, asked));
  }
  ModelChoice choice;
  choice.model = facts.model;
  const std::string_view name = WithoutWindowSuffix(asked);
  if (name == kChatAlias) choice.thinks = false;
  if (name == kReasonerAlias) choice.thinks = true;
  return choice;
}

Parsed<std::optional<bool>> ReadThinkingSwitch(const Field& thinking) {
  FATHOM_TRY_VOID(thinking.OptObject("struct Thinking"));
  if (!thinking.has_value()) return std::optional<bool>();
  FATHOM_TRY(const int64_t type, thinking["type"].Variant({"adaptive", "enabled", "disabled"}));
  return std::optional<bool>(type != 2);
}

Parsed<std::optional<Effort>> ReadEffort(const Field& effort) {
  FATHOM_TRY(const auto name, effort.OptString());
  if (!name) return std::optional<Effort>();
  if (const auto known = EffortOf(*name)) return known;
  return effort.UnknownVariant({"none", "minimal", "low", "medium", "high", "xhigh", "max"});
}

Parsed<void> ReadThinkingExtensions(const Field& body, ThinkingWish& wish) {
  const auto fill = [&](std::optional<bool> is_enabled, std::optional<Effort> effort) {
    if (!wish.is_enabled) wish.is_enabled = is_enabled;
    if (!wish.effort) wish.effort = effort;
  };
  FATHOM_TRY(const auto mode,
             body["thinking_mode"].OptVariant({"non-think", "think-high", "think-max"}));
  if (mode)
    fill(*mode != 0, *mode == 0   ? std::optional<Effort>()
                     : *mode == 1 ? Effort::kHigh
                                  : Effort::kMax);
  const Field kwargs = body["chat_template_kwargs"];
  FATHOM_TRY_VOID(kwargs.OptObject());
  FATHOM_TRY(const auto thinking, kwargs["thinking"].OptBool());
  FATHOM_TRY(const auto enable_thinking, kwargs["enable_thinking"].OptBool());
  FATHOM_TRY(const auto effort, ReadEffort(kwargs["reasoning_effort"]));
  fill(thinking ? thinking : enable_thinking, effort);
  return {};
}

void ApplyThinking(const ThinkingWish& wish, const ModelChoice& model, const Facts& facts,
                   Request& request) {
  request.model = model.model;
  const bool is_wished = wish.is_enabled.value_or(true) && wish.effort != Effort::kNone;
  request.encode.revision = facts.revision;
  request.encode.reasoning_effort.reset();
  if (!model.thinks.value_or(is_wished)) {
    request.encode.thinking_mode = chat::ThinkingMode::kChat;
    return;
  }
  request.encode.thinking_mode = chat::ThinkingMode::kThinking;
  Effort effort = wish.effort.value_or(Effort::kHigh);
  if (effort == Effort::kNone) effort = Effort::kHigh;  // the model's name wins
  // The preview revision has no low of its own: it means no preamble, its own default.
  const bool has_low = facts.revision != chat::Revision::kPreview;
  if (effort == Effort::kMax) request.encode.reasoning_effort = chat::ReasoningEffort::kMax;
  if (effort == Effort::kHigh) request.encode.reasoning_effort = chat::ReasoningEffort::kHigh;
  if (effort == Effort::kLow && has_low)
    request.encode.reasoning_effort = chat::ReasoningEffort::kLow;
}

Parsed<SamplingWish> ReadSampling(const Field& body) {
  SamplingWish wish;
  FATHOM_TRY(wish.temperature, body["temperature"].OptNumber());
  FATHOM_TRY(wish.top_p, body["top_p"].OptNumber());
  FATHOM_TRY(wish.presence_penalty, body["presence_penalty"].OptNumber());
  FATHOM_TRY(wish.frequency_penalty, body["frequency_penalty"].OptNumber());
  FATHOM_TRY(wish.min_p, body["min_p"].OptNumber());
  FATHOM_TRY(wish.repetition_penalty, body["repetition_penalty"].OptNumber());
  FATHOM_TRY(wish.top_k, body["top_k"].OptInteger());
  FATHOM_TRY(wish.seed, body["seed"].OptInteger());
  return wish;
}

Parsed<void> CheckSampling(const SamplingWish& wish) {
  const auto lies_in = [](std::optional<double> value, double low, double high) {
    return !value || (*value >= low && *value <= high);
  };
  if (!lies_in(wish.temperature, 0, 2)) return OutOfRange("temperature", "[0, 2]");
  if (!lies_in(wish.top_p, 0, 1) || wish.top_p == 0) return OutOfRange("top_p", "(0, 1.0]");
  if (!lies_in(wish.presence_penalty, -2, 2)) return OutOfRange("presence_penalty", "[-2, 2]");
  if (!lies_in(wish.frequency_penalty, -2, 2)) return OutOfRange("frequency_penalty", "[-2, 2]");
  if (!lies_in(wish.min_p, 0, 1)) return OutOfRange("min_p", "[0, 1]");
  // Past these the logits of float arithmetic are of no use.
  if (!lies_in(wish.repetition_penalty, 0.01, 100))
    return OutOfRange("repetition_penalty", "[0.01, 100]");
  // -1 is how other servers say "off".
  if (wish.top_k && *wish.top_k < -1) return OutOfRange("top_k", "[-1, inf)");
  return {};
}

void ApplySampling(const SamplingWish& wish, Request& request) {
  Generation& generation = request.generation;
  generation.seed = wish.seed;
  if (request.thinks()) {
    if (!request.tools.empty()) generation.top_p = 0.95;
    return;
  }
  generation.temperature = wish.temperature;
  generation.top_p = wish.top_p;
  generation.min_p = wish.min_p;
  generation.repetition_penalty = wish.repetition_penalty;
  if (wish.top_k) generation.top_k = std::max<int64_t>(*wish.top_k, 0);
}

Parsed<void> CheckMaxTokens(std::optional<int64_t> max_tokens, const Facts& facts) {
  if (!max_tokens || (*max_tokens >= 1 && *max_tokens <= facts.output_tokens_max)) return {};
  return OutOfRange("max_tokens", fmt::format("[1, {}]", facts.output_tokens_max));
}

Parsed<std::vector<std::string>> ReadStop(const Field& stop) {
  std::vector<std::string> strings;
  if (!stop.has_value()) return strings;
  if (stop.json().is_string()) {
    strings.push_back(stop.json().string());
    return strings;
  }
  if (!stop.json().is_array()) return stop.WrongType("a string or a sequence of strings");
  FATHOM_TRY(const auto items, stop.Items());
  for (const Field& item : items) {
    FATHOM_TRY(strings.emplace_back(), item.String());
  }
  return strings;
}

Parsed<void> ApplyStop(std::vector<std::string> stop, Request& request) {
  if (stop.size() > kStopStringsMax)
    return BadRequest(fmt::format("Stop string array too long: {}", stop.size()));
  std::erase_if(stop, [](const std::string& text) { return text.empty(); });
  request.generation.stop = std::move(stop);
  return {};
}

Parsed<void> CheckUserId(std::string_view user_id) {
  const bool is_plain = std::all_of(user_id.begin(), user_id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
  if (is_plain && !user_id.empty() && std::ssize(user_id) <= kUserIdBytesMax) return {};
  return BadRequest(
      fmt::format("Invalid user_id, expected 1 to {} characters of the pattern '^[a-zA-Z0-9_-]+$'.",
                  kUserIdBytesMax));
}

Parsed<OutputFormat> ReadOutputFormat(const Field& format) {
  OutputFormat out;
  FATHOM_TRY_VOID(format.OptObject("struct ResponseFormat"));
  if (!format.has_value()) return out;
  FATHOM_TRY(const int64_t type, format["type"].Variant({"text", "json_object", "json_schema"}));
  if (type == 0) return out;
  out.kind = OutputFormat::Kind::kJsonObject;
  if (type == 1) return out;
  const Field nested = format["json_schema"];
  FATHOM_TRY_VOID(nested.OptObject("struct JsonSchema"));
  const Field holder = nested.has_value() ? nested : format;
  FATHOM_TRY(const auto name, holder["name"].OptString());
  const Field schema = holder["schema"];
  FATHOM_TRY_VOID(schema.OptObject());
  out.name = name.value_or("");
  if (!schema.has_value()) return out;
  out.kind = OutputFormat::Kind::kJsonSchema;
  out.schema = schema.json();
  return out;
}

Json PromptJson(Json json) {
  if (json.is_number()) return Json::Number{chat::PythonNumber(json.number().text)};
  if (json.is_array())
    for (Json& item : json.array()) item = PromptJson(std::move(item));
  if (json.is_object())
    for (auto& [name, value] : json.object()) value = PromptJson(std::move(value));
  return json;
}

std::string JoinTexts(const std::vector<std::string>& texts) {
  std::string out;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += "\n\n";
    out += texts[i];
  }
  return out;
}

void AppendParagraph(std::string& text, const std::string& more) {
  if (!text.empty() && !more.empty()) text += "\n\n";
  text += more;
}

}  // namespace fathom::api
