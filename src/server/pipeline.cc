#include "server/pipeline.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/random.h"
#include "chat/prompt_tokens.h"
#include "chat/templates.h"

namespace fathom::server {
namespace {

using api::Request;

// Compiled grammars to keep: a client sends the same tools and formats again and again.
constexpr size_t kGrammarsMax = 64;

// A grammar's constraint as the engine takes it.
class TokenConstraint : public engine::Constraint {
 public:
  TokenConstraint(std::shared_ptr<const grammar::Vocabulary> vocabulary,
                  grammar::AnswerOptions options)
      : constraint_(std::move(vocabulary), std::move(options)) {}
  std::span<const uint64_t> Allowed() override { return constraint_.Allowed(); }
  void Accept(TokenId token) override { constraint_.Accept(token); }

 private:
  grammar::AnswerConstraint constraint_;
};

// The tools that may be called.
std::vector<const api::Tool*> CallableTools(const Request& request) {
  std::vector<const api::Tool*> tools;
  const std::unordered_set<std::string_view> allowed(request.allowed_tools.begin(),
                                                     request.allowed_tools.end());
  for (const api::Tool& tool : request.tools)
    if (allowed.empty() || allowed.contains(tool.name)) tools.push_back(&tool);
  return tools;
}

}  // namespace

Pipeline::Pipeline(const ModelText& text, const PipelineOptions& options)
    : text_(text),
      options_(options),
      vocabulary_(
          std::make_shared<const grammar::Vocabulary>(text.tokenizer, options.facts.vocab_size)),
      known_(options.known_bytes_max) {}

api::Parsed<PreparedPrompt> Pipeline::EncodePrompt(const Request& request,
                                                   const std::string& owner) const {
  PreparedPrompt prepared;
  if (request.prompt == Request::Prompt::kTokens) {
    prepared.tokens = request.tokens;
    // For --scripted and echo; an id without a token shows as nothing.
    tokenizer::StreamDecoder decoder(text_.tokenizer);
    for (const TokenId token : request.tokens)
      if (const auto text = decoder.Add(token); text.ok()) prepared.prompt.text += text.value();
    prepared.prompt.text += decoder.Flush();
    return prepared;
  }
  Result<chat::EncodedPrompt> encoded = request.prompt == Request::Prompt::kText
                                            ? chat::EncodeRaw(request.text)
                                        : request.prompt == Request::Prompt::kFillInMiddle
                                            ? chat::EncodeFillInMiddle(request.text, request.suffix)
                                            : chat::Encode(request.conversation, request.encode);
  if (!encoded.ok()) return api::BadRequest(encoded.error().message);
  prepared.prompt = std::move(encoded).value();
  // Ids of a text say nothing about who wrote which part of it: where that matters, none are taken
  // over.
  if (!options_.special_in_user_text) {
    prepared.tokens =
        chat::TokenizePrompt(prepared.prompt, text_.tokenizer, {.special_in_user_text = false});
    return prepared;
  }
  if (request.prompt == Request::Prompt::kConversation)
    prepared.known = known_.Find(owner, prepared.prompt.text, chat::kEos);
  prepared.tokens = prepared.known.ids;
  const std::vector<TokenId> rest =
      text_.tokenizer.Encode(std::string_view(prepared.prompt.text)
                                 .substr(static_cast<size_t>(prepared.known.mark.bytes)));
  prepared.tokens.insert(prepared.tokens.end(), rest.begin(), rest.end());
  return prepared;
}

void Pipeline::Remember(const Request& request, const std::string& owner,
                        const chat::EncodedPrompt& prompt, std::span<const TokenId> prompt_tokens,
                        const KnownText::Found& known, const chat::ParsedMessage& message,
                        std::span<const TokenId> completion) {
  if (!options_.special_in_user_text || request.continues_prefix ||
      request.prompt != Request::Prompt::kConversation)
    return;
  chat::Conversation conversation = request.conversation;
  chat::Message answer;
  answer.role = chat::Role::kAssistant;
  answer.content = message.content;
  answer.reasoning_content = message.reasoning_content;
  for (const chat::ParsedCall& call : message.tool_calls)
    answer.tool_calls.push_back({"", call.name, call.arguments, true});  // as replay restores it
  conversation.messages.push_back(std::move(answer));
  const auto next = chat::Encode(conversation, request.encode);
  if (!next.ok() || !next.value().text.starts_with(prompt.text)) return;
  std::vector<TokenId> ids(prompt_tokens.begin(), prompt_tokens.end());
  ids.insert(ids.end(), completion.begin(), completion.end());
  known_.Remember(owner, next.value().text, ids, known);
}

// Where messages end: a prompt that differs later can go on from there.
std::vector<int64_t> Pipeline::BoundariesOf(std::span<const TokenId> prompt) const {
  std::vector<int64_t> boundaries;
  const auto user = text_.tokenizer.FindToken(chat::kUser);
  const auto assistant = text_.tokenizer.FindToken(chat::kAssistant);
  for (int64_t i = 1; i < std::ssize(prompt); ++i) {
    const TokenId token = prompt[static_cast<size_t>(i)];
    if (token == user || token == assistant) boundaries.push_back(i);
  }
  return boundaries;
}

sampling::Params Pipeline::SamplingOf(const api::Generation& generation) const {
  sampling::Params params = text_.sampling_defaults;
  if (generation.temperature) params.temperature = static_cast<float>(*generation.temperature);
  if (generation.top_p) params.top_p = *generation.top_p;
  if (generation.min_p) params.min_p = *generation.min_p;
  if (generation.top_k) params.top_k = *generation.top_k;
  if (generation.repetition_penalty)
    params.repetition_penalty = static_cast<float>(*generation.repetition_penalty);
  for (const auto& [token, bias] : generation.logit_bias)
    params.logit_bias.emplace_back(token, static_cast<float>(bias));
  params.seed = generation.seed ? static_cast<uint64_t>(*generation.seed)
                                : RandomFromSystem() >> 11;  // exact as a double
  params.logprobs = generation.logprobs;
  params.logprobs_after_temperature = true;
  return params;
}

template <typename Compile>
api::Parsed<Pipeline::GrammarPtr> Pipeline::Cached(std::string key, Compile compile) {
  {
    const std::lock_guard lock(mutex_);
    const auto at = std::find_if(grammars_.begin(), grammars_.end(),
                                 [&](const auto& entry) { return entry.first == key; });
    if (at != grammars_.end()) {
      grammars_.splice(grammars_.begin(), grammars_, at);
      return at->second;
    }
  }
  Result<GrammarPtr> compiled = compile();
  if (!compiled.ok()) return api::BadRequest(compiled.error().message);
  const std::lock_guard lock(mutex_);
  grammars_.emplace_front(std::move(key), compiled.value());
  if (grammars_.size() > kGrammarsMax) grammars_.pop_back();
  return compiled.value();
}

api::Parsed<Pipeline::GrammarPtr> Pipeline::FormatGrammar(const Request& request) {
  using Kind = api::OutputFormat::Kind;
  if (request.format.kind == Kind::kText) return GrammarPtr();
  if (request.format.kind == Kind::kJsonObject) return grammar::AnyObject();
  const bool strict = options_.facts.profile == api::Profile::kStrict;
  return Cached("schema" + WriteJson(request.format.schema), [&] {
    return grammar::CompileSchema(request.format.schema, {.refuse_lengths = strict});
  });
}

api::Parsed<Pipeline::GrammarPtr> Pipeline::ToolGrammarOf(const Request& request) {
  if (request.tools.empty()) return GrammarPtr();
  const std::vector<const api::Tool*> tools = CallableTools(request);
  const bool is_required = request.tool_choice == api::ToolChoice::kRequired;
  if (request.tool_choice == api::ToolChoice::kNone || tools.empty())
    return grammar::TextWithoutTools();
  const bool any_strict = std::any_of(tools.begin(), tools.end(),
                                      [](const api::Tool* tool) { return tool->is_strict; });
  const bool is_subset = tools.size() < request.tools.size();
  const bool has_format = request.format.kind != api::OutputFormat::Kind::kText;
  if (!is_required && !any_strict && !is_subset && !has_format && request.parallel_tool_calls)
    return GrammarPtr();
  grammar::ToolBlock block;
  block.is_required = is_required;
  block.is_parallel = request.parallel_tool_calls;
  std::string key = is_required ? "required" : "tools";
  key += block.is_parallel ? "+" : "1";
  if (has_format && !is_required) {
    const bool has_schema = request.format.kind == api::OutputFormat::Kind::kJsonSchema;
    block.text_schema = has_schema ? request.format.schema : Json(Json::Object{{"type", "object"}});
    key += WriteJson(*block.text_schema);
  }
  for (const api::Tool* tool : tools) {
    block.tools.push_back({tool->name, tool->parameters, tool->is_strict});
    key += (tool->is_strict ? "\nstrict " : "\n") + tool->name + WriteJson(tool->parameters);
  }
  const bool strict = options_.facts.profile == api::Profile::kStrict;
  return Cached(std::move(key),
                [&] { return grammar::CompileTools(block, {.refuse_lengths = strict}); });
}

// With tools at hand an answer is a call or obeys the format. An answer that goes on with a given
// beginning is not constrained: the grammar has not seen that beginning.
api::Parsed<Pipeline::GrammarPtr> Pipeline::GrammarOf(const Request& request) {
  if (request.prompt != Request::Prompt::kConversation || request.continues_prefix)
    return GrammarPtr();
  const bool may_call = !request.tools.empty() && request.tool_choice != api::ToolChoice::kNone;
  const bool has_format = request.format.kind != api::OutputFormat::Kind::kText;
  return has_format && !may_call ? FormatGrammar(request) : ToolGrammarOf(request);
}

api::Parsed<void> Pipeline::AddChoices(const Request& request, const chat::EncodedPrompt& prompt,
                                       GrammarPtr grammar, engine::BatchRequest& batch) const {
  const sampling::Params params = SamplingOf(request.generation);
  const bool is_constrained = grammar != nullptr || request.generation.reasoning_tokens_max;
  for (int64_t i = 0; i < request.generation.n; ++i) {
    engine::ChoiceRequest choice;
    choice.sampling = params;
    choice.sampling.stream = static_cast<uint64_t>(i);
    if (options_.script != nullptr) {
      const auto completion = options_.script->Take(prompt.text);
      if (!completion)
        return api::BadRequest("--scripted: no line of the script is left for this prompt");
      choice.scripted = text_.tokenizer.Encode(*completion);
    } else if (is_constrained) {
      grammar::AnswerOptions options;
      options.grammar = grammar;
      options.starts_in_reasoning = prompt.starts_in_reasoning;
      options.reasoning_tokens_max = request.generation.reasoning_tokens_max;
      options.stop_tokens = text_.stop_tokens;
      options.min_tokens = request.generation.min_tokens;
      choice.constraint = std::make_unique<TokenConstraint>(vocabulary_, std::move(options));
    }
    batch.choices.push_back(std::move(choice));
  }
  return {};
}

api::Parsed<Prepared> Pipeline::Prepare(const Request& request, const std::string& owner) {
  FATHOM_TRY(PreparedPrompt encoded, EncodePrompt(request, owner));
  const api::Facts& facts = options_.facts;
  const int64_t prompt_tokens = std::ssize(encoded.tokens);
  const int64_t room = facts.context_tokens - prompt_tokens;
  const std::optional<int64_t> wanted = request.generation.max_tokens;
  const int64_t promised = request.generation.is_max_tokens_default ? 0 : wanted.value_or(0);
  if (room < std::max<int64_t>(promised, 1))
    return api::ContextTooLong(facts.context_tokens, prompt_tokens, promised);
  FATHOM_TRY(GrammarPtr grammar, GrammarOf(request));

  Prepared prepared;
  engine::BatchRequest& batch = prepared.batch;
  batch.max_tokens = std::min({wanted.value_or(room), room, facts.output_tokens_max});
  prepared.ends_with_context = *batch.max_tokens == room && promised < room;
  batch.min_tokens = std::min(request.generation.min_tokens, *batch.max_tokens);
  if (!request.generation.ignore_eos) batch.stop_tokens = text_.stop_tokens;
  batch.key = owner;
  FATHOM_TRY_VOID(AddChoices(request, encoded.prompt, std::move(grammar), batch));
  batch.boundaries = BoundariesOf(encoded.tokens);
  batch.prompt = std::move(encoded.tokens);
  prepared.prompt = std::move(encoded.prompt);
  prepared.known = std::move(encoded.known);
  return prepared;
}

}  // namespace fathom::server
