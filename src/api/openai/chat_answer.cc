// Answers of Chat Completions: chunks of a stream as the platform lays them out, or one body.
// Source: docs/api.md, "Chat Completions".
#include <fmt/format.h>

#include <iterator>
#include <utility>
#include <vector>

#include "api/answer_makers.h"
#include "api/ids.h"
#include "api/logprob_entries.h"
#include "api/openai/shared_answer.h"
#include "base/json.h"

namespace fathom::api {
namespace {

using Kind = chat::Delta::Kind;

// Ids of calls, the same in both forms of an answer.
class CallIdList {
 public:
  // The id of a call that begins. Calls begin in the order of their indices.
  const std::string& Begin(const Identity& identity, int64_t choice, int64_t index) {
    while (std::ssize(ids_) <= index) {
      const int64_t next = std::ssize(ids_);
      ids_.push_back(choice == 0
                         ? NumberedCallId(identity, next)
                         : fmt::format("call_{:02}_{}", next,
                                       IdTail(identity, fmt::format("call{}", choice), next)));
    }
    return ids_[static_cast<size_t>(index)];
  }
  const std::vector<std::string>& ids() const { return ids_; }

 private:
  std::vector<std::string> ids_;
};

// {"index":0,"id":...,"type":"function","function":{"name":...,"arguments":"
// The caller closes the arguments and the braces.
void AppendCallHead(std::string& out, int64_t index, const std::string& id, std::string_view name) {
  fmt::format_to(std::back_inserter(out), "{{\"index\":{},\"id\":", index);
  AppendJsonString(out, id);
  out += ",\"type\":\"function\",\"function\":{\"name\":";
  AppendJsonString(out, name);
  out += ",\"arguments\":\"";
}

void AppendLogprobList(std::string& out, const std::vector<LogprobEntry>& entries) {
  out += '[';
  AppendLogprobEntries(out, entries, AppendLogprob);
  out += ']';
}

class ChatStream : public AnswerWriter {
 public:
  ChatStream(const Request& request, const Identity& identity)
      : identity_(identity), thinks_(request.thinks()), include_usage_(request.include_usage) {
    const std::string head =
        "data: " + AnswerHead(request, identity, "chat.completion.chunk") + ",\"choices\":[";
    for (int64_t i = 0; i < request.generation.n; ++i)
      choices_.push_back({fmt::format("{}{{\"index\":{},\"delta\":{{", head, i), {}});
  }

  std::string Begin(const Usage&) override {
    std::string out;
    for (const Choice& choice : choices_) {
      out += choice.head;
      out += thinks_ ? "\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"\""
                     : "\"role\":\"assistant\",\"content\":\"\"";
      CloseChunk(out, nullptr, false);
    }
    return out;
  }

  std::string Add(int64_t index, const Part& part) override {
    Choice& choice = choices_[static_cast<size_t>(index)];
    const chat::Delta& delta = part.delta;
    std::string out;
    out.reserve(choice.head.size() + delta.text.size() + 128);
    out += choice.head;
    switch (delta.kind) {
      case Kind::kReasoning:
        out += "\"content\":null,\"reasoning_content\":";
        AppendJsonString(out, delta.text);
        break;
      case Kind::kContent:
        out += "\"content\":";
        AppendJsonString(out, delta.text);
        if (thinks_) out += ",\"reasoning_content\":null";
        break;
      case Kind::kToolCallStart:
        out += "\"tool_calls\":[";
        AppendCallHead(out, delta.call_index,
                       choice.calls.Begin(identity_, index, delta.call_index), delta.text);
        out += "\"}}]";
        break;
      case Kind::kToolCallArguments:
        fmt::format_to(
            std::back_inserter(out),
            "\"tool_calls\":[{{\"index\":{},\"function\":{{\"arguments\":", delta.call_index);
        AppendJsonString(out, delta.text);
        out += "}}]";
        break;
    }
    CloseChunk(out, &part, delta.kind == Kind::kReasoning);
    return out;
  }

  // The chunk of the choice that ends last waits for the usage of the whole answer.
  std::string EndChoice(int64_t index, const End& end, const Usage&) override {
    std::string out = choices_[static_cast<size_t>(index)].head;
    out += "\"content\":\"\"";
    if (thinks_) out += ",\"reasoning_content\":null";
    out += "},\"logprobs\":null,\"finish_reason\":\"";
    out += FinishReasonOf(end);
    out += "\"}]";
    if (++ended_ == std::ssize(choices_)) {
      last_chunk_ = std::move(out);
      return {};
    }
    CloseEvent(out);
    return out;
  }

  std::string Finish(const Usage& usage) override {
    std::string out = std::move(last_chunk_);
    out += ",\"usage\":";
    AppendUsage(out, usage);
    out += "}\n\n";
    out += kStreamDone;
    return out;
  }

  std::string Fail(const ApiError& error) override {
    return FailedStream(error, Dialect::kChat, identity_);
  }

  const std::vector<std::string>& CallIds(int64_t choice) const override {
    return choices_[static_cast<size_t>(choice)].calls.ids();
  }

