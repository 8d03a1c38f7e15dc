// Bodies of POST /completions: plain text, or fill in the middle when there is a suffix. Never
// thinks. Source: docs/api.md, "Completions and FIM".
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "api/common.h"
#include "api/fields.h"
#include "api/openai/shared_request.h"
#include "api/request.h"
#include "api/turn_list.h"

namespace fathom::api {
namespace {

// Without max_tokens, and the most that fill-in-the-middle gives.
constexpr int64_t kDefaultTokens = 4096;
constexpr int64_t kFillInMiddleTokensMax = 4096;

struct CompletionsFields {
  std::string model;
  // The prompt: one text, or ids.
  std::optional<std::string> text;
  std::vector<int64_t> tokens;
  size_t prompts = 1;
  std::optional<std::string> suffix;
  std::optional<int64_t> max_tokens, logprobs, n, best_of;
  bool echo = false;
  SamplingWish sampling;
  std::vector<std::string> stop;
  StreamWish stream;
  std::optional<std::string> user_id, user;
};

// A string, a list of one string, a list of token ids, or a list of one such list.
Parsed<void> ReadPrompt(const Field& prompt, CompletionsFields& out) {
  if (prompt.is_absent()) return prompt.Missing();
  if (prompt.json().is_string()) {
    out.text = prompt.json().string();
    return {};
  }
  if (!prompt.json().is_array()) return prompt.WrongType("a string or a sequence");
  FATHOM_TRY(const auto items, prompt.Items());
  if (items.empty()) {
    out.prompts = 0;
    return {};
  }
  if (!items[0].json().is_number()) {
    out.prompts = items.size();
    return items.size() == 1 ? ReadPrompt(items[0], out) : Parsed<void>();
  }
  for (const Field& item : items) {
    FATHOM_TRY(out.tokens.emplace_back(), item.Integer());
  }
  return {};
}

Parsed<CompletionsFields> ReadFields(const Field& body) {
  CompletionsFields out;
  FATHOM_TRY_VOID(body.Object("struct CompletionRequest"));
  FATHOM_TRY(out.model, body["model"].String());
  FATHOM_TRY_VOID(ReadPrompt(body["prompt"], out));
  FATHOM_TRY(out.suffix, body["suffix"].OptString());
  FATHOM_TRY(out.max_tokens, body["max_tokens"].OptInteger());
  FATHOM_TRY(out.logprobs, body["logprobs"].OptInteger(kU8));
  FATHOM_TRY(out.n, body["n"].OptInteger());
  FATHOM_TRY(out.best_of, body["best_of"].OptInteger());
  FATHOM_TRY(const auto echo, body["echo"].OptBool());
  out.echo = echo.value_or(false);
  FATHOM_TRY(out.sampling, ReadSampling(body));
  FATHOM_TRY(out.stop, ReadStop(body["stop"]));
  FATHOM_TRY(out.stream, ReadStream(body));
  FATHOM_TRY(out.user_id, body["user_id"].OptString());
  FATHOM_TRY(out.user, body["user"].OptString());
  return out;
}

Parsed<void> ApplyMaxTokens(const CompletionsFields& fields, const Facts& facts,
                            Generation& generation) {
  Facts limits = facts;
  if (fields.suffix && facts.profile == Profile::kStrict)
    limits.output_tokens_max = std::min(facts.output_tokens_max, kFillInMiddleTokensMax);
  FATHOM_TRY_VOID(CheckMaxTokens(fields.max_tokens, limits));
  generation.is_max_tokens_default = !fields.max_tokens;
  generation.max_tokens =
      fields.max_tokens.value_or(std::min(kDefaultTokens, facts.output_tokens_max));
  if (fields.suffix)
    generation.max_tokens = std::min(*generation.max_tokens, kFillInMiddleTokensMax);
  return {};
}

Parsed<void> ApplyRanges(CompletionsFields& fields, const Facts& facts, Request& request) {
  // Penalties are ignored here, in any range.
  fields.sampling.presence_penalty.reset();
  fields.sampling.frequency_penalty.reset();
  FATHOM_TRY_VOID(CheckSampling(fields.sampling));
  FATHOM_TRY_VOID(ApplyMaxTokens(fields, facts, request.generation));
  if (fields.n.value_or(1) != 1)
    return BadRequest("Invalid n value (currently only n = 1 is supported)");
  if (fields.best_of.value_or(1) != 1)
    return BadRequest("Invalid best_of value (currently only best_of = 1 is supported)");
  FATHOM_TRY_VOID(ApplyStop(std::move(fields.stop), request));
  if (fields.logprobs.value_or(0) > kTopLogprobsMax)
    return BadRequest("Invalid logprobs value, the valid range of logprobs is [0, 20].");
  request.generation.logprobs = fields.logprobs;
  if (fields.user_id) FATHOM_TRY_VOID(CheckUserId(*fields.user_id));
  request.isolation_key = fields.user_id ? *fields.user_id : UserKey(fields.user.value_or(""));
  return {};
}

Parsed<void> ApplyPrompt(CompletionsFields& fields, const Facts& facts, Request& request) {
  if (fields.prompts != 1)
    return BadRequest(fields.prompts == 0
                          ? "Empty input prompt"
                          : "Invalid prompt value, only one prompt is supported in a request");
  if (fields.suffix && fields.echo) return BadRequest("echo is not supported with suffix");
  if (fields.suffix && !fields.text)
    return BadRequest("Invalid prompt value, a prompt with suffix must be a string");
  request.echo = fields.echo;
  if (!fields.text) {
    request.prompt = Request::Prompt::kTokens;
    for (const int64_t id : fields.tokens) {
      if (id < 0 || id >= facts.vocab_size)
        return BadRequest(fmt::format(
            "Invalid prompt value, the valid range of token ids is [0, {}]", facts.vocab_size - 1));
      request.tokens.push_back(static_cast<TokenId>(id));
    }
    return {};
  }
  request.prompt = fields.suffix ? Request::Prompt::kFillInMiddle : Request::Prompt::kText;
  request.text = std::move(*fields.text);
  request.suffix = std::move(fields.suffix).value_or("");
  return {};
}

}  // namespace

Parsed<Request> ParseCompletions(std::string_view text, const Facts& facts, const Origin& origin) {
  FATHOM_TRY(const Body body, ReadBody(text, facts.profile));
  FATHOM_TRY(CompletionsFields fields, ReadFields(Field(body)));
  if (facts.profile == Profile::kStrict && !origin.is_beta) return NeedsBeta("completions api");

  Request request;
  request.dialect = Dialect::kCompletions;
  FATHOM_TRY(const ModelChoice model, ResolveModel(fields.model, Dialect::kCompletions, facts));
  request.model = model.model;
  request.encode.revision = facts.revision;
  request.encode.thinking_mode = chat::ThinkingMode::kChat;
  request.tool_choice = ToolChoice::kNone;
  FATHOM_TRY_VOID(ApplyRanges(fields, facts, request));
  ApplySampling(fields.sampling, request);
  FATHOM_TRY_VOID(ApplyPrompt(fields, facts, request));
  request.stream = fields.stream.is_stream;
  request.include_usage = fields.stream.include_usage;
  return request;
}

}  // namespace fathom::api
