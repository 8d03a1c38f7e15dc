// Every row of docs/api.md, "Errors" and "Chat Completions", in both profiles.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api/request.h"
#include "chat/encode.h"

namespace fathom::api {
namespace {

constexpr std::string_view kShape = "Failed to deserialize the JSON body into the target type: ";

Parsed<Request> Parse(std::string_view body, Profile profile = Profile::kDefault,
                      bool is_beta = false) {
  Facts facts;
  facts.profile = profile;
  return ParseChat(body, facts, {.is_beta = is_beta});
}

Request Read(std::string_view body, Profile profile = Profile::kDefault, bool is_beta = false) {
  auto request = Parse(body, profile, is_beta);
  EXPECT_TRUE(request.ok()) << body << ": " << request.error().message;
  return request.ok() ? std::move(request).value() : Request();
}

// A body with one user message and these members.
std::string With(std::string_view members) {
  return fmt::format(
      R"({{"model":"deepseek-v4-flash","messages":[{{"role":"user","content":"Hi"}}]{}{}}})",
      members.empty() ? "" : ",", members);
}
std::string Messages(std::string_view messages, std::string_view members = "") {
  return fmt::format(R"({{"model":"deepseek-v4-flash","messages":[{}]{}{}}})", messages,
                     members.empty() ? "" : ",", members);
}

constexpr const char* kTool =
    R"({"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}})";
constexpr const char* kCallA =
    R"({"role":"assistant","content":"","reasoning_content":"","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]})";
constexpr const char* kCallsAB =
    R"({"role":"assistant","reasoning_content":"","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"b","type":"function","function":{"name":"f","arguments":"{}"}}]})";
constexpr const char* kUser = R"({"role":"user","content":"Hi"})";

std::string Result(const char* id) {
  return fmt::format(R"({{"role":"tool","tool_call_id":"{}","content":"r"}})", id);
}

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
      R"({"role":"assistant","content":null,"reasoning_content":null,"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]})";
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
  EXPECT_EQ(Read(With(R"("user":"u x")")).isolation_key, "u x");
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

  const Request named = Read(With(fmt::format(
      R"("tools":[{{"type":"web_search"}},{},{}],"tool_choice":{{"type":"function","function":{{"name":"g"}}}})",
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
      R"("response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"max":1e5,"b":"é"}}},)"
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
