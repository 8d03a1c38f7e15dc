#include "server/answering.h"

#include <algorithm>
#include <utility>

#include "chat/call_writer.h"
#include "chat/templates.h"

namespace fathom::server {
namespace {

using engine::FinishReason;

bool IsRaw(const api::Request& request) {
  return request.prompt != api::Request::Prompt::kConversation;
}

chat::ParserOptions ReadingOf(const api::Request& request, bool starts_in_reasoning) {
  chat::ParserOptions options;
  options.starts_in_reasoning = starts_in_reasoning;
  options.stop_strings = request.generation.stop;
  std::vector<Json> functions;
  for (const api::Tool& tool : request.tools) functions.push_back(tool.function);
  options.tools = chat::ReadToolSchemas(functions);
  return options;
}

// The prompt as the client gave it; of token ids, their text.
std::string EchoOf(const api::Request& request, const chat::EncodedPrompt& prompt) {
  if (!request.echo) return {};
  return request.prompt == api::Request::Prompt::kTokens ? prompt.text : request.text;
}

Headers StreamHeaders(Headers headers) {
  headers.emplace_back("content-type", "text/event-stream; charset=utf-8");
  headers.emplace_back("cache-control", "no-cache");
  headers.emplace_back("x-accel-buffering", "no");
  return headers;
}

Headers JsonHeaders(Headers headers) {
  headers.emplace_back("content-type", "application/json");
  return headers;
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Answering::Answering(const AnswerSurroundings& around, api::Request request, Prepared prepared,
                     const api::Identity& identity, UsageRecord record,
                     std::shared_ptr<Exchange> exchange, Headers headers)
    : around_(around),
      request_(std::move(request)),
      prepared_(std::move(prepared)),
      prompt_tokens_(prepared_.batch.prompt),
      prompt_text_(EchoOf(request_, prepared_.prompt)),
      writer_(api::MakeAnswerWriter(request_, identity)),
      exchange_(std::move(exchange)),
      headers_(std::move(headers)),
      record_(std::move(record)),
      choices_left_(request_.generation.n) {
  const chat::ParserOptions reading = ReadingOf(request_, prepared_.prompt.starts_in_reasoning);
  const auto count = static_cast<size_t>(request_.generation.n);
  is_stopped_ = std::make_unique<std::atomic<bool>[]>(count);
  for (size_t i = 0; i < count; ++i)
    choices_.emplace_back(chat::TokenReader(around_.tokenizer, reading, IsRaw(request_)));
  usage_.prompt_tokens = std::ssize(prompt_tokens_);
}

api::Parsed<void> Answering::Start() {
  prepared_.batch.sink = shared_from_this();
  owner_ = prepared_.batch.key;
  auto submitted = around_.engine.Submit(std::exchange(prepared_.batch, {}));
  std::optional<api::ApiError> refusal;
  if (!submitted.ok()) {
    refusal = api::BadRequest(submitted.error().message);
  } else if (submitted.value().status == engine::SubmitStatus::kQueueFull) {
    refusal = api::QueueFull(submitted.value().retry_after_s);
  } else if (submitted.value().status == engine::SubmitStatus::kShuttingDown) {
    refusal = api::NotReady("The server is shutting down.");
  }
  if (refusal) {
    Report(refusal->status, refusal->message);
    return *std::move(refusal);
  }
  ticket_ = submitted.value().ticket;
  exchange_->OnGone([self = shared_from_this()] { self->Gone(); });
  const auto post = [this](double delay_s, void (Answering::*member)()) {
    exchange_->Post(
        [self = weak_from_this(), member] {
          if (const auto alive = self.lock()) ((*alive).*member)();
        },
        delay_s);
  };
  if (!request_.stream) post(around_.first_keep_alive_s, &Answering::KeepBodyAlive);
  post(around_.queue_timeout_s, &Answering::CloseIfWaiting);
  if (request_.stream) {
    // Tokens may be coming already: what writes is the executor alone.
    exchange_->Post([self = shared_from_this()] {
      if (self->has_headers_ || self->is_finished_) return;
      self->has_headers_ = true;
      self->exchange_->Start(200, StreamHeaders(self->headers_));
      self->exchange_->KeepAlive(self->around_.keep_alive_s, self->writer_->KeepAlive());
    });
  }
  return {};
}

// The engine's thread
// ------------------------------------------------------------------------------

void Answering::Push(Event event) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(event));
    if (std::exchange(is_posted_, true)) return;
  }
  exchange_->Post([self = shared_from_this()] { self->Drain(); });
}

void Answering::OnCache(const cache::Miss& miss) {
  const std::lock_guard lock(mutex_);
  miss_ = MissText(miss, around_.tokenizer);
}

void Answering::OnStart(int64_t reused) { Push({.kind = Event::Kind::kStart, .reused = reused}); }

