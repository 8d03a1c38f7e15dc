// What the members of a Chat Completions request mean: docs/api.md, "Chat Completions".
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "api/openai/chat_request_testing.h"
#include "api/request.h"
#include "api/turn_list.h"
#include "chat/encode.h"

namespace fathom::api {
namespace {

TEST(ChatRequest, ThinkingAndEffortInEverySpelling) {
  using chat::ReasoningEffort;
  constexpr std::optional<ReasoningEffort> kNoEffort;
  struct Expected {
    std::string members;
    bool thinks;
    std::optional<ReasoningEffort> effort;
  };
  const std::vector<Expected> cases = {
      {"", true, ReasoningEffort::kHigh},
      {R"("thinking":null)", true, ReasoningEffort::kHigh},
      {R"("thinking":{"type":"enabled"})", true, ReasoningEffort::kHigh},
      {R"("thinking":{"type":"adaptive","budget_tokens":5})", true, ReasoningEffort::kHigh},
      {R"("thinking":{"type":"disabled"})", false, kNoEffort},
      {R"("thinking":{"type":"disabled"},"reasoning_effort":"max")", false, kNoEffort},
      {R"("reasoning_effort":null)", true, ReasoningEffort::kHigh},
      {R"("reasoning_effort":"none")", false, kNoEffort},
      {R"("reasoning_effort":"none","thinking":{"type":"enabled"})", false, kNoEffort},
      {R"("reasoning_effort":"minimal")", true, ReasoningEffort::kLow},
      {R"("reasoning_effort":"low")", true, ReasoningEffort::kLow},
      {R"("reasoning_effort":"medium")", true, ReasoningEffort::kHigh},
      {R"("reasoning_effort":"high")", true, ReasoningEffort::kHigh},
      {R"("reasoning_effort":"xhigh")", true, ReasoningEffort::kHigh},
      {R"("reasoning_effort":"max")", true, ReasoningEffort::kMax},
      {R"("reasoning_effort":"ultra")", true, ReasoningEffort::kMax},
      {R"("thinking_mode":"non-think")", false, kNoEffort},
      {R"("thinking_mode":"think-high")", true, ReasoningEffort::kHigh},
      {R"("thinking_mode":"think-max")", true, ReasoningEffort::kMax},
      {R"("chat_template_kwargs":{"thinking":false})", false, kNoEffort},
      {R"("chat_template_kwargs":{"enable_thinking":false})", false, kNoEffort},
      {R"("chat_template_kwargs":{"thinking":true,"reasoning_effort":"low"})", true,
       ReasoningEffort::kLow},
      {R"("reasoning_effort":"max","chat_template_kwargs":{"reasoning_effort":"low"})", true,
       ReasoningEffort::kMax},
  };
  for (const Expected& c : cases) {
    const Request request = Read(With(c.members));
    EXPECT_EQ(request.thinks(), c.thinks) << c.members;
    EXPECT_EQ(request.encode.reasoning_effort, c.effort) << c.members;
    EXPECT_EQ(request.model, "deepseek-v4-flash");
  }
  for (const auto& [model, members, thinks] :
       std::vector<std::tuple<std::string, std::string, bool>>{
           {"deepseek-chat", R"("thinking":{"type":"enabled"})", false},
           {"deepseek-reasoner", R"("thinking":{"type":"disabled"})", true},
           {"deepseek-reasoner[1m]", R"("reasoning_effort":"none")", true},
           {"deepseek-flash", R"("reasoning_effort":"none")", false},
           {"anything", R"("reasoning_effort":"low")", true}}) {
    const Request request = Read(fmt::format(
        R"({{"model":"{}","messages":[{{"role":"user","content":"x"}}],{}}})", model, members));
    EXPECT_EQ(request.thinks(), thinks) << model;
    EXPECT_EQ(request.model, "deepseek-v4-flash") << model;
  }
}

TEST(ChatRequest, PreviewHasNoPreambleForLow) {
  Facts facts;
  facts.revision = chat::Revision::kPreview;
  const auto request = ParseChat(With(R"("reasoning_effort":"low")"), facts, {});
  EXPECT_TRUE(request.value().thinks());
  EXPECT_EQ(request.value().encode.reasoning_effort, std::nullopt);
  EXPECT_TRUE(chat::Encode(request.value().conversation, request.value().encode).ok());
}

TEST(ChatRequest, SamplingCountsOnlyWithoutThinking) {
  const std::string members =
      R"("temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.1,"repetition_penalty":1.1,"seed":7,)"
      R"("presence_penalty":1,"frequency_penalty":1,"logit_bias":{"5":-100,"6":1.5})";
  const Generation chat = Read(With(members + R"(,"thinking":{"type":"disabled"})")).generation;
  EXPECT_EQ(chat.temperature, 0.5);
  EXPECT_EQ(chat.top_p, 0.9);
  EXPECT_EQ(chat.top_k, 40);
  EXPECT_EQ(chat.min_p, 0.1);
  EXPECT_EQ(chat.repetition_penalty, 1.1);
  EXPECT_EQ(chat.seed, 7);
  EXPECT_EQ(chat.logit_bias, (std::vector<std::pair<TokenId, double>>{{5, -100}, {6, 1.5}}));

