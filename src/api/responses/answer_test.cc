// The events of a stream: their order and numbers, that they add up to the items, that the items
// of the last event are those that were done, and that all this is one for every cut of the
// completion. Requests are request_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/answer_makers.h"
#include "api/answer_testing.h"
#include "api/responses/custom_input.h"

namespace fathom::api {
namespace {

Request TestRequest(bool stream) {
  Request request;
  request.dialect = Dialect::kResponses;
  request.model = "deepseek-v4-flash";
  request.stream = stream;
  request.echoed = Json::Object{{"temperature", 1}, {"instructions", nullptr}};
  const auto add_tool = [&](const char* name, const char* schema) -> Tool& {
    const Json parameters = ParseJson(schema).value();
    Tool tool;
    tool.name = name;
    tool.function = Json::Object{{"name", name}, {"parameters", parameters}};
    tool.parameters = parameters;
    request.tools.push_back(std::move(tool));
    return request.tools.back();
  };
  add_tool("f", R"({"type":"object","properties":{"city":{},"days":{}}})");
  add_tool("g", R"({"type":"object"})").namespace_name = "agents";
  add_tool("apply_patch", R"({"type":"object","properties":{"input":{}}})").is_custom = true;
  return request;
}

// Follows the events of one stream and checks each against those before it.
class Follower {
 public:
  void Take(const SseEvent& event) {
    EXPECT_EQ(At(event.data, "sequence_number"), Json(sequence_++)) << event.name;
    const std::string name = event.name.substr(std::string("response.").size());
    if (name == "created" || name == "in_progress") {
      EXPECT_EQ(At(event.data, "response.status"), Json("in_progress"));
      EXPECT_EQ(At(event.data, "response.output"), Json(Json::Array{}));
    } else if (name == "output_item.added") {
      EXPECT_FALSE(is_open_);
      is_open_ = true;
      item_ = At(event.data, "item");
      text_.clear();
      EXPECT_EQ(At(item_, "status"), Json("in_progress"));
      EXPECT_EQ(At(event.data, "output_index"), Json(std::ssize(items_)));
      TakeStart();
    } else if (name == "output_item.done") {
      EXPECT_EQ(step_, "part done");
      is_open_ = false;
      const Json done = At(event.data, "item");
      EXPECT_EQ(At(event.data, "output_index"), Json(std::ssize(items_)));
      EXPECT_EQ(At(done, "id"), At(item_, "id"));
      EXPECT_EQ(At(done, Member()), Json(text_));
      items_.push_back(done);
    } else if (name == "completed" || name == "incomplete" || name == "failed") {
      EXPECT_FALSE(is_open_);
      final_ = At(event.data, "response");
      EXPECT_EQ(At(final_, "status"), Json(name));
      EXPECT_EQ(At(final_, "output"), Json(items_));
    } else {
      TakeInside(name, event.data);
    }
  }
  const Json& final_response() const { return final_; }

 private:
  bool HasPart() const {
    return At(item_, "type") == Json("reasoning") || At(item_, "type") == Json("message");
  }
  // Where the text of an item stands.
  std::string Member() const {
    if (HasPart()) return "content.0.text";
    return At(item_, "type") == Json("function_call") ? "arguments" : "input";
  }
  void TakeStart() {
    if (HasPart()) {
      EXPECT_EQ(At(item_, "content"), Json(Json::Array{}));
      step_ = "item added";
    } else {
      EXPECT_EQ(At(item_, Member()), Json(""));
      EXPECT_FALSE(At(item_, "call_id").string().empty());
      step_ = "part added";
    }
  }
  void TakeInside(const std::string& name, const Json& data) {
    EXPECT_TRUE(is_open_) << name;
    EXPECT_EQ(At(data, "item_id"), At(item_, "id"));
    EXPECT_EQ(At(data, "output_index"), Json(std::ssize(items_)));
    EXPECT_EQ(At(data, "content_index"), HasPart() ? Json(0) : Json());
    const bool is_delta = name.ends_with(".delta");
    if (name == "content_part.added") {
      EXPECT_EQ(std::exchange(step_, "part added"), "item added");
      EXPECT_EQ(At(data, "part.text"), Json(""));
      return;
    }
    if (name == "content_part.done") {
      EXPECT_EQ(std::exchange(step_, "part done"), "text done");
      EXPECT_EQ(At(data, "part.text"), Json(text_));
      return;
    }
    const std::string word = name.substr(0, name.find('.'));
    const std::string type = At(item_, "type").string();
    EXPECT_EQ(word, type == "reasoning"       ? "reasoning_text"
                    : type == "message"       ? "output_text"
                    : type == "function_call" ? "function_call_arguments"
                                              : "custom_tool_call_input");
    EXPECT_EQ(step_, "part added");
    EXPECT_EQ(type == "message", At(data, "logprobs").is_array());
    if (is_delta) {
      text_ += At(data, "delta").string();
      return;
    }
    step_ = HasPart() ? "text done" : "part done";
    EXPECT_EQ(At(data, HasPart() ? "text" : Member()), Json(text_));
    EXPECT_EQ(type == "function_call", At(data, "name").is_string());
  }

