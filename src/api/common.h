// What the dialects share: names of models, the thinking switch and its efforts, ranges of sampling
// settings, stop strings, output formats, isolation keys. Each exists once here, so that it means
// the same in every API. Members are read first (types), then checked in the order of docs/api.md:
// model, ranges, message structure. Tools are common_tools.h, messages common_turns.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/error.h"
#include "api/fields.h"
#include "api/request.h"

namespace fathom::api {

// The loaded model under the name a client used, and whether that name forces thinking on or off.
struct ModelChoice {
  std::string model;  // to echo
  std::optional<bool> thinks;
};
// Default takes any name; strict refuses unknown ones.
Parsed<ModelChoice> ResolveModel(std::string_view asked, Dialect dialect, const Facts& facts);
// Names that mean the loaded model in every dialect; a suffix "[1m]" is dropped.
bool IsModelName(std::string_view name, const Facts& facts);

enum class Effort { kNone, kLow, kHigh, kMax };

// What a request says about thinking, in all its members together.
struct ThinkingWish {
  std::optional<bool> is_enabled;
  std::optional<Effort> effort;
};
// `thinking`: {"type": "enabled" | "adaptive" | "disabled"}; null and absent say nothing.
Parsed<std::optional<bool>> ReadThinkingSwitch(const Field& thinking);
// Any spelling of an effort from "none" to "ultra"; null and absent say nothing.
Parsed<std::optional<Effort>> ReadEffort(const Field& effort);
// `thinking_mode` (names of the model card) and `chat_template_kwargs`, of the body: they fill what
// `wish` leaves open.
Parsed<void> ReadThinkingExtensions(const Field& body, ThinkingWish& wish);
// Sets request.encode and request.model. Default is thinking with effort high; "disabled" wins over
// any effort, and a forcing model name over both.
void ApplyThinking(const ThinkingWish& wish, const ModelChoice& model, const Facts& facts,
                   Request& request);

// Sampling members as read. Penalties are checked and dropped: the platform gives them no effect.
struct SamplingWish {
  std::optional<double> temperature, top_p, presence_penalty, frequency_penalty;
  std::optional<double> min_p, repetition_penalty;  // with top_k: extensions
  std::optional<int64_t> top_k, seed;
};
Parsed<SamplingWish> ReadSampling(const Field& body);
Parsed<void> CheckSampling(const SamplingWish& wish);
// Into request.generation. In thinking mode only the seed counts, and top_p is 0.95 with tools.
// After thinking and tools are settled.
void ApplySampling(const SamplingWish& wish, Request& request);

// "Invalid max_tokens value, ..." unless nullopt or in [1, facts.output_tokens_max].
Parsed<void> CheckMaxTokens(std::optional<int64_t> max_tokens, const Facts& facts);

// A string or a list of strings.
Parsed<std::vector<std::string>> ReadStop(const Field& stop);
// Checks the count, leaves out empty ones.
Parsed<void> ApplyStop(std::vector<std::string> stop, Request& request);

// [a-zA-Z0-9_-]+, at most 512 bytes.
Parsed<void> CheckUserId(std::string_view user_id);

// {"type": "text" | "json_object" | "json_schema", ...}: the schema stands in `json_schema` or
// beside the type. A schema that is not given constrains to an object.
Parsed<OutputFormat> ReadOutputFormat(const Field& format);

// The value with its numbers spelled as the prompt format spells them (1e5 is 100000.0): for all
// JSON that is shown in a prompt.
Json PromptJson(Json json);

// Texts with a blank line between them.
std::string JoinTexts(const std::vector<std::string>& texts);

// `more` after a blank line; no such line where either is empty.
void AppendParagraph(std::string& text, const std::string& more);

}  // namespace fathom::api
