// The event order of a stream, that it adds up to the whole body for every cut of the completion,
// and the ends. Requests are request_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/answer_makers.h"
#include "api/answer_testing.h"

namespace fathom::api {
namespace {

Request TestRequest(bool stream) {
  Request request;
  request.dialect = Dialect::kAnthropic;
  request.model = "deepseek-v4-flash";
  request.stream = stream;
  request.generation.stop = {"END"};
  const auto parameters = ParseJson(R"({"type":"object","properties":{"city":{},"days":{}}})");
  for (const char* name : {"f", "g"}) {
    Tool tool;
    tool.name = name;
    tool.function = Json::Object{{"name", name}, {"parameters", parameters.value()}};
    tool.parameters = parameters.value();
    request.tools.push_back(std::move(tool));
  }
  return request;
}

// The message that the events add up to, in the form of a whole body. Checks their order.
Json Assemble(const std::vector<SseEvent>& events) {
  EXPECT_GE(events.size(), 4u);
  EXPECT_EQ(events[0].name, "message_start");
  EXPECT_EQ(events[1].name, "ping");
  Json message = At(events[0].data, "message");
  Json::Array content;
  bool is_open = false;
  bool has_signature = false;
  std::string input;
  int64_t started = 0;
  size_t i = 2;
  for (; i < events.size() && events[i].name != "message_delta"; ++i) {
    const auto& [name, data] = events[i];
    if (name == "content_block_start") {
      EXPECT_FALSE(is_open);
      is_open = true;
      ++started;
      content.push_back(At(data, "content_block"));
      input.clear();
      has_signature = false;
    } else if (name == "content_block_delta") {
      const Json delta = At(data, "delta");
      const std::string type = At(delta, "type").string();
      EXPECT_FALSE(has_signature);
      if (type == "input_json_delta") {
        input += At(delta, "partial_json").string();
      } else {
        const std::string member = type.substr(0, type.size() - std::string("_delta").size());
        Json* text = content.back().Find(member);
        if (text == nullptr) {
          ADD_FAILURE() << type << " in " << WriteJson(content.back());
          return {};
        }
        *text = text->string() + At(delta, member).string();
        has_signature = member == "signature";
      }
    } else {
      EXPECT_EQ(name, "content_block_stop");
      EXPECT_EQ(has_signature, At(content.back(), "type") == Json("thinking"));
      is_open = false;
      if (At(content.back(), "type") == Json("tool_use")) {
        const auto json = ParseJson(input);
        if (json.ok()) {
          content.back().Set("input", json.value());
        } else {
          content.pop_back();  // cut off; a whole body leaves it out
          EXPECT_EQ(events[i + 1].name, "message_delta");
        }
      }
    }
    EXPECT_TRUE(is_open || name == "content_block_stop");
    EXPECT_EQ(At(data, "index"), Json(started - 1));
  }
  EXPECT_FALSE(is_open);
  EXPECT_EQ(i + 2, events.size());
  EXPECT_EQ(events.back().name, "message_stop");
  message.Set("content", content);
  message.Set("stop_reason", At(events[i].data, "delta.stop_reason"));
  message.Set("stop_sequence", At(events[i].data, "delta.stop_sequence"));
  Json usage = At(events[i].data, "usage");
  usage.Set("service_tier", "standard");
  message.Set("usage", usage);
  return message;
}

Json WholeBody(const Completion& completion) {
  const Request request = TestRequest(/*stream=*/false);
  const auto writer = MakeMessagesWriter(request, TestIdentity());
  const auto body = ParseJson(WriteAnswer(*writer, request, completion, 1));
  EXPECT_TRUE(body.ok());
  return body.value();
}

TEST(MessagesWriter, StreamsAddUpToTheBodyForEveryCut) {
  for (const Completion& completion : TestCompletions()) {
    SCOPED_TRACE(completion.text);
    const Json whole = WholeBody(completion);
    const Request request = TestRequest(/*stream=*/true);
    const auto expect_same = [&](size_t piece_bytes, size_t first_bytes) {
      const auto writer = MakeMessagesWriter(request, TestIdentity());
      const std::string sse = WriteAnswer(*writer, request, completion, piece_bytes, first_bytes);
      EXPECT_EQ(WriteJson(Assemble(ReadEvents(sse))), WriteJson(whole));
    };
    for (const size_t piece_bytes : {1, 2, 3, 5, 7, 11}) expect_same(piece_bytes, 0);
    for (size_t cut = 1; cut <= completion.text.size(); ++cut)
      expect_same(completion.text.size(), cut);
  }
}

TEST(MessagesWriter, BodyAsDocumented) {
  const Completion completion = TestCompletions()[8];
  const std::string call_0 = At(WholeBody(completion), "content.2.id").string();
  const std::string call_1 = At(WholeBody(completion), "content.3.id").string();
  EXPECT_THAT(call_0, testing::MatchesRegex("toolu_[0-9A-Za-z]+"));
  EXPECT_EQ(call_0.size(), std::string("toolu_").size() + 24);
  EXPECT_NE(call_0, call_1);
  EXPECT_EQ(
      WriteJson(WholeBody(completion)),
      R"({"id":"msg_0123456789abcdef0123456789abcdef","type":"message","role":"assistant",)"
      R"("model":"deepseek-v4-flash","content":[)"
      R"({"type":"thinking","thinking":"thought",)"
      R"("signature":"msg_0123456789abcdef0123456789abcdef"},)"
      R"({"type":"text","text":"before"},)"
      R"({"type":"tool_use","id":")" +
          call_0 + R"(","name":"f","input":{"city":"Zürich \"x\"\n\\","days":[1,2.50]}},)" +
          R"({"type":"tool_use","id":")" + call_1 + R"(","name":"g","input":{}}],)" +
          R"("stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":172,)"
          R"("cache_creation_input_tokens":0,"cache_read_input_tokens":128,"output_tokens":29,)"
          R"("service_tier":"standard"}})");
}

