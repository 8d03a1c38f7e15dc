// A checkpoint opened for conversation: model, tokenizer and chat format together, and the way from
// a prompt to an answer that `run` and `chat` share. Tokens become text here, text becomes
// reasoning, content and tool calls, and stop strings end the generation. What is shown, and how,
// is the sink's affair.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "chat/encode.h"
#include "chat/output_parser.h"
#include "cli/model_options.h"
#include "engine/session.h"
#include "sampling/params.h"
#include "server/model_text.h"
#include "tokenizer/tokenizer.h"

namespace fathom::cli {

// A message that is text and nothing else.
chat::Message TextMessage(chat::Role role, std::string text);

struct Question {
  chat::EncodedPrompt prompt;
  // The completion is one text, tags included; stop strings are looked for in all of it. Otherwise
  // it is parsed, and they are looked for in the content.
  bool is_raw = false;
  bool special_in_user_text = true;
  std::vector<chat::ToolSchema> tools;
  std::vector<std::string> stop_strings;
  sampling::Params sampling;
  std::optional<int64_t> max_tokens;
  const std::atomic<bool>* cancel = nullptr;
};

// Told of the answer while it is made.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  // `done` of `total` prompt tokens are processed.
  virtual void OnPrompt(int64_t done, int64_t total) = 0;
  // A raw completion comes as content.
  virtual void OnDelta(const chat::Delta& delta) = 0;
};

struct TokenReport {
  TokenId token = 0;
  float logprob = 0;
  std::vector<sampling::TokenLogprob> top;
};

struct Answer {
  chat::ParsedMessage message;
  std::string finish_reason;  // "stop", "length", "tool_calls", "cancelled"
  std::vector<TokenId> prompt_ids;
  engine::Generated generated;
  std::vector<TokenReport> logprobs;  // when asked for; the stop token has none
};

class Assistant {
 public:
  // `chat_revision` overrides what the checkpoint says.
  static Result<std::unique_ptr<Assistant>> Open(const ModelOptions& options,
                                                 const std::optional<std::string>& chat_revision);

  engine::Session& session() { return *session_; }
  const tokenizer::Tokenizer& tokenizer() const { return text_.tokenizer; }
  const chat::RevisionChoice& revision() const { return text_.revision; }
  // From generation_config.json.
  const sampling::Params& sampling_defaults() const { return text_.sampling_defaults; }
  const std::string& dir() const { return dir_; }
  // One line: the model, how it is computed, the chat revision and why.
  std::string Description() const;

  Result<Answer> Ask(const Question& question, AnswerSink& sink);

 private:
  Assistant(std::string dir, std::unique_ptr<engine::Session> session, server::ModelText text);

  std::string dir_;
  std::unique_ptr<engine::Session> session_;
  server::ModelText text_;
};

}  // namespace fathom::cli
