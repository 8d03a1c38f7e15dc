#include "cli/assistant.h"

#include <utility>

#include "chat/prompt_tokens.h"
#include "chat/token_reader.h"

namespace fathom::cli {
namespace {

using tokenizer::Tokenizer;

// Tokens to deltas to the sink, as they come.
class Reader : public engine::Listener {
 public:
  Reader(const Tokenizer& tokenizer, const Question& question, AnswerSink& sink, Answer& answer)
      : reader_(tokenizer,
                {.starts_in_reasoning = question.prompt.starts_in_reasoning,
                 .tools = question.tools,
                 .stop_strings = question.stop_strings},
                question.is_raw),
        wants_logprobs_(question.sampling.logprobs.has_value()),
        sink_(sink),
        answer_(answer) {}

  void OnPrompt(int64_t done, int64_t total) override { sink_.OnPrompt(done, total); }

  bool OnToken(const sampling::Sampled& sampled) override {
    if (wants_logprobs_)
      answer_.logprobs.push_back(
          {sampled.token, sampled.logprob, {sampled.top.begin(), sampled.top.end()}});
    Emit(reader_.Add(sampled.token));
    return !reader_.is_done();
  }

  // Releases what is held back.
  void Finish(engine::FinishReason reason) {
    const bool stopped =
        reason == engine::FinishReason::kStopToken || reason == engine::FinishReason::kListener;
    const auto finished =
        reader_.Finish(stopped ? chat::StopReason::kStop : chat::StopReason::kLength);
    Emit(finished.deltas);
    answer_.message.finish_reason = finished.reason;
    answer_.finish_reason = reason == engine::FinishReason::kCancelled
                                ? "cancelled"
                                : chat::FinishReasonName(answer_.message.finish_reason);
  }

 private:
  void Emit(const std::vector<chat::Delta>& deltas) {
    for (const chat::Delta& delta : deltas) {
      chat::Append(answer_.message, delta);
      sink_.OnDelta(delta);
    }
  }

  chat::TokenReader reader_;
  const bool wants_logprobs_;
  AnswerSink& sink_;
  Answer& answer_;
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
  FATHOM_TRY(auto session, engine::Session::Open(dir, session_options));
  FATHOM_TRY(server::ModelText text, server::LoadModelText(dir, session->model(), chat_revision));
  return std::unique_ptr<Assistant>(new Assistant(dir, std::move(session), std::move(text)));
}

Assistant::Assistant(std::string dir, std::unique_ptr<engine::Session> session,
                     server::ModelText text)
    : dir_(std::move(dir)), session_(std::move(session)), text_(std::move(text)) {}

std::string Assistant::Description() const {
  return server::DescribeModel(dir_, session_->config(), session_->options(), text_.revision);
}

Result<Answer> Assistant::Ask(const Question& question, AnswerSink& sink) {
  Answer answer;
  answer.prompt_ids = chat::TokenizePrompt(question.prompt, text_.tokenizer,
                                           {.special_in_user_text = question.special_in_user_text});
  Reader reader(text_.tokenizer, question, sink, answer);
  FATHOM_TRY(answer.generated, session_->Generate({.prompt = answer.prompt_ids,
                                                   .sampling = question.sampling,
                                                   .max_tokens = question.max_tokens,
                                                   .stop_tokens = text_.stop_tokens,
                                                   .cancel = question.cancel},
                                                  reader));
  reader.Finish(answer.generated.reason);
  return answer;
}

}  // namespace fathom::cli