TEST(MessagesWriter, StreamAsDocumented) {
  const Request request = TestRequest(/*stream=*/true);
  const auto writer = MakeMessagesWriter(request, TestIdentity());
  EXPECT_EQ(
      WriteAnswer(*writer, request, {.text = "t</think>Hi END"}, 1000),
      "event: message_start\n"
      R"(data: {"type":"message_start","message":{"id":"msg_0123456789abcdef0123456789abcdef",)"
      R"("type":"message","role":"assistant","model":"deepseek-v4-flash","content":[],)"
      R"("stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":172,)"
      R"("cache_creation_input_tokens":0,"cache_read_input_tokens":128,"output_tokens":0,)"
      R"("service_tier":"standard"}}})"
      "\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\nevent: content_block_start\n"
      R"(data: {"type":"content_block_start","index":0,"content_block":)"
      R"({"type":"thinking","thinking":"","signature":""}})"
      "\n\nevent: content_block_delta\n"
      R"(data: {"type":"content_block_delta","index":0,"delta":)"
      R"({"type":"thinking_delta","thinking":"t"}})"
      "\n\nevent: content_block_delta\n"
      R"(data: {"type":"content_block_delta","index":0,"delta":)"
      R"({"type":"signature_delta","signature":"msg_0123456789abcdef0123456789abcdef"}})"
      "\n\nevent: content_block_stop\n"
      R"(data: {"type":"content_block_stop","index":0})"
      "\n\nevent: content_block_start\n"
      R"(data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}})"
      "\n\nevent: content_block_delta\n"
      R"(data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hi "}})"
      "\n\nevent: content_block_stop\n"
      R"(data: {"type":"content_block_stop","index":1})"
      "\n\nevent: message_delta\n"
      R"(data: {"type":"message_delta","delta":{"stop_reason":"stop_sequence",)"
      R"("stop_sequence":"END"},"usage":{"input_tokens":172,"cache_creation_input_tokens":0,)"
      R"("cache_read_input_tokens":128,"output_tokens":29}})"
      "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

TEST(MessagesWriter, ThinkingBlockIsThereEvenWhenEmpty) {
  EXPECT_EQ(WriteJson(At(WholeBody({.text = "</think>a"}), "content.0.thinking")), "\"\"");
  EXPECT_EQ(At(WholeBody({.text = "</think>a"}), "content.1.text"), Json("a"));
  EXPECT_EQ(At(WholeBody({.text = ""}), "content.0.type"), Json("thinking"));
  EXPECT_TRUE(At(WholeBody({.text = ""}), "content.1").is_null());

  for (const bool continues : {false, true}) {
    Request request = TestRequest(/*stream=*/false);
    if (continues) {
      request.continues_prefix = true;
    } else {
      request.encode.thinking_mode = chat::ThinkingMode::kChat;
    }
    const auto writer = MakeMessagesWriter(request, TestIdentity());
    const auto body = ParseJson(WriteAnswer(*writer, request, {.text = "a"}, 1));
    EXPECT_EQ(WriteJson(At(body.value(), "content")), R"([{"type":"text","text":"a"}])");
  }
}

