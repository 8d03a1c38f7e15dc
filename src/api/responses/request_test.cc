// Every row of the Responses dialect's request in both profiles: what is refused and with which
// words, which prompt the items become, where the other members end up, what is echoed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/request_testing.h"

namespace fathom::api {
namespace {

Parsed<Request> ParseIn(std::string_view body, Profile profile) {
  return ParseResponses(body, TestFacts(profile), {});
}

// A plain body with members added or replaced: the last of a repeated name counts.
std::string With(const std::string& members) {
  return R"({"model":"deepseek-v4-flash","reasoning":{"effort":"none"},"input":"Hi",)" + members +
         "}";
}
std::string WithInput(const std::string& items) { return With("\"input\":[" + items + "]"); }

constexpr const char* kTool = R"("tools":[{"type":"function","name":"f","description":"d",)"
                              R"("parameters":{"type":"object"},"strict":false}])";
constexpr const char* kUser = R"({"role":"user","content":"q"})";

std::string Call(const std::string& id) {
  return R"({"type":"function_call","id":"fc","call_id":")" + id +
         R"(","name":"f","arguments":"{\"x\":1}","status":"completed"})";
}
std::string Output(const std::string& id) {
  return R"({"type":"function_call_output","call_id":")" + id + R"(","output":"r"})";
}

TEST(ResponsesRequest, ShapeIsRefused) {
  const std::string where = "Failed to deserialize the JSON body into the target type: ";
  std::vector<RefusalCase> cases = {
      {"[]", where + "invalid type: sequence, expected struct ResponsesRequest", ""},
      {R"({"input":"a"})", where + "missing field `model`", ""},
      {R"({"model":"deepseek-v4-flash"})", where + "missing field `input`", ""},
      {With(R"("input":null)"), where + "missing field `input`", ""},
      {With(R"("input":5)"), where + "input: invalid type: integer `5`, expected a string or", ""},
      {With(R"("instructions":5)"), where + "instructions: invalid type: integer `5`", ""},
      {WithInput("\"a\""), where + "input[0]: invalid type: string \"a\"", ""},
      {WithInput(R"({"content":"a"})"), where + "input[0]: missing field `type`", ""},
      {WithInput(R"({"type":"message","content":"a"})"), where + "input[0]: missing field `role`",
       ""},
      {WithInput(R"({"role":"tool","content":"a"})"),
       where + "input[0].role: unknown variant `tool`, expected one of `user`, `assistant`, "
               "`system`, `developer`",
       ""},
      {WithInput(R"({"role":"user"})"), where + "input[0]: missing field `content`", ""},
      {WithInput(R"({"role":"user","content":[{"type":"input_text"}]})"),
       where + "input[0].content[0]: missing field `text`", ""},
      {WithInput(R"({"type":"function_call","name":"f","arguments":"{}"})"),
       where + "input[0]: missing field `call_id`", ""},
      {WithInput(R"({"type":"function_call","call_id":"c","arguments":"{}"})"),
       where + "input[0]: missing field `name`", ""},
      {WithInput(R"({"type":"function_call","call_id":"c","name":"f"})"),
       where + "input[0]: missing field `arguments`", ""},
      {WithInput(R"({"type":"custom_tool_call","call_id":"c","name":"f"})"),
       where + "input[0]: missing field `input`", ""},
      {WithInput(R"({"type":"function_call_output","call_id":"c"})"),
       where + "input[0]: missing field `output`", ""},
      {WithInput(R"({"type":"reasoning","content":"a"})"), where + "input[0].content: invalid type",
       ""},
      {With(R"("max_output_tokens":"10")"), where + "max_output_tokens: invalid type", ""},
      {With(R"("reasoning":"high")"), where + "reasoning: invalid type: string \"high\"", ""},
      {With(R"("reasoning":{"effort":"huge"})"),
       where + "reasoning.effort: unknown variant `huge`, expected one of `none`, `minimal`", ""},
      {With(R"("text":"plain")"), where + "text: invalid type: string \"plain\"", ""},
      {With(R"("text":{"format":{"type":"xml"}})"),
       where + "text.format.type: unknown variant `xml`, expected one of `text`, `json_object`, "
               "`json_schema`",
       ""},
      {With(R"("top_logprobs":-1)"),
       where + "top_logprobs: invalid value: integer `-1`, expected u8", ""},
      {With(R"("tools":{})"), where + "tools: invalid type: map, expected a sequence", ""},
      {With(R"("tools":[{"name":"f"}])"), where + "tools[0]: missing field `type`", ""},
      {With(R"("tools":[{"type":"function"}])"), where + "tools[0]: missing field `name`", ""},
      {With(R"("tools":[{"type":"function","name":"f","parameters":1}])"),
       where + "tools[0].parameters: invalid type: integer `1`", ""},
      {With(R"("tools":[{"type":"namespace","tools":[]}])"),
       where + "tools[0]: missing field `name`", ""},
      {With(R"("tool_choice":"any")"),
       where + "tool_choice: expected one of `none`, `auto`, `required` or a tool", ""},
      {With(R"("tool_choice":{"type":"function"})"),
       where + "tool_choice: expected one of `none`, `auto`, `required` or a tool", ""},
      {With(R"("tool_choice":{"type":"allowed_tools"})"),
       where + "tool_choice: missing field `tools`", ""},
      {With(R"("stream":1)"), where + "stream: invalid type: integer `1`, expected a boolean", ""},
      {With(R"("user":1)"), where + "user: invalid type: integer `1`, expected a string", ""},
  };
  for (RefusalCase& c : cases) c.strict_error = c.default_error;
  ExpectRefusals(cases, ParseIn);
}