  const Generation thinking = Read(With(members)).generation;
  EXPECT_EQ(thinking.temperature, std::nullopt);
  EXPECT_EQ(thinking.top_p, std::nullopt);
  EXPECT_EQ(thinking.top_k, std::nullopt);
  EXPECT_EQ(thinking.min_p, std::nullopt);
  EXPECT_EQ(thinking.repetition_penalty, std::nullopt);
  EXPECT_EQ(thinking.seed, 7);
  EXPECT_EQ(thinking.logit_bias.size(), 2u);

  const Generation with_tools =
      Read(With(members + fmt::format(",\"tools\":[{}]", kTool))).generation;
  EXPECT_EQ(with_tools.top_p, 0.95);
  EXPECT_EQ(with_tools.temperature, std::nullopt);
}

TEST(ChatRequest, RemainingMembers) {
  const Request plain = Read(With(""));
  EXPECT_FALSE(plain.stream);
  EXPECT_FALSE(plain.include_usage);
  EXPECT_EQ(plain.generation.n, 1);
  EXPECT_EQ(plain.generation.max_tokens, std::nullopt);
  EXPECT_EQ(plain.generation.logprobs, std::nullopt);
  EXPECT_EQ(plain.tool_choice, ToolChoice::kNone);
  EXPECT_TRUE(plain.parallel_tool_calls);
  EXPECT_EQ(plain.isolation_key, "");

  const Request full = Read(With(
      R"("stream":true,"stream_options":{"include_usage":true},"n":8,"max_tokens":9,)"
      R"("max_completion_tokens":5,"stop":["","x"],"logprobs":true,"user":"u","user_id":"id-1_",)"
      R"("min_tokens":2,"ignore_eos":true,"thinking_budget":100,"parallel_tool_calls":false,)"
      R"("store":true,"metadata":{},"functions":1,"dsh_x":[],"audio":"?","prediction":3)"));
  EXPECT_TRUE(full.stream);
  EXPECT_TRUE(full.include_usage);
  EXPECT_EQ(full.generation.n, 8);
  EXPECT_EQ(full.generation.max_tokens, 5);
  EXPECT_EQ(full.generation.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(full.generation.logprobs, 0);
  EXPECT_EQ(full.generation.min_tokens, 2);
  EXPECT_TRUE(full.generation.ignore_eos);
  EXPECT_EQ(full.generation.reasoning_tokens_max, 100);
  EXPECT_FALSE(full.parallel_tool_calls);
  EXPECT_EQ(full.isolation_key, "id-1_");

  EXPECT_EQ(
      Read(With(R"("max_tokens":4,"stop":"z","user":"u x","logprobs":true,"top_logprobs":20)"))
          .generation.logprobs,
      20);
  EXPECT_EQ(Read(With(R"("user":"u x")")).isolation_key, HashedUser("u x"));
  EXPECT_TRUE(Read(With(R"("parallel_tool_calls":false)"), Profile::kStrict).parallel_tool_calls);
  EXPECT_FALSE(Read(With(R"("stream_options":{"include_usage":true})")).include_usage);
}

TEST(ChatRequest, ToolsAndTheirStrictFlags) {
  const auto tool = [](const char* name, const char* more) {
    return fmt::format(R"({{"type":"function","function":{{"name":"{}"{}}}}})", name, more);
  };
  const std::string strict = ",\"strict\":true";
  const Request all = Read(
      With(fmt::format("\"tools\":[{},{}]", tool("f", strict.c_str()), tool("g", strict.c_str()))),
      Profile::kStrict, true);
  EXPECT_TRUE(all.tools[0].is_strict && all.tools[1].is_strict);
  EXPECT_EQ(all.tool_choice, ToolChoice::kAuto);
  const Request some =
      Read(With(fmt::format("\"tools\":[{},{}]", tool("f", strict.c_str()), tool("g", ""))));
  EXPECT_FALSE(some.tools[0].is_strict || some.tools[1].is_strict);
  EXPECT_TRUE(some.tools[0].parameters.is_null());

  const Request named = Read(With(
      fmt::format(R"("tools":[{{"type":"web_search"}},{},{}],"tool_choice":{{"type":"function",)"
                  R"("function":{{"name":"g"}}}})",
                  tool("f", ""), tool("g", R"(,"parameters":{"type":"object"})"))));
  ASSERT_EQ(named.tools.size(), 2u);
  EXPECT_EQ(named.tool_choice, ToolChoice::kRequired);
  EXPECT_EQ(named.allowed_tools, std::vector<std::string>{"g"});
  EXPECT_EQ(WriteJson(named.tools[1].parameters), R"({"type":"object"})");
  const Request none = Read(With(fmt::format(R"("tools":[{}],"tool_choice":"none")", kTool)));
  EXPECT_EQ(none.tool_choice, ToolChoice::kNone);
  EXPECT_EQ(none.conversation.messages[0].tools.size(), 1u);
}

std::string PromptOf(const Request& request) {
  const auto prompt = chat::Encode(request.conversation, request.encode);
  EXPECT_TRUE(prompt.ok());
  return prompt.ok() ? prompt.value().text : prompt.error().message;
}

// Messages to prompts; chat mode, so that the text is short.
TEST(ChatRequest, MessagesBecomeTurns) {
  const std::string a = "<｜Assistant｜></think>";
  const std::string eos = "<｜end▁of▁sentence｜>";
  const std::string calls =
      "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>\n"
      "</｜DSML｜tool_calls>" +
      eos;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"role":"system","content":"a"},{"role":"developer","content":"b"},
          {"role":"system","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]},
          {"role":"user","content":"u"})",
       "a\n\nb\n\nc\n\nd<｜User｜>u" + a},
      {R"({"role":"user","content":"u"},{"role":"system","content":"late"})",
       "<｜User｜>u\n\nlate" + a},
      {R"({"role":"user","content":"u"},{"role":"assistant","content":"x"},
          {"role":"developer","content":"d"},{"role":"user","content":"v"})",
       "<｜User｜>u" + a + "x" + eos + "<｜User｜>d\n\nv" + a},
      {R"({"role":"user","content":"u"},{"role":"assistant","content":"x"},
          {"role":"assistant","content":""},{"role":"assistant","content":"y"},
          {"role":"user","content":"v"})",
       "<｜User｜>u" + a + "x\n\ny" + eos + "<｜User｜>v" + a},
      {std::string(kUser) + "," + kCallA +
           R"(,{"role":"tool","tool_call_id":"a","content":[{"type":"text","text":"1"},
               {"type":"text","text":"2"}]},{"role":"system","content":"s"})",
       "<｜User｜>Hi" + a + calls + "<｜User｜><tool_result>1\n\n2</tool_result>\n\ns" + a},
      {R"({"role":"system","content":"s"})", "s<｜User｜>" + a},
      {R"({"role":"latest_reminder","content":"r"},{"role":"user","content":"u"})",
       "<｜latest_reminder｜>r<｜User｜>u" + a},
      {R"({"role":"user","content":"u"},{"role":"latest_reminder","content":"r"})",
       "<｜latest_reminder｜>r<｜User｜>u" + a},
      {R"({"role":"user","content":"u"},{"role":"assistant","content":"x"},
          {"role":"user","content":"v"},{"role":"latest_reminder","content":"r"},
          {"role":"user","content":"w"})",
       "<｜User｜>u" + a + "x" + eos + "<｜latest_reminder｜>r<｜User｜>v\n\nw" + a},
      {R"({"role":"user","content":"u"},{"role":"latest_reminder","content":"r"},
          {"role":"user","content":"v"},{"role":"latest_reminder","content":"s"})",
       "<｜latest_reminder｜>r<｜latest_reminder｜>s<｜User｜>u\n\nv" + a},
      {R"({"role":"user","content":"u"},{"role":"assistant","content":"pre","prefix":true})",
       "<｜User｜>u" + a + "pre"},
      {R"({"role":"user","content":"u"},{"role":"assistant","content":"pre"})",
       "<｜User｜>u" + a + "pre"},
      {R"({"role":"system","content":"s"},{"role":"assistant","content":"pre"})",
       "s<｜User｜>" + a + "pre"},
      {R"({"role":"assistant","content":"pre"})", "<｜User｜>" + a + "pre"},
      {R"({"role":"user","content":null})", "<｜User｜>" + a},
  };
  for (const auto& [messages, expected] : cases) {
    const Request request = Read(Messages(messages, R"("thinking":{"type":"disabled"})"));
    EXPECT_EQ(PromptOf(request), "<｜begin▁of▁sentence｜>" + expected) << messages;
  }
}