 private:
  struct Choice {
    std::string head;  // of its chunks, up to the members of the delta
    CallIdList calls;
  };

  void CloseEvent(std::string& out) const {
    out += include_usage_ ? ",\"usage\":null}\n\n" : "}\n\n";
  }

  // After the members of a delta: the end of a chunk that is not the choice's last.
  void CloseChunk(std::string& out, const Part* part, bool is_reasoning) const {
    if (part == nullptr || part->logprobs.empty()) {
      out += "},\"logprobs\":null,\"finish_reason\":null}]";
    } else {
      out += "},\"logprobs\":{\"content\":";
      if (is_reasoning) out += "[],\"reasoning_content\":";
      AppendLogprobList(out, part->logprobs);
      out += "},\"finish_reason\":null}]";
    }
    CloseEvent(out);
  }

  const Identity identity_;
  const bool thinks_;
  const bool include_usage_;
  std::vector<Choice> choices_;
  int64_t ended_ = 0;
  std::string last_chunk_;
};

class ChatBody : public AnswerWriter {
 public:
  ChatBody(const Request& request, const Identity& identity)
      : identity_(identity),
        head_(AnswerHead(request, identity, "chat.completion")),
        thinks_(request.thinks()),
        shows_logprobs_(request.generation.logprobs.has_value()),
        choices_(static_cast<size_t>(request.generation.n)) {}

  std::string Begin(const Usage&) override { return {}; }

  std::string Add(int64_t index, const Part& part) override {
    Choice& choice = choices_[static_cast<size_t>(index)];
    chat::Append(choice.message, part.delta);
    if (part.delta.kind == Kind::kToolCallStart)
      choice.calls.Begin(identity_, index, part.delta.call_index);
    auto& entries =
        part.delta.kind == Kind::kReasoning ? choice.reasoning_logprobs : choice.content_logprobs;
    entries.insert(entries.end(), part.logprobs.begin(), part.logprobs.end());
    return {};
  }

  std::string EndChoice(int64_t index, const End& end, const Usage&) override {
    choices_[static_cast<size_t>(index)].finish_reason = FinishReasonOf(end);
    return {};
  }

  std::string Finish(const Usage& usage) override {
    std::string out = head_;
    out += ",\"choices\":[";
    for (size_t i = 0; i < choices_.size(); ++i) {
      if (i > 0) out += ',';
      AppendChoice(out, i);
    }
    out += "],\"usage\":";
    AppendUsage(out, usage);
    out += '}';
    return out;
  }

  std::string Fail(const ApiError& error) override {
    return WriteError(error, Dialect::kChat, identity_.id);
  }
  std::string KeepAlive() const override { return std::string(kBodyKeepAlive); }

  const std::vector<std::string>& CallIds(int64_t choice) const override {
    return choices_[static_cast<size_t>(choice)].calls.ids();
  }

 private:
  struct Choice {
    chat::ParsedMessage message;
    CallIdList calls;
    std::vector<LogprobEntry> content_logprobs, reasoning_logprobs;
    std::string_view finish_reason;
  };

  void AppendChoice(std::string& out, size_t index) const {
    const Choice& choice = choices_[index];
    const chat::ParsedMessage& message = choice.message;
    fmt::format_to(std::back_inserter(out),
                   "{{\"index\":{},\"message\":{{\"role\":\"assistant\",\"content\":", index);
    AppendJsonString(out, message.content);
    const bool has_reasoning = thinks_ || !message.reasoning_content.empty();
    if (has_reasoning) {
      out += ",\"reasoning_content\":";
      AppendJsonString(out, message.reasoning_content);
    }
    for (size_t i = 0; i < message.tool_calls.size(); ++i) {
      out += i == 0 ? ",\"tool_calls\":[" : ",";
      AppendCallHead(out, static_cast<int64_t>(i), choice.calls.ids()[i],
                     message.tool_calls[i].name);
      AppendJsonEscaped(out, message.tool_calls[i].arguments);
      out += "\"}}";
    }
    if (!message.tool_calls.empty()) out += ']';
    out += "},\"logprobs\":";
    if (shows_logprobs_) {
      out += "{\"content\":";
      AppendLogprobList(out, choice.content_logprobs);
      if (has_reasoning) {
        out += ",\"reasoning_content\":";
        AppendLogprobList(out, choice.reasoning_logprobs);
      }
      out += '}';
    } else {
      out += "null";
    }
    fmt::format_to(std::back_inserter(out), ",\"finish_reason\":\"{}\"}}", choice.finish_reason);
  }

  const Identity identity_;
  const std::string head_;
  const bool thinks_;
  const bool shows_logprobs_;
  std::vector<Choice> choices_;
};

}  // namespace

std::unique_ptr<AnswerWriter> MakeChatWriter(const Request& request, const Identity& identity) {
  if (request.stream) return std::make_unique<ChatStream>(request, identity);
  return std::make_unique<ChatBody>(request, identity);
}

}  // namespace fathom::api