TEST(ResponsesRequest, ValuesAreRefused) {
  const auto both = [](std::string body, std::string error) {
    return RefusalCase{std::move(body), error, error};
  };
  const std::string tool = kTool;
  ExpectRefusals(
      {both("{", "Failed to parse the request body as JSON: "),
       both(With(R"("input":[])"), "Empty input messages"),
       both(With(R"("previous_response_id":"resp_1")"), "previous_response_id is not supported"),
       both(With(R"("conversation":{"id":"c"})"), "conversation is not supported"),
       both(With(R"("temperature":3)"),
            "Invalid temperature value, the valid range of temperature is [0, 2]"),
       both(With(R"("top_p":0)"), "Invalid top_p value, the valid range of top_p is (0, 1.0]"),
       both(With(R"("max_output_tokens":0)"), "Invalid max_tokens value"),
       both(With(R"("max_output_tokens":393217)"), "the valid range of max_tokens is [1, 393216]"),
       both(With(R"("top_logprobs":21)"),
            "Invalid top_logprobs value, the valid range of top_logprobs is [0, 20]."),
       both(With(R"("tools":[{"type":"function","name":""}])"),
            "Invalid 'tools[0].name': string does not match pattern."),
       both(With(R"("tools":[{"type":"namespace","name":"n","tools":[)"
                 R"({"type":"function","name":"a.b"}]}])"),
            "Invalid 'tools[0].tools[0].name': string does not match pattern."),
       both(With(R"("tools":[{"type":"function","name":"f"},{"type":"namespace","name":"n",)"
                 R"("tools":[{"type":"function","name":"f"}]}])"),
            "Tool names must be unique."),
       both(With(tool + R"(,"tool_choice":{"type":"function","name":"g"})"),
            "there is no tool with the name 'g'"),
       both(With(tool + R"(,"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[)"
                        R"({"type":"function","name":"g"}]})"),
            "there is no tool with the name 'g'")},
      ParseIn);
}

TEST(ResponsesRequest, ProfilesDiffer) {
  const std::string tool = kTool;
  const std::string user = kUser;
  const std::string think = R"("reasoning":{"summary":"auto"},"input":[)" + user;
  const std::string exchange = "," + Call("c1") + "," + Output("c1") + "]";
  const std::string reasoning = R"({"type":"reasoning","summary":[],"content":[)"
                                R"({"type":"reasoning_text","text":""}]})";
  ExpectRefusals(
      {{With(R"("model":"gpt-5")"), "", "but you passed gpt-5."},
       {With(R"("model":"claude-opus-4-5")"), "", "but you passed claude-opus-4-5."},
       {With(R"("tools":[{"type":"custom","name":"grep"}])"), "",
        "Invalid 'tools[0]': the only custom tool is apply_patch."},
       {With(R"("tools":[{"type":"custom","name":"grep"}],"tool_choice":"required")"), "",
        "the only custom tool is apply_patch."},
       {With(R"("tool_choice":{"type":"web_search"})"), "", "tool_choice: expected one of"},
       {With(tool + R"(,"reasoning":null,"tool_choice":"required")"), "",
        "Thinking mode does not support this tool_choice"},
       {With(tool + R"(,"tool_choice":"required")"), "", ""},
       {With(R"("text":{"format":{"type":"json_object"}})"), "",
        "Prompt must contain the word 'json' in some form"},
       {With(R"("text":{"format":{"type":"json_object"}},"input":"as JSON")"), "", ""},
       {WithInput(R"({"role":"user","content":[{"type":"input_audio"}]})"), "",
        "input[0].content[0].type: unknown variant `input_audio`"},
       {WithInput(R"({"role":"user","content":null})"), "", "input[0].content: invalid type"},
       {With(think + exchange), "",
        "The `reasoning_content` in the thinking mode must be passed back to the API."},
       {With(think + "," + reasoning + exchange), "", ""}},
      ParseIn);
}

