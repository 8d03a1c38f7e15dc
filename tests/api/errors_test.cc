// What a wrong request is told: every row of the table of validation texts, in both profiles, and
// the order of the checks.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

#include "tests/api/harness.h"
#include "tests/api/reading.h"

namespace fathom::conformance {
namespace {

// A small valid request with some members changed; a null takes one out.
std::string Body(std::string base, const std::string& changes) {
  Json json = Parse(base);
  const Json parsed = Parse(changes);
  for (const auto& [name, value] : parsed.object()) json.Set(name, value);
  Json::Array dropped;
  std::erase_if(json.object(), [](const auto& member) { return member.second == Json("DROP"); });
  return WriteJson(json);
}

constexpr const char* kChat =
    R"({"model":"nano","messages":[{"role":"user","content":"Hello"}],"max_tokens":1})";
constexpr const char* kCompletion = R"({"model":"nano","prompt":"Hello","max_tokens":1})";
constexpr const char* kMessages =
    R"({"model":"nano","max_tokens":1,"messages":[{"role":"user","content":"Hello"}]})";
constexpr const char* kResponse = R"({"model":"nano","input":"Hello","max_output_tokens":1})";

// "OK": answered; "=": as in the default profile. "D: " stands for the words of a wrong shape, and
// " @" for the place at the end.
struct Row {
  std::string changes;
  std::string message;
  std::string strict = "=";
};

std::string Spelled(std::string message) {
  if (message.starts_with("D: "))
    message = "Failed to deserialize the JSON body into the target type: " + message.substr(3);
  if (message.ends_with(" @")) {
    message.pop_back();
    message += "at line L column C";
  }
  return message;
}

std::string WithoutPlace(const std::string& message) {
  static const std::regex place("at line [0-9]+ column [0-9]+$");
  return std::regex_replace(message, place, "at line L column C");
}

void Check(TestServer& server, const std::string& target, const std::string& body,
           const std::string& expected, bool is_strict) {
  SCOPED_TRACE((is_strict ? "strict: " : "default: ") + target + " " + body.substr(0, 600));
  const Reply reply = server.Post(target, body);
  if (expected == "OK") {
    EXPECT_EQ(reply.status, 200) << reply.body;
    return;
  }
  const bool is_shape = expected.starts_with("D: ");
  EXPECT_EQ(reply.status, is_shape && is_strict ? 422 : 400);
  const Json error = At(BodyOf(reply), "error");
  EXPECT_EQ(WithoutPlace(TextAt(error, "message")), Spelled(expected));
  EXPECT_EQ(TextAt(error, "type"), "invalid_request_error");
  EXPECT_EQ(TextAt(error, "code"), "invalid_request_error");
  EXPECT_TRUE(At(error, "param").is_null());
  EXPECT_EQ(TextAt(BodyOf(reply), "error.message").find('\n'), std::string::npos);
}

void CheckRows(const std::string& target, const std::string& base, const std::vector<Row>& rows) {
  TestServer server;
  TestServer strict(Strict());
  for (const Row& row : rows) {
    const std::string body = Body(base, row.changes);
    Check(server, target, body, row.message, false);
    Check(strict, target, body, row.strict == "=" ? row.message : row.strict, true);
  }
}

TEST(Errors, NotJson) {
  for (const bool is_strict : {false, true}) {
    TestServer server(is_strict ? Strict() : ServerSetup());
    for (const std::string path :
         {"/chat/completions", "/beta/completions", "/anthropic/v1/messages", "/responses"}) {
      for (const std::string body : {"", "{", "{\"model\":\"nano\",}", "{\"a\":\"\xff\"}", "{} {}",
                                     "nul", "{\"a\":1e999999}"}) {
        const Reply reply = server.Post(path, body);
        EXPECT_EQ(reply.status, 400) << path << body;
        const std::string message = TextAt(BodyOf(reply), "error.message");
        EXPECT_TRUE(message.starts_with("Failed to parse the request body as JSON: ")) << message;
        EXPECT_TRUE(WithoutPlace(message).ends_with(" at line L column C")) << message;
      }
    }
    const std::string message =
        TextAt(BodyOf(server.Post("/chat/completions", "{\n\"model\": x}")), "error.message");
    EXPECT_TRUE(message.ends_with("at line 2 column 10")) << message;
  }
}

TEST(Errors, WrongTypes) {
  CheckRows(
      "/chat/completions", kChat,
      {{R"({"messages":[{"role":5,"content":"a"}]})",
        "D: messages[0].role: invalid type: integer `5`, expected a string @"},
       {R"({"messages":"a"})", "D: messages: invalid type: string \"a\", expected a sequence @"},
       {R"({"model":null})", "D: model: invalid type: null, expected a string @"},
       {R"({"temperature":"hot"})", "D: temperature: invalid type: string \"hot\", expected f64 @"},
       {R"({"stream":1})", "D: stream: invalid type: integer `1`, expected a boolean @"},
       {R"({"messages":"DROP"})", "D: missing field `messages` @"},
       {R"({"model":"DROP"})", "D: missing field `model` @"},
       {R"({"messages":[{"role":"robot","content":"a"}]})",
        "D: messages[0].role: unknown variant `robot`, expected one of `system`, `user`, "
        "`assistant`, `tool`, `latest_reminder`, `developer` @",
        "D: messages[0].role: unknown variant `robot`, expected one of `system`, `user`, "
        "`assistant`, `tool`, `latest_reminder` @"},
       {R"({"messages":[{"role":"developer","content":"a"},{"role":"user","content":"b"}]})", "OK",
        "D: messages[0].role: unknown variant `developer`, expected one of `system`, `user`, "
        "`assistant`, `tool`, `latest_reminder` @"},
       {R"({"thinking":{}})", "D: thinking: missing field `type` @"},
       {R"({"thinking":{"type":"x"}})",
        "D: thinking.type: unknown variant `x`, expected one of `adaptive`, `enabled`, "
        "`disabled` @"},
       {R"({"thinking":null})", "OK"},
       {R"({"reasoning_effort":"x"})",
        "D: reasoning_effort: unknown variant `x`, expected one of `none`, `minimal`, `low`, "
        "`medium`, `high`, `xhigh`, `max` @"},
       {R"({"logprobs":true,"top_logprobs":-1})",
        "D: top_logprobs: invalid value: integer `-1`, expected u8 @"},
       {R"({"tool_choice":"some"})",
        "D: tool_choice: expected one of `none`, `auto`, `required` or a tool @"},
       {R"({"tool_choice":{"type":"x"}})",
        "D: tool_choice: expected one of `none`, `auto`, `required` or a tool @"},
       {R"({"messages":[{"role":"user","content":"a"},
            {"role":"assistant","content":"","tool_calls":[
              {"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","content":"r"}]})",
        "D: messages[2]: missing field `tool_call_id` @"}});
}

TEST(Errors, Ranges) {
  const auto range = [](const std::string& name, const std::string& of) {
    return fmt::format("Invalid {0} value, the valid range of {0} is {1}", name, of);
  };
  const std::string stops17 = WriteJson(Json::Array(17, Json("a")));
  CheckRows(
      "/chat/completions", kChat,
      {{R"({"temperature":-0.1})", range("temperature", "[0, 2]")},
       {R"({"temperature":2.1})", range("temperature", "[0, 2]")},
       {R"({"temperature":0})", "OK"},
       {R"({"temperature":2})", "OK"},
       {R"({"top_p":0})", range("top_p", "(0, 1.0]")},
       {R"({"top_p":1.01})", range("top_p", "(0, 1.0]")},
       {R"({"top_p":1})", "OK"},
       {R"({"presence_penalty":-2.5})", range("presence_penalty", "[-2, 2]")},
       {R"({"frequency_penalty":2.5})", range("frequency_penalty", "[-2, 2]")},
       {R"({"presence_penalty":2,"frequency_penalty":-2})", "OK"},
       {R"({"max_tokens":0})", range("max_tokens", "[1, 393216]")},
       {R"({"max_tokens":393217})", range("max_tokens", "[1, 393216]")},
       {R"({"n":0})", "Invalid n value (currently only n = 1 to 8 is supported)",
        "Invalid n value (currently only n = 1 is supported)"},
       {R"({"n":9})", "Invalid n value (currently only n = 1 to 8 is supported)",
        "Invalid n value (currently only n = 1 is supported)"},
       {R"({"n":2})", "OK", "Invalid n value (currently only n = 1 is supported)"},
       {R"({"stop":)" + stops17 + "}", "Stop string array too long: 17"},
       {R"({"stop":["a","","b"]})", "OK"},
       {R"({"top_logprobs":3})",
        "Invalid top_logprobs and logprobs value, logprobs must be set to true if top_logprobs is "
        "used."},
       {R"({"logprobs":true,"top_logprobs":21})",
        "Invalid top_logprobs value, the valid range of top_logprobs is [0, 20]."},
       {R"({"logprobs":true,"top_logprobs":20})", "OK"},
       {R"({"user_id":"a b"})",
        "Invalid user_id, expected 1 to 512 characters of the pattern '^[a-zA-Z0-9_-]+$'."},
       {R"({"user_id":"a-b_C9"})", "OK"},
       {R"({"user":"any thing"})", "OK"}});
}

TEST(Errors, FormatsAndChoices) {
  const std::string tool = R"("tools":[{"type":"function","function":{"name":"f"}}])";
  CheckRows("/chat/completions", kChat,
            {{R"({"response_format":{"type":"json_object"}})", "OK",
              "Prompt must contain the word 'json' in some form to use 'response_format' of type "
              "'json_object'."},
             {R"({"response_format":{"type":"json_object"},
                  "messages":[{"role":"user","content":"Give me JsOn."}]})",
              "OK"},
             {R"({"response_format":{"type":"json_schema","json_schema":{"schema":{}}}})", "OK",
              "This response_format type is unavailable now"},
             {R"({"tool_choice":"required",)" + tool + "}", "OK",
              "Thinking mode does not support this tool_choice"},
             {R"({"tool_choice":{"type":"function","function":{"name":"f"}},)" + tool + "}", "OK",
              "Thinking mode does not support this tool_choice"},
             {R"({"thinking":{"type":"disabled"},"tool_choice":"required",)" + tool + "}", "OK"},
             {R"({"thinking":{"type":"disabled"},
                  "tool_choice":{"type":"function","function":{"name":"g"}},)" +
                  tool + "}",
              "Invalid tool_choice, there is no tool with the name 'g'."}});
}

