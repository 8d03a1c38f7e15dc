#include "api/openai/shared_answer.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>

#include "base/json.h"

namespace fathom::api {
namespace {

// 32 hex digits with the hyphens of a UUID; anything else as it is.
std::string HyphenatedId(std::string_view id) {
  if (id.size() != 32) return std::string(id);
  return fmt::format("{}-{}-{}-{}-{}", id.substr(0, 8), id.substr(8, 4), id.substr(12, 4),
                     id.substr(16, 4), id.substr(20));
}

}  // namespace

void AppendUsage(std::string& out, const Usage& usage) {
  fmt::format_to(std::back_inserter(out),
                 "{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{},"
                 "\"prompt_tokens_details\":{{\"cached_tokens\":{}}},"
                 "\"completion_tokens_details\":{{\"reasoning_tokens\":{}}},"
                 "\"prompt_cache_hit_tokens\":{},\"prompt_cache_miss_tokens\":{}}}",
                 usage.prompt_tokens, usage.completion_tokens,
                 usage.prompt_tokens + usage.completion_tokens, usage.cached_tokens,
                 usage.reasoning_tokens, usage.cached_tokens,
                 usage.prompt_tokens - usage.cached_tokens);
}

std::string_view FinishReasonOf(const End& end) {
  using Reason = End::Reason;
  switch (end.reason) {
    case Reason::kAborted:
      return "insufficient_system_resource";
    case Reason::kLength:
    case Reason::kContextFull:
      return "length";
    case Reason::kStop:
    case Reason::kStopString:
    case Reason::kToolCalls:
      break;
  }
  if (end.has_partial_call) return "length";
  return end.reason == Reason::kToolCalls ? "tool_calls" : "stop";
}

void AppendLogprob(std::string& out, double logprob) {
  // DeepSeek's value for "very unlikely"; it also stands for minus infinity.
  constexpr double kUnlikely = -9999.0;
  const double shown = logprob > kUnlikely ? logprob + 0.0 : kUnlikely;  // + 0.0: no minus zero
  char buffer[32];
  const auto [end, status] = std::to_chars(buffer, buffer + sizeof buffer, shown);
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  out += text;
  if (text.find_first_of(".e") == text.npos) out += ".0";
}

std::string AnswerHead(const Request& request, const Identity& identity, std::string_view object) {
  std::string head = "{\"id\":";
  AppendJsonString(head, HyphenatedId(identity.id));
  head += fmt::format(",\"object\":\"{}\",\"created\":{},\"model\":", object, identity.created_s);
  AppendJsonString(head, request.model);
  head += ",\"system_fingerprint\":";
  AppendJsonString(head, identity.fingerprint);
  return head;
}

std::string FailedStream(const ApiError& error, Dialect dialect, const Identity& identity) {
  return "data: " + WriteError(error, dialect, identity.id) + "\n\n" + std::string(kStreamDone);
}

}  // namespace fathom::api