TEST(ResponsesRequest, CallsAndOutputsMustMatch) {
  const std::string user = std::string(kUser) + ",";
  const auto both = [](std::string items, std::string error) {
    return RefusalCase{WithInput(items), error, error};
  };
  const std::string twice = user + Call("c1") + "," + Output("c1") + "," + Output("c1");
  const std::string in_order = user + Call("c1") + "," + Call("c2") + "," + Output("c2");
  ExpectRefusals(
      {both(user + Call(""), "expected a call_id, found an empty string"),
       both(user + Call("c1") + "," + Output("c1") + "," + Call("c1"),
            "call_id must be unique, found 'c1' twice."),
       both(user + Output("c1"), "No tool call found for function call output with call_id c1."),
       both(user + Output("c1") + "," + Call("c1"), "No tool call found for"),
       both(user + Call("c1") + "," + user + R"({"role":"assistant","content":"a"},)" + kUser,
            "No tool output found for function call c1."),
       {WithInput(user + Call("c1")), "", "No tool output found for function call c1."},
       {WithInput(in_order), "", "No tool output found for function call c1."},
       {WithInput(in_order + "," + Output("c1")), "", ""},
       {WithInput(twice), "", "No tool call found for"}},
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

TEST(ResponsesRequest, Messages) {
  ExpectPrompts({
      {With("\"instructions\":null"), "<U>Hi<A></think>"},
      {With(R"("instructions":"S")"), "S<U>Hi<A></think>"},
      {With(R"("instructions":"S","input":null)"), "S<U><A></think>"},
      {With(R"("instructions":"S","input":[{"role":"system","content":"T"},)"
            R"({"type":"message","role":"user","content":"a"}])"),
       "S\n\nT<U>a<A></think>"},
      // A developer is a user.
      {WithInput(R"({"role":"developer","content":[{"type":"input_text","text":"D"}]},)"
                 R"({"role":"user","id":"msg_1","status":"x","phase":"y","content":[)"
                 R"({"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]})"),
       "<U>D\n\na\n\nb<A></think>"},
      {WithInput(R"({"role":"user","content":"a"},{"role":"system","content":"S"})"),
       "<U>a\n\nS<A></think>"},
      {WithInput(R"({"role":"user","content":[{"type":"input_image","image_url":"x"},)"
                 R"({"type":"input_file","file_id":"x"},{"type":"input_audio"}]})"),
       "<U>[Unsupported image]\n\n[Unsupported file]<A></think>"},
      // Consecutive items of the assistant are one turn.
      {WithInput(std::string(kUser) +
                 R"(,{"role":"assistant","content":"a"},)"
                 R"({"type":"message","role":"assistant","content":[)"
                 R"({"type":"output_text","text":"b","annotations":[]},)"
                 R"({"type":"refusal","refusal":"no"}]},)" +
                 kUser),
       "<U>q<A></think>a\n\nb\n\nno<E><U>q<A></think>"},
      {WithInput(std::string(kUser) + R"(,{"role":"assistant","content":"a"})"),
       "<U>q<A></think>a"},
      {WithInput(R"({"type":"web_search_call","id":"w"},{"type":"item_reference","id":"m"},)" +
                 std::string(kUser)),
       "<U>q<A></think>"},
  });
}