TEST(Errors, Tools) {
  const auto named = [](const std::string& name) {
    return R"({"tools":[{"type":"function","function":{"name":")" + name + R"("}}]})";
  };
  std::string many = R"({"tools":[)";
  for (int i = 0; i < 129; ++i)
    many += fmt::format(R"({}{{"type":"function","function":{{"name":"f{}"}}}})", i ? "," : "", i);
  many += "]}";
  CheckRows(
      "/chat/completions", kChat,
      {{named("a b"),
        "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that "
        "matches the pattern '^[a-zA-Z0-9_-]+$'."},
       {named(std::string(129, 'a')),
        "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length "
        "128, but got a string with length 129 instead."},
       {named(std::string(128, 'a')), "OK"},
       {many, "OK",
        "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an "
        "array with length 129 instead."},
       {R"({"tools":[{"type":"web_search"}]})", "OK",
        "D: tools[0].type: unknown variant `web_search`, expected `function` @"}});
}

// A conversation in which call "c" (and "d") of the assistant waits for the given messages.
std::string Called(const std::string& after, bool two = false, bool has_reasoning = true) {
  const std::string call =
      R"({"id":"c","type":"function","function":{"name":"f","arguments":"{}"}})";
  const std::string other =
      R"(,{"id":"d","type":"function","function":{"name":"f","arguments":"{}"}})";
  return R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,)" +
         std::string(has_reasoning ? R"("reasoning_content":"",)" : "") + R"("tool_calls":[)" +
         call + (two ? other : "") + "]}" + after + "]}";
}

