#include "tests/api/reading.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace fathom::conformance {

Json At(const Json& json, std::string_view path) {
  const Json* at = &json;
  while (!path.empty() && at != nullptr) {
    const size_t dot = std::min(path.find('.'), path.size());
    const std::string name(path.substr(0, dot));
    path.remove_prefix(std::min(dot + 1, path.size()));
    if (at->is_array()) {
      const size_t index = std::stoul(name);
      at = index < at->array().size() ? &at->array()[index] : nullptr;
    } else {
      at = at->Find(name);
    }
  }
  return at == nullptr ? Json() : *at;
}

std::string TextAt(const Json& json, std::string_view path) {
  const Json value = At(json, path);
  EXPECT_TRUE(value.is_string()) << path << " in " << WriteJson(json);
  return value.is_string() ? value.string() : "";
}

int64_t IntAt(const Json& json, std::string_view path) {
  const auto value = At(json, path).ToInt64();
  EXPECT_TRUE(value.ok()) << path << " in " << WriteJson(json);
  return value.ok() ? value.value() : -1;
}

std::vector<std::string> Names(const Json& object) {
  std::vector<std::string> names;
  EXPECT_TRUE(object.is_object());
  if (object.is_object())
    for (const auto& [name, value] : object.object()) names.push_back(name);
  return names;
}

Json Parse(std::string_view text) {
  auto json = ParseJson(text, RepeatedNames::kRefuse);
  EXPECT_TRUE(json.ok()) << text;
  return json.ok() ? std::move(json).value() : Json();
}

Json BodyOf(const Reply& reply) {
  EXPECT_EQ(reply.Header("content-type"), "application/json");
  return Parse(reply.body);
}

std::vector<Event> ReadSse(std::string_view body, int* comments) {
  std::vector<Event> events;
  while (!body.empty()) {
    const size_t end = body.find("\n\n");
    EXPECT_NE(end, body.npos) << "an event without an end: " << body;
    if (end == body.npos) break;
    std::string_view lines = body.substr(0, end);
    body.remove_prefix(end + 2);
    if (lines.starts_with(':')) {
      if (comments != nullptr) ++*comments;
      continue;
    }
    Event event;
    if (lines.starts_with("event: ")) {
      const size_t line = std::min(lines.find('\n'), lines.size() - 1);
      event.name = lines.substr(7, line - 7);
      lines.remove_prefix(line + 1);
    }
    EXPECT_TRUE(lines.starts_with("data: ") && lines.find('\n') == lines.npos) << lines;
    event.data = lines.substr(std::min<size_t>(6, lines.size()));
    events.push_back(std::move(event));
  }
  return events;
}

std::string Answer::Show() const {
  std::string out =
      fmt::format("{}[{}] content [{}] end {} {} usage {}+{}/{}/{}",
                  has_reasoning ? "reasoning " : "none ", reasoning, content, end, stop_sequence,
                  prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens);
  for (const Call& call : calls) out += fmt::format(" call {} {}", call.name, call.arguments);
  return out;
}