TEST(ResponsesRequest, CallsAndOutputs) {
  const std::string user = kUser;
  const std::string invoke =
      "<:invoke name=\"f\">\n<:parameter name=\"x\" string=\"false\">1</:parameter>\n</:invoke>\n";
  const std::string call =
      "<U>q<A></think>\n\n<:tool_calls>\n" + invoke + "</:tool_calls><E><U><tool_result>";
  const auto output = [&](const std::string& value) {
    return WithInput(user + "," + Call("c1") +
                     R"(,{"type":"function_call_output","call_id":"c1","output":)" + value + "}");
  };
  ExpectPrompts({
      {output("\"r\\n\""), call + "r\n</tool_result><A></think>"},
      {output("null"), call + "</tool_result><A></think>"},
      {output(R"([{"type":"input_text","text":"a"},{"type":"input_image"},)"
              R"({"type":"output_text","text":"b"}])"),
       call + "a\n\n[Unsupported image]\n\nb</tool_result><A></think>"},
      {WithInput(user + "," + Call("c1") + "," + Call("c2") + "," + Output("c2") + "," +
                 R"({"type":"function_call_output","call_id":"c1","output":"1"})"),
       "<U>q<A></think>\n\n<:tool_calls>\n" + invoke + invoke +
           "</:tool_calls><E><U><tool_result>1</tool_result>\n\n<tool_result>r</tool_result>"
           "<A></think>"},
      {WithInput(user + R"(,{"type":"custom_tool_call","call_id":"c1","name":"apply_patch",)"
                        R"("input":"*** \"x\"\n"},{"type":"custom_tool_call_output",)"
                        R"("call_id":"c1","output":"done"})"),
       "<U>q<A></think>\n\n<:tool_calls>\n<:invoke name=\"apply_patch\">\n"
       "<:parameter name=\"input\" string=\"true\">*** \"x\"\n</:parameter>\n</:invoke>\n"
       "</:tool_calls><E><U><tool_result>done</tool_result><A></think>"},
      // A trailing call that nobody answered is dropped, with its turn when nothing else is in it.
      {WithInput(user + "," + Call("c1")), "<U>q<A></think>"},
      {WithInput(user + R"(,{"role":"assistant","content":"a"},)" + Call("c1") + "," + user),
       "<U>q<A></think>a<E><U>q<A></think>"},
  });
}

TEST(ResponsesRequest, ReasoningAndReplay) {
  const std::string items =
      std::string(kUser) +
      R"(,{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"S"}],)"
      R"("content":[{"type":"reasoning_text","text":"T"}],"encrypted_content":"E"},)"
      R"({"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]},)";
  const std::string exchange = items + Call("c1") + "," + Output("c1");
  const auto on = [](const std::string& reasoning, const std::string& input) {
    return With("\"reasoning\":" + reasoning + ",\"input\":[" + input + "]," + kTool);
  };
  const std::string tools =
      "\n\n[tools:{\"name\": \"f\", \"description\": \"d\", \"strict\": false, \"parameters\": "
      "{\"type\": \"object\"}}]";
  ExpectPrompts({
      {With(R"("reasoning":null)"), "[high]<U>Hi<A><think>"},
      {With(R"("reasoning":{"effort":null,"summary":"auto"})"), "[high]<U>Hi<A><think>"},
      {With(R"("reasoning":{"effort":"minimal"})"), "<U>Hi<A><think>"},
      {With(R"("reasoning":{"effort":"xhigh"})"), "[high]<U>Hi<A><think>"},
      {With(R"("reasoning":{"effort":"max"})"), "[max]<U>Hi<A><think>"},
      {With(R"("model":"deepseek-chat","reasoning":{"effort":"max"})"), "<U>Hi<A></think>"},
      {on(R"({"effort":"low"})", exchange),
       tools + "<U>q<A><think>T</think>a\n\n<:tool_calls>\n<:invoke name=\"f\">\n"
               "<:parameter name=\"x\" string=\"false\">1</:parameter>\n</:invoke>\n"
               "</:tool_calls><E><U><tool_result>r</tool_result><A><think>"},
      {on(R"({"effort":"low"})", std::string(kUser) +
                                     R"(,{"type":"reasoning","summary":[],"content":null},)" +
                                     Call("c1") + "," + Output("c1")),
       tools + "<U>q<A><think></think>\n\n<:tool_calls>\n<:invoke name=\"f\">\n"
               "<:parameter name=\"x\" string=\"false\">1</:parameter>\n</:invoke>\n"
               "</:tool_calls><E><U><tool_result>r</tool_result><A><think>"},
  });
}