  int64_t sequence_ = 0;
  bool is_open_ = false;
  std::string step_;
  Json item_;
  std::string text_;
  Json::Array items_;
  Json final_;
};

Json Follow(std::string_view sse) {
  Follower follower;
  const std::vector<SseEvent> events = ReadEvents(sse);
  EXPECT_GE(events.size(), 3u);
  EXPECT_EQ(events[0].name, "response.created");
  EXPECT_EQ(events[1].name, "response.in_progress");
  for (const SseEvent& event : events) follower.Take(event);
  return follower.final_response();
}

Json WholeBody(const Completion& completion) {
  const Request request = TestRequest(/*stream=*/false);
  const auto writer = MakeResponsesWriter(request, TestIdentity());
  const auto body = ParseJson(WriteAnswer(*writer, request, completion, 1));
  EXPECT_TRUE(body.ok());
  return body.value();
}

TEST(ResponsesWriter, StreamsAddUpToTheBodyForEveryCut) {
  for (const Completion& completion : TestCompletions()) {
    SCOPED_TRACE(completion.text);
    const Json whole = WholeBody(completion);
    const Request request = TestRequest(/*stream=*/true);
    const auto expect_same = [&](size_t piece_bytes, size_t first_bytes) {
      const auto writer = MakeResponsesWriter(request, TestIdentity());
      const std::string sse = WriteAnswer(*writer, request, completion, piece_bytes, first_bytes);
      EXPECT_EQ(WriteJson(Follow(sse)), WriteJson(whole));
    };
    for (const size_t piece_bytes : {1, 2, 3, 5, 7, 11}) expect_same(piece_bytes, 0);
    for (size_t cut = 1; cut <= completion.text.size(); ++cut)
      expect_same(completion.text.size(), cut);
  }
}

TEST(ResponsesWriter, BodyAsDocumented) {
  const Json body = WholeBody(TestCompletions()[8]);
  const auto id = [&](const char* path) { return At(body, path).string(); };
  EXPECT_THAT(id("output.0.id"), testing::MatchesRegex("rs_[0-9A-Za-z]+"));
  EXPECT_THAT(id("output.1.id"), testing::MatchesRegex("msg_[0-9A-Za-z]+"));
  EXPECT_THAT(id("output.2.id"), testing::MatchesRegex("fc_[0-9A-Za-z]+"));
  EXPECT_THAT(id("output.2.call_id"), testing::MatchesRegex("call_00_[0-9A-Za-z]+"));
  EXPECT_THAT(id("output.3.call_id"), testing::MatchesRegex("call_01_[0-9A-Za-z]+"));
  EXPECT_EQ(id("output.3.call_id").size(), std::string("call_01_").size() + 24);
  EXPECT_EQ(
      WriteJson(body),
      R"({"id":"resp_0123456789abcdef0123456789abcdef","object":"response",)"
      R"("created_at":1763913000,"status":"completed","background":false,)"
      R"("completed_at":1763913005,"error":null,"incomplete_details":null,)"
      R"("model":"deepseek-v4-flash","output":[{"type":"reasoning","id":")" +
          id("output.0.id") +
          R"(","status":"completed","summary":[],"content":[{"type":"reasoning_text",)"
          R"("text":"thought"}],"encrypted_content":null},{"type":"message","id":")" +
          id("output.1.id") +
          R"(","status":"completed","role":"assistant","content":[{"type":"output_text",)"
          R"("text":"before","annotations":[],"logprobs":[]}]},{"type":"function_call","id":")" +
          id("output.2.id") + R"(","call_id":")" + id("output.2.call_id") +
          R"(","name":"f",)"
          R"("arguments":"{\"city\": \"Zürich \\\"x\\\"\\n\\\\\", \"days\": [1, 2.50]}",)"
          R"("status":"completed"},{"type":"function_call","id":")" +
          id("output.3.id") + R"(","call_id":")" + id("output.3.call_id") +
          R"(","name":"g","namespace":"agents","arguments":"{}","status":"completed"}],)"
          R"("usage":{"input_tokens":300,"input_tokens_details":{"cached_tokens":128},)"
          R"("output_tokens":29,"output_tokens_details":{"reasoning_tokens":7},)"
          R"("total_tokens":329},"temperature":1,"instructions":null})");
}