TEST(Errors, ToolMessages) {
  const std::string c = R"(,{"role":"tool","tool_call_id":"c","content":"r"})";
  const std::string d = R"(,{"role":"tool","tool_call_id":"d","content":"r"})";
  const std::string x = R"(,{"role":"tool","tool_call_id":"x","content":"r"})";
  const std::string user = R"(,{"role":"user","content":"b"})";
  const std::string no_call =
      "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'";
  const std::string must =
      "An assistant message with 'tool_calls' must be followed by tool messages responding to "
      "each 'tool_call_id'";
  const std::string insufficient =
      must + ". (insufficient tool messages following tool_calls message)";
  CheckRows("/chat/completions", kChat,
            {{R"({"messages":[{"role":"user","content":"a"},
            {"role":"tool","tool_call_id":"c","content":"r"}]})",
              no_call},
             {Called(c), "OK"},
             {Called(c + user), "OK"},
             {Called(c + c), "OK", no_call},
             {Called(d + c, true), "OK"},
             {Called(x), must + ", The following tool_call_ids did not have response messages: c"},
             {Called(c, true), insufficient},
             {Called(""), insufficient},
             {Called(user), insufficient},
             {Called(c + user + d, true), insufficient},
             {Called(c, false, false), "OK",
              "The `reasoning_content` in the thinking mode must be passed back to the API."},
             {R"({"messages":[{"role":"user","content":[
              {"type":"image_url","image_url":{"url":"data:,"}}]}]})",
              "This model does not support image"}});
}

