// Anthropic Messages: the events letter by letter, blocks in and out, ends, and what clients send.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/api/requests.h"

namespace fathom::conformance {
namespace {

constexpr const char* kPath = "/anthropic/v1/messages";

// "message_start", "content_block_start thinking", "content_block_delta text_delta", ...; repeated
// deltas stand once.
std::vector<std::string> Outline(const Reply& reply) {
  std::vector<std::string> out;
  for (const Event& event : ReadSse(reply.body)) {
    const Json data = Parse(event.data);
    std::string line = event.name;
    for (const char* path : {"content_block.type", "delta.type"}) {
      const Json type = At(data, path);
      if (type.is_string()) line += " " + type.string();
    }
    if (out.empty() || out.back() != line) out.push_back(line);
  }
  return out;
}

std::string Body(const Wish& wish) { return BodyFor(Dialect::kAnthropic, wish); }

TEST(Messages, OrderOfEvents) {
  ServerSetup setup;
  setup.script = {
      {"", "Why?</think>Look." + Block(Invoke("search", TextParameter("query", "abc")))},
      {"", "</think>Only text, more than a token."},
      {"", ""}};
  TestServer server(setup);
  const auto ask = [&](bool thinks) {
    const Reply reply =
        server.Post(kPath, Body({.thinks = thinks, .stream = true, .has_tools = true}));
    ReadMessage(reply);
    return Outline(reply);
  };
  EXPECT_EQ(ask(true),
            (std::vector<std::string>{"message_start", "ping", "content_block_start thinking",
                                      "content_block_delta thinking_delta",
                                      "content_block_delta signature_delta", "content_block_stop",
                                      "content_block_start text", "content_block_delta text_delta",
                                      "content_block_stop", "content_block_start tool_use",
                                      "content_block_delta input_json_delta", "content_block_stop",
                                      "message_delta", "message_stop"}));
  EXPECT_EQ(ask(true),
            (std::vector<std::string>{"message_start", "ping", "content_block_start thinking",
                                      "content_block_delta signature_delta", "content_block_stop",
                                      "content_block_start text", "content_block_delta text_delta",
                                      "content_block_stop", "message_delta", "message_stop"}));
  // Nothing to say: no text block.
  EXPECT_EQ(ask(false),
            (std::vector<std::string>{"message_start", "ping", "message_delta", "message_stop"}));
}

TEST(Messages, StopReasons) {
  ServerSetup setup;
  for (int i = 0; i < 2; ++i) {
    setup.script.emplace_back("", "one two STOP three");
    setup.script.emplace_back("", "one two three four five");
  }
  TestServer server(setup);
  for (const bool stream : {false, true}) {
    const Answer stopped = ReadMessage(server.Post(
        kPath, Body({.stream = stream, .more = R"({"stop_sequences":["zzz","STOP"]})"})));
    EXPECT_EQ(stopped.end, "stop_sequence");
    EXPECT_EQ(stopped.stop_sequence, "STOP");
    EXPECT_EQ(stopped.content, "one two ");
    EXPECT_EQ(ReadMessage(server.Post(kPath, Body({.stream = stream, .max_tokens = 2}))).end,
              "max_tokens");
  }
}

TEST(Messages, TheWindowsEndHasANameForThoseWhoAsk) {
  ServerSetup setup = conformance::LongAnswers();
  setup.capacity_tokens = 64;
  TestServer server(setup);
  const std::string body = R"({"model":"nano","thinking":{"type":"disabled"},"messages":
      [{"role":"user","content":"[long]"}]})";
  for (const bool asks : {false, true}) {
    const server::Headers beta = {{"anthropic-beta", "a,model-context-window-exceeded-2025-08-26"}};
    const Answer answer = ReadMessage(server.Post(kPath, body, asks ? beta : server::Headers()));
    EXPECT_EQ(answer.prompt_tokens + answer.completion_tokens, 64);
    EXPECT_EQ(answer.end, asks ? "model_context_window_exceeded" : "max_tokens");
  }
}

// What stands in the prompt: `blocks` of a user turn, or whole messages.
std::string Messages(const std::string& messages, const std::string& more = "{}") {
  return With(R"({"model":"nano","max_tokens":50,"thinking":{"type":"disabled"},"messages":)" +
                  messages + "}",
              more);
}

struct PromptCase {
  std::string name, body, expected;  // what the prompt must contain
};

