// From the parts of an answer to the bytes a client reads, in its dialect: SSE events when the
// request streams, one JSON body otherwise. A writer is told the same things in the same order in
// both cases and returns the text to send now, which may be empty; without streaming everything
// comes from Finish. Source: docs/api.md. Not here: sockets, keep-alives, when to write.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/error.h"
#include "api/request.h"
#include "chat/delta.h"

namespace fathom::api {

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;      // of the prompt
  int64_t completion_tokens = 0;  // all that were sampled, reasoning and markup included, EOS not
  int64_t reasoning_tokens = 0;
};

struct LogprobEntry {
  struct Alternative {
    std::string text;   // lossy; control tokens spelled with doubled bars
    std::string bytes;  // exact
    double logprob = 0;
  };
  Alternative chosen;
  std::vector<Alternative> top;
};

// A piece of one choice's answer with the log-probabilities of its text (when asked for).
struct Part {
  chat::Delta delta;
  std::vector<LogprobEntry> logprobs = {};
};

// How a choice ended.
struct End {
  enum class Reason { kStop, kStopString, kLength, kContextFull, kToolCalls, kAborted };
  Reason reason = Reason::kStop;
  std::string stop_string = {};   // kStopString
  bool has_partial_call = false;  // the last call is cut off: its arguments never closed
};

// What tells one answer from another. Ids are made from `salt`, so that a test can fix them.
struct Identity {
  std::string id;         // bare: 32 hex digits; writers add their dialect's prefix
  int64_t created_s = 0;  // Unix time
  uint64_t salt = 0;
  std::string fingerprint;  // system_fingerprint
  // Unix time now, for the end of an answer; without it answers end when they were created.
  std::function<int64_t()> now_s = {};
};

class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  // The prompt is read and the first token is about to come. Once, first. `usage` knows the prompt.
  virtual std::string Begin(const Usage& usage) = 0;
  virtual std::string Add(int64_t choice, const Part& part) = 0;
  // The choice is over. Once for each choice.
  virtual std::string EndChoice(int64_t choice, const End& end, const Usage& usage) = 0;
  // All choices are over. `usage` is the sum over them (the prompt counts once).
  virtual std::string Finish(const Usage& usage) = 0;
  // Instead of what would come next, when generation fails after Begin; the connection closes then.
  virtual std::string Fail(const ApiError& error) = 0;

  // What a stream sends when nothing else was sent for a while.
  virtual std::string KeepAlive() const { return ": keep-alive\n\n"; }

  // The ids given to tool calls of a choice so far, in their order: for exact replay.
  virtual const std::vector<std::string>& CallIds(int64_t choice) const = 0;
};

std::unique_ptr<AnswerWriter> MakeAnswerWriter(const Request& request, const Identity& identity);

// GET /models in both shapes, one of them, and the balance. nullopt: no such model.
std::string WriteModels(const Facts& facts, bool anthropic_shape);
std::optional<std::string> WriteModel(const Facts& facts, std::string_view id,
                                      bool anthropic_shape);
std::string WriteBalance();
std::string WriteTokenCount(Dialect dialect, int64_t tokens);

}  // namespace fathom::api
