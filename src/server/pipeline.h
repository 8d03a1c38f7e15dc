// From a parsed request to what the engine takes: prompt to tokens, settings to sampling
// parameters, formats and tools to a constraint. With answering.cc the only place that knows both
// vocabularies, text and tokens. May be used from several threads at once.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "api/request.h"
#include "chat/delta.h"
#include "chat/encode.h"
#include "engine/engine.h"
#include "grammar/constraint.h"
#include "server/known_text.h"
#include "server/model_text.h"
#include "server/script.h"

namespace fathom::server {

struct PreparedPrompt {
  chat::EncodedPrompt prompt;
  std::vector<TokenId> tokens;
  KnownText::Found known;  // the beginning whose ids are those of earlier answers
};

// What of a request the pipeline decides; the sink is the caller's.
struct Prepared {
  chat::EncodedPrompt prompt;
  engine::BatchRequest batch;
  bool ends_with_context = false;  // its limit of tokens is the end of the window, not a wish
  KnownText::Found known;
};

struct PipelineOptions {
  api::Facts facts;
  bool special_in_user_text = true;
  Script* script = nullptr;  // completions are taken from it; outlives the pipeline
  int64_t known_bytes_max = int64_t{256} << 20;  // for the ids of earlier answers
};

class Pipeline {
 public:
  // `text` outlives the pipeline.
  Pipeline(const ModelText& text, const PipelineOptions& options);

  // `owner`: whose prompt it is, for ids and caches. Errors: what the prompt format has no form
  // for.
  api::Parsed<PreparedPrompt> EncodePrompt(const api::Request& request,
                                           const std::string& owner = {}) const;
  // Errors: those, a prompt that leaves no room, a schema that cannot be enforced.
  api::Parsed<Prepared> Prepare(const api::Request& request, const std::string& owner = {});

  // The answer ended by itself with `completion`, a stop token last, which a client sees as
  // `message`: when it comes back, the prompt has these ids again.
  void Remember(const api::Request& request, const std::string& owner,
                const chat::EncodedPrompt& prompt, std::span<const TokenId> prompt_tokens,
                const KnownText::Found& known, const chat::ParsedMessage& message,
                std::span<const TokenId> completion);

 private:
  using GrammarPtr = std::shared_ptr<const grammar::Grammar>;

  sampling::Params SamplingOf(const api::Generation& generation) const;
  api::Parsed<GrammarPtr> GrammarOf(const api::Request& request);
  api::Parsed<GrammarPtr> FormatGrammar(const api::Request& request);
  api::Parsed<GrammarPtr> ToolGrammarOf(const api::Request& request);
  template <typename Compile>
  api::Parsed<GrammarPtr> Cached(std::string key, Compile compile);
  std::vector<int64_t> BoundariesOf(std::span<const TokenId> prompt) const;
  api::Parsed<void> AddChoices(const api::Request& request, const chat::EncodedPrompt& prompt,
                               GrammarPtr grammar, engine::BatchRequest& batch) const;

  const ModelText& text_;
  const PipelineOptions options_;
  const std::shared_ptr<const grammar::Vocabulary> vocabulary_;
  mutable KnownText known_;  // looking something up counts as use

  // Compiled grammars by what they were compiled from, latest used first.
  std::mutex mutex_;
  std::list<std::pair<std::string, GrammarPtr>> grammars_;
};

}  // namespace fathom::server
