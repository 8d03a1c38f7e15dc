// Every row of the Anthropic dialect's request in both profiles: what is refused and with which
// words, which prompt the messages become, where the other members end up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/request_testing.h"

namespace fathom::api {
namespace {

Parsed<Request> ParseIn(std::string_view body, Profile profile) {
  return ParseMessages(body, TestFacts(profile), {});
}

// A plain body with members added or replaced: the last of a repeated name counts.
std::string With(const std::string& members) {
  return R"({"model":"deepseek-v4-flash","max_tokens":10,"thinking":{"type":"disabled"},)"
         R"("messages":[{"role":"user","content":"Hi"}],)" +
         members + "}";
}
std::string WithMessages(const std::string& messages) {
  return With("\"messages\":[" + messages + "]");
}

constexpr const char* kTool = R"("tools":[{"name":"f","description":"d","input_schema":)"
                              R"({"type":"object","properties":{"x":{"type":"number"}}}}])";
constexpr const char* kUse = R"({"role":"user","content":"q"},{"role":"assistant","content":[)"
                             R"({"type":"tool_use","id":"t1","name":"f","input":{"x":1}}]})";

TEST(MessagesRequest, ShapeIsRefused) {
  const std::string where = "Failed to deserialize the JSON body into the target type: ";
  std::vector<RefusalCase> cases = {
      {"[]", where + "invalid type: sequence, expected struct MessagesRequest at line 1 column",
       ""},
      {R"({"messages":[],"max_tokens":1})", where + "missing field `model` at line 1 column", ""},
      {R"({"model":"deepseek-v4-flash","max_tokens":1})", where + "missing field `messages`", ""},
      {With(R"("model":5)"), where + "model: invalid type: integer `5`, expected a string", ""},
      {With(R"("messages":"Hi")"), where + "messages: invalid type: string \"Hi\"", ""},
      {WithMessages("1"), where + "messages[0]: invalid type: integer `1`", ""},
      {WithMessages(R"({"content":"a"})"), where + "messages[0]: missing field `role`", ""},
      {WithMessages(R"({"role":"tool","content":"a"})"),
       where + "messages[0].role: unknown variant `tool`, expected one of `user`, `assistant`, "
               "`system` at line 1 column",
       ""},
      {WithMessages(R"({"role":"user"})"), where + "messages[0]: missing field `content`", ""},
      {WithMessages(R"({"role":"user","content":1})"),
       where + "messages[0].content: invalid type: integer `1`, expected a string or", ""},
      {WithMessages(R"({"role":"user","content":["a"]})"),
       where + "messages[0].content[0]: invalid type: string \"a\"", ""},
      {WithMessages(R"({"role":"user","content":[{"text":"a"}]})"),
       where + "messages[0].content[0]: missing field `type`", ""},
      {WithMessages(R"({"role":"user","content":[{"type":"text"}]})"),
       where + "messages[0].content[0]: missing field `text`", ""},
      {WithMessages(R"({"role":"user","content":[{"type":"tool_result","content":"a"}]})"),
       where + "messages[0].content[0]: missing field `tool_use_id`", ""},
      {With(R"("system":5)"), where + "system: invalid type: integer `5`", ""},
      {With(R"("max_tokens":"10")"), where + "max_tokens: invalid type: string \"10\"", ""},
      {With(R"("temperature":"1")"), where + "temperature: invalid type: string \"1\"", ""},
      {With(R"("thinking":{})"), where + "thinking: missing field `type`", ""},
      {With(R"("thinking":{"type":"x"})"),
       where + "thinking.type: unknown variant `x`, expected one of `adaptive`, `enabled`, "
               "`disabled`",
       ""},
      {With(R"("thinking":"enabled")"), where + "thinking: invalid type: string \"enabled\"", ""},
      {With(R"("output_config":{"effort":"huge"})"),
       where + "output_config.effort: unknown variant `huge`, expected one of `none`, `minimal`, "
               "`low`, `medium`, `high`, `xhigh`, `max`",
       ""},
      {With(R"("output_config":{"format":{"type":"xml"}})"),
       where + "output_config.format.type: unknown variant `xml`", ""},
      {With(R"("stop_sequences":5)"), where + "stop_sequences: invalid type: integer `5`", ""},
      {With(R"("stream":"yes")"), where + "stream: invalid type: string \"yes\"", ""},
      {With(R"("tools":[{"description":"d"}])"), where + "tools[0]: missing field `name`", ""},
      {With(R"("tools":[{"name":"f","input_schema":1}])"),
       where + "tools[0].input_schema: invalid type: integer `1`", ""},
      {With(R"("tool_choice":{"type":"required"})"),
       where + "tool_choice.type: unknown variant `required`, expected one of `auto`, `any`, "
               "`tool`, `none`",
       ""},
      {With(R"("tool_choice":{"type":"tool"})"), where + "tool_choice: missing field `name`", ""},
  };
  for (RefusalCase& c : cases) c.strict_error = c.default_error;
  ExpectRefusals(cases, ParseIn);
}

TEST(MessagesRequest, ValuesAreRefused) {
  std::string stops;
  for (int i = 0; i < 17; ++i) stops += i > 0 ? ",\"s\"" : "\"s\"";
  const auto both = [](std::string body, std::string error) {
    return RefusalCase{std::move(body), error, error};
  };
  ExpectRefusals(
      {both("{", "Failed to parse the request body as JSON: "),
       both("", "Failed to parse the request body as JSON: "),
       both(With(R"("messages":[])"), "Empty input messages"),
       both(With(R"("messages":[],"system":"s")"), "Empty input messages"),
       both(With(R"("temperature":2.5)"),
            "Invalid temperature value, the valid range of temperature is [0, 2]"),
       both(With(R"("thinking":null,"temperature":-1)"), "Invalid temperature value"),
       both(With(R"("top_p":0)"), "Invalid top_p value, the valid range of top_p is (0, 1.0]"),
       both(With(R"("top_p":1.5)"), "Invalid top_p value"),
       both(With(R"("max_tokens":0)"),
            "Invalid max_tokens value, the valid range of max_tokens is [1, 393216]"),
       both(With(R"("max_tokens":393217)"), "Invalid max_tokens value"),
       both(With("\"stop_sequences\":[" + stops + "]"), "Stop string array too long: 17"),
       both(With(R"("tools":[{"name":"a b"}])"),
            "Invalid 'tools[0].name': string does not match pattern."),
       both(With(R"("tools":[{"name":")" + std::string(129, 'a') + "\"}]"),
            "Invalid 'tools[0].name': string too long. Expected a string with maximum length 128, "
            "but got a string with length 129 instead."),
       both(With(R"("tools":[{"name":"f"},{"name":"f"}])"), "Tool names must be unique."),
       both(With(std::string(kTool) + R"(,"tool_choice":{"type":"tool","name":"g"})"),
            "there is no tool with the name 'g'"),
       both(WithMessages(R"({"role":"user","content":[{"type":"image","source":{}}]})"),
            "This model does not support image")},
      ParseIn);
}

TEST(MessagesRequest, ProfilesDiffer) {
  std::string many;
  for (int i = 0; i < 129; ++i)
    many += (i > 0 ? ",{\"name\":\"f" : "{\"name\":\"f") + std::to_string(i) + "\"}";
  const std::string replay = R"("thinking":{"type":"enabled"},"messages":[)" + std::string(kUse) +
                             R"(,{"role":"user","content":[)"
                             R"({"type":"tool_result","tool_use_id":"t1","content":"r"}]}])";
  std::string with_thinking = replay;
  ReplaceAll(with_thinking, R"({"type":"tool_use")",
             R"({"type":"thinking","thinking":""},{"type":"tool_use")");
  ExpectRefusals(
      {{With(R"("model":"gpt-4")"), "",
        "The supported API model names are deepseek-v4-flash, deepseek-v4-pro, but you passed "
        "gpt-4."},
       {With(R"("model":"claude-opus-4-5")"), "", ""},
       {With(R"("model":"deepseek-v4-pro[1m]")"), "", ""},
       {With(R"("max_tokens":null)"), "", "missing field `max_tokens`"},
       {R"({"model":"deepseek-v4-flash","messages":[{"role":"user","content":"a"}]})", "",
        "missing field `max_tokens`"},
       {With("\"tools\":[" + many + "]"), "", "Invalid 'tools': array too long"},
       {WithMessages(
            R"({"role":"user","content":[{"type":"hologram"},{"type":"text","text":"a"}]})"),
        "", "messages[0].content[0].type: unknown variant `hologram`"},
       {WithMessages(R"({"role":"user","content":null})"), "", "messages[0].content: invalid type"},
       {With(R"("thinking":{"type":"enabled"},"tool_choice":{"type":"any"},)" + std::string(kTool)),
        "", "Thinking mode does not support this tool_choice"},
       {With(R"("tool_choice":{"type":"any"},)" + std::string(kTool)), "", ""},
       {With(replay), "",
        "The `content[].thinking` in the thinking mode must be passed back to the API."},
       {With(with_thinking), "", ""},
       {With(R"("tools":[{"type":"web_search_20250305","name":"web_search"}],)"
             R"("tool_choice":{"type":"tool","name":"web_search"})"),
        "", "there is no tool with the name 'web_search'"}},
      ParseIn);
}

TEST(MessagesRequest, ResultsMustMatchCalls) {
  const std::string use = kUse;
  const auto result = [](const char* id) {
    return std::string(R"({"type":"tool_result","tool_use_id":")") + id + R"(","content":"r"})";
  };
  const auto user = [](const std::string& blocks) {
    return R"(,{"role":"user","content":[)" + blocks + "]}";
  };
  const std::string text = R"({"type":"text","text":"a"})";
  const std::string kInsufficient =
      "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
      "'tool_call_id'. (insufficient tool messages following tool_calls message)";
  const std::string kNoCall =
      "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'";
  ExpectRefusals(
      {{WithMessages(use), kInsufficient, kInsufficient},
       {WithMessages(use + user(text)), kInsufficient, kInsufficient},
       {WithMessages(use + user(result("t2"))), "did not have response messages: t1",
        "did not have response messages: t1"},
       {WithMessages(use + user(result("t1")) + user(result("t1"))), "", kNoCall},
       {WithMessages(R"({"role":"user","content":[)" + result("t1") + "]}"), kNoCall, kNoCall},
       {WithMessages(use + user(text + "," + result("t1"))), "", ""},
       {WithMessages(use + user(result("t1") + "," + text)), "", ""},
       {WithMessages(use + R"(,{"role":"system","content":"s"})" + user(result("t1"))), "", ""}},
      ParseIn);
}

struct PromptCase {
  std::string body;
  std::string prompt;
};

void ExpectPrompts(const std::vector<PromptCase>& cases) {
  for (const PromptCase& c : cases) {
    SCOPED_TRACE(c.body);
    EXPECT_EQ(ShortPrompt(ParseIn(c.body, Profile::kDefault)), c.prompt);
  }
}

TEST(MessagesRequest, SystemTexts) {
  const std::string bill = R"({"type":"text","text":"x-anthropic-billing-header: v=1"})";
  ExpectPrompts({
      {With(R"("system":"S")"), "S<U>Hi<A></think>"},
      {With(R"("system":null)"), "<U>Hi<A></think>"},
      {With(R"("system":[])"), "<U>Hi<A></think>"},
      {With("\"system\":[" + bill + "]"), "<U>Hi<A></think>"},
      {With("\"system\":[" + bill +
            R"(,{"type":"text","text":"A","cache_control":{"type":"ephemeral"}},)"
            R"({"type":"text","text":"B\n"}])"),
       "A\n\nB\n<U>Hi<A></think>"},
      {WithMessages(R"({"role":"system","content":"S"},{"role":"user","content":"a"})"),
       "S<U>a<A></think>"},
      // A later one stays in its place.
      {WithMessages(R"({"role":"user","content":"a"},{"role":"system","content":"S"})"),
       "<U>a\n\nS<A></think>"},
      {WithMessages(R"({"role":"user","content":"a"},{"role":"assistant","content":"b"},)"
                    R"({"role":"system","content":[{"type":"text","text":"S"}]},)"
                    R"({"role":"user","content":"c"})"),
       "<U>a<A></think>b<E><U>S\n\nc<A></think>"},
  });
}

TEST(MessagesRequest, Blocks) {
  const auto user = [](const std::string& blocks) {
    return WithMessages(R"({"role":"user","content":[)" + blocks + "]}");
  };
  ExpectPrompts({
      {user(R"({"type":"text","text":"a","citations":[]},{"type":"text","text":"b"})"),
       "<U>a\n\nb<A></think>"},
      {user(R"({"type":"document","source":{"type":"text","data":"D"}})"), "<U>D<A></think>"},
      {user(R"({"type":"document","source":{"type":"content","content":[)"
            R"({"type":"text","text":"D"},{"type":"text","text":"E"}]}})"),
       "<U>D\n\nE<A></think>"},
      {user(R"({"type":"document","source":{"type":"base64","data":"x"}})"),
       "<U>[Unsupported document]<A></think>"},
      {user(R"({"type":"search_result","content":[{"type":"text","text":"R"}]})"),
       "<U>R<A></think>"},
      {user(R"({"type":"hologram"},{"type":"text","text":"a"})"), "<U>a<A></think>"},
      {user(""), "<U><A></think>"},
      {WithMessages(R"({"role":"user","content":"a"},{"role":"user","content":"b"})"),
       "<U>a\n\nb<A></think>"},
      {WithMessages(R"({"role":"user","content":"a"},{"role":"assistant","content":[)"
                    R"({"type":"redacted_thinking","data":"x"},{"type":"text","text":"b"},)"
                    R"({"type":"server_tool_use","id":"s","name":"web_search","input":{}},)"
                    R"({"type":"web_search_tool_result","tool_use_id":"s","content":[]}]},)"
                    R"({"role":"assistant","content":"c"},{"role":"user","content":"d"})"),
       "<U>a<A></think>b\n\nc<E><U>d<A></think>"},
  });
}

TEST(MessagesRequest, CallsAndResults) {
  const std::string call =
      "<U>q<A></think>\n\n<:tool_calls>\n<:invoke name=\"f\">\n"
      "<:parameter name=\"x\" string=\"false\">1</:parameter>\n</:invoke>\n</:tool_calls><E>";
  const auto answered = [](const std::string& blocks) {
    return WithMessages(std::string(kUse) + R"(,{"role":"user","content":[)" + blocks + "]}");
  };
  const std::string r = R"({"type":"tool_result","tool_use_id":"t1")";
  ExpectPrompts({
      {answered(r + R"(,"content":"r","is_error":true,"cache_control":{"type":"ephemeral"}})"),
       call + "<U><tool_result>r</tool_result><A></think>"},
      {answered(r + "}"), call + "<U><tool_result></tool_result><A></think>"},
      {answered(r + R"(,"content":null})"), call + "<U><tool_result></tool_result><A></think>"},
      {answered(r + R"(,"content":[{"type":"text","text":"a"},{"type":"image","source":{}},)"
                    R"({"type":"text","text":"b"}]})"),
       call + "<U><tool_result>a\n\n[Unsupported image]\n\nb</tool_result><A></think>"},
      {answered(R"({"type":"text","text":"before"},)" + r +
                R"(,"content":"r"},{"type":"text","text":"after"})"),
       call + "<U>before\n\n<tool_result>r</tool_result>\n\nafter<A></think>"},
  });
  // Results in the order of their calls, whatever the order they came in; empty input.
  ExpectPrompts({{WithMessages(R"({"role":"user","content":"q"},{"role":"assistant","content":[)"
                               R"({"type":"tool_use","id":"t1","name":"f","input":{}},)"
                               R"({"type":"tool_use","id":"t2","name":"g"}]},)"
                               R"({"role":"user","content":[)"
                               R"({"type":"tool_result","tool_use_id":"t2","content":"2"},)"
                               R"({"type":"tool_result","tool_use_id":"t1","content":"1"}]})"),
                  "<U>q<A></think>\n\n<:tool_calls>\n<:invoke name=\"f\">\n\n</:invoke>\n"
                  "<:invoke name=\"g\">\n\n</:invoke>\n</:tool_calls><E>"
                  "<U><tool_result>1</tool_result>\n\n<tool_result>2</tool_result><A></think>"}});
}

TEST(MessagesRequest, ThinkingAndReplay) {
  const std::string on = R"("thinking":{"type":"adaptive","budget_tokens":5,"display":"x"})";
  const std::string turn =
      R"(,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[)"
      R"({"type":"thinking","thinking":"T","signature":"s"},)"
      R"({"type":"thinking","thinking":"V","signature":"s"},{"type":"text","text":"b"}]})";
  ExpectPrompts({
      {With(R"("thinking":null)"), "[high]<U>Hi<A><think>"},
      {With(on), "[high]<U>Hi<A><think>"},
      {With(on + R"(,"output_config":{"effort":"low"})"), "<U>Hi<A><think>"},
      {With(on + R"(,"output_config":{"effort":"medium"})"), "[high]<U>Hi<A><think>"},
      {With(on + R"(,"output_config":{"effort":"xhigh"})"), "[high]<U>Hi<A><think>"},
      {With(on + R"(,"output_config":{"effort":"max"})"), "[max]<U>Hi<A><think>"},
      {With(R"("output_config":{"effort":"max"})"), "<U>Hi<A></think>"},
      // Without tools earlier reasoning is dropped, with tools it comes back.
      {With(on + turn + R"(,{"role":"user","content":"c"}])"),
       "[high]<U>a<A></think>b<E><U>c<A><think>"},
      {With(on + turn + R"(,{"role":"user","content":"c"}],"tools":[{"name":"f"}])"),
       "[high]\n\n[tools:{\"name\": \"f\"}]<U>a<A><think>T\n\nV</think>b<E><U>c<A><think>"},
      // Prefill: the answer goes on.
      {With(on + turn + "]"), "[high]<U>a<A><think>T\n\nV</think>b"},
      {WithMessages(R"({"role":"user","content":"a"},{"role":"assistant","content":"{"})"),
       "<U>a<A></think>{"},
  });
}

TEST(MessagesRequest, ToolsInThePrompt) {
  ExpectPrompts({
      {With(R"("system":"S",)" + std::string(kTool)),
       "S\n\n[tools:{\"name\": \"f\", \"description\": \"d\", \"parameters\": {\"type\": "
       "\"object\", \"properties\": {\"x\": {\"type\": \"number\"}}}}]<U>Hi<A></think>"},
      {With(R"("tools":[{"type":"custom","name":"f","strict":true,"defer_loading":true,)"
            R"("cache_control":{}},{"type":"bash_20250124","name":"bash"},)"
            R"({"type":"web_search_20250305","name":"web_search"}])"),
       "\n\n[tools:{\"name\": \"f\"}]<U>Hi<A></think>"},
      {With(R"("tools":[{"name":"f"}],"tool_choice":{"type":"none"})"),
       "\n\n[tools:{\"name\": \"f\"}]<U>Hi<A></think>"},
      {With(R"("output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}})"),
       "\n\n[schema]{\"type\": \"object\"}<U>Hi<A></think>"},
  });
}

Request Accepted(const std::string& body, bool counts_only = false, Origin origin = {}) {
  auto request = ParseMessages(body, TestFacts(Profile::kDefault), origin, counts_only);
  EXPECT_TRUE(request.ok()) << request.error().message;
  return request.ok() ? std::move(request).value() : Request();
}

TEST(MessagesRequest, OtherMembers) {
  const Request plain = Accepted(With("\"stream\":false"));
  EXPECT_EQ(plain.dialect, Dialect::kAnthropic);
  EXPECT_EQ(plain.model, "deepseek-v4-flash");
  EXPECT_EQ(plain.generation.max_tokens, 10);
  EXPECT_FALSE(plain.stream);
  EXPECT_FALSE(plain.thinks());
  EXPECT_EQ(plain.isolation_key, "");
  EXPECT_EQ(plain.tool_choice, ToolChoice::kNone);

  const Request request = Accepted(
      With(R"("stream":true,"temperature":0.5,"top_p":0.9,"top_k":5,"stop_sequences":["","x"],)"
           R"("service_tier":"auto","container":1,"mcp_servers":5,"betas":[],"speed":0,)"
           R"("context_management":{"edits":[]},"inference_geo":"x","diagnostics":null,)"
           R"("tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},)" +
           std::string(kTool)),
      /*counts_only=*/false, {.wants_context_exceeded = true});
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.wants_context_exceeded);
  EXPECT_EQ(request.generation.temperature, 0.5);
  EXPECT_EQ(request.generation.top_p, 0.9);
  EXPECT_EQ(request.generation.top_k, std::nullopt);
  EXPECT_THAT(request.generation.stop, testing::ElementsAre("x"));
  EXPECT_EQ(request.tool_choice, ToolChoice::kRequired);
  EXPECT_THAT(request.allowed_tools, testing::ElementsAre("f"));
  EXPECT_TRUE(request.parallel_tool_calls);
  EXPECT_FALSE(request.tools[0].is_strict);

  EXPECT_EQ(ParseIn(With(R"("thread":{"type":"create"})"), Profile::kDefault).error().param,
            "thread");
  Accepted(With(R"("thread":null)"));
  EXPECT_EQ(Accepted(With(R"("max_tokens":null)")).generation.max_tokens, std::nullopt);
  EXPECT_EQ(Accepted(With(R"("thinking":null,"temperature":0.5)")).generation.temperature,
            std::nullopt);
  EXPECT_EQ(Accepted(With(R"("output_config":{"format":{"type":"json_schema","schema":{}}})"))
                .format.kind,
            OutputFormat::Kind::kJsonSchema);
  EXPECT_TRUE(Accepted(WithMessages(R"({"role":"user","content":"a"},)"
                                    R"({"role":"assistant","content":"{"})"))
                  .continues_prefix);
}