TEST(Errors, ModelsAndMessages) {
  const std::string unknown =
      "The supported API model names are nano, deepseek-v4-flash, deepseek-v4-pro, but you passed "
      "gpt-5.";
  CheckRows(
      "/chat/completions", kChat,
      {{R"({"model":"gpt-5"})", "OK", unknown},
       {R"({"model":"deepseek-v4-pro[1m]"})", "OK"},
       {R"({"model":"claude-opus-5"})", "OK",
        "The supported API model names are nano, deepseek-v4-flash, deepseek-v4-pro, but you "
        "passed claude-opus-5."},
       {R"({"messages":[]})", "Empty input messages"},
       {R"({"messages":[{"role":"user","content":"a","prefix":true}]})",
        "Invalid prefix value, prefix is only supported on the last message, which must have "
        "the role 'assistant'."},
       {R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})", "OK",
        "The last message must be a user message, a tool message, or an assistant message "
        "with prefix mode on."}});
  CheckRows("/anthropic/v1/messages", kMessages,
            {{R"({"model":"gpt-5"})", "OK", unknown}, {R"({"model":"claude-opus-5"})", "OK"}});
  CheckRows("/responses", kResponse, {{R"({"model":"gpt-5"})", "OK", unknown}});
}

TEST(Errors, BetaOnlyInStrict) {
  TestServer strict(Strict());
  const std::string prefix = Body(kChat, R"({"messages":[{"role":"user","content":"a"},
                     {"role":"assistant","content":"b","prefix":true}]})");
  for (const auto& [path, body] : std::vector<std::pair<std::string, std::string>>{
           {"/chat/completions", prefix}, {"/completions", kCompletion}}) {
    const std::string message = TextAt(BodyOf(strict.Post(path, body)), "error.message");
    EXPECT_NE(message.find("beta"), message.npos) << message;
    EXPECT_EQ(strict.Post("/beta" + path, body).status, 200);
    EXPECT_EQ(strict.Post("/beta/v1" + path, body).status, 200);
  }
}

TEST(Errors, Completions) {
  CheckRows(
      "/beta/completions", kCompletion,
      {{R"({"prompt":"DROP"})", "D: missing field `prompt` @"},
       {R"({"prompt":[]})", "Empty input prompt"},
       {R"({"suffix":"b","echo":true})", "echo is not supported with suffix"},
       {R"({"suffix":"b"})", "OK"},
       {R"({"n":2})", "Invalid n value (currently only n = 1 is supported)"},
       {R"({"logprobs":21})", "Invalid logprobs value, the valid range of logprobs is [0, 20]."},
       {R"({"logprobs":20})", "OK"},
       {R"({"presence_penalty":9})", "OK"},
       {R"({"prompt":["Hello"]})", "OK"},
       {R"({"prompt":[5,6,7]})", "OK"},
       {R"({"prompt":[5,99999]})",
        "Invalid prompt value, the valid range of token ids is [0, 1023]"}});
}

TEST(Errors, AnthropicHasBothShapes) {
  TestServer server;
  const Reply reply = server.Post("/anthropic/v1/messages", Body(kMessages, R"({"messages":5})"));
  EXPECT_EQ(reply.status, 400);
  const Json body = BodyOf(reply);
  EXPECT_EQ(Names(body), (std::vector<std::string>{"type", "error", "request_id"}));
  EXPECT_EQ(Names(At(body, "error")),
            (std::vector<std::string>{"message", "type", "param", "code"}));
  EXPECT_EQ(TextAt(body, "request_id"), "req_" + std::string(reply.Header("request-id")));
  CheckRows("/anthropic/v1/messages", kMessages,
            {{R"({"max_tokens":0})",
              "Invalid max_tokens value, the valid range of max_tokens is [1, 393216]"},
             {R"({"temperature":2.5})",
              "Invalid temperature value, the valid range of temperature is [0, 2]"},
             {R"({"messages":[]})", "Empty input messages"},
             {R"({"metadata":{"user_id":"{\"any\": \"thing\"}"}})", "OK"},
             {R"({"messages":[{"role":"user","content":[{"type":"future_block"}]},
                              {"role":"user","content":"a"}]})",
              "OK",
              "D: messages[0].content[0].type: unknown variant `future_block`, expected one of "
              "`text`, `image`, `document`, `search_result`, `thinking`, `redacted_thinking`, "
              "`tool_use`, `tool_result`, `server_tool_use`, `web_search_tool_result` @"},
             {R"({"stop_sequences":["a"]})", "OK"}});
}

TEST(Errors, AnthropicNeedsMaxTokensInStrict) {
  const std::string body = Body(kMessages, R"({"max_tokens":"DROP"})");
  TestServer server;
  EXPECT_EQ(server.Post("/anthropic/v1/messages", body).status, 200);
  TestServer strict(Strict());
  const Reply reply = strict.Post("/anthropic/v1/messages", body);
  EXPECT_EQ(reply.status, 400);
  EXPECT_NE(TextAt(BodyOf(reply), "error.message").find("missing field `max_tokens`"),
            std::string::npos);
}

