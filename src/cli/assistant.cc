#include "cli/assistant.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "chat/prompt_tokens.h"
#include "chat/stop_matcher.h"
#include "chat/templates.h"
#include "sampling/generation_config.h"
#include "text/utf8.h"

namespace fathom::cli {
namespace {

using tokenizer::Tokenizer;

chat::RevisionFacts FactsOf(const model::LoadedModel& model,
                            const std::optional<std::string>& option) {
  chat::RevisionFacts facts;
  facts.option = option;
  if (!model.config().chat_revision.empty()) facts.config_revision = model.config().chat_revision;
  facts.has_vision_tower = model.config().has_vision;
  facts.has_dspark = model.weights().dspark.has_value();
  if (const auto& mtp = model.weights().mtp) {
    for (const model::Config& preset : {model::FlashPreset(), model::ProPreset()})
      facts.has_published_mtp |= mtp->e_proj.rows == preset.hidden_size;
  }
  return facts;
}

// What ends an answer: the ends that the checkpoint's files name, and the next user turn, which a
// healthy model never begins itself.
std::vector<TokenId> StopTokens(const model::Config& config, std::vector<TokenId> stops,
                                const Tokenizer& tokenizer) {
  stops.push_back(static_cast<TokenId>(config.eos_token_id));
  for (const std::string_view text : {chat::kEos, chat::kUser})
    if (const auto token = tokenizer.FindToken(text)) stops.push_back(*token);
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  return stops;
}

// Tokens to text to deltas, as they come.
class Reader : public engine::Listener {
 public:
  Reader(const Tokenizer& tokenizer, const Question& question, AnswerSink& sink, Answer& answer)
      : tokenizer_(tokenizer),
        is_raw_(question.is_raw),
        decoder_(tokenizer),
        stops_(question.stop_strings),
        parser_({.starts_in_reasoning = question.prompt.starts_in_reasoning,
                 .reads_control_text = false,
                 .tools = question.tools,
                 .stop_strings = question.stop_strings}),
        wants_logprobs_(question.sampling.logprobs.has_value()),
        sink_(sink),
        answer_(answer),
        bos_(tokenizer.FindToken(chat::kBos)),
        think_(tokenizer.FindToken(chat::kThink)),
        end_think_(tokenizer.FindToken(chat::kEndThink)) {}

  void OnPrompt(int64_t done, int64_t total) override { sink_.OnPrompt(done, total); }

  bool OnToken(const sampling::Sampled& sampled) override {
    if (wants_logprobs_)
      answer_.logprobs.push_back(
          {sampled.token, sampled.logprob, {sampled.top.begin(), sampled.top.end()}});
    if (is_raw_) {
      Emit({{chat::Delta::Kind::kContent, stops_.Add(Text(sampled.token))}});
      return !stops_.hit();
    }
    if (sampled.token == think_) {
      Control(chat::ControlToken::kOpenThink);
    } else if (sampled.token == end_think_) {
      Control(chat::ControlToken::kCloseThink);
    } else if (sampled.token != bos_) {
      Emit(parser_.Feed(Text(sampled.token)));
    }
    return !parser_.is_done();
  }

  // Releases what is held back.
  void Finish(engine::FinishReason reason) {
    const bool stopped =
        reason == engine::FinishReason::kStopToken || reason == engine::FinishReason::kListener;
    if (is_raw_) {
      std::string rest = stops_.Add(decoder_.Flush());
      if (!stops_.hit()) rest += stops_.Flush();
      Emit({{chat::Delta::Kind::kContent, rest}});
      answer_.message.finish_reason =
          stopped ? chat::FinishReason::kStop : chat::FinishReason::kLength;
    } else {
      Emit(parser_.Feed(decoder_.Flush()));
      auto finished = parser_.Finish(stopped ? chat::StopReason::kStop : chat::StopReason::kLength);
      Emit(finished.deltas);
      answer_.message.finish_reason = finished.reason;
    }
    answer_.finish_reason = reason == engine::FinishReason::kCancelled
                                ? "cancelled"
                                : chat::FinishReasonName(answer_.message.finish_reason);
  }