TEST(ResponsesWriter, EventsInTheirOrder) {
  const Request request = TestRequest(/*stream=*/true);
  const auto writer = MakeResponsesWriter(request, TestIdentity());
  std::vector<std::string> names;
  for (const SseEvent& event :
       ReadEvents(WriteAnswer(*writer, request, TestCompletions()[10], 1000)))
    names.push_back(event.name.substr(std::string("response.").size()));
  EXPECT_THAT(names, testing::ElementsAre(
                         "created", "in_progress", "output_item.added", "content_part.added",
                         "reasoning_text.delta", "reasoning_text.done", "content_part.done",
                         "output_item.done", "output_item.added", "custom_tool_call_input.delta",
                         "custom_tool_call_input.done", "output_item.done", "output_item.added",
                         "function_call_arguments.delta", "function_call_arguments.done",
                         "output_item.done", "completed"));
}

TEST(ResponsesWriter, CustomCallCarriesItsInputDecoded) {
  const Json body = WholeBody(TestCompletions()[10]);
  EXPECT_EQ(At(body, "output.1.type"), Json("custom_tool_call"));
  EXPECT_EQ(At(body, "output.1.name"), Json("apply_patch"));
  EXPECT_THAT(At(body, "output.1.id").string(), testing::StartsWith("ctc_"));
  EXPECT_EQ(At(body, "output.1.input"), Json("*** Begin \"Patch\"\n\t😀\\n\x01 end"));
  EXPECT_TRUE(At(body, "output.1.arguments").is_null());
}

TEST(ResponsesWriter, CustomInputForEveryCut) {
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"input": "plain"})", "plain"},
      {R"({"input": "a\"b\\c\nd\u0001\u00e9\ud83d\ude00\/"})", "a\"b\\c\nd\x01é😀/"},
      {R"({"input": "x", "more": 1})", "x"},
      {R"({"input": "\ud83d lone"})", "\ufffd lone"},
      {R"({"input": "cut of)", "cut of"},
      {R"({"input": "cut \ud83d\ud)", "cut "},
      {R"({"input": )", ""},
      {R"({)", ""},
      {R"({})", ""},
      {R"({"input":"tight"})", "tight"},
      {R"({"patch": "p", "input": "late"})", "late"},
      {R"({"input": 5})", R"({"input": 5})"},
      {R"({"patch": "p"})", R"({"patch": "p"})"},
  };
  for (const auto& [arguments, expected] : kCases) {
    for (size_t piece_bytes = 1; piece_bytes < 20; ++piece_bytes) {
      CustomInput input;
      std::string out;
      for (std::string_view rest = arguments; !rest.empty();
           rest.remove_prefix(std::min(piece_bytes, rest.size())))
        out += input.Add(rest.substr(0, piece_bytes));
      out += input.Finish();
      EXPECT_EQ(out, expected) << arguments << " in pieces of " << piece_bytes;
    }
  }
}

TEST(ResponsesWriter, EmptyReasoningIsAnItemWhenThinking) {
  const Json body = WholeBody({.text = "</think>a"});
  EXPECT_EQ(At(body, "output.0.type"), Json("reasoning"));
  EXPECT_EQ(At(body, "output.0.content.0.text"), Json(""));
  EXPECT_EQ(At(body, "output.1.type"), Json("message"));
  Request request = TestRequest(/*stream=*/false);
  request.encode.thinking_mode = chat::ThinkingMode::kChat;
  const auto writer = MakeResponsesWriter(request, TestIdentity());
  const auto chat = ParseJson(WriteAnswer(*writer, request, {.text = "a"}, 1));
  EXPECT_EQ(At(chat.value(), "output.0.type"), Json("message"));
}

