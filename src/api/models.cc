// Small answers that need no model: the list of models, the balance, counted tokens.
#include <fmt/format.h>

#include "api/answer.h"
#include "api/common.h"
#include "base/json.h"

namespace fathom::api {
namespace {

// When V4 was published (2026-04-24, as Unix time and as Anthropic writes it): clients sort by it.
constexpr int64_t kCreated = 1776988800;
constexpr const char* kCreatedAt = "2026-04-24T00:00:00Z";

Json ModelObject(const Facts& facts, bool anthropic_shape) {
  if (anthropic_shape)
    return Json::Object{{"type", "model"},
                        {"id", facts.model},
                        {"display_name", facts.model},
                        {"created_at", kCreatedAt}};
  return Json::Object{{"id", facts.model},
                      {"object", "model"},
                      {"owned_by", "deepseek"},
                      {"created", kCreated},
                      {"context_length", facts.context_tokens},
                      {"max_model_len", facts.context_tokens},
                      {"max_output_tokens", facts.output_tokens_max}};
}

}  // namespace

std::string WriteModels(const Facts& facts, bool anthropic_shape) {
  Json::Array models = {ModelObject(facts, anthropic_shape)};
  if (!anthropic_shape)
    return WriteJson(Json::Object{{"object", "list"}, {"data", std::move(models)}});
  return WriteJson(Json::Object{{"data", std::move(models)},
                                {"has_more", false},
                                {"first_id", facts.model},
                                {"last_id", facts.model}});
}

std::optional<std::string> WriteModel(const Facts& facts, std::string_view id,
                                      bool anthropic_shape) {
  const bool is_claude = anthropic_shape && id.starts_with("claude");
  if (!is_claude && !IsModelName(id, facts)) return std::nullopt;
  return WriteJson(ModelObject(facts, anthropic_shape));
}

std::string WriteBalance() {
  return "{\"is_available\":true,\"balance_infos\":[{\"currency\":\"USD\",\"total_balance\":"
         "\"0.00\",\"granted_balance\":\"0.00\",\"topped_up_balance\":\"0.00\"}]}";
}

std::string WriteTokenCount(Dialect dialect, int64_t tokens) {
  if (dialect == Dialect::kResponses)
    return fmt::format("{{\"object\":\"response.input_tokens\",\"input_tokens\":{}}}", tokens);
  return fmt::format("{{\"input_tokens\":{}}}", tokens);
}

}  // namespace fathom::api