TEST(ResponsesRequest, ToolsInThePrompt) {
  ExpectPrompts({
      {With(R"("tools":[{"type":"function","name":"f","description":null,"parameters":null,)"
            R"("strict":null},{"type":"web_search"},{"type":"custom","name":"grep"},)"
            R"({"type":"namespace","name":"n","description":"x","tools":[)"
            R"({"type":"function","name":"g","parameters":{"type":"object"}}]}])"),
       "\n\n[tools:{\"name\": \"f\"}\n{\"name\": \"g\", \"parameters\": {\"type\": \"object\"}}]"
       "<U>Hi<A></think>"},
      {With(R"("tools":[{"type":"custom","name":"apply_patch","description":"P",)"
            R"("format":{"type":"grammar","syntax":"lark","definition":"x"}}])"),
       "\n\n[tools:{\"name\": \"apply_patch\", \"description\": \"P\", \"parameters\": {\"type\": "
       "\"object\", \"properties\": {\"input\": {\"type\": \"string\"}}, \"required\": "
       "[\"input\"], \"additionalProperties\": false}}]<U>Hi<A></think>"},
      {With(R"("text":{"format":{"type":"json_schema","name":"n","strict":true,)"
            R"("schema":{"type":"object"}}})"),
       "\n\n[schema]{\"type\": \"object\"}<U>Hi<A></think>"},
      {With(R"("text":{"format":{"type":"json_object"},"verbosity":"low"})"), "<U>Hi<A></think>"},
  });
}

Request Accepted(const std::string& body) {
  auto request = ParseIn(body, Profile::kDefault);
  EXPECT_TRUE(request.ok()) << request.error().message;
  return request.ok() ? std::move(request).value() : Request();
}

TEST(ResponsesRequest, Tools) {
  const Request request = Accepted(With(
      R"("tools":[{"type":"function","name":"f","strict":true,"parameters":{"type":"object"}},)"
      R"({"type":"custom","name":"apply_patch"},{"type":"namespace","name":"n","tools":[)"
      R"({"type":"function","name":"g","strict":true},{"type":"web_search"}]}])"));
  ASSERT_EQ(request.tools.size(), 3u);
  EXPECT_TRUE(request.tools[0].is_strict);
  EXPECT_FALSE(request.tools[0].is_custom);
  EXPECT_TRUE(request.tools[1].is_custom);
  EXPECT_EQ(request.tools[2].name, "g");
  EXPECT_EQ(request.tools[2].namespace_name, "n");
  EXPECT_EQ(request.tool_choice, ToolChoice::kAuto);
  EXPECT_FALSE(Accepted(With(R"("tools":[{"type":"function","name":"f","strict":true},)"
                             R"({"type":"function","name":"g"}])"))
                   .tools[0]
                   .is_strict);
}

TEST(ResponsesRequest, ToolChoice) {
  struct Case {
    const char* choice;
    ToolChoice expected;
    std::vector<std::string> allowed;
  };
  const Case kCases[] = {
      {"null", ToolChoice::kAuto, {}},
      {R"("auto")", ToolChoice::kAuto, {}},
      {R"("none")", ToolChoice::kNone, {}},
      {R"("required")", ToolChoice::kRequired, {}},
      {R"({"type":"function","name":"f"})", ToolChoice::kRequired, {"f"}},
      {R"({"type":"custom","name":"apply_patch"})", ToolChoice::kRequired, {"apply_patch"}},
      {R"({"type":"web_search"})", ToolChoice::kAuto, {}},
      {R"({"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]})",
       ToolChoice::kAuto,
       {"f"}},
      {R"({"type":"allowed_tools","mode":"required","tools":[{"type":"custom",)"
       R"("name":"apply_patch"},{"type":"function","name":"f"},{"type":"web_search"}]})",
       ToolChoice::kRequired,
       {"apply_patch", "f"}},
      {R"({"type":"allowed_tools","tools":[{"type":"web_search"}]})", ToolChoice::kNone, {}},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.choice);
    const Request request =
        Accepted(With(R"("tools":[{"type":"function","name":"f"},{"type":"custom",)"
                      R"("name":"apply_patch"}],"tool_choice":)" +
                      std::string(c.choice)));
    EXPECT_EQ(request.tool_choice, c.expected);
    EXPECT_EQ(request.allowed_tools, c.allowed);
  }
}