bool Answering::OnToken(int64_t choice, const sampling::Sampled& sampled) {
  if (is_stopped_[static_cast<size_t>(choice)]) return false;
  Push({.kind = Event::Kind::kToken,
        .choice = choice,
        .token = sampled.token,
        .logprob = sampled.logprob,
        .top = {sampled.top.begin(), sampled.top.end()}});
  return true;
}

void Answering::OnEnd(int64_t choice, FinishReason reason) {
  Push({.kind = Event::Kind::kEnd, .choice = choice, .reason = reason});
}

void Answering::OnDone() { Push({.kind = Event::Kind::kDone}); }

// The connection's executor
// -------------------------------------------------------------------------

void Answering::Drain() {
  {
    const std::lock_guard lock(mutex_);
    batch_.clear();
    batch_.swap(inbox_);
    is_posted_ = false;
  }
  for (const Event& event : batch_) {
    if (is_finished_) return;
    switch (event.kind) {
      case Event::Kind::kStart:
        Begin(event.reused);
        break;
      case Event::Kind::kToken:
        AddToken(event);
        break;
      case Event::Kind::kEnd:
        EndChoice(event.choice, event.reason);
        break;
      case Event::Kind::kDone:
        if (!has_begun_) GiveUp();
        break;
    }
  }
  if (!request_.stream || out_.empty() || is_finished_) return;
  exchange_->Write(std::exchange(out_, {}));
}

void Answering::Begin(int64_t reused) {
  has_begun_ = true;
  record_.queued_s = SecondsSince(received_);
  {
    const std::lock_guard lock(mutex_);
    record_.miss = miss_;
  }
  // The platform counts cached tokens in units of 128.
  usage_.cached_tokens = reused / 128 * 128;
  if (request_.stream && !has_headers_) {
    has_headers_ = true;
    exchange_->Start(200, StreamHeaders(headers_));
    exchange_->KeepAlive(around_.keep_alive_s, writer_->KeepAlive());
  }
  out_ += writer_->Begin(usage_);
  if (prompt_text_.empty()) return;
  for (int64_t i = 0; i < std::ssize(choices_); ++i)
    out_ += writer_->Add(i, {{chat::Delta::Kind::kContent, prompt_text_}});
}

void Answering::AddToken(const Event& event) {
  if (!std::exchange(has_first_token_, true)) record_.prompt_s = SecondsSince(received_);
  Choice& choice = choices_[static_cast<size_t>(event.choice)];
  if (choice.is_over) return;
  ++choice.tokens;
  choice.sampled.push_back(event.token);
  std::vector<chat::Delta> deltas = choice.reader.Add(event.token);
  if (request_.generation.logprobs && choice.reader.last_was_text()) {
    api::LogprobEntry entry;
    entry.chosen = ShowToken(around_.tokenizer, event.token, event.logprob);
    for (const sampling::TokenLogprob& other : event.top)
      entry.top.push_back(ShowToken(around_.tokenizer, other.token, other.logprob));
    choice.logprobs.Push(std::move(entry));
  }
  AddDeltas(event.choice, std::move(deltas));
  if (choice.reader.is_done()) {
    is_stopped_[static_cast<size_t>(event.choice)] = true;
    EndChoice(event.choice, std::nullopt);
  }
}

void Answering::AddDeltas(int64_t index, std::vector<chat::Delta> deltas) {
  Choice& choice = choices_[static_cast<size_t>(index)];
  for (chat::Delta& delta : deltas) {
    const bool is_text =
        delta.kind == chat::Delta::Kind::kReasoning || delta.kind == chat::Delta::Kind::kContent;
    chat::Append(choice.message, delta);
    api::Part part{std::move(delta)};
    if (request_.generation.logprobs) {
      if (is_text)
        part.logprobs = choice.logprobs.Take(part.delta.text);
      else
        choice.logprobs.Drop();
    }
    out_ += writer_->Add(index, part);
  }
}

