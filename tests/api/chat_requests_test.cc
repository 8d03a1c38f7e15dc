// What a Chat request says becomes the prompt and the mode: every spelling of thinking and effort,
// names of models, messages of every kind, and members that mean nothing.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/api/requests.h"

namespace fathom::conformance {
namespace {

constexpr const char* kPath = "/v1/chat/completions";

// `changes` to a request that says "Hi"; what its prompt must contain.
struct PromptCase {
  std::string changes;
  std::string expected;
  bool thinks = true;
};

void ExpectPrompts(const std::vector<PromptCase>& cases) {
  ServerSetup setup;
  for (size_t i = 0; i < cases.size(); ++i) {
    // A server for each: the line of one case may fit the prompt of another.
    setup.script = {{cases[i].expected, cases[i].thinks ? "r</think>yes" : "yes"}};
    TestServer server(setup);
    const Reply reply = server.Post(
        kPath,
        With(R"({"model":"nano","messages":[{"role":"user","content":"Hi"}]})", cases[i].changes));
    ASSERT_EQ(reply.status, 200) << cases[i].changes << reply.body;
    const Answer answer = ReadChat(reply)[0];
    EXPECT_EQ(answer.content, "yes") << cases[i].changes;
    EXPECT_EQ(answer.has_reasoning, cases[i].thinks) << cases[i].changes;
    EXPECT_EQ(answer.model, "nano");
  }
}

constexpr const char* kHigh = "<｜begin▁of▁sentence｜>Reasoning Effort: Absolute maximum";
constexpr const char* kMax = "<｜begin▁of▁sentence｜>Reasoning Effort: Beyond maximum";
constexpr const char* kLow = "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜><think>";
constexpr const char* kNone = "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜></think>";

TEST(ChatRequests, ThinkingInEverySpelling) {
  ExpectPrompts({{"{}", kHigh},
                 {R"({"thinking":null,"reasoning_effort":null})", kHigh},
                 {R"({"thinking":{"type":"enabled"}})", kHigh},
                 {R"({"thinking":{"type":"adaptive"}})", kHigh},
                 {R"({"thinking":{"type":"disabled"}})", kNone, false},
                 {R"({"reasoning_effort":"none"})", kNone, false},
                 {R"({"reasoning_effort":"minimal"})", kLow},
                 {R"({"reasoning_effort":"low"})", kLow},
                 {R"({"reasoning_effort":"medium"})", kHigh},
                 {R"({"reasoning_effort":"high"})", kHigh},
                 {R"({"reasoning_effort":"xhigh"})", kHigh},
                 {R"({"reasoning_effort":"max"})", kMax},
                 {R"({"reasoning_effort":"ultra"})", kMax},
                 {R"({"thinking":{"type":"disabled"},"reasoning_effort":"max"})", kNone, false},
                 {R"({"thinking_mode":"non-think"})", kNone, false},
                 {R"({"thinking_mode":"think-high"})", kHigh},
                 {R"({"thinking_mode":"think-max"})", kMax},
                 {R"({"chat_template_kwargs":{"thinking":false}})", kNone, false},
                 {R"({"chat_template_kwargs":{"enable_thinking":false}})", kNone, false},
                 {R"({"chat_template_kwargs":{"reasoning_effort":"max"}})", kMax}});
}

TEST(ChatRequests, NamesOfModelsThatChooseTheMode) {
  ExpectPrompts({{R"({"model":"deepseek-chat"})", kNone, false},
                 {R"({"model":"deepseek-reasoner"})", kHigh},
                 {R"({"model":"deepseek-chat","reasoning_effort":"max"})", kNone, false},
                 {R"({"model":"deepseek-reasoner","thinking":{"type":"disabled"}})", kHigh},
                 {R"({"model":"deepseek-v4-pro[1m]"})", kHigh},
                 {R"({"model":"gpt-5"})", kHigh}});
}

TEST(ChatRequests, MessagesOfEveryKind) {
  const std::string chat = R"({"thinking":{"type":"disabled"},"messages":)";
  ExpectPrompts(
      {{chat + R"([{"role":"system","content":"a"},{"role":"developer","content":"b"},
           {"role":"user","content":"u"}]})",
        "<｜begin▁of▁sentence｜>a\n\nb<｜User｜>u<｜Assistant｜></think>", false},
       {chat + R"([{"role":"user","content":"u"},{"role":"system","content":"late"}]})",
        "<｜begin▁of▁sentence｜><｜User｜>u\n\nlate<｜Assistant｜></think>", false},
       {chat + R"([{"role":"user","name":"n","content":[{"type":"text","text":"a"},
           {"type":"text","text":"b"}]},{"role":"assistant","content":"c"},
           {"role":"assistant","content":"d"},{"role":"user","content":"e"}]})",
        "<｜User｜>a\n\nb<｜Assistant｜></think>c\n\nd<｜end▁of▁sentence｜><｜User｜>e", false},
       {chat + R"([{"role":"user","content":"u"},{"role":"assistant","content":null,
           "reasoning":"r","tool_calls":[{"id":"x","type":"function","function":{"name":"f",
           "arguments":"{\"k\":\"v\",\"n\":[1,2]}"}}]},
           {"role":"tool","tool_call_id":"x","content":[{"type":"text","text":"result"}]}]})",
        "<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"k\" string=\"true\">v"
        "</｜DSML｜parameter>\n<｜DSML｜parameter name=\"n\" string=\"false\">[1, 2]"
        "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls><｜end▁of▁sentence｜>",
        false}});
}

TEST(ChatRequests, ToolsAndSchemasStandInThePrompt) {
  const std::string chat = R"({"thinking":{"type":"disabled"},)";
  const std::string tools = "\"tools\":" + std::string(kTools);
  ExpectPrompts(
      {{chat + tools + "}", "### Available Tool Schemas\n\n{\"name\": \"get_weather\"", false},
       // Out of bounds, but still read: the cached prefix stays what it was.
       {chat + tools + R"(,"tool_choice":"none"})", "{\"name\": \"search\"", false},
       {chat + R"("tools":[{"type":"web_search"}]})", kNone, false},
       {chat + R"("response_format":{"type":"json_object"}})", kNone, false},
       {chat + R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":
           {"type":"object","properties":{"zq":{"type":"integer"}}}}}})",
        "\"zq\": {\"type\": \"integer\"}", false}});
}

TEST(ChatRequests, MembersThatMeanNothing) {
  TestServer server;
  const std::string base = BodyFor(Dialect::kChat, {.max_tokens = 8, .more = R"({"seed":4})"});
  const std::string expected = ReadChat(server.Post(kPath, base))[0].content;
  const std::string ignored = R"({"store":true,"metadata":{"a":"b"},"service_tier":"auto",
      "prediction":{"type":"content","content":"x"},"modalities":["text"],"audio":{"voice":"v"},
      "verbosity":"low","web_search_options":{},"prompt_cache_key":"k","safety_identifier":"s",
      "functions":[{"name":"f"}],"function_call":"auto","dsh_session":{"x":1},"novel":[null],
      "stream_options":null,"tools":null,"tool_choice":null,"response_format":null,"stop":null,
      "logprobs":null,"logit_bias":null,"parallel_tool_calls":null,"presence_penalty":2,
      "frequency_penalty":-2})";
  const Reply reply = server.Post(kPath, With(base, ignored),
                                  {{"x-deepseek-harness-version", "1"}, {"content-type", "x/y"}});
  EXPECT_EQ(ReadChat(reply)[0].content, expected);
}

}  // namespace
}  // namespace fathom::conformance
