// From bodies to prompts through the whole service: the recorded requests of clients, exact replay
// of what was sent before, and counted tokens. A script's line is taken only when the prompt
// contains its text, so an answer says that the prompt is the expected one.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/api/requests.h"

namespace fathom::conformance {
namespace {

struct Recorded {
  std::string id, route, body, prompt;
  server::Headers headers;
};

std::vector<Recorded> RecordedRequests() {
  std::vector<Recorded> all;
  const std::string text = ReadFile(FATHOM_SOURCE_DIR "/testdata/api/requests.jsonl").value();
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const Json line = Parse(std::string_view(text).substr(at, end - at));
    at = end + 1;
    Recorded each = {TextAt(line, "id"),
                     TextAt(line, "route"),
                     WriteJson(At(line, "body")),
                     TextAt(line, "prompt"),
                     {}};
    const Json headers = At(line, "headers");
    for (const auto& [name, value] : headers.object())
      each.headers.emplace_back(name, value.string());
    all.push_back(std::move(each));
  }
  return all;
}

TEST(Prompts, RecordedRequests) {
  const std::vector<Recorded> all = RecordedRequests();
  ASSERT_EQ(all.size(), 16u);
  ServerSetup setup;
  for (const Recorded& each : all) setup.script.emplace_back(each.prompt, "Good.");
  TestServer server(setup);
  const server::ModelText text =
      server::LoadModelText(NanoDir(), server.service().engine().model(), std::nullopt).value();
  const server::Pipeline pipeline(text, {.facts = server.service().facts()});
  for (const Recorded& each : all) {
    SCOPED_TRACE(each.id);
    // Agents ask for 32000 tokens, more than nano's window.
    const char* limit = each.body.find("max_output_tokens") != std::string::npos
                            ? R"({"max_output_tokens":9})"
                            : R"({"max_tokens":9})";
    const Reply reply = server.Post(each.route, With(each.body, limit), each.headers);
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_NE(reply.body.find("Good"), std::string::npos);
    // And nothing more than the expected text.
    const server::Route route =
        server::FindRoute("POST", each.route.substr(0, each.route.find('?')));
    const api::Facts& facts = server.service().facts();
    const api::Origin origin = {.is_beta = route.is_beta};
    const auto request =
        route.dialect == Dialect::kChat          ? ParseChat(each.body, facts, origin)
        : route.dialect == Dialect::kCompletions ? ParseCompletions(each.body, facts, origin)
        : route.dialect == Dialect::kAnthropic   ? ParseMessages(each.body, facts, origin)
                                                 : ParseResponses(each.body, facts, origin);
    ASSERT_TRUE(request.ok());
    const auto prompt = pipeline.EncodePrompt(request.value());
    ASSERT_TRUE(prompt.ok());
    EXPECT_EQ(prompt.value().prompt.text, each.prompt);
    EXPECT_EQ(server.usage().Take().at(0).usage.prompt_tokens, std::ssize(prompt.value().tokens));
  }
}

// Exact replay
// ---------------------------------------------------------------------------------

constexpr const char* kReasoning = "I need the\n weather.";
constexpr const char* kContent = "One moment, please. ";
// Spelled as no JSON writer would.
constexpr const char* kFirst = R"({"city": "Zürich", "days": [1,  2 ,{"b":1, "a":2}]})";
constexpr const char* kSecond = R"({"query": "a\"b", "limit": 1e3})";

std::string Written(bool thinks) {
  return (thinks ? std::string(kReasoning) + "</think>" : "") + kContent +
         Block(Invoke("get_weather", TextParameter("city", "Zürich") +
                                         JsonParameter("days", R"([1,  2 ,{"b":1, "a":2}])")) +
               Invoke("search", TextParameter("query", "a\"b") + JsonParameter("limit", "1e3")));
}

// What clients make of the arguments.
constexpr const char* kFirstChanged = R"({"days":[1,2,{"a":2,"b":1}],"city":"Z\u00fcrich"})";
constexpr const char* kSecondChanged = "{ \"limit\" : 1000,\n \"query\" : \"a\\\"b\" }";

