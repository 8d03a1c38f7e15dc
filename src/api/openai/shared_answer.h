// Pieces of JSON that answers of Chat Completions and Completions have in common. They are appended
// as text: a token's worth of answer must cost microseconds.
#pragma once

#include <string>
#include <string_view>

#include "api/answer.h"

namespace fathom::api {

// {"prompt_tokens": ..., ...}
void AppendUsage(std::string& out, const Usage& usage);

// "stop", "length", "tool_calls" or "insufficient_system_resource".
std::string_view FinishReasonOf(const End& end);

// A natural logarithm as JSON: 0 is 0.0, and what is below every token's chance -9999.0.
void AppendLogprob(std::string& out, double logprob);

// What every body or chunk of an answer begins with: {"id":...,"object":...,"created":...,
// "model":...,"system_fingerprint":...
std::string AnswerHead(const Request& request, const Identity& identity, std::string_view object);

// The error as the last event of a stream, [DONE] included.
std::string FailedStream(const ApiError& error, Dialect dialect, const Identity& identity);

inline constexpr std::string_view kStreamDone = "data: [DONE]\n\n";
// Blank lines before a JSON body keep a connection alive.
inline constexpr std::string_view kBodyKeepAlive = "\n";

}  // namespace fathom::api