TEST(MessagesRequest, UserIdIsHashedAndNeverRefused) {
  const std::string json = R"("metadata":{"user_id":"{\"device\":\"d\"}"})";
  const std::string key = Accepted(With(json)).isolation_key;
  EXPECT_FALSE(key.empty());
  EXPECT_EQ(key.find('{'), key.npos);
  EXPECT_EQ(key, Accepted(With(json)).isolation_key);
  EXPECT_NE(key, Accepted(With(R"("metadata":{"user_id":"u"})")).isolation_key);
  for (const char* metadata : {"null", "5", "{}", R"({"user_id":null})", R"({"user_id":7})"})
    EXPECT_EQ(Accepted(With(std::string("\"metadata\":") + metadata)).isolation_key, "");
}

TEST(MessagesRequest, CountingNeedsNoLimit) {
  const std::string body =
      R"({"model":"deepseek-v4-flash","messages":[{"role":"user","content":"Hi"}]})";
  for (const Profile profile : {Profile::kDefault, Profile::kStrict})
    EXPECT_EQ(ShortPrompt(ParseMessages(body, TestFacts(profile), {}, /*counts_only=*/true)),
              "[high]<U>Hi<A><think>");
  EXPECT_FALSE(Accepted(With("\"stream\":true"), /*counts_only=*/true).stream);
}

TEST(MessagesRequest, ImagesForModelsThatSee) {
  Facts facts = TestFacts(Profile::kDefault);
  facts.sees_images = true;
  facts.revision = chat::Revision::kVision;
  const auto request =
      ParseMessages(WithMessages(R"({"role":"user","content":[{"type":"text","text":"a"},)"
                                 R"({"type":"image","source":{"type":"base64","data":"x"}}]})"),
                    facts, {});
  EXPECT_EQ(ShortPrompt(request), "<U>a\n\n<｜deepseek_image｜><A></think>");
}

}  // namespace
}  // namespace fathom::api
