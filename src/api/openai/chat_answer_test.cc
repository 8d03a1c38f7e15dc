// The layout of Chat Completions answers, and that a stream and a body say the same however the
// model's text was cut.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api/answer.h"
#include "api/answer_testing.h"
#include "api/openai/shared_answer.h"

namespace fathom::api {
namespace {

using Kind = chat::Delta::Kind;

Request ChatRequest(bool thinks, bool stream) {
  Request request;
  request.dialect = Dialect::kChat;
  request.model = "deepseek-v4-flash";
  request.stream = stream;
  if (!thinks) request.encode.thinking_mode = chat::ThinkingMode::kChat;
  return request;
}

// The chunks of a stream, after a look at what all of them share.
std::vector<Json> ReadChunks(std::string_view sse, bool include_usage = false) {
  std::vector<Json> chunks;
  while (!sse.empty()) {
    const size_t end = sse.find("\n\n");
    EXPECT_TRUE(sse.starts_with("data: ") && end != sse.npos) << sse;
    if (end == sse.npos) return chunks;
    const std::string_view data = sse.substr(6, end - 6);
    sse.remove_prefix(end + 2);
    if (data == "[DONE]") {
      EXPECT_EQ(sse, "") << "after [DONE]";
      return chunks;
    }
    auto chunk = ParseJson(data);
    EXPECT_TRUE(chunk.ok()) << data;
    if (!chunk.ok()) return chunks;
    chunks.push_back(std::move(chunk).value());
    const Json& json = chunks.back();
    EXPECT_EQ(At(json, "id"), Json("01234567-89ab-cdef-0123-456789abcdef"));
    EXPECT_EQ(At(json, "object"), Json("chat.completion.chunk"));
    EXPECT_EQ(At(json, "created"), Json(int64_t{1763913000}));
    EXPECT_EQ(At(json, "model"), Json("deepseek-v4-flash"));
    EXPECT_EQ(At(json, "system_fingerprint"), Json("fp_test"));
    EXPECT_EQ(At(json, "choices").array().size(), 1u);
    EXPECT_NE(json.Find("choices")->array()[0].Find("logprobs"), nullptr);
    EXPECT_NE(json.Find("choices")->array()[0].Find("finish_reason"), nullptr);
    const bool is_last = !At(json, "choices.0.finish_reason").is_null();
    EXPECT_EQ(json.Find("usage") != nullptr, is_last || include_usage);
    EXPECT_EQ(At(json, "usage").is_null(), !is_last);
  }
  ADD_FAILURE() << "no [DONE]";
  return chunks;
}

// What a client makes of a message, a body's or a stream's.
struct Seen {
  std::string reasoning, content, calls, finish_reason, usage;
  bool operator==(const Seen&) const = default;
};

std::string Show(const Seen& seen) {
  return fmt::format("[{}] [{}] [{}] {} {}", seen.reasoning, seen.content, seen.calls,
                     seen.finish_reason, seen.usage);
}

void ShowCall(Seen& seen, const Json& id, const Json& name, const std::string& arguments) {
  seen.calls += fmt::format("{} {} {}\n", id.string(), name.string(), arguments);
}

Seen SeenInStream(const std::vector<Json>& chunks) {
  Seen seen;
  std::vector<std::array<std::string, 3>> calls;  // id, name, arguments
  for (size_t i = 0; i < chunks.size(); ++i) {
    const Json delta = At(chunks[i], "choices.0.delta");
    EXPECT_EQ(delta.Find("role") != nullptr, i == 0);
    const Json content = At(delta, "content");
    const Json reasoning = At(delta, "reasoning_content");
    if (content.is_string()) seen.content += content.string();
    if (reasoning.is_string()) seen.reasoning += reasoning.string();
    if (delta.Find("tool_calls") != nullptr) {
      const Json call = At(delta, "tool_calls.0");
      EXPECT_EQ(At(delta, "tool_calls").array().size(), 1u);
      const auto index = static_cast<size_t>(At(call, "index").ToInt64().value());
      if (call.Find("id") != nullptr) {
        EXPECT_EQ(index, calls.size());
        EXPECT_EQ(At(call, "type"), Json("function"));
        EXPECT_EQ(At(call, "function.arguments"), Json(""));
        calls.push_back({At(call, "id").string(), At(call, "function.name").string(), ""});
      } else {
        EXPECT_EQ(call.Find("type"), nullptr);
        EXPECT_EQ(call.Find("function")->Find("name"), nullptr);
        calls.at(index)[2] += At(call, "function.arguments").string();
      }
    }
    const Json finish_reason = At(chunks[i], "choices.0.finish_reason");
    EXPECT_EQ(finish_reason.is_string(), i + 1 == chunks.size());
    if (finish_reason.is_string()) seen.finish_reason = finish_reason.string();
  }
  for (const auto& [id, name, arguments] : calls) ShowCall(seen, id, name, arguments);
  seen.usage = WriteJson(At(chunks.back(), "usage"));
  return seen;
}

Seen SeenInBody(const std::string& body) {
  Seen seen;
  const auto parsed = ParseJson(body);
  EXPECT_TRUE(parsed.ok()) << body;
  if (!parsed.ok()) return seen;
  const Json& json = parsed.value();
  EXPECT_EQ(At(json, "id"), Json("01234567-89ab-cdef-0123-456789abcdef"));
  EXPECT_EQ(At(json, "object"), Json("chat.completion"));
  EXPECT_EQ(At(json, "choices.0.message.role"), Json("assistant"));
  seen.content = At(json, "choices.0.message.content").string();
  const Json reasoning = At(json, "choices.0.message.reasoning_content");
  if (reasoning.is_string()) seen.reasoning = reasoning.string();
  const Json calls = At(json, "choices.0.message.tool_calls");
  if (calls.is_array()) {
    EXPECT_FALSE(calls.array().empty());
    for (size_t i = 0; i < calls.array().size(); ++i) {
      const Json& call = calls.array()[i];
      EXPECT_EQ(At(call, "index"), Json(static_cast<int64_t>(i)));
      EXPECT_EQ(At(call, "type"), Json("function"));
      ShowCall(seen, At(call, "id"), At(call, "function.name"),
               At(call, "function.arguments").string());
    }
  }
  seen.finish_reason = At(json, "choices.0.finish_reason").string();
  seen.usage = WriteJson(At(json, "usage"));
  return seen;
}

TEST(ChatAnswer, EveryCutGivesTheSameMessage) {
  for (const bool thinks : {true, false}) {
    for (Completion completion : TestCompletions()) {
      if (!thinks && completion.text.find("</think>") != std::string::npos)
        completion.text.erase(0, completion.text.find("</think>") + 8);
      const Request whole = ChatRequest(thinks, false);
      const auto body_writer = MakeAnswerWriter(whole, TestIdentity());
      const Seen expected =
          SeenInBody(WriteAnswer(*body_writer, whole, completion, completion.text.size() + 1));
      const chat::ParsedMessage message =
          chat::ParseCompletion(completion.text, {.starts_in_reasoning = thinks}, completion.stop);
      EXPECT_EQ(expected.reasoning, message.reasoning_content);
      EXPECT_EQ(expected.content, message.content);
      EXPECT_EQ(body_writer->CallIds(0).size(), message.tool_calls.size());
      for (size_t bytes = 1; bytes <= completion.text.size() + 1; ++bytes) {
        for (const bool stream : {true, false}) {
          const Request request = ChatRequest(thinks, stream);
          const auto writer = MakeAnswerWriter(request, TestIdentity());
          const std::string sent = WriteAnswer(*writer, request, completion, bytes);
          const Seen seen = stream ? SeenInStream(ReadChunks(sent)) : SeenInBody(sent);
          ASSERT_EQ(seen, expected) << Show(seen) << "\n" << Show(expected) << "\n" << bytes;
          EXPECT_EQ(writer->CallIds(0), body_writer->CallIds(0));
          // Markup never shows: what the completions have of it is whole blocks.
          EXPECT_EQ(seen.content.find("｜DSML｜tool_calls"), std::string::npos);
          EXPECT_EQ(seen.content.find("｜DSML｜invoke"), std::string::npos);
          EXPECT_EQ(seen.reasoning.find("｜DSML｜"), std::string::npos);
        }
      }
    }
  }
}

Part Of(Kind kind, std::string text, int64_t call_index = -1) {
  return {.delta = {.kind = kind, .text = std::move(text), .call_index = call_index}};
}

// A stream's chunks without what all of them share.
std::vector<std::string> Tails(const std::string& sse) {
  constexpr std::string_view kHead =
      R"(data: {"id":"01234567-89ab-cdef-0123-456789abcdef",)"
      R"("object":"chat.completion.chunk","created":1763913000,"model":"deepseek-v4-flash",)"
      R"("system_fingerprint":"fp_test","choices":[)";
  std::vector<std::string> tails;
  std::string_view rest = sse;
  while (!rest.empty()) {
    const size_t end = rest.find("\n\n");
    std::string_view event = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    if (event.starts_with(kHead)) event.remove_prefix(kHead.size());
    tails.emplace_back(event);
  }
  return tails;
}

const std::string kUsageText =
    R"("usage":{"prompt_tokens":300,"completion_tokens":29,"total_tokens":329,)"
    R"("prompt_tokens_details":{"cached_tokens":128},)"
    R"("completion_tokens_details":{"reasoning_tokens":7},"prompt_cache_hit_tokens":128,)"
    R"("prompt_cache_miss_tokens":172})";

TEST(ChatAnswer, ChunksOfAStreamWhileThinking) {
  const Request request = ChatRequest(true, true);
  const auto writer = MakeAnswerWriter(request, TestIdentity());
  std::string sent = writer->Begin({});
  sent += writer->Add(0, Of(Kind::kReasoning, "hm\n"));
  sent += writer->Add(0, Of(Kind::kContent, "\"é\""));
  sent += writer->Add(0, Of(Kind::kToolCallStart, "f", 0));
  sent += writer->Add(0, Of(Kind::kToolCallArguments, "{\"a\": 1}", 0));
  sent += writer->EndChoice(0, {.reason = End::Reason::kToolCalls}, kTestUsage);
  sent += writer->Finish(kTestUsage);
  const std::string& id = writer->CallIds(0).at(0);
  EXPECT_TRUE(id.starts_with("call_00_"));
  EXPECT_EQ(id.size(), 32u);
  const std::vector<std::string> expected = {
      R"({"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":""},)"
      R"("logprobs":null,"finish_reason":null}]})",
      R"({"index":0,"delta":{"content":null,"reasoning_content":"hm\n"},"logprobs":null,)"
      R"("finish_reason":null}]})",
      R"({"index":0,"delta":{"content":"\"é\"","reasoning_content":null},"logprobs":null,)"
      R"("finish_reason":null}]})",
      R"({"index":0,"delta":{"tool_calls":[{"index":0,"id":")" + id +
          R"(","type":"function","function":{"name":"f","arguments":""}}]},"logprobs":null,)"
          R"("finish_reason":null}]})",
      R"({"index":0,"delta":{"tool_calls":[{"index":0,)"
      R"("function":{"arguments":"{\"a\": 1}"}}]},"logprobs":null,"finish_reason":null}]})",
      R"({"index":0,"delta":{"content":"","reasoning_content":null},"logprobs":null,)"
      R"("finish_reason":"tool_calls"}],)" +
          kUsageText + "}",
      "data: [DONE]",
  };
  EXPECT_EQ(Tails(sent), expected);
}