TEST(ResponsesWriter, Ends) {
  struct Case {
    Completion completion;
    const char* status;
    const char* last_item_status;
    bool has_details;
  };
  const std::vector<Completion> completions = TestCompletions();
  const Case kCases[] = {
      {completions[0], "completed", "completed", false},
      {completions[5], "incomplete", "incomplete", true},   // length
      {completions[6], "incomplete", "incomplete", true},   // window full
      {completions[7], "failed", "incomplete", false},      // aborted
      {completions[8], "completed", "completed", false},    // calls
      {completions[13], "incomplete", "incomplete", true},  // a call cut off
      {completions[16], "incomplete", "completed", true},   // whole call, then the limit
      {completions[18], "completed", "completed", false},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.completion.text);
    const Json body = WholeBody(c.completion);
    EXPECT_EQ(At(body, "status"), Json(c.status));
    EXPECT_EQ(At(At(body, "output").array().back(), "status"), Json(c.last_item_status));
    EXPECT_EQ(At(body, "incomplete_details.reason"),
              c.has_details ? Json("max_output_tokens") : Json());
    EXPECT_EQ(At(body, "error").is_object(), std::string(c.status) == "failed");
    EXPECT_EQ(At(body, "completed_at").is_null(), std::string(c.status) != "completed");
  }
}

TEST(ResponsesWriter, LogprobsWhenAskedFor) {
  for (const bool asks : {false, true}) {
    Request request = TestRequest(/*stream=*/true);
    if (asks) request.generation.logprobs = 1;
    const auto writer = MakeResponsesWriter(request, TestIdentity());
    std::string sse = writer->Begin({});
    const LogprobEntry::Alternative chosen = {.text = "é", .bytes = "\xc3\xa9", .logprob = -0.5};
    const LogprobEntry::Alternative never = {.text = "b", .bytes = "b", .logprob = -INFINITY};
    for (int i = 0; i < 2; ++i)
      sse += writer->Add(0, {.delta = {.kind = chat::Delta::Kind::kContent, .text = "é"},
                             .logprobs = {{.chosen = chosen, .top = {never}}}});
    sse += writer->EndChoice(0, {}, {});
    sse += writer->Finish({});
    const Json response = Follow(sse);
    const std::string one = R"({"token":"é","logprob":-0.5,"bytes":[195,169],)"
                            R"("top_logprobs":[{"token":"b","logprob":-9999,"bytes":[98]}]})";
    EXPECT_EQ(WriteJson(At(response, "output.1.content.0.logprobs")),
              asks ? "[" + one + "," + one + "]" : "[]");
  }
}

TEST(ResponsesWriter, FailureClosesWhatIsOpen) {
  const Request request = TestRequest(/*stream=*/true);
  const auto writer = MakeResponsesWriter(request, TestIdentity());
  std::string sse = writer->Begin({});
  sse += writer->Add(0, {.delta = {.kind = chat::Delta::Kind::kReasoning, .text = "a"}});
  sse += writer->Fail(ServerFailed("lost"));
  const Json response = Follow(sse);
  EXPECT_EQ(At(response, "status"), Json("failed"));
  EXPECT_EQ(At(response, "error.code"), Json("server_error"));
  EXPECT_EQ(At(response, "error.message"), Json("lost"));
  EXPECT_EQ(At(response, "output.0.status"), Json("incomplete"));

  const auto waiting = MakeResponsesWriter(request, TestIdentity());
  EXPECT_EQ(At(Follow(waiting->Fail(NotReady("over"))), "status"), Json("failed"));

  const auto whole = MakeResponsesWriter(TestRequest(/*stream=*/false), TestIdentity());
  whole->Begin({});
  EXPECT_EQ(At(ParseJson(whole->Fail(ServerFailed("lost"))).value(), "error.message"),
            Json("lost"));
}

TEST(ResponsesWriter, NoMarkupInAnyField) {
  for (const Completion& completion : TestCompletions()) {
    if (completion.text.find("<｜DSML｜ and") != std::string::npos) continue;  // a quotation
    EXPECT_EQ(WriteJson(WholeBody(completion)).find("DSML"), std::string::npos);
  }
}

TEST(ResponsesWriter, CallIdsAreTold) {
  const Request request = TestRequest(/*stream=*/true);
  const auto writer = MakeResponsesWriter(request, TestIdentity());
  const Json response = Follow(WriteAnswer(*writer, request, TestCompletions()[8], 4));
  EXPECT_THAT(writer->CallIds(0), testing::ElementsAre(At(response, "output.2.call_id").string(),
                                                       At(response, "output.3.call_id").string()));
}

}  // namespace
}  // namespace fathom::api
