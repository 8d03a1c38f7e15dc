// Responses: the events letter by letter, items in and out, calls of both kinds, and the members
// that come back.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/api/requests.h"

namespace fathom::conformance {
namespace {

constexpr const char* kPath = "/v1/responses";

std::string Body(const Wish& wish) { return BodyFor(Dialect::kResponses, wish); }

// Names of events without "response.", repeated ones once.
std::vector<std::string> Outline(const Reply& reply) {
  std::vector<std::string> out;
  for (const Event& event : ReadSse(reply.body)) {
    EXPECT_TRUE(event.name.starts_with("response."));
    const std::string name = event.name.substr(9);
    if (out.empty() || out.back() != name) out.push_back(name);
  }
  return out;
}

TEST(Responses, OrderOfEvents) {
  ServerSetup setup;
  setup.script = {{"", "Why?</think>Look." + Block(Invoke("search", TextParameter("query", "a")))}};
  TestServer server(setup);
  const Reply reply = server.Post(kPath, Body({.thinks = true, .stream = true, .has_tools = true}));
  ReadResponse(reply);
  EXPECT_EQ(Outline(reply), (std::vector<std::string>{
                                "created", "in_progress",
                                // reasoning
                                "output_item.added", "content_part.added", "reasoning_text.delta",
                                "reasoning_text.done", "content_part.done", "output_item.done",
                                // message
                                "output_item.added", "content_part.added", "output_text.delta",
                                "output_text.done", "content_part.done", "output_item.done",
                                // call
                                "output_item.added", "function_call_arguments.delta",
                                "function_call_arguments.done", "output_item.done", "completed"}));
  EXPECT_EQ(reply.body.find("[DONE]"), std::string::npos);
}

TEST(Responses, CustomAndNamespacedCalls) {
  const std::string patch = "*** Begin Patch\n+\"é\"\n*** End Patch";
  const std::string text = Block(Invoke("apply_patch", TextParameter("input", patch)) +
                                 Invoke("spawn", JsonParameter("n", "2")));
  ServerSetup setup;
  setup.script = {{"", text}, {"", text}};
  TestServer server(setup);
  const std::string tools = R"({"tools":[{"type":"custom","name":"apply_patch","description":"p"},
      {"type":"namespace","name":"agents","tools":[{"type":"function","name":"spawn","parameters":
      {"type":"object","properties":{"n":{"type":"integer"}}}}]},{"type":"web_search"}]})";
  for (const bool stream : {false, true}) {
    const Reply reply = server.Post(kPath, Body({.stream = stream, .more = tools}));
    const Answer answer = ReadResponse(reply);
    ASSERT_EQ(answer.calls.size(), 2u);
    EXPECT_EQ(answer.calls[0].name, "apply_patch");
    EXPECT_EQ(answer.calls[0].arguments, patch);
    EXPECT_EQ(answer.calls[1].arguments, R"({"n": 2})");
    const Json body =
        stream ? At(Parse(ReadSse(reply.body).back().data), "response") : BodyOf(reply);
    EXPECT_EQ(TextAt(body, "output.0.type"), "custom_tool_call");
    EXPECT_EQ(TextAt(body, "output.1.type"), "function_call");
    EXPECT_EQ(TextAt(body, "output.1.namespace"), "agents");
    if (!stream) continue;
    const std::vector<std::string> outline = Outline(reply);
    const std::vector<std::string> custom(outline.begin() + 2, outline.begin() + 6);
    EXPECT_EQ(custom,
              (std::vector<std::string>{"output_item.added", "custom_tool_call_input.delta",
                                        "custom_tool_call_input.done", "output_item.done"}));
  }
}

TEST(Responses, IncompleteHasNoOpenItems) {
  ServerSetup setup;
  const std::string text =
      "Why?</think>Text" + Block(Invoke("search", TextParameter("query", "abcdefgh")));
  for (int i = 0; i < 3; ++i) setup.script.emplace_back("", text);
  TestServer server(setup);
  for (const int64_t cut : {1, 6, 20}) {
    const Reply reply = server.Post(
        kPath, Body({.thinks = true, .stream = true, .has_tools = true, .max_tokens = cut}));
    EXPECT_EQ(ReadResponse(reply).end, "incomplete max_output_tokens");
    const Json body = At(Parse(ReadSse(reply.body).back().data), "response");
    const Json output = At(body, "output");
    ASSERT_FALSE(output.array().empty());
    EXPECT_EQ(TextAt(output.array().back(), "status"), "incomplete");
    for (size_t i = 0; i + 1 < output.array().size(); ++i)
      EXPECT_EQ(TextAt(output.array()[i], "status"), "completed");
  }
}

