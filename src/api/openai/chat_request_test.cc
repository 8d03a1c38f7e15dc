// What Chat Completions refuses: every row of docs/api.md, "Errors", in both profiles.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api/openai/chat_request_testing.h"
#include "api/request.h"

namespace fathom::api {
namespace {

// What each profile says; "" is success, and a message that begins with "..." stands for the
// deserialization error up to its place.
struct Case {
  std::string body;
  std::string strict;
  std::string tolerant;
};

void Check(const std::string& body, Profile profile, std::string expected) {
  const auto parsed = Parse(body, profile);
  const std::string found = parsed.ok() ? "" : parsed.error().message;
  int status = 400;
  if (expected.starts_with("...")) {
    expected = std::string(kShape) + expected.substr(3) + " at line 1 column ";
    EXPECT_TRUE(found.starts_with(expected)) << body << "\n" << found << "\n" << expected;
    if (profile == Profile::kStrict) status = 422;
  } else {
    EXPECT_EQ(found, expected) << body;
  }
  if (parsed.ok()) return;
  EXPECT_EQ(parsed.error().status, status) << body;
  EXPECT_EQ(parsed.error().type, "invalid_request_error");
  EXPECT_EQ(parsed.error().code, "invalid_request_error");
}

void CheckAll(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    Check(c.body, Profile::kStrict, c.strict);
    Check(c.body, Profile::kDefault, c.tolerant);
  }
}
Case Both(std::string body, const std::string& message) {
  return {std::move(body), message, message};
}

TEST(ChatRequest, BodiesOfTheWrongShape) {
  const std::string roles = "`system`, `user`, `assistant`, `tool`, `latest_reminder`";
  CheckAll({
      Both("nonsense",
           "Failed to parse the request body as JSON: expected ident at line 1 column 2"),
      Both("[]", "...invalid type: sequence, expected struct ChatCompletionRequest"),
      Both("{}", "...missing field `messages`"),
      Both(R"({"messages":[]})", "...missing field `model`"),
      Both(R"({"model":"m","messages":5})",
           "...messages: invalid type: integer `5`, expected a sequence"),
      Both(R"({"model":7,"messages":[]})",
           "...model: invalid type: integer `7`, expected a string"),
      Both(Messages("\"x\""),
           "...messages[0]: invalid type: string \"x\", expected struct Message"),
      Both(Messages("{}"), "...messages[0]: missing field `role`"),
      Both(Messages(R"({"role":5,"content":"x"})"),
           "...messages[0].role: invalid type: integer `5`, expected a string"),
      {Messages(R"({"role":"developer","content":"x"},{"role":"user","content":"y"})"),
       "...messages[0].role: unknown variant `developer`, expected one of " + roles, ""},
      {Messages(R"({"role":"boss","content":"x"})"),
       "...messages[0].role: unknown variant `boss`, expected one of " + roles,
       "...messages[0].role: unknown variant `boss`, expected one of " + roles + ", `developer`"},
      Both(Messages(R"({"role":"user","content":5})"),
           "...messages[0].content: invalid type: integer `5`, expected a string or a sequence"),
      {Messages(R"({"role":"user","content":null})"),
       "...messages[0].content: invalid type: null, expected a string", ""},
      {Messages(R"({"role":"user"})"), "...messages[0]: missing field `content`", ""},
      Both(Messages(R"({"role":"user","content":[{"type":"text","text":1}]})"),
           "...messages[0].content[0].text: invalid type: integer `1`, expected a string"),
      Both(Messages(R"({"role":"user","content":[{"type":"audio"}]})"),
           "...messages[0].content[0].type: unknown variant `audio`, expected one of `text`, "
           "`image_url`, `file`"),
      Both(Messages(std::string(kUser) + "," + kCallA + R"(,{"role":"tool","content":"r"})"),
           "...messages[2]: missing field `tool_call_id`"),
      Both(Messages(R"({"role":"assistant","tool_calls":[{"function":{"name":"f"}}]})"),
           "...messages[0].tool_calls[0]: missing field `id`"),
  });
}

TEST(ChatRequest, MembersOfTheWrongShape) {
  CheckAll({
      Both(With(R"("stream":"yes")"),
           "...stream: invalid type: string \"yes\", expected a boolean"),
      Both(With(R"("stream_options":[])"),
           "...stream_options: invalid type: sequence, expected struct StreamOptions"),
      Both(With(R"("temperature":"hot")"),
           "...temperature: invalid type: string \"hot\", expected f64"),
      Both(With(R"("max_tokens":1.5)"),
           "...max_tokens: invalid type: floating point `1.5`, expected i64"),
      Both(With(R"("max_tokens":true)"),
           "...max_tokens: invalid type: boolean `true`, expected i64"),
      Both(With(R"("stop":5)"),
           "...stop: invalid type: integer `5`, expected a string or a sequence of strings"),
      Both(With(R"("stop":["a",null])"), "...stop[1]: invalid type: null, expected a string"),
      Both(With(R"("thinking":{})"), "...thinking: missing field `type`"),
      Both(With(R"("thinking":{"type":"on"})"),
           "...thinking.type: unknown variant `on`, expected one of `adaptive`, `enabled`, "
           "`disabled`"),
      Both(With(R"("reasoning_effort":"x")"),
           "...reasoning_effort: unknown variant `x`, expected one of `none`, `minimal`, `low`, "
           "`medium`, `high`, `xhigh`, `max`"),
      Both(With(R"("top_logprobs":-1,"logprobs":true)"),
           "...top_logprobs: invalid value: integer `-1`, expected u8"),
      Both(With(R"("response_format":{"type":"xml"})"),
           "...response_format.type: unknown variant `xml`, expected one of `text`, `json_object`, "
           "`json_schema`"),
      Both(With(R"("tools":{})"), "...tools: invalid type: map, expected a sequence"),
      Both(With(R"("tools":[{"type":"function","function":{}}])"),
           "...tools[0].function: missing field `name`"),
      Both(With(R"("tools":[{"type":"function","function":{"name":"f","parameters":"x"}}])"),
           "...tools[0].function.parameters: invalid type: string \"x\", expected a map"),
      {With(R"("tools":[{"type":"web_search"}])"),
       "...tools[0].type: unknown variant `web_search`, expected `function`", ""},
      Both(With(R"("tool_choice":"always")"),
           "...tool_choice: expected one of `none`, `auto`, `required` or a tool"),
      Both(With(R"("tool_choice":{"type":"function"})"),
           "...tool_choice: expected one of `none`, `auto`, `required` or a tool"),
      Both(With(R"("tool_choice":7)"),
           "...tool_choice: expected one of `none`, `auto`, `required` or a tool"),
      Both(With(R"("user_id":7)"), "...user_id: invalid type: integer `7`, expected a string"),
  });
}

TEST(ChatRequest, ModelsAndRanges) {
  const auto stops = [](int n) {
    std::string list;
    for (int i = 0; i < n; ++i) list += fmt::format("{}\"s{}\"", i > 0 ? "," : "", i);
    return With(fmt::format("\"stop\":[{}]", list));
  };
  const std::string max_tokens =
      "Invalid max_tokens value, the valid range of max_tokens is [1, 393216]";
  CheckAll({
      {R"({"model":"gpt-4","messages":[{"role":"user","content":"x"}]})",
       "The supported API model names are deepseek-v4-flash, deepseek-v4-pro, but you passed "
       "gpt-4.",
       ""},
      Both(R"({"model":"deepseek-v4-pro[1m]","messages":[{"role":"user","content":"x"}]})", ""),
      Both(With(R"("temperature":2.1)"),
           "Invalid temperature value, the valid range of temperature is [0, 2]"),
      Both(With(R"("temperature":-0.1)"),
           "Invalid temperature value, the valid range of temperature is [0, 2]"),
      Both(With(R"("temperature":2)"), ""),
      Both(With(R"("top_p":0)"), "Invalid top_p value, the valid range of top_p is (0, 1.0]"),
      Both(With(R"("top_p":1.01)"), "Invalid top_p value, the valid range of top_p is (0, 1.0]"),
      Both(With(R"("top_p":1)"), ""),
      Both(With(R"("presence_penalty":-2.5)"),
           "Invalid presence_penalty value, the valid range of presence_penalty is [-2, 2]"),
      Both(With(R"("frequency_penalty":3)"),
           "Invalid frequency_penalty value, the valid range of frequency_penalty is [-2, 2]"),
      Both(With(R"("max_tokens":0)"), max_tokens),
      Both(With(R"("max_tokens":-1)"), max_tokens),
      Both(With(R"("max_tokens":393217)"), max_tokens),
      Both(With(R"("max_completion_tokens":0)"), max_tokens),
      Both(With(R"("max_tokens":393216)"), ""),
      {With(R"("n":2)"), "Invalid n value (currently only n = 1 is supported)", ""},
      {With(R"("n":0)"), "Invalid n value (currently only n = 1 is supported)",
       "Invalid n value (currently only n = 1 to 8 is supported)"},
      {With(R"("n":9)"), "Invalid n value (currently only n = 1 is supported)",
       "Invalid n value (currently only n = 1 to 8 is supported)"},
      Both(stops(17), "Stop string array too long: 17"),
      Both(stops(16), ""),
      Both(With(R"("top_logprobs":3)"),
           "Invalid top_logprobs and logprobs value, logprobs must be set to true if top_logprobs "
           "is used."),
      Both(With(R"("top_logprobs":3,"logprobs":false)"),
           "Invalid top_logprobs and logprobs value, logprobs must be set to true if top_logprobs "
           "is used."),
      Both(With(R"("top_logprobs":21,"logprobs":true)"),
           "Invalid top_logprobs value, the valid range of top_logprobs is [0, 20]."),
      Both(With(R"("logit_bias":{"5":101})"),
           "Invalid logit_bias value, the valid range of logit_bias is [-100, 100]"),
      Both(With(R"("logit_bias":{"129280":1})"),
           "Invalid logit_bias value, the keys of logit_bias are token ids in [0, 129279]."),
      Both(With(R"("logit_bias":{"x":1})"),
           "Invalid logit_bias value, the keys of logit_bias are token ids in [0, 129279]."),
      Both(With(R"("user_id":"a b")"),
           "Invalid user_id, expected 1 to 512 characters of the pattern '^[a-zA-Z0-9_-]+$'."),
      Both(With(fmt::format("\"user_id\":\"{}\"", std::string(513, 'a'))),
           "Invalid user_id, expected 1 to 512 characters of the pattern '^[a-zA-Z0-9_-]+$'."),
      Both(With(R"("user":"any thing at all")"), ""),
  });
}

TEST(ChatRequest, FormatsAndTools) {
  const auto named = [](const std::string& name) {
    return With(fmt::format(R"("tools":[{},{{"type":"function","function":{{"name":"{}"}}}}])",
                            kTool, name));
  };
  std::string many;
  for (int i = 0; i < 129; ++i)
    many +=
        fmt::format(R"({}{{"type":"function","function":{{"name":"f{}"}}}})", i > 0 ? "," : "", i);
  const std::string pattern =
      "Invalid 'tools[1].function.name': string does not match pattern. Expected a string that "
      "matches the pattern '^[a-zA-Z0-9_-]+$'.";
  const std::string tools = fmt::format("\"tools\":[{}]", kTool);
  CheckAll({
      {With(R"("response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{}}})"),
       "This response_format type is unavailable now", ""},
      {With(R"("response_format":{"type":"json_object"})"),
       "Prompt must contain the word 'json' in some form to use 'response_format' of type "
       "'json_object'.",
       ""},
      Both(Messages(R"({"role":"user","content":[{"type":"text","text":"as Json"}]})",
                    R"("response_format":{"type":"json_object"})"),
           ""),
      Both(With(R"("response_format":{"type":"text"})"), ""),
      Both(named("bad name"), pattern),
      Both(named(""), pattern),
      Both(named("ünicode"), pattern),
      Both(named(std::string(129, 'n')),
           "Invalid 'tools[1].function.name': string too long. Expected a string with maximum "
           "length 128, but got a string with length 129 instead."),
      Both(named(std::string(128, 'n')), ""),
      Both(named("f"), "Tool names must be unique."),
      {With("\"tools\":[" + many + "]"),
       "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an "
       "array with length 129 instead.",
       ""},
      {With(tools + R"(,"tool_choice":"required")"),
       "Thinking mode does not support this tool_choice", ""},
      {With(tools + R"(,"tool_choice":{"type":"function","function":{"name":"f"}})"),
       "Thinking mode does not support this tool_choice", ""},
      Both(With(tools + R"(,"tool_choice":"required","thinking":{"type":"disabled"})"), ""),
      Both(With(tools + R"(,"thinking":{"type":"disabled"},"tool_choice":{"type":"function",)"
                        R"("function":{"name":"g"}})"),
           "Invalid tool_choice, there is no tool with the name 'g'."),
      Both(With(R"("tool_choice":"required","thinking":{"type":"disabled"})"),
           "Invalid tool_choice, 'required' is only allowed when tools are given."),
      Both(With(R"("tool_choice":"auto")"), ""),
      Both(With(R"("tool_choice":"none")"), ""),
      {With(R"("tools":[{"type":"function","function":{"name":"f","strict":true}}])"),
       "strict is only available when using beta api (set "
       "base_url=\"https://api.deepseek.com/beta\")",
       ""},
  });
}

