// What a client is told when its request cannot be answered: the status, and the error object of
// its dialect. Source of texts and types: docs/api.md, "Errors".
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace fathom::api {

// Which API a request speaks; it decides the form of answers and errors.
enum class Dialect { kChat, kCompletions, kAnthropic, kResponses };

struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";  // OpenAI's name; Anthropic's follows from the status
  std::optional<std::string> param = {};
  std::string code = "invalid_request_error";
  std::optional<int64_t> retry_after_s = {};  // sent as a header, with 429 and 503
  Json details = {};                          // Anthropic routes: what a client may act on; or null
};

// The JSON body. On Anthropic routes it carries the members of both dialects.
std::string WriteError(const ApiError& error, Dialect dialect, const std::string& request_id);

// The usual ones.
ApiError BadRequest(std::string message);
ApiError NotFound(const std::string& method, const std::string& path);
ApiError MethodNotAllowed(const std::string& method, const std::string& path);
ApiError BodyTooLarge(int64_t limit_bytes);
ApiError MissingKey();
ApiError WrongKey(const std::string& key);  // only its last four characters are shown
ApiError QueueFull(int64_t retry_after_s);
// A conversation that the server should keep. Anthropic's clients know this refusal and go on by
// sending the whole conversation each time.
ApiError ThreadsUnsupported();
ApiError NotReady(std::string why);       // 503
ApiError ServerFailed(std::string what);  // 500: ours, never for bad input
// `completion_tokens` is 0 when the request named no limit.
ApiError ContextTooLong(int64_t context_tokens, int64_t prompt_tokens, int64_t completion_tokens);

// A value or the error a client gets.
template <typename T>
using Parsed = Result<T, ApiError>;

}  // namespace fathom::api
