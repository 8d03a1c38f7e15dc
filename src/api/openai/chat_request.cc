// Bodies of POST /chat/completions. Three steps, so that the first mistake reported is the one the
// platform reports: all members are read (types), then models and ranges are checked, then the
// structure of the messages. Source: docs/api.md, "Chat Completions".
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "api/common.h"
#include "api/common_tools.h"
#include "api/common_turns.h"
#include "api/fields.h"
#include "api/openai/shared_request.h"
#include "api/request.h"
#include "api/turn_list.h"

namespace fathom::api {
namespace {

using chat::ContentPart;
using chat::Role;

struct ChatTurn {
  Turn turn;
  bool is_prefix = false;
};

// Everything a body says, before anything is checked.
struct ChatFields {
  std::string model;
  std::vector<ChatTurn> turns;
  bool has_image = false;  // in a message, which the model does not see
  ThinkingWish thinking;
  std::optional<int64_t> max_tokens, max_completion_tokens;
  std::optional<int64_t> thinking_budget, min_tokens;
  bool ignores_eos = false;
  SamplingWish sampling;
  std::vector<std::string> stop;
  StreamWish stream;
  OutputFormat format;
  std::vector<NamedTool> tools;
  ToolChoiceWish tool_choice;
  std::optional<bool> parallel_tool_calls;
  std::optional<bool> logprobs;
  std::optional<int64_t> top_logprobs;
  std::optional<int64_t> n;
  std::vector<std::pair<std::string, double>> logit_bias;
  std::optional<std::string> user_id, user;
};

ContentPart Other(std::string type) {
  ContentPart part;
  part.kind = ContentPart::Kind::kOther;
  part.type = std::move(type);
  return part;
}

class MessageReader {
 public:
  explicit MessageReader(const Facts& facts) : facts_(facts) {}

  bool has_image() const { return has_image_; }

  Parsed<ChatTurn> Read(const Field& field) {
    FATHOM_TRY_VOID(field.Object("struct Message"));
    std::vector<std::string_view> roles = {"system", "user", "assistant", "tool",
                                           "latest_reminder"};
    if (!field.is_strict()) roles.push_back("developer");
    FATHOM_TRY(const int64_t role, field["role"].Variant(roles));
    static constexpr Role kRoles[] = {Role::kSystem, Role::kUser,           Role::kAssistant,
                                      Role::kTool,   Role::kLatestReminder, Role::kDeveloper};
    ChatTurn out;
    chat::Message& message = out.turn.message;
    message.role = kRoles[role];
    message.role_name = roles[static_cast<size_t>(role)];
    FATHOM_TRY_VOID(ReadContent(field, message));
    FATHOM_TRY(const auto prefix, field["prefix"].OptBool());
    out.is_prefix = prefix.value_or(false);
    if (message.role == Role::kAssistant) FATHOM_TRY_VOID(ReadAssistant(field, out.turn));
    if (message.role == Role::kTool) {
      FATHOM_TRY(message.tool_call_id, field["tool_call_id"].String());
    }
    return out;
  }

 private:
  Parsed<void> ReadContent(const Field& message_field, chat::Message& message) {
    const Field content = message_field["content"];
    message.content = "";
    if (!content.has_value()) {
      // Only an assistant may have nothing to say; others are excused where clients shall work.
      if (message.role == Role::kAssistant || !content.is_strict()) return {};
      return content.is_absent() ? content.Missing() : content.WrongType("a string");
    }
    if (content.json().is_string()) {
      message.content = content.json().string();
      return {};
    }
    if (!content.json().is_array()) return content.WrongType("a string or a sequence");
    FATHOM_TRY(const auto items, content.Items());
    std::vector<ContentPart> parts;
    for (const Field& item : items) {
      FATHOM_TRY(parts.emplace_back(), ReadPart(item));
    }
    if (message.role == Role::kTool || HasImages(parts)) {
      message.parts = std::move(parts);
      return {};
    }
    std::vector<std::string> texts;
    for (ContentPart& part : parts) texts.push_back(std::move(part.text));
    message.content = JoinTexts(texts);
    return {};
  }