TEST(ChatRequest, StructureOfMessages) {
  const std::string u = std::string(kUser) + ",";
  const std::string no_open =
      "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'";
  const std::string unanswered =
      "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
      "'tool_call_id'. (insufficient tool messages following tool_calls message)";
  const auto missing = [](const char* ids) {
    return fmt::format(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id', The following tool_call_ids did not have response messages: {}",
        ids);
  };
  const std::string no_reasoning =
      R"({"role":"assistant","content":null,"reasoning_content":null,)"
      R"("tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]})";
  const std::string prefix = R"({"role":"assistant","content":"x","prefix":true})";
  const std::string bad_prefix =
      "Invalid prefix value, prefix is only supported on the last message, which must have the "
      "role 'assistant'.";
  CheckAll({
      Both(Messages(""), "Empty input messages"),
      Both(Messages(u + Result("a")), no_open),
      Both(Messages(Result("a")), no_open),
      Both(Messages(u + kCallA + "," + Result("zz")), missing("a")),
      Both(Messages(u + kCallsAB + "," + Result("zz")), missing("a, b")),
      Both(Messages(u + kCallA), unanswered),
      Both(Messages(u + kCallA + "," + kUser), unanswered),
      Both(Messages(u + kCallsAB + "," + Result("a")), unanswered),
      Both(Messages(u + kCallsAB + "," + Result("a") + "," + kUser), unanswered),
      Both(Messages(u + kCallsAB + "," + Result("b") + "," + Result("a")), ""),
      {Messages(u + kCallA + "," + Result("a") + "," + Result("a")), no_open, ""},
      {Messages(u + kCallsAB + "," + Result("a") + "," + Result("a") + "," + Result("b")),
       missing("b"), ""},
      Both(Messages(u + kCallA + "," + Result("a") + "," + kUser + "," + Result("a")), no_open),
      {Messages(u + no_reasoning + "," + Result("a")),
       "The `reasoning_content` in the thinking mode must be passed back to the API.", ""},
      Both(Messages(u + no_reasoning + "," + Result("a"), R"("thinking":{"type":"disabled"})"), ""),
      Both(Messages(u + no_reasoning + "," + Result("a") + "," + kUser), ""),
      Both(Messages(u + kCallA + "," + Result("a")), ""),
      Both(Messages(R"({"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]})"),
           "This model does not support image"),
      Both(Messages(R"({"role":"user","content":[{"type":"file","file":{}}]})"),
           "This model does not support image"),
      {Messages(u + prefix),
       "prefix is only available when using beta api (set "
       "base_url=\"https://api.deepseek.com/beta\")",
       ""},
      Both(Messages(prefix + "," + kUser), bad_prefix),
      Both(Messages(R"({"role":"user","content":"x","prefix":true})"), bad_prefix),
      {Messages(u + R"({"role":"assistant","content":"x"})"),
       "The last message must be a user message, a tool message, or an assistant message with "
       "prefix mode on.",
       ""},
  });
  EXPECT_TRUE(Parse(Messages(u + prefix), Profile::kStrict, true).ok());
}

// The first mistake in the order of checks is the one that is told.
TEST(ChatRequest, OrderOfChecks) {
  const std::string bad_structure =
      R"("messages":[{"role":"tool","tool_call_id":"a","content":"x"}])";
  CheckAll({
      {R"({"model":"gpt","temperature":9,"stream":1,)" + bad_structure + "}",
       "...stream: invalid type: integer `1`, expected a boolean",
       "...stream: invalid type: integer `1`, expected a boolean"},
      {R"({"model":"gpt","temperature":9,)" + bad_structure + "}",
       "The supported API model names are deepseek-v4-flash, deepseek-v4-pro, but you passed gpt.",
       "Invalid temperature value, the valid range of temperature is [0, 2]"},
      Both(R"({"model":"deepseek-chat","temperature":9,)" + bad_structure + "}",
           "Invalid temperature value, the valid range of temperature is [0, 2]"),
      Both(R"({"model":"deepseek-chat","temperature":1,)" + bad_structure + "}",
           "Messages with role 'tool' must be a response to a preceding message with "
           "'tool_calls'"),
  });
}

}  // namespace
}  // namespace fathom::api