namespace {

bool IsStream(const Reply& reply) {
  if (reply.Header("content-type") == "application/json") return false;
  EXPECT_EQ(reply.Header("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(reply.Header("cache-control"), "no-cache");
  EXPECT_EQ(reply.Header("x-accel-buffering"), "no");
  return true;
}

void ReadChatUsage(const Json& usage, Answer& answer) {
  answer.prompt_tokens = IntAt(usage, "prompt_tokens");
  answer.completion_tokens = IntAt(usage, "completion_tokens");
  answer.reasoning_tokens = IntAt(usage, "completion_tokens_details.reasoning_tokens");
  answer.cached_tokens = IntAt(usage, "prompt_cache_hit_tokens");
  EXPECT_EQ(IntAt(usage, "total_tokens"), answer.prompt_tokens + answer.completion_tokens);
  EXPECT_EQ(IntAt(usage, "prompt_tokens_details.cached_tokens"), answer.cached_tokens);
  EXPECT_EQ(IntAt(usage, "prompt_cache_miss_tokens"), answer.prompt_tokens - answer.cached_tokens);
  EXPECT_EQ(answer.cached_tokens % 128, 0);
}

void AddLogprobs(const Json& logprobs, Answer& answer) {
  if (logprobs.is_null()) return;
  const Json content = At(logprobs, "content");
  for (const Json& entry : content.array()) answer.logprobs.push_back(entry);
  const Json reasoning = At(logprobs, "reasoning_content");
  if (!reasoning.is_null())
    for (const Json& entry : reasoning.array()) answer.reasoning_logprobs.push_back(entry);
}

Call ReadCall(const Json& call) {
  EXPECT_EQ(TextAt(call, "type"), "function");
  return {TextAt(call, "id"), TextAt(call, "function.name"), TextAt(call, "function.arguments")};
}

std::vector<Answer> ReadChatBody(const Json& body) {
  EXPECT_EQ(TextAt(body, "object"), "chat.completion");
  EXPECT_GT(IntAt(body, "created"), 1700000000);
  EXPECT_TRUE(TextAt(body, "system_fingerprint").starts_with("fp_"));
  std::vector<Answer> answers;
  const Json choices = At(body, "choices");
  for (const Json& choice : choices.array()) {
    Answer answer;
    answer.id = TextAt(body, "id");
    answer.model = TextAt(body, "model");
    EXPECT_EQ(IntAt(choice, "index"), std::ssize(answers));
    const Json message = At(choice, "message");
    EXPECT_EQ(TextAt(message, "role"), "assistant");
    answer.content = TextAt(message, "content");
    answer.has_reasoning = message.Find("reasoning_content") != nullptr;
    if (answer.has_reasoning) answer.reasoning = TextAt(message, "reasoning_content");
    if (const Json* calls = message.Find("tool_calls"); calls != nullptr) {
      EXPECT_FALSE(calls->array().empty());
      for (const Json& call : calls->array()) {
        EXPECT_EQ(IntAt(call, "index"), std::ssize(answer.calls));
        answer.calls.push_back(ReadCall(call));
      }
    }
    EXPECT_NE(choice.Find("logprobs"), nullptr);
    AddLogprobs(At(choice, "logprobs"), answer);
    answer.end = TextAt(choice, "finish_reason");
    ReadChatUsage(At(body, "usage"), answer);
    answers.push_back(std::move(answer));
  }
  return answers;
}

// The chunks of a stream, one by one.
class ChatChunks {
 public:
  void Add(const Json& chunk, bool is_last) {
    SCOPED_TRACE(WriteJson(chunk));
    EXPECT_EQ(TextAt(chunk, "object"), "chat.completion.chunk");
    const std::string head =
        fmt::format("{} {} {} {}", TextAt(chunk, "id"), IntAt(chunk, "created"),
                    TextAt(chunk, "model"), TextAt(chunk, "system_fingerprint"));
    if (head_.empty()) head_ = head;
    EXPECT_EQ(head, head_);
    ASSERT_EQ(At(chunk, "choices").array().size(), 1u);
    const Json choice = At(chunk, "choices.0");
    const auto index = static_cast<size_t>(IntAt(choice, "index"));
    const bool is_first = index >= answers_.size() || answers_[index].id.empty();
    if (index >= answers_.size()) answers_.resize(index + 1);
    Answer& answer = answers_[index];
    answer.id = TextAt(chunk, "id");
    answer.model = TextAt(chunk, "model");
    EXPECT_EQ(answer.end, "") << "a chunk after the choice ended";
    EXPECT_EQ(Names(choice),
              (std::vector<std::string>{"index", "delta", "logprobs", "finish_reason"}));
    is_first ? AddFirst(At(choice, "delta"), answer) : AddDelta(choice, answer);
    if (const Json finish = At(choice, "finish_reason"); !finish.is_null())
      answer.end = finish.string();
    AddLogprobs(At(choice, "logprobs"), answer);
    const Json* usage = chunk.Find("usage");
    if (is_last) {
      EXPECT_TRUE(usage != nullptr && usage->is_object());
      EXPECT_NE(answer.end, "");
      if (usage != nullptr)
        for (Answer& each : answers_) ReadChatUsage(*usage, each);
    } else {
      EXPECT_TRUE(usage == nullptr || usage->is_null());
      null_usages_ += usage != nullptr;
    }
    ++chunks_;
  }

  std::vector<Answer> Take() {
    // Told on every chunk but the last or on none.
    EXPECT_TRUE(null_usages_ == 0 || null_usages_ == chunks_ - 1);
    return std::move(answers_);
  }

 private:
  static void AddFirst(const Json& delta, Answer& answer) {
    answer.has_reasoning = delta.Find("reasoning_content") != nullptr;
    EXPECT_EQ(WriteJson(delta),
              answer.has_reasoning ? R"({"role":"assistant","content":null,"reasoning_content":""})"
                                   : R"({"role":"assistant","content":""})");
  }

  static void AddDelta(const Json& choice, Answer& answer) {
    const Json delta = At(choice, "delta");
    if (const Json* calls = delta.Find("tool_calls"); calls != nullptr) {
      EXPECT_EQ(Names(delta), std::vector<std::string>{"tool_calls"});
      ASSERT_EQ(calls->array().size(), 1u);
      const Json& call = calls->array()[0];
      if (call.Find("id") != nullptr) {
        EXPECT_EQ(IntAt(call, "index"), std::ssize(answer.calls));
        answer.calls.push_back(ReadCall(call));
        EXPECT_EQ(answer.calls.back().arguments, "");
        return;
      }
      EXPECT_EQ(Names(call), (std::vector<std::string>{"index", "function"}));
      ASSERT_EQ(IntAt(call, "index"), std::ssize(answer.calls) - 1);
      answer.calls.back().arguments += TextAt(call, "function.arguments");
      return;
    }
    const Json reasoning = At(delta, "reasoning_content");
    if (reasoning.is_string()) {
      EXPECT_TRUE(At(delta, "content").is_null() && delta.Find("content") != nullptr);
      answer.reasoning += reasoning.string();
      return;
    }
    EXPECT_EQ(delta.Find("reasoning_content") != nullptr, answer.has_reasoning);
    answer.content += TextAt(delta, "content");
    if (!At(choice, "finish_reason").is_null()) {
      EXPECT_EQ(TextAt(delta, "content"), "");
    }
  }

  std::string head_;
  std::vector<Answer> answers_;
  int64_t chunks_ = 0, null_usages_ = 0;
};

Answer ReadCompletionChoice(const Json& body) {
  EXPECT_EQ(TextAt(body, "object"), "text_completion");
  EXPECT_EQ(At(body, "choices").array().size(), 1u);
  Answer answer;
  answer.id = TextAt(body, "id");
  answer.model = TextAt(body, "model");
  answer.content = TextAt(body, "choices.0.text");
  const Json logprobs = At(body, "choices.0.logprobs");
  if (!logprobs.is_null()) answer.logprobs.push_back(logprobs);
  const Json finish = At(body, "choices.0.finish_reason");
  if (!finish.is_null()) answer.end = finish.string();
  return answer;
}

}  // namespace

std::vector<Answer> ReadChat(const Reply& reply) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  if (reply.status != 200) return {{}};
  if (!IsStream(reply)) return ReadChatBody(BodyOf(reply));
  ChatChunks chunks;
  const std::vector<Event> events = ReadSse(reply.body);
  EXPECT_GE(events.size(), 3u) << reply.body;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_EQ(events[i].name, "");
    chunks.Add(Parse(events[i].data), i + 2 == events.size());
  }
  EXPECT_EQ(events.back().data, "[DONE]");
  return chunks.Take();
}

Answer ReadCompletion(const Reply& reply) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  if (reply.status != 200) return {};
  if (!IsStream(reply)) {
    const Json body = BodyOf(reply);
    Answer answer = ReadCompletionChoice(body);
    ReadChatUsage(At(body, "usage"), answer);
    return answer;
  }
  const std::vector<Event> events = ReadSse(reply.body);
  EXPECT_GE(events.size(), 2u) << reply.body;
  Answer answer;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    const Json chunk = Parse(events[i].data);
    Answer piece = ReadCompletionChoice(chunk);
    EXPECT_TRUE(i == 0 || piece.id == answer.id);
    EXPECT_EQ(answer.end, "");
    answer.id = piece.id;
    answer.model = piece.model;
    answer.content += piece.content;
    answer.end = piece.end;
    for (Json& logprobs : piece.logprobs) answer.logprobs.push_back(std::move(logprobs));
    if (i + 2 == events.size()) {
      ReadChatUsage(At(chunk, "usage"), answer);
    } else {
      EXPECT_TRUE(At(chunk, "usage").is_null());
    }
  }
  EXPECT_EQ(events.back().data, "[DONE]");
  return answer;
}

}  // namespace fathom::conformance
