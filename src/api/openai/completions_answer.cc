// Answers of Completions: text, with log-probabilities in OpenAI's old form. Source: docs/api.md,
// "Completions and FIM".
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>
#include <vector>

#include "api/answer_makers.h"
#include "api/openai/shared_answer.h"
#include "base/json.h"

namespace fathom::api {
namespace {

int64_t CharactersOf(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// {"tokens": [...], "token_logprobs": [...], "top_logprobs": [{...}, ...], "text_offset": [...]}:
// four lists with an item for each token.
class LegacyLogprobs {
 public:
  // `offset` counts the characters before the token.
  void Add(const LogprobEntry& entry, int64_t offset) {
    if (!tokens_.empty())
      for (std::string* list : {&tokens_, &logprobs_, &top_, &offsets_}) *list += ',';
    AppendJsonString(tokens_, entry.chosen.text);
    AppendLogprob(logprobs_, entry.chosen.logprob);
    AddTop(entry);
    fmt::format_to(std::back_inserter(offsets_), "{}", offset);
  }

  void Append(std::string& out) const {
    fmt::format_to(std::back_inserter(out),
                   "{{\"tokens\":[{}],\"token_logprobs\":[{}],\"top_logprobs\":[{}],"
                   "\"text_offset\":[{}]}}",
                   tokens_, logprobs_, top_, offsets_);
  }

 private:
  // An object of text and value; the chosen token is always among them, and a text that two tokens
  // share stands once.
  void AddTop(const LogprobEntry& entry) {
    std::unordered_set<std::string_view> seen;
    top_ += '{';
    const auto append = [&](const LogprobEntry::Alternative& alternative) {
      if (!seen.insert(alternative.text).second) return;
      if (seen.size() > 1) top_ += ',';
      AppendJsonString(top_, alternative.text);
      top_ += ':';
      AppendLogprob(top_, alternative.logprob);
    };
    for (const LogprobEntry::Alternative& alternative : entry.top) append(alternative);
    append(entry.chosen);
    top_ += '}';
  }

  std::string tokens_, logprobs_, top_, offsets_;
};

// Both forms: a stream sends each text at once, a body keeps them to the end. An echoed prompt
// comes as a part without log-probabilities.
class CompletionsWriter : public AnswerWriter {
 public:
  CompletionsWriter(const Request& request, const Identity& identity)
      : identity_(identity),
        streams_(request.stream),
        include_usage_(request.include_usage),
        shows_logprobs_(request.generation.logprobs.has_value()),
        head_((request.stream ? "data: " : "") + AnswerHead(request, identity, "text_completion") +
              ",\"choices\":[{\"index\":0,\"text\":") {}

  std::string Begin(const Usage&) override { return {}; }

  std::string Add(int64_t, const Part& part) override {
    const bool is_text = part.delta.kind == chat::Delta::Kind::kContent ||
                         part.delta.kind == chat::Delta::Kind::kReasoning;
    if (!is_text) return {};
    LegacyLogprobs of_part;
    int64_t offset = characters_;
    for (const LogprobEntry& entry : part.logprobs) {
      (streams_ ? of_part : logprobs_).Add(entry, offset);
      offset += CharactersOf(entry.chosen.bytes);
    }
    characters_ += CharactersOf(part.delta.text);
    if (!streams_) {
      text_ += part.delta.text;
      return {};
    }
    std::string out;
    out.reserve(head_.size() + part.delta.text.size() + 96);
    out += head_;
    AppendJsonString(out, part.delta.text);
    out += ",\"logprobs\":";
    if (part.logprobs.empty()) {
      out += "null";
    } else {
      of_part.Append(out);
    }
    out += ",\"finish_reason\":null}]";
    out += include_usage_ ? ",\"usage\":null}\n\n" : "}\n\n";
    return out;
  }

  // The last chunk waits for the usage.
  std::string EndChoice(int64_t, const End& end, const Usage&) override {
    finish_reason_ = FinishReasonOf(end);
    return {};
  }

  std::string Finish(const Usage& usage) override {
    std::string out = head_;
    AppendJsonString(out, text_);
    out += ",\"logprobs\":";
    if (streams_ || !shows_logprobs_) {
      out += "null";
    } else {
      logprobs_.Append(out);
    }
    fmt::format_to(std::back_inserter(out),
                   ",\"finish_reason\":\"{}\"}}],\"usage\":", finish_reason_);
    AppendUsage(out, usage);
    out += '}';
    if (streams_) {
      out += "\n\n";
      out += kStreamDone;
    }
    return out;
  }

  std::string Fail(const ApiError& error) override {
    return streams_ ? FailedStream(error, Dialect::kCompletions, identity_)
                    : WriteError(error, Dialect::kCompletions, identity_.id);
  }
  std::string KeepAlive() const override {
    return streams_ ? AnswerWriter::KeepAlive() : std::string(kBodyKeepAlive);
  }
  const std::vector<std::string>& CallIds(int64_t) const override { return no_calls_; }

 private:
  const Identity identity_;
  const bool streams_;
  const bool include_usage_;
  const bool shows_logprobs_;
  const std::string head_;
  int64_t characters_ = 0;   // of the text so far
  std::string text_;         // a body's
  LegacyLogprobs logprobs_;  // likewise
  std::string_view finish_reason_ = "stop";
  const std::vector<std::string> no_calls_;
};

}  // namespace

std::unique_ptr<AnswerWriter> MakeCompletionsWriter(const Request& request,
                                                    const Identity& identity) {
  return std::make_unique<CompletionsWriter>(request, identity);
}

}  // namespace fathom::api