// `reason` is the engine's; nullopt: the text itself said that it ends.
void Answering::EndChoice(int64_t index, std::optional<FinishReason> reason) {
  Choice& choice = choices_[static_cast<size_t>(index)];
  if (std::exchange(choice.is_over, true)) return;
  const bool stopped =
      !reason || *reason == FinishReason::kStopToken || *reason == FinishReason::kListener;
  auto finished =
      choice.reader.Finish(stopped ? chat::StopReason::kStop : chat::StopReason::kLength);
  AddDeltas(index, std::move(finished.deltas));

  using Reason = api::End::Reason;
  api::End end;
  end.has_partial_call = finished.has_partial_call;
  if (reason == FinishReason::kCancelled) {
    end.reason = Reason::kAborted;
  } else if (finished.reason == chat::FinishReason::kToolCalls) {
    end.reason = Reason::kToolCalls;
  } else if (finished.reason == chat::FinishReason::kLength) {
    const bool is_full = reason == FinishReason::kContextFull ||
                         (reason == FinishReason::kLength && prepared_.ends_with_context);
    end.reason = is_full ? Reason::kContextFull : Reason::kLength;
  } else if (choice.reader.stop_string_hit()) {
    end.reason = Reason::kStopString;
    end.stop_string = choice.reader.stop_string();
  }
  last_outcome_ =
      end.reason == Reason::kAborted ? "aborted" : chat::FinishReasonName(finished.reason);
  const api::Usage usage = UsageOf(choice);
  out_ += writer_->EndChoice(index, end, usage);
  usage_.completion_tokens += usage.completion_tokens;
  usage_.reasoning_tokens += usage.reasoning_tokens;
  RememberCalls(index);
  const auto eos = around_.tokenizer.FindToken(chat::kEos);
  if (!eos || reason != FinishReason::kStopToken) return ChoiceDone();
  choice.sampled.push_back(*eos);
  // The answer's end waits until it is remembered, for the next request may build on it; other
  // answers on this executor do not. A choice that is over is left alone meanwhile.
  if (std::ssize(prepared_.prompt.text) > around_.executor_bytes_max) {
    around_.workers.Run([self = shared_from_this(), index] {
      self->RememberIds(index);
      self->exchange_->Post([self] { self->ChoiceDone(); });
    });
    return;
  }
  RememberIds(index);
  ChoiceDone();
}

void Answering::ChoiceDone() {
  if (--choices_left_ == 0 && !is_finished_) FinishAll();
}

void Answering::FinishAll() {
  out_ += writer_->Finish(usage_);
  is_finished_ = true;
  Report(200, last_outcome_);
  if (has_headers_) {
    exchange_->Write(std::exchange(out_, {}));
    exchange_->End();
  } else {
    exchange_->Send(200, JsonHeaders(std::move(headers_)), std::move(out_));
  }
}

// The engine let go of the request before its turn came: the server is ending.
void Answering::GiveUp() {
  is_finished_ = true;
  const api::ApiError error = api::NotReady("The server is shutting down.");
  Report(error.status, error.message);
  if (!has_headers_) {
    exchange_->Send(error.status, JsonHeaders(std::move(headers_)),
                    api::WriteError(error, request_.dialect, record_.request_id));
    return;
  }
  exchange_->Write(request_.stream ? writer_->Fail(error)
                                   : api::WriteError(error, request_.dialect, record_.request_id));
  exchange_->EndAndClose();
}

void Answering::Gone() {
  around_.engine.Cancel(ticket_);
  if (std::exchange(is_finished_, true)) return;
  for (const Choice& choice : choices_)
    if (!choice.is_over) usage_.completion_tokens += choice.tokens;
  Report(499, "cancelled");
}

// Blank lines before the body, so that nothing between us and the client gives up on it.
void Answering::KeepBodyAlive() {
  if (is_finished_ || has_headers_) return;
  has_headers_ = true;
  exchange_->Start(200, JsonHeaders(headers_));
  exchange_->Write("\n");
  exchange_->KeepAlive(around_.keep_alive_s, "\n");
}

void Answering::CloseIfWaiting() {
  if (has_begun_ || is_finished_) return;
  is_finished_ = true;
  around_.engine.Cancel(ticket_);
  Report(503, "not started in time");
  if (!has_headers_) {
    const api::ApiError error = api::NotReady("The request did not start in time.");
    exchange_->Send(error.status, JsonHeaders(std::move(headers_)),
                    api::WriteError(error, request_.dialect, record_.request_id));
    return;
  }
  exchange_->EndAndClose();
}

// What a client may send back of this answer: its text, for which the ids stand that were sampled.
void Answering::RememberIds(int64_t index) {
  const Choice& choice = choices_[static_cast<size_t>(index)];
  around_.pipeline.Remember(request_, owner_, prepared_.prompt, prompt_tokens_, prepared_.known,
                            choice.message, choice.sampled);
}

// And its calls.
void Answering::RememberCalls(int64_t index) {
  const chat::ParsedMessage& message = choices_[static_cast<size_t>(index)].message;
  if (message.tool_calls.empty()) return;
  const std::vector<std::string>& ids = writer_->CallIds(index);
  api::ReplayMemory& memory = around_.replay;
  for (size_t i = 0; i < std::min(ids.size(), message.tool_calls.size()); ++i)
    memory.RememberCall(owner_, ids[i], message.tool_calls[i].arguments);
  if (!ids.empty()) memory.RememberReasoning(owner_, ids[0], message.reasoning_content);
}

api::Usage Answering::UsageOf(const Choice& choice) const {
  return {.prompt_tokens = usage_.prompt_tokens,
          .cached_tokens = usage_.cached_tokens,
          .completion_tokens = choice.tokens,
          .reasoning_tokens = choice.reader.reasoning_tokens()};
}

void Answering::Report(int status, std::string outcome) {
  record_.status = status;
  record_.outcome = std::move(outcome);
  record_.usage = usage_;
  record_.total_s = SecondsSince(received_);
  if (around_.usage != nullptr) around_.usage->OnUsage(record_);
}

}  // namespace fathom::server