  bool HasImages(const std::vector<ContentPart>& parts) {
    const bool found = std::any_of(parts.begin(), parts.end(), [](const ContentPart& part) {
      return part.kind != ContentPart::Kind::kText;
    });
    if (found && !facts_.sees_images) has_image_ = true;
    return found;
  }

  Parsed<ContentPart> ReadPart(const Field& item) {
    FATHOM_TRY_VOID(item.Object("struct ContentPart"));
    FATHOM_TRY(const std::string type, item["type"].String());
    const bool is_text =
        type == "text" || (!item.is_strict() && (type == "input_text" || type == "output_text"));
    if (is_text) {
      FATHOM_TRY(std::string text, item["text"].String());
      return ContentPart::Text(std::move(text));
    }
    if (type == "refusal" && !item.is_strict()) {
      FATHOM_TRY(std::string text, item["refusal"].String());
      return ContentPart::Text(std::move(text));
    }
    if (type == "image_url") {
      const Field url = item["image_url"];
      if (url.is_absent()) return url.Missing();
      if (!url.json().is_string()) FATHOM_TRY_VOID(url.Object("struct ImageUrl"));
      ContentPart part;
      part.kind = ContentPart::Kind::kImage;
      part.type = type;
      part.has_source = true;
      return part;
    }
    if (type == "file") return Other(type);
    return item["type"].UnknownVariant({"text", "image_url", "file"});
  }

  static Parsed<void> ReadAssistant(const Field& field, Turn& turn) {
    for (const std::string_view name : {"reasoning_content", "reasoning"}) {
      // Some clients send another provider's `reasoning` object along; only the text counts.
      const Field reasoning = field[name];
      if (!reasoning.has_value() || turn.has_reasoning) continue;
      if (name == "reasoning" && !reasoning.json().is_string()) continue;
      FATHOM_TRY(turn.message.reasoning_content, reasoning.String());
      turn.has_reasoning = true;
    }
    FATHOM_TRY(const auto calls, field["tool_calls"].OptItems());
    for (const Field& call : calls) {
      FATHOM_TRY_VOID(call.Object("struct ToolCall"));
      chat::ToolCall out;
      FATHOM_TRY(out.id, call["id"].String());
      const Field function = call["function"];
      FATHOM_TRY_VOID(function.Object("struct FunctionCall"));
      FATHOM_TRY(out.name, function["name"].String());
      const Field arguments = function["arguments"];
      if (!field.is_strict() && arguments.json().is_object()) {
        out.arguments = WriteJson(arguments.json());
      } else if (arguments.has_value() || field.is_strict()) {
        FATHOM_TRY(out.arguments, arguments.String());
      } else {
        out.arguments = "{}";
      }
      turn.message.tool_calls.push_back(std::move(out));
    }
    return {};
  }