TEST(ChatAnswer, ChunksOfAStreamWithoutThinking) {
  Request request = ChatRequest(false, true);
  request.include_usage = true;
  const auto writer = MakeAnswerWriter(request, TestIdentity());
  std::string sent = writer->Begin({});
  sent += writer->Add(0, Of(Kind::kContent, "x"));
  sent += writer->EndChoice(0, {.reason = End::Reason::kStop}, kTestUsage);
  sent += writer->Finish(kTestUsage);
  const std::vector<std::string> expected = {
      R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
      R"("finish_reason":null}],"usage":null})",
      R"({"index":0,"delta":{"content":"x"},"logprobs":null,"finish_reason":null}],"usage":null})",
      R"({"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop"}],)" +
          kUsageText + "}",
      "data: [DONE]",
  };
  EXPECT_EQ(Tails(sent), expected);
}

TEST(ChatAnswer, Bodies) {
  const auto body = [](bool thinks, const std::vector<Part>& parts, End::Reason reason) {
    const Request request = ChatRequest(thinks, false);
    const auto writer = MakeAnswerWriter(request, TestIdentity());
    EXPECT_EQ(writer->Begin({}), "");
    for (const Part& part : parts) EXPECT_EQ(writer->Add(0, part), "");
    EXPECT_EQ(writer->EndChoice(0, {.reason = reason}, kTestUsage), "");
    const std::string sent = writer->Finish(kTestUsage);
    const size_t choices = sent.find("\"choices\":");
    return sent.substr(choices, sent.find(",\"usage\"") - choices);
  };
  EXPECT_EQ(body(true, {}, End::Reason::kStop),
            R"("choices":[{"index":0,"message":{"role":"assistant","content":"",)"
            R"("reasoning_content":""},"logprobs":null,"finish_reason":"stop"}])");
  EXPECT_EQ(body(false, {Of(Kind::kContent, "a"), Of(Kind::kContent, "b")}, End::Reason::kLength),
            R"("choices":[{"index":0,"message":{"role":"assistant","content":"ab"},)"
            R"("logprobs":null,"finish_reason":"length"}])");
  const std::string with_calls =
      body(true,
           {Of(Kind::kReasoning, "r"), Of(Kind::kToolCallStart, "f", 0),
            Of(Kind::kToolCallArguments, "{\"a\":", 0), Of(Kind::kToolCallArguments, "1}", 0),
            Of(Kind::kToolCallStart, "g", 1), Of(Kind::kToolCallArguments, "{}", 1)},
           End::Reason::kToolCalls);
  EXPECT_TRUE(
      with_calls.starts_with(R"("choices":[{"index":0,"message":{"role":"assistant","content":"",)"
                             R"("reasoning_content":"r","tool_calls":[{"index":0,"id":"call_00_)"))
      << with_calls;
  EXPECT_TRUE(with_calls.ends_with(
      R"(,"type":"function","function":{"name":"g","arguments":"{}"}}]},"logprobs":null,)"
      R"("finish_reason":"tool_calls"}])"))
      << with_calls;
}

TEST(ChatAnswer, FinishReasons) {
  using Reason = End::Reason;
  const std::vector<std::pair<End, std::string>> cases = {
      {{.reason = Reason::kStop}, "stop"},
      {{.reason = Reason::kStopString, .stop_string = "x"}, "stop"},
      {{.reason = Reason::kLength}, "length"},
      {{.reason = Reason::kContextFull}, "length"},
      {{.reason = Reason::kToolCalls}, "tool_calls"},
      {{.reason = Reason::kToolCalls, .has_partial_call = true}, "length"},
      {{.reason = Reason::kStop, .has_partial_call = true}, "length"},
      {{.reason = Reason::kAborted}, "insufficient_system_resource"},
  };
  for (const auto& [end, expected] : cases) EXPECT_EQ(FinishReasonOf(end), expected);
}

TEST(ChatAnswer, ChoicesAreToldApartByIndex) {
  for (const bool stream : {true, false}) {
    Request request = ChatRequest(false, stream);
    request.generation.n = 3;
    const auto writer = MakeAnswerWriter(request, TestIdentity());
    std::string sent = writer->Begin({});
    for (const int64_t choice : {2, 0, 1, 2}) {
      sent += writer->Add(choice, Of(Kind::kContent, fmt::format("{}", choice)));
      if (choice != 0) continue;
      sent += writer->Add(choice, Of(Kind::kToolCallStart, "f", 0));
    }
    sent += writer->Add(1, Of(Kind::kToolCallStart, "f", 0));
    for (const int64_t choice : {1, 2, 0})
      sent += writer->EndChoice(choice, {.reason = End::Reason::kStop}, {});
    sent += writer->Finish(kTestUsage);
    EXPECT_NE(writer->CallIds(0).at(0), writer->CallIds(1).at(0));
    EXPECT_TRUE(writer->CallIds(1).at(0).starts_with("call_00_"));
    EXPECT_TRUE(writer->CallIds(2).empty());

    std::vector<std::string> texts(3);
    std::vector<int64_t> ended;
    if (stream) {
      size_t with_usage = 0;
      for (const std::string& tail : Tails(sent)) {
        if (tail == "data: [DONE]") continue;
        const Json chunk = ParseJson("{\"choices\":[" + tail).value();
        const int64_t index = At(chunk, "choices.0.index").ToInt64().value();
        const Json content = At(chunk, "choices.0.delta.content");
        if (content.is_string()) texts[static_cast<size_t>(index)] += content.string();
        if (!At(chunk, "choices.0.finish_reason").is_null()) ended.push_back(index);
        with_usage += !At(chunk, "usage").is_null();
      }
      EXPECT_EQ(with_usage, 1u);
      EXPECT_EQ(ended, (std::vector<int64_t>{1, 2, 0}));
    } else {
      const Json json = ParseJson(sent).value();
      for (size_t i = 0; i < 3; ++i)
        texts[i] = At(json, fmt::format("choices.{}.message.content", i)).string();
    }
    EXPECT_EQ(texts, (std::vector<std::string>{"0", "1", "22"}));
  }
}

LogprobEntry Entry(const std::string& text, double logprob) {
  LogprobEntry entry;
  entry.chosen = {.text = text, .bytes = text, .logprob = logprob};
  return entry;
}

TEST(ChatAnswer, Logprobs) {
  LogprobEntry first = Entry("\xC3", 0.0);
  first.chosen.text = "\uFFFD";
  first.top = {{.text = "a", .bytes = "a", .logprob = -0.0},
               {.text = "<｜｜end▁of▁sentence｜｜>",
                .bytes = "<>",
                .logprob = -std::numeric_limits<double>::infinity()}};
  const Part reasoning = {.delta = {.kind = Kind::kReasoning, .text = "r"},
                          .logprobs = {Entry("r", -1.5)}};
  const Part content = {.delta = {.kind = Kind::kContent, .text = "é"},
                        .logprobs = {first, Entry("\xA9", -12345)}};
  const std::string reasoning_json =
      R"([{"token":"r","logprob":-1.5,"bytes":[114],"top_logprobs":[]}])";
  const std::string content_json =
      "[{\"token\":\"\uFFFD\",\"logprob\":0.0,\"bytes\":[195],\"top_logprobs\":[{\"token\":\"a\","
      "\"logprob\":0.0,\"bytes\":[97]},{\"token\":\"<｜｜end▁of▁sentence｜｜>\",\"logprob\":-9999."
      "0,"
      "\"bytes\":[60,62]}]},{\"token\":\"\xA9\",\"logprob\":-9999.0,\"bytes\":[169],"
      "\"top_logprobs\":[]}]";
  for (const bool stream : {true, false}) {
    Request request = ChatRequest(true, stream);
    request.generation.logprobs = 2;
    const auto writer = MakeAnswerWriter(request, TestIdentity());
    std::string sent = writer->Begin({});
    sent += writer->Add(0, reasoning);
    sent += writer->Add(0, content);
    sent += writer->EndChoice(0, {}, {});
    sent += writer->Finish({});
    if (stream) {
      EXPECT_NE(sent.find("\"logprobs\":{\"content\":[],\"reasoning_content\":" + reasoning_json +
                          "},\"finish_reason\":null"),
                std::string::npos)
          << sent;
      EXPECT_NE(sent.find("\"logprobs\":{\"content\":" + content_json + "},\"finish_reason\":null"),
                std::string::npos)
          << sent;
    } else {
      EXPECT_NE(sent.find("\"logprobs\":{\"content\":" + content_json +
                          ",\"reasoning_content\":" + reasoning_json + "},"),
                std::string::npos)
          << sent;
    }
  }
}

TEST(ChatAnswer, Failures) {
  const ApiError error = ServerFailed("out of luck");
  const std::string body =
      R"({"error":{"message":"out of luck","type":"server_error","param":null,)"
      R"("code":"internal_error"}})";
  EXPECT_EQ(MakeAnswerWriter(ChatRequest(true, true), TestIdentity())->Fail(error),
            "data: " + body + "\n\ndata: [DONE]\n\n");
  EXPECT_EQ(MakeAnswerWriter(ChatRequest(true, false), TestIdentity())->Fail(error), body);
  EXPECT_EQ(MakeAnswerWriter(ChatRequest(true, true), TestIdentity())->KeepAlive(),
            ": keep-alive\n\n");
  EXPECT_EQ(MakeAnswerWriter(ChatRequest(true, false), TestIdentity())->KeepAlive(), "\n");
}

}  // namespace
}  // namespace fathom::api