 private:
  // An id that the model knows and the tokenizer does not shows as U+FFFD.
  std::string Text(TokenId token) {
    auto text = decoder_.Add(token);
    if (text.ok()) return std::move(text).value();
    return decoder_.Flush() + std::string(text::kReplacement);
  }

  void Control(chat::ControlToken token) {
    Emit(parser_.Feed(decoder_.Flush()));  // a character that the token cut off
    Emit(parser_.FeedControl(token));
  }

  void Emit(const std::vector<chat::Delta>& deltas) {
    for (const chat::Delta& delta : deltas) {
      if (delta.text.empty() && delta.kind == chat::Delta::Kind::kContent) continue;
      chat::Append(answer_.message, delta);
      sink_.OnDelta(delta);
    }
  }

  const Tokenizer& tokenizer_;
  const bool is_raw_;
  tokenizer::StreamDecoder decoder_;
  chat::StopMatcher stops_;    // raw
  chat::OutputParser parser_;  // otherwise
  const bool wants_logprobs_;
  AnswerSink& sink_;
  Answer& answer_;
  const std::optional<TokenId> bos_, think_, end_think_;
};

}  // namespace

chat::Message TextMessage(chat::Role role, std::string text) {
  chat::Message message;
  message.role = role;
  message.content = std::move(text);
  return message;
}

Result<std::unique_ptr<Assistant>> Assistant::Open(
    const ModelOptions& options, const std::optional<std::string>& chat_revision) {
  FATHOM_TRY(const std::string dir, options.Directory());
  FATHOM_TRY(const engine::SessionOptions session_options, options.Session());
  FATHOM_TRY(Tokenizer tokenizer, Tokenizer::Load(dir + "/tokenizer.json"));
  FATHOM_TRY(const sampling::GenerationConfig generation, sampling::LoadGenerationConfig(dir));
  FATHOM_TRY(auto session, engine::Session::Open(dir, session_options));
  FATHOM_TRY(chat::RevisionChoice revision,
             chat::ChooseRevision(FactsOf(session->model(), chat_revision)));
  std::vector<TokenId> stops = StopTokens(session->config(), generation.eos_token_ids, tokenizer);
  return std::unique_ptr<Assistant>(new Assistant(dir, std::move(session), std::move(tokenizer),
                                                  std::move(revision), generation.params,
                                                  std::move(stops)));
}

Assistant::Assistant(std::string dir, std::unique_ptr<engine::Session> session, Tokenizer tokenizer,
                     chat::RevisionChoice revision, sampling::Params sampling_defaults,
                     std::vector<TokenId> stop_tokens)
    : dir_(std::move(dir)),
      session_(std::move(session)),
      tokenizer_(std::move(tokenizer)),
      revision_(std::move(revision)),
      sampling_defaults_(std::move(sampling_defaults)),
      stop_tokens_(std::move(stop_tokens)) {}

std::string Assistant::Description() const {
  const engine::SessionOptions& options = session_->options();
  return fmt::format("{}: {} layers, {} numerics, path {}, threads {}. {}", dir_,
                     session_->config().num_hidden_layers,
                     options.mode == numerics::Mode::kPure ? "pure" : "official",
                     std::string(kernels::Name(*options.path)), options.threads, revision_.reason);
}

Result<Answer> Assistant::Ask(const Question& question, AnswerSink& sink) {
  Answer answer;
  answer.prompt_ids = chat::TokenizePrompt(question.prompt, tokenizer_,
                                           {.special_in_user_text = question.special_in_user_text});
  Reader reader(tokenizer_, question, sink, answer);
  FATHOM_TRY(answer.generated, session_->Generate({.prompt = answer.prompt_ids,
                                                   .sampling = question.sampling,
                                                   .max_tokens = question.max_tokens,
                                                   .stop_tokens = stop_tokens_,
                                                   .cancel = question.cancel},
                                                  reader));
  reader.Finish(answer.generated.reason);
  return answer;
}

}  // namespace fathom::cli