enum class Reasoning { kReturned, kDropped };

std::string ChatTurn(const Answer& answer, Reasoning reasoning) {
  Json::Array calls;
  const char* const arguments[] = {kFirstChanged, kSecondChanged};
  for (size_t i = 0; i < 2; ++i)
    calls.push_back(Json::Object{
        {"id", answer.calls[i].id},
        {"type", "function"},
        {"function", Json::Object{{"name", answer.calls[i].name}, {"arguments", arguments[i]}}}});
  Json::Object assistant = {
      {"role", "assistant"}, {"content", answer.content}, {"tool_calls", std::move(calls)}};
  if (reasoning == Reasoning::kReturned)
    assistant.emplace_back("reasoning_content", answer.reasoning);
  Json::Array messages = {Json::Object{{"role", "user"}, {"content", "Weather?"}},
                          std::move(assistant)};
  for (size_t i = 2; i-- > 0;)  // in another order than the calls
    messages.push_back(
        Json::Object{{"role", "tool"}, {"tool_call_id", answer.calls[i].id}, {"content", "sunny"}});
  return WriteJson(Json::Object{{"messages", std::move(messages)}});
}

std::string MessagesTurn(const Answer& answer, Reasoning reasoning, const std::string& signature) {
  Json::Array blocks, results;
  if (reasoning == Reasoning::kReturned)
    blocks.push_back(Json::Object{
        {"type", "thinking"}, {"thinking", answer.reasoning}, {"signature", signature}});
  blocks.push_back(Json::Object{{"type", "text"}, {"text", answer.content}});
  const char* const arguments[] = {kFirstChanged, kSecondChanged};
  for (size_t i = 0; i < 2; ++i) {
    blocks.push_back(Json::Object{{"type", "tool_use"},
                                  {"id", answer.calls[i].id},
                                  {"name", answer.calls[i].name},
                                  {"input", Parse(arguments[i])}});
    results.push_back(Json::Object{
        {"type", "tool_result"}, {"tool_use_id", answer.calls[i].id}, {"content", "sunny"}});
  }
  return WriteJson(Json::Object{
      {"messages", Json::Array{Json::Object{{"role", "user"}, {"content", "Weather?"}},
                               Json::Object{{"role", "assistant"}, {"content", std::move(blocks)}},
                               Json::Object{{"role", "user"}, {"content", std::move(results)}}}}});
}

std::string ResponsesTurn(const Answer& answer, Reasoning reasoning) {
  Json::Array items = {Json::Object{{"role", "user"}, {"content", "Weather?"}}};
  if (reasoning == Reasoning::kReturned)
    items.push_back(Json::Object{{"type", "reasoning"},
                                 {"summary", Json::Array()},
                                 {"content", Json::Array{Json::Object{{"type", "reasoning_text"},
                                                                      {"text", answer.reasoning}}}},
                                 {"encrypted_content", nullptr}});
  items.push_back(Json::Object{
      {"type", "message"},
      {"role", "assistant"},
      {"content", Json::Array{Json::Object{{"type", "output_text"}, {"text", answer.content}}}}});
  const char* const arguments[] = {kFirstChanged, kSecondChanged};
  for (size_t i = 0; i < 2; ++i)
    items.push_back(Json::Object{{"type", "function_call"},
                                 {"call_id", answer.calls[i].id},
                                 {"name", answer.calls[i].name},
                                 {"arguments", arguments[i]}});
  for (size_t i = 0; i < 2; ++i)
    items.push_back(Json::Object{
        {"type", "function_call_output"}, {"call_id", answer.calls[i].id}, {"output", "sunny"}});
  return WriteJson(Json::Object{{"input", std::move(items)}});
}

std::string SecondTurn(Dialect dialect, const Answer& answer, Reasoning reasoning) {
  if (dialect == Dialect::kChat) return ChatTurn(answer, reasoning);
  if (dialect == Dialect::kAnthropic) return MessagesTurn(answer, reasoning, answer.id);
  return ResponsesTurn(answer, reasoning);
}