std::vector<PromptCase> PromptCases() {
  const std::string call = R"({"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f",
      "input":{"x":1}},{"type":"tool_use","id":"b","name":"g","input":{}}]})";
  return {
      {"text blocks are joined by a blank line",
       Messages(R"([{"role":"user","content":[{"type":"text","text":"one","citations":[]},
           {"type":"text","text":"two","cache_control":{"type":"ephemeral"}}]}])"),
       "<｜User｜>one\n\ntwo<｜Assistant｜></think>"},
      {"system blocks, without the billing line",
       Messages(R"([{"role":"user","content":"u"}])",
                R"({"system":[{"type":"text","text":"x-anthropic-billing-header: v=1;"},
                    {"type":"text","text":"one"},{"type":"text","text":"two"}]})"),
       "<｜begin▁of▁sentence｜>one\n\ntwo<｜User｜>u"},
      {"a late system message stays where it is",
       Messages(R"([{"role":"user","content":"u"},{"role":"system","content":"late"}])",
                R"({"system":"first"})"),
       "<｜begin▁of▁sentence｜>first<｜User｜>u\n\nlate<｜Assistant｜>"},
      {"unknown and redacted blocks are skipped",
       Messages(R"([{"role":"user","content":[{"type":"text","text":"u"},{"type":"novel","x":1}]},
           {"role":"assistant","content":[{"type":"redacted_thinking","data":"zz"},
           {"type":"text","text":"a"}]},{"role":"user","content":"v"}])"),
       "<｜User｜>u<｜Assistant｜></think>a<｜end▁of▁sentence｜><｜User｜>v<｜Assistant｜>"},
      {"documents",
       Messages(R"([{"role":"user","content":[{"type":"document","source":{"type":"text",
           "media_type":"text/plain","data":"the document"}},{"type":"document","source":
           {"type":"base64","media_type":"application/pdf","data":"AA"}}]}])"),
       "the document\n\n[Unsupported document]<｜Assistant｜>"},
      {"results of any form, text before them",
       Messages("[{\"role\":\"user\",\"content\":\"u\"}," + call +
                    R"(,{"role":"user","content":[{"type":"text","text":"so"},
           {"type":"tool_result","tool_use_id":"b","is_error":true,"content":[{"type":"text",
           "text":"r-b"}]},{"type":"tool_result","tool_use_id":"a"}]}])",
                R"({"tools":[{"name":"f","input_schema":{"type":"object"}},{"type":"custom",
                    "name":"g","input_schema":{"type":"object"}},
                    {"type":"web_search_20250305","name":"web_search"}]})"),
       "r-b"}};
}

TEST(Messages, BlocksBecomeThePrompt) {
  const std::vector<PromptCase> cases = PromptCases();
  ServerSetup setup;
  for (const PromptCase& each : cases) setup.script.emplace_back(each.expected, each.name);
  TestServer server(setup);
  for (const PromptCase& each : cases) {
    const Reply reply = server.Post(kPath, each.body);
    EXPECT_EQ(ReadMessage(reply).content, each.name) << reply.body;
  }
}

// As Claude Code sends it.
TEST(Messages, MembersThatAreIgnored) {
  TestServer server;
  const std::string more = R"({"metadata":{"user_id":"{\"device\":\"d\"}"},"service_tier":"auto",
      "container":null,"mcp_servers":[],"context_management":{"edits":[]},"top_k":5,
      "cache_control":{"type":"ephemeral"},"inference_geo":"eu","speed":"fast","betas":["b"],
      "diagnostics":{},"temperature":1,"novel":[1,{"x":null}],
      "thinking":{"type":"enabled","budget_tokens":1,"display":"omitted"},
      "output_config":{"effort":"xhigh"},"tool_choice":{"type":"auto",
      "disable_parallel_tool_use":true}})";
  const Answer answer =
      ReadMessage(server.Post(kPath, Body({.has_tools = true, .max_tokens = 4, .more = more}),
                              {{"anthropic-version", "2023-06-01"}, {"anthropic-beta", "x,y"}}));
  EXPECT_TRUE(answer.has_reasoning);
  EXPECT_EQ(answer.end, "max_tokens");
}

// The switch and its efforts show in the prompt.
TEST(Messages, ThinkingAndEffort) {
  const std::string high = "Reasoning Effort: Absolute maximum";
  const std::string max = "Reasoning Effort: Beyond maximum";
  struct Case {
    std::string more, match;
    bool thinks;
  };
  const std::vector<Case> cases = {
      {"{}", high, true},
      {R"({"thinking":{"type":"adaptive"}})", high, true},
      {R"({"thinking":{"type":"enabled","budget_tokens":9}})", high, true},
      {R"({"thinking":{"type":"disabled"}})", "sentence｜><｜User｜>Hi<｜Assistant｜></think>",
       false},
      {R"({"output_config":{"effort":"low"}})", "sentence｜><｜User｜>Hi<｜Assistant｜><think>",
       true},
      {R"({"output_config":{"effort":"medium"}})", high, true},
      {R"({"output_config":{"effort":"xhigh"}})", high, true},
      {R"({"output_config":{"effort":"max"}})", max, true},
      {R"({"thinking":{"type":"disabled"},"output_config":{"effort":"max"}})",
       "sentence｜><｜User｜>Hi<｜Assistant｜></think>", false}};
  for (const Case& each : cases) {
    ServerSetup setup;
    setup.script = {{each.match, each.thinks ? "r</think>yes" : "yes"}};
    TestServer server(setup);
    const std::string body =
        With(R"({"model":"nano","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]})",
             each.more);
    const Answer answer = ReadMessage(server.Post(kPath, body));
    EXPECT_EQ(answer.content, "yes") << each.more;
    EXPECT_EQ(answer.has_reasoning, each.thinks) << each.more;
  }
}

}  // namespace
}  // namespace fathom::conformance