TEST(MessagesWriter, StopReasons) {
  using Reason = End::Reason;
  const std::pair<Reason, const char*> kCases[] = {
      {Reason::kStop, "end_turn"},      {Reason::kStopString, "stop_sequence"},
      {Reason::kLength, "max_tokens"},  {Reason::kContextFull, "max_tokens"},
      {Reason::kToolCalls, "tool_use"}, {Reason::kAborted, "max_tokens"},
  };
  for (const auto& [reason, name] : kCases) {
    const Json body = WholeBody({.text = "t</think>a", .reason = reason});
    EXPECT_EQ(At(body, "stop_reason"), Json(name));
    EXPECT_EQ(At(body, "stop_sequence").is_null(), reason != Reason::kStopString);
  }
  Request request = TestRequest(/*stream=*/false);
  request.wants_context_exceeded = true;
  const auto writer = MakeMessagesWriter(request, TestIdentity());
  const auto body =
      ParseJson(WriteAnswer(*writer, request, {.text = "a", .reason = Reason::kContextFull}, 1));
  EXPECT_EQ(At(body.value(), "stop_reason"), Json("model_context_window_exceeded"));
}

TEST(MessagesWriter, CutOffCallIsStreamedAndLeftOutOfTheBody) {
  const Completion completion = TestCompletions()[14];  // x, g whole, f cut off
  const Json body = WholeBody(completion);
  EXPECT_EQ(At(body, "content").array().size(), 3u);
  EXPECT_EQ(At(body, "content.2.name"), Json("g"));
  EXPECT_EQ(At(body, "stop_reason"), Json("max_tokens"));

  const Request request = TestRequest(/*stream=*/true);
  const auto writer = MakeMessagesWriter(request, TestIdentity());
  const std::string sse = WriteAnswer(*writer, request, completion, 3);
  EXPECT_NE(sse.find(R"(\"city\": \")"), sse.npos);
  EXPECT_EQ(writer->CallIds(0).size(), 2u);
}

TEST(MessagesWriter, IdsAreOfTheIdentity) {
  const Request request = TestRequest(/*stream=*/true);
  const auto ids = [&](const Identity& identity) {
    const auto writer = MakeMessagesWriter(request, identity);
    WriteAnswer(*writer, request, TestCompletions()[8], 1);
    return writer->CallIds(0);
  };
  Identity other = TestIdentity();
  other.salt = 8;
  EXPECT_EQ(ids(TestIdentity()), ids(TestIdentity()));
  EXPECT_NE(ids(TestIdentity()), ids(other));
  other = TestIdentity();
  other.id[0] = '1';
  EXPECT_NE(ids(TestIdentity()), ids(other));
}

TEST(MessagesWriter, ErrorsInTheMiddle) {
  for (const bool stream : {false, true}) {
    const Request request = TestRequest(stream);
    const auto writer = MakeMessagesWriter(request, TestIdentity());
    writer->Begin({});
    writer->Add(0, {.delta = {.kind = chat::Delta::Kind::kContent, .text = "a"}});
    const std::string out = writer->Fail(ServerFailed("lost"));
    const Json error = stream ? ReadEvents(out).at(0).data : ParseJson(out).value();
    EXPECT_EQ(At(error, "type"), Json("error"));
    EXPECT_EQ(At(error, "error.type"), Json("api_error"));
    EXPECT_EQ(At(error, "error.message"), Json("lost"));
    EXPECT_EQ(out.starts_with("event: error\n"), stream);
  }
}

TEST(MessagesWriter, NoMarkupInAnyField) {
  for (const Completion& completion : TestCompletions()) {
    if (completion.text.find("<｜DSML｜ and") != std::string::npos) continue;  // a quotation
    EXPECT_EQ(WriteJson(WholeBody(completion)).find("DSML"), std::string::npos);
  }
}

TEST(MessagesWriter, KeepsAliveByPing) {
  const auto writer = MakeMessagesWriter(TestRequest(/*stream=*/true), TestIdentity());
  EXPECT_EQ(ReadEvents(writer->KeepAlive()).at(0).name, "ping");
}

}  // namespace
}  // namespace fathom::api
