#include "api/error.h"

#include <fmt/format.h>

#include "base/json.h"

namespace fathom::api {
namespace {

ApiError Make(int status, std::string type, std::string code, std::string message) {
  ApiError error;
  error.status = status;
  error.type = std::move(type);
  error.code = std::move(code);
  error.message = std::move(message);
  return error;
}

std::string AnthropicType(const ApiError& error) {
  switch (error.status) {
    case 402:
      return "billing_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 500:
      return "api_error";
    case 503:
    case 529:
      return "overloaded_error";
    default:
      return error.type;
  }
}

}  // namespace

std::string WriteError(const ApiError& error, Dialect dialect, const std::string& request_id) {
  const bool is_anthropic = dialect == Dialect::kAnthropic;
  Json::Object inner = {{"message", error.message},
                        {"type", is_anthropic ? AnthropicType(error) : error.type},
                        {"param", error.param ? Json(*error.param) : Json()},
                        {"code", error.code}};
  if (is_anthropic && !error.details.is_null()) inner.emplace_back("details", error.details);
  if (!is_anthropic) return WriteJson(Json::Object{{"error", std::move(inner)}});
  return WriteJson(Json::Object{
      {"type", "error"}, {"error", std::move(inner)}, {"request_id", "req_" + request_id}});
}

ApiError BadRequest(std::string message) {
  ApiError error;
  error.message = std::move(message);
  return error;
}

ApiError ThreadsUnsupported() {
  ApiError error = BadRequest("Message threads are not supported: send the whole conversation.");
  error.param = "thread";
  error.details = Json::Object{{"error_code", "thread_unsupported_request"},
                               {"unsupported", Json::Array{"thread"}}};
  return error;
}

ApiError NotFound(const std::string& method, const std::string& path) {
  return Make(404, "invalid_request_error", "not_found",
              fmt::format("Not found: {} {}", method, path));
}

ApiError MethodNotAllowed(const std::string& method, const std::string& path) {
  return Make(405, "invalid_request_error", "method_not_allowed",
              fmt::format("Method not allowed: {} {}", method, path));
}

ApiError BodyTooLarge(int64_t limit_bytes) {
  return Make(413, "invalid_request_error", "request_too_large",
              fmt::format("The request body is larger than the limit of {} bytes.", limit_bytes));
}

ApiError MissingKey() {
  return Make(401, "authentication_error", "invalid_request_error",
              "Authentication Fails (governor)");
}

ApiError WrongKey(const std::string& key) {
  const std::string last = key.size() > 4 ? key.substr(key.size() - 4) : key;
  return Make(401, "authentication_error", "invalid_request_error",
              fmt::format("Authentication Fails, Your api key: ****{} is invalid", last));
}

ApiError QueueFull(int64_t retry_after_s) {
  ApiError error = Make(429, "rate_limit_error", "rate_limit_exceeded",
                        "Too many requests are waiting. Please try again later.");
  error.retry_after_s = retry_after_s;
  return error;
}

ApiError NotReady(std::string why) {
  ApiError error =
      Make(503, "server_error", "service_unavailable", "Service is too busy. " + std::move(why));
  error.retry_after_s = 1;
  return error;
}

ApiError ServerFailed(std::string what) {
  return Make(500, "server_error", "internal_error", std::move(what));
}

ApiError ContextTooLong(int64_t context_tokens, int64_t prompt_tokens, int64_t completion_tokens) {
  return BadRequest(fmt::format(
      "This model's maximum context length is {} tokens. However, you requested {} tokens ({} in "
      "the messages, {} in the completion). Please reduce the length of the messages or "
      "completion.",
      context_tokens, prompt_tokens + completion_tokens, prompt_tokens, completion_tokens));
}

}  // namespace fathom::api