TEST(Responses, MembersThatComeBack) {
  TestServer server;
  const std::string more = R"({"instructions":"Be brief.","temperature":0.5,"top_p":0.9,
      "metadata":{"a":"b"},"tool_choice":"auto","user":"me","safety_identifier":"s",
      "text":{"format":{"type":"text"},"verbosity":"low"},"store":true,"include":[],
      "client_metadata":{},"prompt_cache_key":"k","truncation":"auto","background":false})";
  const Json body =
      BodyOf(server.Post(kPath, Body({.has_tools = true, .max_tokens = 3, .more = more})));
  EXPECT_EQ(TextAt(body, "instructions"), "Be brief.");
  EXPECT_EQ(WriteJson(At(body, "temperature")), "0.5");
  EXPECT_EQ(WriteJson(At(body, "top_p")), "0.9");
  EXPECT_EQ(WriteJson(At(body, "metadata")), R"({"a":"b"})");
  EXPECT_EQ(TextAt(body, "tool_choice"), "auto");
  EXPECT_EQ(IntAt(body, "max_output_tokens"), 3);
  EXPECT_EQ(TextAt(body, "text.format.type"), "text");
  EXPECT_EQ(At(body, "tools").array().size(), 3u);
  EXPECT_EQ(TextAt(body, "reasoning.effort"), "none");
  EXPECT_EQ(WriteJson(At(body, "store")), "false");
  const Json plain =
      BodyOf(server.Post(kPath, R"({"model":"nano","input":"Hello","max_output_tokens":3})"));
  EXPECT_EQ(WriteJson(At(plain, "reasoning")), R"({"effort":"high","summary":null})");
  EXPECT_EQ(WriteJson(At(plain, "temperature")), "1.0");
  EXPECT_EQ(WriteJson(At(plain, "top_p")), "1.0");
  EXPECT_EQ(WriteJson(At(plain, "parallel_tool_calls")), "true");
  EXPECT_EQ(TextAt(plain, "service_tier"), "default");
  EXPECT_EQ(TextAt(plain, "truncation"), "disabled");
}

TEST(Responses, LogprobsWhenIncluded) {
  TestServer server;
  const auto count = [&](const std::string& more) {
    return ReadResponse(server.Post(kPath, Body({.max_tokens = 4, .more = more}))).logprobs.size();
  };
  EXPECT_EQ(count("{}"), 0u);
  EXPECT_GT(count(R"({"include":["message.output_text.logprobs"]})"), 0u);
  EXPECT_GT(count(R"({"top_logprobs":2,"temperature":1})"), 0u);
  EXPECT_GT(count(R"({"top_logprobs":2,"stream":true})"), 0u);
}

// Items become the prompt
// ------------------------------------------------------------------------

struct PromptCase {
  std::string name, more, expected;
};

std::vector<PromptCase> PromptCases() {
  const std::string call =
      R"({"type":"function_call","id":"fc_1","status":"completed","call_id":"c","name":"f",
          "arguments":"{\"x\": 1}"})";
  return {
      {"parts and developers",
       R"({"instructions":"sys","input":[{"type":"message","id":"m","role":"developer","content":
          [{"type":"input_text","text":"one"},{"type":"input_text","text":"two"}]},
          {"role":"user","content":"u"}]})",
       "<｜begin▁of▁sentence｜>sys<｜User｜>one\n\ntwo\n\nu<｜Assistant｜>"},
      {"an assistant's turn",
       R"({"input":[{"role":"user","content":"u"},{"type":"message","role":"assistant","content":
          [{"type":"output_text","text":"a","annotations":[]}]},{"role":"user","content":"v"}]})",
       "<｜User｜>u<｜Assistant｜></think>a<｜end▁of▁sentence｜><｜User｜>v<｜Assistant｜>"},
      {"outputs as lists",
       R"({"input":[{"role":"user","content":"u"},)" + call +
           R"(,{"type":"function_call_output","call_id":"c","output":[{"type":"input_text",
          "text":"r-list"}]}]})",
       "r-list"},
      {"unknown items are ignored",
       R"({"input":[{"type":"web_search_call","id":"w"},{"type":"novel"},
          {"role":"user","content":"only this"}]})",
       "<｜begin▁of▁sentence｜><｜User｜>only this<｜Assistant｜>"},
      {"custom calls",
       R"({"tools":[{"type":"custom","name":"apply_patch"}],"input":[{"role":"user","content":"u"},
          {"type":"custom_tool_call","call_id":"p","name":"apply_patch","input":"the patch"},
          {"type":"custom_tool_call_output","call_id":"p","output":"done"}]})",
       "<｜DSML｜parameter name=\"input\" string=\"true\">the patch</｜DSML｜parameter>"},
      {"a trailing call without an answer is dropped",
       R"({"input":[{"role":"user","content":"lonely"},)" + call + "]}",
       "<｜User｜>lonely<｜Assistant｜>"}};
}

TEST(Responses, ItemsBecomeThePrompt) {
  const std::vector<PromptCase> cases = PromptCases();
  ServerSetup setup;
  for (const PromptCase& each : cases) setup.script.emplace_back(each.expected, each.name);
  TestServer server(setup);
  for (const PromptCase& each : cases) {
    const Reply reply = server.Post(kPath, Body({.more = each.more}));
    EXPECT_EQ(ReadResponse(reply).content, each.name) << reply.body;
  }
}

TEST(Responses, EffortsShowInThePrompt) {
  const std::string low = "sentence｜><｜User｜>Hello<｜Assistant｜><think>";
  const std::string none = "sentence｜><｜User｜>Hello<｜Assistant｜></think>";
  const std::string high = "Absolute maximum", max = "Beyond maximum";
  const std::vector<std::pair<std::string, std::string>> cases = {{"null", high},
                                                                  {R"({"summary":"auto"})", high},
                                                                  {R"({"effort":null})", high},
                                                                  {R"("none")", none},
                                                                  {R"("minimal")", low},
                                                                  {R"("low")", low},
                                                                  {R"("medium")", high},
                                                                  {R"("high")", high},
                                                                  {R"("xhigh")", high},
                                                                  {R"("max")", max}};
  for (const auto& [effort, match] : cases) {
    ServerSetup setup;
    setup.script = {{match, "</think>yes"}};
    TestServer server(setup);
    const std::string reasoning = effort.starts_with('"') ? "{\"effort\":" + effort + "}" : effort;
    const Reply reply =
        server.Post(kPath, R"({"model":"nano","input":"Hello","reasoning":)" + reasoning + "}");
    EXPECT_EQ(ReadResponse(reply).content, "yes") << effort << reply.body;
  }
}

}  // namespace
}  // namespace fathom::conformance