TEST(Errors, AnthropicThinkingMustComeBackInStrict) {
  const std::string messages = R"({"messages":[{"role":"user","content":"a"},
      {"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r"}]}]})";
  CheckRows("/anthropic/v1/messages", kMessages,
            {{messages, "OK",
              "The `content[].thinking` in the thinking mode must be passed back to the API."}});
}

TEST(Errors, Responses) {
  TestServer server;
  for (const std::string changes :
       {R"({"previous_response_id":"resp_1"})", R"({"conversation":"conv_1"})",
        R"({"top_logprobs":21})", R"({"input":[{"type":"function_call_output","output":"r"}]})",
        R"({"input":[{"type":"function_call","call_id":"","name":"f","arguments":"{}"}]})"}) {
    const Reply reply = server.Post("/responses", Body(kResponse, changes));
    EXPECT_EQ(reply.status, 400) << changes << reply.body;
    EXPECT_EQ(Names(BodyOf(reply)), std::vector<std::string>{"error"});
    EXPECT_NE(TextAt(BodyOf(reply), "error.message"), "");
  }
  for (const std::string changes :
       {R"({"previous_response_id":null,"conversation":null})", R"({"store":true})",
        R"({"input":"DROP","instructions":"Be brief."})"})
    EXPECT_EQ(server.Post("/responses", Body(kResponse, changes)).status, 200) << changes;
  EXPECT_EQ(server.Post("/responses", Body(kResponse, R"({"input":"DROP"})")).status, 400);
}

// Two mistakes at once: the earlier check answers.
TEST(Errors, OrderOfChecks) {
  TestServer strict(Strict());
  const std::vector<std::string> mistakes = {R"({"stream":1})", R"({"model":"gpt-5"})",
                                             R"({"temperature":9})", R"({"messages":[]})"};
  const auto message = [&](const std::string& body) {
    return TextAt(BodyOf(strict.Post("/chat/completions", body)), "error.message");
  };
  for (size_t i = 0; i < mistakes.size(); ++i)
    for (size_t k = i + 1; k < mistakes.size(); ++k)
      EXPECT_EQ(WithoutPlace(message(Body(Body(kChat, mistakes[i]), mistakes[k]))),
                WithoutPlace(message(Body(kChat, mistakes[i]))))
          << mistakes[i] << mistakes[k];
}

TEST(Errors, ContextLength) {
  ServerSetup setup;
  setup.capacity_tokens = 256;
  TestServer server(setup);
  const std::string long_text(2000, 'z');
  const auto ask = [&](const std::string& changes) {
    return server.Post("/chat/completions", Body(kChat, changes));
  };
  const int64_t prompt = ReadChat(ask("{}"))[0].prompt_tokens;
  const auto expected = [](int64_t messages, int64_t completion) {
    return fmt::format(
        "This model's maximum context length is 256 tokens. However, you requested {} tokens ({} "
        "in the messages, {} in the completion). Please reduce the length of the messages or "
        "completion.",
        messages + completion, messages, completion);
  };
  EXPECT_EQ(TextAt(BodyOf(ask(R"({"max_tokens":300})")), "error.message"), expected(prompt, 300));
  EXPECT_EQ(ask(fmt::format(R"({{"max_tokens":{}}})", 256 - prompt)).status, 200);
  EXPECT_EQ(
      TextAt(BodyOf(ask(fmt::format(R"({{"max_tokens":{}}})", 257 - prompt))), "error.message"),
      expected(prompt, 257 - prompt));
  // Without max_tokens the completion counts 0, and the answer ends with the window.
  const std::string too_long =
      TextAt(BodyOf(ask(R"({"max_tokens":"DROP","messages":[{"role":"user","content":")" +
                        long_text + R"("}]})")),
             "error.message");
  EXPECT_NE(too_long.find(" 0 in the completion)"), too_long.npos) << too_long;
  const std::vector<Answer> full = ReadChat(ask(R"({"max_tokens":"DROP","ignore_eos":true})"));
  EXPECT_EQ(full[0].end, "length");
  EXPECT_EQ(full[0].prompt_tokens + full[0].completion_tokens, 256);
  // The default of Completions is no wish.
  EXPECT_EQ(server.Post("/completions", Body(kCompletion, R"({"max_tokens":"DROP"})")).status, 200);
}

}  // namespace
}  // namespace fathom::conformance
