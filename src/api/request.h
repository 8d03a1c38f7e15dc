// A request of any dialect in one form: what to encode, how to choose tokens, what the answer must
// obey, and what its writer needs to know. Made by the parsers below from the body's bytes, which
// may be anything; every refusal is an ApiError with the platform's own text. Source: docs/api.md.
// Not here: sockets, tokens of text (Completions may bring ids), sampling.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/error.h"
#include "base/json.h"
#include "base/types.h"
#include "chat/conversation.h"
#include "chat/encode.h"

namespace fathom::api {

// How strictly a request is read: `default` lets clients work, `strict` answers as the platform
// does.
enum class Profile { kDefault, kStrict };

// What the parsers must know of the server.
struct Facts {
  Profile profile = Profile::kDefault;
  std::string model = "deepseek-v4-flash";  // canonical name of the loaded model, echoed in answers
  chat::Revision revision = chat::Revision::k0731;
  int64_t context_tokens = 1048576;
  int64_t output_tokens_max = 393216;
  int64_t vocab_size = 129280;  // of the model; for token ids in prompts and logit_bias
  bool sees_images = false;     // the model, through the prompt format of `revision`
};

// Of the request line and the headers.
struct Origin {
  bool is_beta = false;  // the path began with /beta; strict wants it for prefix, FIM, strict tools
  bool wants_context_exceeded = false;  // an anthropic-beta header asks for that stop reason
};

struct Tool {
  std::string name;
  Json function;    // the function object as the prompt shows it
  Json parameters;  // its schema; null: takes none
  bool is_strict = false;
  // Responses only.
  bool is_custom =
      false;  // apply_patch: one string parameter `input`, a custom_tool_call comes back
  std::string namespace_name;  // empty: none
};

enum class ToolChoice { kNone, kAuto, kRequired };

struct OutputFormat {
  enum class Kind { kText, kJsonObject, kJsonSchema };
  Kind kind = Kind::kText;
  std::string name;
  Json schema;  // kJsonSchema
};

// As asked for; nullopt leaves the server's default.
struct Generation {
  std::optional<int64_t> max_tokens;  // output with its reasoning
  // max_tokens was not asked for: where the context holds fewer, fewer come, and it is no error.
  bool is_max_tokens_default = false;
  std::optional<int64_t> reasoning_tokens_max;  // then the answer is begun
  // Temperature and the like. In thinking mode the parsers leave temperature, top_k, min_p and
  // repetition_penalty out, and top_p is 0.95 with tools, else out: what a request asks for has no
  // effect there, as on the platform.
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
  std::optional<int64_t> seed;
  std::vector<std::pair<TokenId, double>> logit_bias;
  int64_t n = 1;
  std::vector<std::string> stop;    // none empty
  std::optional<int64_t> logprobs;  // log-probabilities, with this many alternatives
  int64_t min_tokens = 0;           // no end before so many
  bool ignore_eos = false;
};

struct Request {
  Dialect dialect = Dialect::kChat;
  std::string model;          // to echo
  std::string isolation_key;  // user_id and the like: separates caches and queues; may be empty

  // What is encoded.
  enum class Prompt { kConversation, kText, kFillInMiddle, kTokens };
  Prompt prompt = Prompt::kConversation;
  chat::Conversation conversation;  // with tools and response_format where the prompt wants them
  chat::EncodeOptions encode;
  bool continues_prefix =
      false;                    // the last message is a beginning of the answer: no reasoning comes
  std::string text;             // kText, kFillInMiddle
  std::string suffix;           // kFillInMiddle
  std::vector<TokenId> tokens;  // kTokens
  bool echo = false;            // Completions: the prompt's text first

  // What the answer must obey.
  std::vector<Tool> tools;
  ToolChoice tool_choice = ToolChoice::kAuto;
  std::vector<std::string> allowed_tools;  // a named choice or a subset; empty: all
  bool parallel_tool_calls = true;
  OutputFormat format;
  Generation generation;

  // How it is answered.
  bool stream = false;
  bool include_usage = false;  // Chat, Completions: `usage: null` on the chunks before the last
  bool wants_context_exceeded = false;
  Json echoed;  // Responses: members that come back in the response object

  bool thinks() const { return encode.thinking_mode == chat::ThinkingMode::kThinking; }
};

Parsed<Request> ParseChat(std::string_view body, const Facts& facts, const Origin& origin);
Parsed<Request> ParseCompletions(std::string_view body, const Facts& facts, const Origin& origin);
// `counts_only`: for count_tokens, where max_tokens is not expected.
Parsed<Request> ParseMessages(std::string_view body, const Facts& facts, const Origin& origin,
                              bool counts_only = false);
Parsed<Request> ParseResponses(std::string_view body, const Facts& facts, const Origin& origin,
                               bool counts_only = false);

}  // namespace fathom::api