TEST(Prompts, ExactReplay) {
  for (const bool thinks : {false, true}) {
    SCOPED_TRACE(thinks ? "thinking" : "not thinking");
    const std::string first_prompt =
        std::string("<｜User｜>Weather?<｜Assistant｜>") + (thinks ? "<think>" : "</think>");
    const std::string written = Written(thinks);
    // Two turns for each dialect and each way of the reasoning.
    ServerSetup setup;
    for (int i = 0; i < 6; ++i) {
      setup.script.emplace_back(first_prompt + written + "<｜end▁of▁sentence｜><｜User｜>",
                                "The same.");
      setup.script.emplace_back(first_prompt, written);
    }
    TestServer server(setup);
    for (const Dialect dialect : kConversing) {
      for (const Reasoning reasoning : {Reasoning::kReturned, Reasoning::kDropped}) {
        Wish wish = {.thinks = thinks, .stream = thinks, .has_tools = true};
        wish.text = "Weather?";
        const Answer first = Put(server, dialect, wish);
        ASSERT_EQ(first.calls.size(), 2u) << first.Show();
        if (dialect != Dialect::kAnthropic || wish.stream) {
          EXPECT_EQ(first.calls[0].arguments, kFirst);
          EXPECT_EQ(first.calls[1].arguments, kSecond);
        }
        wish.more = SecondTurn(dialect, first, reasoning);
        const Answer second = Put(server, dialect, wish);
        EXPECT_EQ(thinks ? second.reasoning : second.content, "The same.")
            << Target(dialect) << (reasoning == Reasoning::kDropped ? " dropped" : " returned");
      }
    }
  }
}

TEST(Prompts, WhatAClientChangesOnPurposeStaysChanged) {
  const std::string written = Block(Invoke("search", TextParameter("query", "old")));
  ServerSetup setup;
  setup.script = {{"", written}, {">new</｜DSML｜parameter>", "Seen."}};
  TestServer server(setup);
  Answer first = Put(server, Dialect::kChat, {.has_tools = true});
  ASSERT_EQ(first.calls.size(), 1u);
  first.calls[0].arguments = R"({"query":"new"})";
  const std::string messages = fmt::format(
      R"({{"messages":[{{"role":"user","content":"Hello"}},{{"role":"assistant","content":"",
          "tool_calls":[{{"id":"{0}","type":"function","function":{{"name":"search",
          "arguments":"{{\"query\":\"new\"}}"}}}}]}},
          {{"role":"tool","tool_call_id":"{0}","content":"r"}}]}})",
      first.calls[0].id);
  EXPECT_EQ(Put(server, Dialect::kChat, {.has_tools = true, .more = messages}).content, "Seen.");
}

// Counted tokens
// -------------------------------------------------------------------------------

TEST(Prompts, CountedTokensAreThoseOfTheUsage) {
  TestServer server;
  for (const Dialect dialect : {Dialect::kAnthropic, Dialect::kResponses}) {
    for (const bool thinks : {false, true}) {
      for (const bool has_tools : {false, true}) {
        const std::string system = dialect == Dialect::kAnthropic
                                       ? R"({"system":[{"type":"text","text":"Be brief."}]})"
                                       : R"({"instructions":"Be brief."})";
        const std::string body = BodyFor(
            dialect, {.thinks = thinks, .has_tools = has_tools, .max_tokens = 1, .more = system});
        const std::string target = Target(dialect);
        const Answer answer = Read(dialect, server.Post(target, body));
        const Reply counted = server.Post(
            target + (dialect == Dialect::kAnthropic ? "/count_tokens" : "/input_tokens"), body);
        EXPECT_EQ(IntAt(BodyOf(counted), "input_tokens"), answer.prompt_tokens) << body;
      }
    }
  }
  EXPECT_EQ(server
                .Post("/anthropic/v1/messages/count_tokens",
                      R"({"model":"nano","messages":[{"role":"user","content":"Hello"}]})")
                .status,
            200);
  EXPECT_EQ(
      server.Post("/anthropic/v1/messages/count_tokens", R"({"model":"nano","messages":5})").status,
      400);
}

}  // namespace
}  // namespace fathom::conformance