TEST(ResponsesRequest, OtherMembers) {
  const Request request = Accepted(
      With(R"("stream":true,"max_output_tokens":7,"temperature":0.5,"top_p":0.9,"user":"u-1",)"
           R"("store":true,"background":true,"include":["reasoning.encrypted_content"],)"
           R"("client_metadata":{},"parallel_tool_calls":false,"prompt":null,"seed":"x",)"
           R"("prompt_cache_key":"k","stream_options":{},"service_tier":"flex")"));
  EXPECT_EQ(request.dialect, Dialect::kResponses);
  EXPECT_TRUE(request.stream);
  EXPECT_EQ(request.generation.max_tokens, 7);
  EXPECT_EQ(request.generation.temperature, 0.5);
  EXPECT_EQ(request.generation.top_p, 0.9);
  EXPECT_EQ(request.generation.logprobs, std::nullopt);
  EXPECT_EQ(request.isolation_key, "u-1");
  EXPECT_TRUE(request.parallel_tool_calls);
  EXPECT_EQ(Accepted(With(R"("top_logprobs":3)")).generation.logprobs, 3);
  EXPECT_EQ(Accepted(With(R"("top_logprobs":0)")).generation.logprobs, std::nullopt);
  EXPECT_EQ(Accepted(With(R"("include":["message.output_text.logprobs"])")).generation.logprobs, 0);
  const std::string hashed = Accepted(With(R"("user":"a@b.c")")).isolation_key;
  EXPECT_FALSE(hashed.empty());
  EXPECT_EQ(hashed.find('@'), hashed.npos);
  EXPECT_EQ(Accepted(With(R"("text":{"format":{"type":"json_schema","name":"n","schema":{}}})"))
                .format.name,
            "n");
}

TEST(ResponsesRequest, Echo) {
  EXPECT_EQ(WriteJson(Accepted(R"({"model":"deepseek-v4-flash","input":"a"})").echoed),
            R"({"instructions":null,"max_output_tokens":null,"max_tool_calls":null,)"
            R"("parallel_tool_calls":true,"previous_response_id":null,)"
            R"("reasoning":{"effort":"high","summary":null},"safety_identifier":null,)"
            R"("service_tier":"default","store":false,"temperature":1.0,)"
            R"("text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],)"
            R"("top_logprobs":0,"top_p":1.0,"truncation":"disabled","user":null,"metadata":{}})");
  EXPECT_EQ(
      WriteJson(Accepted(R"({"model":"deepseek-v4-flash","instructions":"I","input":"a",)"
                         R"("max_output_tokens":5,"max_tool_calls":2,"parallel_tool_calls":false,)"
                         R"("reasoning":{"effort":"medium","summary":"auto"},"temperature":0.50,)"
                         R"("safety_identifier":"s","text":{"verbosity":"low"},"store":true,)"
                         R"("tool_choice":"none","tools":[{"type":"web_search"}],"top_p":0.9,)"
                         R"("top_logprobs":2,"truncation":"auto","user":"u","metadata":{"a":"b"}})")
                    .echoed),
      R"({"instructions":"I","max_output_tokens":5,"max_tool_calls":2,)"
      R"("parallel_tool_calls":false,"previous_response_id":null,)"
      R"("reasoning":{"effort":"medium","summary":"auto"},"safety_identifier":"s",)"
      R"("service_tier":"default","store":false,"temperature":0.50,)"
      R"("text":{"verbosity":"low","format":{"type":"text"}},"tool_choice":"none",)"
      R"("tools":[{"type":"web_search"}],"top_logprobs":2,"top_p":0.9,"truncation":"auto",)"
      R"("user":"u","metadata":{"a":"b"}})");
}

TEST(ResponsesRequest, Counting) {
  const auto request = ParseResponses(With("\"stream\":true"), TestFacts(Profile::kStrict), {},
                                      /*counts_only=*/true);
  EXPECT_EQ(ShortPrompt(request), "<U>Hi<A></think>");
  EXPECT_FALSE(request.value().stream);
}

}  // namespace
}  // namespace fathom::api