// Moving each message behind each reminder would take minutes.
TEST(ChatRequest, ManyRemindersInOneTurnAreReadSoon) {
  constexpr int kMany = 60'000;
  std::string messages;
  for (int i = 0; i < kMany; ++i) messages += R"({"role":"user","content":"u"},)";
  for (int i = 0; i < kMany; ++i) messages += R"({"role":"latest_reminder","content":"r"},)";
  messages.pop_back();
  const auto start = std::chrono::steady_clock::now();
  const Request request = Read(Messages(messages, R"("thinking":{"type":"disabled"})"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  const auto& read = request.conversation.messages;
  ASSERT_EQ(read.size(), 2 * kMany);
  EXPECT_EQ(read[kMany - 1].role, chat::Role::kLatestReminder);
  EXPECT_EQ(read[kMany].role, chat::Role::kUser);
}

TEST(ChatRequest, ReasoningAndPrefixesWhileThinking) {
  const auto prompt = [](std::string_view messages) {
    return PromptOf(Read(Messages(messages, R"("reasoning_effort":"low")")));
  };
  const std::string open = "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜><think>";
  const std::string u = std::string(kUser) + ",";
  EXPECT_EQ(
      prompt(u + R"({"role":"assistant","content":"c","reasoning_content":"r","prefix":true})"),
      open + "r</think>c");
  EXPECT_EQ(prompt(u + R"({"role":"assistant","content":"c","reasoning":"r","prefix":true})"),
            open + "r</think>c");
  EXPECT_EQ(prompt(u + R"({"role":"assistant","content":"c","reasoning":{"effort":"x"}})"),
            open + "</think>c");
  EXPECT_EQ(prompt(u + R"({"role":"assistant","content":"","reasoning_content":"r"})"),
            open + "r</think>");
  EXPECT_EQ(prompt(u + R"({"role":"assistant","reasoning_content":"r","content":"a"},
                    {"role":"assistant","reasoning_content":"s","content":"b"})"),
            open + "r\n\ns</think>a\n\nb");
  EXPECT_TRUE(Read(Messages(u + R"({"role":"assistant","content":"c"})")).continues_prefix);
  EXPECT_FALSE(Read(With("")).continues_prefix);
}

TEST(ChatRequest, SchemasAndToolsStandOnTheSystemMessage) {
  const Request request = Read(With(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"s",)"
      R"("schema":{"max":1e5,"b":"é"}}},)"
      R"("tools":[{"type":"function","function":{"parameters":{"x":1.50},"name":"f","odd":[]}}],)"
      R"("thinking":{"type":"disabled"})"));
  EXPECT_EQ(request.format.kind, OutputFormat::Kind::kJsonSchema);
  EXPECT_EQ(request.format.name, "s");
  EXPECT_EQ(WriteJson(request.format.schema), R"({"max":1e5,"b":"é"})");
  const std::string prompt = PromptOf(request);
  EXPECT_NE(prompt.find("\n{\"parameters\": {\"x\": 1.5}, \"name\": \"f\", \"odd\": []}\n"),
            std::string::npos)
      << prompt;
  EXPECT_NE(prompt.find("\n{\"max\": 100000.0, \"b\": \"é\"}<｜User｜>Hi"), std::string::npos)
      << prompt;
  EXPECT_EQ(Read(With(R"("response_format":{"type":"json_schema","json_schema":{"name":"s"}})"))
                .format.kind,
            OutputFormat::Kind::kJsonObject);
  const Request schema_only =
      Read(With(R"("response_format":{"type":"json_schema","schema":{"type":"object"}})"));
  EXPECT_EQ(schema_only.conversation.messages[0].role, chat::Role::kSystem);
}

TEST(ChatRequest, ArgumentsMayBeAnObject) {
  const Request request = Read(Messages(
      std::string(kUser) +
      R"(,{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":{"x":1}}},
          {"id":"b","function":{"name":"f"}}]},)" +
      Result("b") + "," + Result("a")));
  const auto& calls = request.conversation.messages[1].tool_calls;
  EXPECT_EQ(calls[0].arguments, R"({"x":1})");
  EXPECT_EQ(calls[1].arguments, "{}");
}

}  // namespace
}  // namespace fathom::api