  const Facts& facts_;
  bool has_image_ = false;
};

Parsed<std::vector<NamedTool>> ReadTools(const Field& body) {
  std::vector<NamedTool> tools;
  FATHOM_TRY(const auto items, body["tools"].OptItems());
  for (size_t i = 0; i < items.size(); ++i) {
    const Field& item = items[i];
    FATHOM_TRY_VOID(item.Object("struct Tool"));
    const Field function = item["function"];
    const Field type = item["type"];
    if (item.is_strict()) {
      FATHOM_TRY_VOID(type.Variant({"function"}));
    } else if (type.has_value() ? type.json() != Json("function") : !function.has_value()) {
      continue;  // tools that run elsewhere
    }
    FATHOM_TRY_VOID(function.Object("struct Function"));
    NamedTool named;
    named.name_path = fmt::format("tools[{}].function.name", i);
    FATHOM_TRY(named.tool.name, function["name"].String());
    FATHOM_TRY_VOID(function["description"].OptString());
    FATHOM_TRY_VOID(function["parameters"].OptObject());
    FATHOM_TRY(const auto strict, function["strict"].OptBool());
    named.tool.function = function.json();
    named.tool.parameters = function["parameters"].json();
    named.tool.is_strict = strict.value_or(false);
    tools.push_back(std::move(named));
  }
  return tools;
}

Parsed<std::vector<std::pair<std::string, double>>> ReadLogitBias(const Field& field) {
  std::vector<std::pair<std::string, double>> biases;
  FATHOM_TRY_VOID(field.OptObject());
  if (!field.has_value()) return biases;
  // OpenAI takes 300; looking each up walks the object.
  constexpr size_t kBiasesMax = 1024;
  if (field.json().object().size() > kBiasesMax)
    return BadRequest(fmt::format("Invalid logit_bias: at most {} tokens", kBiasesMax));
  for (const auto& [token, bias] : field.json().object()) {
    FATHOM_TRY(const double value, field[token].Number());
    biases.emplace_back(token, value);
  }
  return biases;
}

Parsed<void> ReadGeneration(const Field& body, ChatFields& out) {
  FATHOM_TRY(out.thinking.is_enabled, ReadThinkingSwitch(body["thinking"]));
  FATHOM_TRY(out.thinking.effort, ReadEffort(body["reasoning_effort"]));
  FATHOM_TRY_VOID(ReadThinkingExtensions(body, out.thinking));
  FATHOM_TRY(out.max_tokens, body["max_tokens"].OptInteger());
  FATHOM_TRY(out.max_completion_tokens, body["max_completion_tokens"].OptInteger());
  // An extension: after so many tokens of reasoning the answer is begun. `budget_tokens` inside
  // `thinking` is Anthropic's name, which the platform ignores.
  FATHOM_TRY(out.thinking_budget, body["thinking_budget"].OptInteger());
  FATHOM_TRY(out.min_tokens, body["min_tokens"].OptInteger());
  FATHOM_TRY(const auto ignore_eos, body["ignore_eos"].OptBool());
  out.ignores_eos = ignore_eos.value_or(false);
  FATHOM_TRY(out.sampling, ReadSampling(body));
  FATHOM_TRY(out.stop, ReadStop(body["stop"]));
  FATHOM_TRY(out.logprobs, body["logprobs"].OptBool());
  FATHOM_TRY(out.top_logprobs, body["top_logprobs"].OptInteger(kU8));
  FATHOM_TRY(out.n, body["n"].OptInteger());
  FATHOM_TRY(out.logit_bias, ReadLogitBias(body["logit_bias"]));
  return {};
}

Parsed<ChatFields> ReadFields(const Field& body, const Facts& facts) {
  ChatFields out;
  FATHOM_TRY_VOID(body.Object("struct ChatCompletionRequest"));
  FATHOM_TRY(const auto messages, body["messages"].Items());
  MessageReader reader(facts);
  for (const Field& message : messages) {
    FATHOM_TRY(out.turns.emplace_back(), reader.Read(message));
  }
  out.has_image = reader.has_image();
  FATHOM_TRY(out.model, body["model"].String());
  FATHOM_TRY_VOID(ReadGeneration(body, out));
  FATHOM_TRY(out.stream, ReadStream(body));
  FATHOM_TRY(out.format, ReadOutputFormat(body["response_format"]));
  FATHOM_TRY(out.tools, ReadTools(body));
  FATHOM_TRY(out.tool_choice, ReadToolChoice(body["tool_choice"]));
  FATHOM_TRY(out.parallel_tool_calls, body["parallel_tool_calls"].OptBool());
  FATHOM_TRY(out.user_id, body["user_id"].OptString());
  FATHOM_TRY(out.user, body["user"].OptString());
  return out;
}

Parsed<void> ApplyLogprobs(const ChatFields& fields, Generation& generation) {
  const bool wants_logprobs = fields.logprobs.value_or(false);
  if (fields.top_logprobs && !wants_logprobs)
    return BadRequest(
        "Invalid top_logprobs and logprobs value, logprobs must be set to true if top_logprobs is "
        "used.");
  if (fields.top_logprobs.value_or(0) > kTopLogprobsMax)
    return BadRequest("Invalid top_logprobs value, the valid range of top_logprobs is [0, 20].");
  if (wants_logprobs) generation.logprobs = fields.top_logprobs.value_or(0);
  return {};
}

Parsed<void> ApplyLogitBias(const ChatFields& fields, const Facts& facts, Generation& generation) {
  for (const auto& [token, bias] : fields.logit_bias) {
    TokenId id = -1;
    const auto [end, status] = std::from_chars(token.data(), token.data() + token.size(), id);
    const bool is_id = status == std::errc() && end == token.data() + token.size();
    if (!is_id || id < 0 || id >= facts.vocab_size)
      return BadRequest(
          fmt::format("Invalid logit_bias value, the keys of logit_bias are token ids in [0, {}].",
                      facts.vocab_size - 1));
    if (!(bias >= -100 && bias <= 100))
      return BadRequest("Invalid logit_bias value, the valid range of logit_bias is [-100, 100]");
    generation.logit_bias.emplace_back(id, bias);
  }
  return {};
}

Parsed<void> ApplyGeneration(ChatFields& fields, const Facts& facts, Request& request) {
  Generation& generation = request.generation;
  FATHOM_TRY_VOID(CheckSampling(fields.sampling));
  FATHOM_TRY_VOID(CheckMaxTokens(fields.max_tokens, facts));
  FATHOM_TRY_VOID(CheckMaxTokens(fields.max_completion_tokens, facts));
  generation.max_tokens = fields.max_tokens ? fields.max_tokens : fields.max_completion_tokens;
  if (fields.max_completion_tokens)
    generation.max_tokens = std::min(*generation.max_tokens, *fields.max_completion_tokens);
  const int64_t n_max = facts.profile == Profile::kStrict ? 1 : 8;
  generation.n = fields.n.value_or(1);
  if (generation.n < 1 || generation.n > n_max)
    return BadRequest(fmt::format("Invalid n value (currently only n = {} is supported)",
                                  n_max == 1 ? "1" : "1 to 8"));
  FATHOM_TRY_VOID(ApplyStop(std::move(fields.stop), request));
  FATHOM_TRY_VOID(ApplyLogprobs(fields, generation));
  FATHOM_TRY_VOID(ApplyLogitBias(fields, facts, generation));
  if (fields.thinking_budget.value_or(0) < 0)
    return BadRequest(
        "Invalid thinking_budget value, the valid range of thinking_budget is [0, inf)");
  generation.reasoning_tokens_max = fields.thinking_budget;
  if (fields.min_tokens.value_or(0) < 0)
    return BadRequest("Invalid min_tokens value, the valid range of min_tokens is [0, inf)");
  generation.min_tokens = fields.min_tokens.value_or(0);
  generation.ignore_eos = fields.ignores_eos;
  if (fields.user_id) FATHOM_TRY_VOID(CheckUserId(*fields.user_id));
  request.isolation_key = fields.user_id ? *fields.user_id : UserKey(fields.user.value_or(""));
  return {};
}

Parsed<void> ApplyFormatAndTools(ChatFields& fields, const Facts& facts, const Origin& origin,
                                 Request& request) {
  const bool is_strict = facts.profile == Profile::kStrict;
  if (is_strict && fields.format.kind == OutputFormat::Kind::kJsonSchema)
    return BadRequest("This response_format type is unavailable now");
  request.format = std::move(fields.format);
  const bool has_strict_tool =
      std::any_of(fields.tools.begin(), fields.tools.end(),
                  [](const NamedTool& named) { return named.tool.is_strict; });
  if (is_strict && has_strict_tool && !origin.is_beta) return NeedsBeta("strict");
  FATHOM_TRY_VOID(ApplyTools(std::move(fields.tools), facts.profile, request));
  FATHOM_TRY_VOID(ApplyToolChoice(fields.tool_choice, facts.profile, request));
  // The platform takes no notice of it.
  if (!is_strict) request.parallel_tool_calls = fields.parallel_tool_calls.value_or(true);
  return {};
}

bool MentionsJson(const std::vector<ChatTurn>& turns) {
  const auto mentions = [](std::string_view text) {
    constexpr std::string_view kWord = "json";
    return std::search(text.begin(), text.end(), kWord.begin(), kWord.end(), [](char a, char b) {
             return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
           }) != text.end();
  };
  return std::any_of(turns.begin(), turns.end(), [&](const ChatTurn& turn) {
    const chat::Message& message = turn.turn.message;
    if (mentions(message.content.value_or(""))) return true;
    if (!message.parts) return false;
    return std::any_of(message.parts->begin(), message.parts->end(),
                       [&](const ContentPart& part) { return mentions(part.text); });
  });
}

Parsed<void> CheckPrefix(const std::vector<ChatTurn>& turns, const Facts& facts,
                         const Origin& origin) {
  for (size_t i = 0; i < turns.size(); ++i) {
    if (!turns[i].is_prefix) continue;
    if (i + 1 < turns.size() || turns[i].turn.message.role != Role::kAssistant)
      return BadRequest(
          "Invalid prefix value, prefix is only supported on the last message, which must have the "
          "role 'assistant'.");
    if (facts.profile == Profile::kStrict && !origin.is_beta) return NeedsBeta("prefix");
  }
  return {};
}

Parsed<void> ApplyMessages(ChatFields& fields, const Facts& facts, const Origin& origin,
                           Request& request) {
  if (fields.turns.empty()) return BadRequest("Empty input messages");
  if (fields.has_image) return BadRequest("This model does not support image");
  FATHOM_TRY_VOID(CheckPrefix(fields.turns, facts, origin));
  if (facts.profile == Profile::kStrict && request.format.kind == OutputFormat::Kind::kJsonObject &&
      !MentionsJson(fields.turns))
    return BadRequest(
        "Prompt must contain the word 'json' in some form to use 'response_format' of type "
        "'json_object'.");
  const bool has_prefix = fields.turns.back().is_prefix;
  std::vector<Turn> turns;
  for (ChatTurn& turn : fields.turns) turns.push_back(std::move(turn.turn));
  FATHOM_TRY_VOID(CheckToolResults(turns, facts.profile));
  if (facts.profile == Profile::kStrict && !has_prefix &&
      turns.back().message.role == Role::kAssistant)
    return BadRequest(
        "The last message must be a user message, a tool message, or an assistant message with "
        "prefix mode on.");
  FATHOM_TRY_VOID(CheckReasoningReplay(turns, "reasoning_content", facts.profile, request));
  return AssembleConversation(std::move(turns), request);
}

}  // namespace

Parsed<Request> ParseChat(std::string_view text, const Facts& facts, const Origin& origin) {
  FATHOM_TRY(const Body body, ReadBody(text, facts.profile));
  FATHOM_TRY(ChatFields fields, ReadFields(Field(body), facts));

  Request request;
  request.dialect = Dialect::kChat;
  FATHOM_TRY(const ModelChoice model, ResolveModel(fields.model, Dialect::kChat, facts));
  ApplyThinking(fields.thinking, model, facts, request);
  FATHOM_TRY_VOID(ApplyGeneration(fields, facts, request));
  FATHOM_TRY_VOID(ApplyFormatAndTools(fields, facts, origin, request));
  ApplySampling(fields.sampling, request);
  if (!request.thinks()) request.generation.reasoning_tokens_max.reset();
  FATHOM_TRY_VOID(ApplyMessages(fields, facts, origin, request));
  request.stream = fields.stream.is_stream;
  request.include_usage = fields.stream.include_usage;
  return request;
}

}  // namespace fathom::api
