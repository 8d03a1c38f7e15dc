#include "chat/output_parser.h"

#include <gtest/gtest.h>

#include <random>

#include "base/file.h"
#include "chat/encode.h"
#include "chat/python_json.h"
#include "chat/templates.h"

namespace fathom::chat {
namespace {

// Feeds the text cut at the given places (ascending).
ParsedMessage ParsePieces(std::string_view text, const std::vector<size_t>& cuts,
                          const ParserOptions& options, StopReason reason) {
  OutputParser parser(options);
  ParsedMessage message;
  size_t begin = 0;
  const auto feed = [&](size_t end) {
    for (const Delta& delta : parser.Feed(text.substr(begin, end - begin))) {
      EXPECT_TRUE(text::IsValidUtf8(delta.text));
      Append(message, delta);
    }
    begin = end;
  };
  for (const size_t cut : cuts) feed(cut);
  feed(text.size());
  const auto finished = parser.Finish(reason);
  for (const Delta& delta : finished.deltas) Append(message, delta);
  message.finish_reason = finished.reason;
  return message;
}

// reasoning|content|name arguments; ...|finish reason
std::string Describe(const ParsedMessage& message) {
  std::string calls;
  for (const ParsedCall& call : message.tool_calls)
    calls += (calls.empty() ? "" : "; ") + call.name + " " + call.arguments;
  return message.reasoning_content + "|" + message.content + "|" + calls + "|" +
         std::string(FinishReasonName(message.finish_reason));
}

std::string DescribeExpected(const Json& expect) {
  ParsedMessage message;
  message.reasoning_content = expect.Find("reasoning_content")->string();
  message.content = expect.Find("content")->string();
  for (const Json& call : expect.Find("tool_calls")->array())
    message.tool_calls.push_back({call.Find("name")->string(), call.Find("arguments")->string()});
  for (const auto reason : {FinishReason::kLength, FinishReason::kToolCalls})
    if (FinishReasonName(reason) == expect.Find("finish_reason")->string())
      message.finish_reason = reason;
  return Describe(message);
}

// Every single cut, every byte apart, and random cuts give what the whole gives.
void ExpectSameForEveryCut(const std::string& text, const ParserOptions& options, StopReason reason,
                           const std::string& expected) {
  EXPECT_EQ(Describe(ParseCompletion(text, options, reason)), expected);
  std::vector<size_t> all;
  for (size_t cut = 1; cut < text.size(); ++cut) {
    all.push_back(cut);
    ASSERT_EQ(Describe(ParsePieces(text, {cut}, options, reason)), expected) << "cut at " << cut;
  }
  ASSERT_EQ(Describe(ParsePieces(text, all, options, reason)), expected);
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    std::vector<size_t> cuts;
    for (const size_t cut : all)
      if (random() % 5 == 0) cuts.push_back(cut);
    ASSERT_EQ(Describe(ParsePieces(text, cuts, options, reason)), expected);
  }
}

// The same text with its control tokens given out of band.
std::string DescribeOutOfBand(std::string_view text, ParserOptions options, StopReason reason) {
  options.reads_control_text = false;
  OutputParser parser(options);
  ParsedMessage message;
  const auto append = [&](const std::vector<Delta>& deltas) {
    for (const Delta& delta : deltas) Append(message, delta);
  };
  while (!text.empty()) {
    if (text.starts_with(kThink)) {
      append(parser.FeedControl(ControlToken::kOpenThink));
      text.remove_prefix(kThink.size());
    } else if (text.starts_with(kEndThink)) {
      append(parser.FeedControl(ControlToken::kCloseThink));
      text.remove_prefix(kEndThink.size());
    } else if (text.starts_with(kEos)) {
      append(parser.FeedControl(ControlToken::kEndOfText));
      text.remove_prefix(kEos.size());
    } else {
      append(parser.Feed(text.substr(0, 1)));
      text.remove_prefix(1);
    }
  }
  const auto finished = parser.Finish(reason);
  append(finished.deltas);
  message.finish_reason = finished.reason;
  return Describe(message);
}

TEST(ParseGolden, EveryRecordMatchesForEveryCut) {
  const auto file = ReadFile(FATHOM_SOURCE_DIR "/testdata/chat/parse.jsonl");
  ASSERT_TRUE(file.ok());
  std::string_view rest = file.value();
  int records = 0;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const Json record = ParsePythonJson(rest.substr(0, end)).value();
    rest.remove_prefix(std::min(end + 1, rest.size()));
    SCOPED_TRACE(record.Find("id")->string());
    ++records;
    ParserOptions options;
    options.starts_in_reasoning = *record.Find("thinking_mode") == Json("thinking");
    if (const Json* tools = record.Find("tools")) {
      std::vector<Json> functions;
      for (const Json& tool : tools->array()) functions.push_back(*tool.Find("function"));
      options.tools = ReadToolSchemas(functions);
    }
    const StopReason reason =
        *record.Find("finish") == Json("length") ? StopReason::kLength : StopReason::kStop;
    const std::string& text = record.Find("text")->string();
    const std::string expected = DescribeExpected(*record.Find("expect"));
    ExpectSameForEveryCut(text, options, reason, expected);
    EXPECT_EQ(DescribeOutOfBand(text, options, reason), expected);
  }
  EXPECT_EQ(records, 63);
}

constexpr const char* kCall =
    "<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\" string=\"true\">b"
    "</｜DSML｜parameter>\n</｜DSML｜invoke>\n";

struct Case {
  const char* what;
  std::string text;
  const char* expected;
  bool starts_in_reasoning = false;
  StopReason reason = StopReason::kStop;
};

void ExpectCases(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    ParserOptions options;
    options.starts_in_reasoning = c.starts_in_reasoning;
    ExpectSameForEveryCut(c.text, options, c.reason, c.expected);
  }
}

TEST(OutputParser, ReadsMalformedBlocks) {
  const std::string open = "x\n\n<｜DSML｜tool_calls>\n", close = "</｜DSML｜tool_calls>";
  ExpectCases({
      {"V3.2's block name",
       "<｜DSML｜function_calls>\n" + std::string(kCall) + "</｜DSML｜function_calls>",
       R"(||f {"a": "b"}|tool_calls)"},
      {"a block in the reasoning ends it",
       "r\n\n<｜DSML｜tool_calls> \n " + std::string(kCall) + close,
       R"(r||f {"a": "b"}|tool_calls)", true},
      {"a tag quoted at the end of the reasoning", "r\n\n<｜DSML｜tool_calls>\n",
       "r\n\n<｜DSML｜tool_calls>\n|||length", true, StopReason::kLength},
      {"half an opening tag at the end", "x\n\n<｜DSML｜tool_ca", "|x||length", false,
       StopReason::kLength},
      {"half an end tag in an open value",
       open + "<｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"a\" "
              "string=\"true\">b</｜DSML｜par",
       R"(|x|f {"a": "b|length)", false, StopReason::kLength},
      {"an open value that is no string",
       open + "<｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"a\" string=\"false\">[1, 2",
       R"(|x|f {"a": |length)"},
      {"cut inside a parameter tag",
       open + "<｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"a", "|x|f {}|tool_calls"},
      {"cut inside a parameter tag by the limit",
       open + "<｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"a", "|x|f {|length", false,
       StopReason::kLength},
      {"limit between calls", open + kCall, R"(|x|f {"a": "b"}|length)", false,
       StopReason::kLength},
      {"an invoke without a name",
       open +
           "<｜DSML｜invoke><｜DSML｜parameter name=\"a\" string=\"true\">b</｜DSML｜parameter>"
           "</｜DSML｜invoke>" +
           kCall + close,
       R"(|x|f {"a": "b"}|tool_calls)"},
      {"an invoke tag that never ends", open + "<｜DSML｜invoke name=\"g\n" + kCall + close,
       R"(|x|f {"a": "b"}|tool_calls)"},
      {"quotes in names",
       open +
           "<｜DSML｜invoke name=\"weird\"name<>\"><｜DSML｜parameter name=\"k\"y\" "
           "string=\"true\">v"
           "</｜DSML｜parameter></｜DSML｜invoke>" +
           close,
       R"(|x|weird"name<> {"k\"y": "v"}|tool_calls)"},
      {"attributes in the other order",
       open +
           "<｜DSML｜invoke name=\"f\"><｜DSML｜parameter string=\"false\" name=\"a\">1"
           "</｜DSML｜parameter></｜DSML｜invoke>" +
           close,
       R"(|x|f {"a": 1}|tool_calls)"},
      {"words that only begin like tags",
       open + "<｜DSML｜invoked></｜DSML｜invok>" + kCall + close, R"(|x|f {"a": "b"}|tool_calls)"},
  });
}

TEST(OutputParser, ReadsMalformedText) {
  ExpectCases({
      {"BOS is dropped", "<｜begin▁of▁sentence｜>a<｜begin▁of▁sentence｜>b", "|ab||stop"},
      {"half of EOS", "a<｜end▁of▁sen", "|a<｜end▁of▁sen||length", false, StopReason::kLength},
      {"half of a think tag", "a</thin", "|a</thin||stop"},
      {"text after a block keeps its space, space alone is dropped",
       "<｜DSML｜tool_calls></｜DSML｜tool_calls>\n \n<｜DSML｜tool_calls></｜DSML｜tool_calls> "
       "a\n",
       "| a\n||stop"},
      {"space after a block is dropped at the end",
       "a<｜DSML｜tool_calls></｜DSML｜tool_calls> \n\n", "|a||stop"},
      {"ill-formed bytes, and half a character at the end", "a\xff\xe2\x82", "|a\uFFFD||stop"},
      {"at most two newlines go", "a\n\n\n\n<｜DSML｜tool_calls></｜DSML｜tool_calls>",
       "|a\n\n||stop"},
  });
}

TEST(OutputParser, DropsMarkupThatOpensNoBlock) {
  const std::string close = "</｜DSML｜tool_calls>";
  ExpectCases({
      {"a closing tag", "a</｜DSML｜tool_calls> b</｜DSML｜invoke>", "|a b||stop"},
      {"unknown words", "a<｜DSML｜nonsense> b<｜DSML｜> c</｜DSML｜x", "|a b c||stop"},
      {"markers without brackets", "a ｜DSML｜ b｜DSML｜tool_calls>c", "|a  bc||stop"},
      {"what only begins like a marker", "a｜DSMLx ｜b｜DSM", "|a｜DSMLx ｜b｜DSM||stop"},
      {"an invoke without its block", "a\n\n" + std::string(kCall) + close,
       R"(|a|f {"a": "b"}|tool_calls)"},
      {"a parameter without its call",
       "a<｜DSML｜parameter name=\"a\" string=\"true\">b</｜DSML｜parameter>" + close + " c",
       "|a c||stop"},
      {"half a marker at the end", "a<｜DSML｜", "|a||stop"},
      {"the word alone is text", "DSML <DSML> |DSML|", "|DSML <DSML> |DSML|||stop"},
      {"in the reasoning it may be quoted", "a <｜DSML｜invoke> b", "a <｜DSML｜invoke> b|||stop",
       true},
  });
}

TEST(OutputParser, NeverLeaksATagOfABlock) {
  // Cut a completion at every byte, as a token limit would: no tag shows up in what was parsed.
  const std::string text =
      "r</think>c\n\n<｜DSML｜tool_calls>\n" + std::string(kCall) + kCall + "</｜DSML｜tool_calls>";
  const size_t block = text.find(kCallsOpen) + std::string_view("<｜DSML｜").size();
  for (size_t size = block; size <= text.size(); ++size) {
    const ParsedMessage message = ParseCompletion(text.substr(0, size), {}, StopReason::kLength);
    EXPECT_EQ(message.reasoning_content, "r");
    EXPECT_EQ(message.content, "c");
    for (const ParsedCall& call : message.tool_calls) {
      EXPECT_EQ(call.name, "f");
      EXPECT_TRUE(std::string_view(R"({"a": "b"})").starts_with(call.arguments)) << call.arguments;
    }
  }
}

TEST(OutputParser, StopsAtStopStringsInContentOnly) {
  ParserOptions options;
  options.stop_strings = {"END", "\n\nQ:", ""};
  const auto expect = [&](const std::string& text, const char* expected) {
    ExpectSameForEveryCut(text, options, StopReason::kStop, expected);
  };
  expect("END</think>abENDcd", "END|ab||stop");
  expect("</think>a\n\nQ: b", "|a||stop");
  expect("</think>a EN", "|a EN||stop");
  expect(
      "</think>E<｜DSML｜tool_calls><｜DSML｜invoke name=\"END\"></｜DSML｜invoke>"
      "</｜DSML｜tool_calls>ND",
      "|END|END {}|tool_calls");
  expect("</think>xEND<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\">", "|x||stop");

  OutputParser parser(options);
  parser.Feed("</think>abE");
  EXPECT_FALSE(parser.is_done());
  parser.Feed("ND and more");
  EXPECT_TRUE(parser.is_done());
  EXPECT_TRUE(parser.stop_string_hit());
  EXPECT_TRUE(parser.Feed("x").empty());
}

TEST(OutputParser, ReadsControlTokensOutOfBandOnly) {
  ParserOptions options;
  options.reads_control_text = false;
  OutputParser parser(options);
  ParsedMessage message;
  const auto append = [&](const std::vector<Delta>& deltas) {
    for (const Delta& delta : deltas) Append(message, delta);
  };
  append(parser.Feed("a</think>b<｜end▁of▁sentence｜>\n\n<"));
  append(parser.FeedControl(ControlToken::kCloseThink));
  append(parser.Feed("c\n"));
  append(parser.FeedControl(ControlToken::kEndOfText));
  EXPECT_TRUE(parser.is_done());
  append(parser.Finish(StopReason::kStop).deltas);
  EXPECT_EQ(message.reasoning_content, "a</think>b<｜end▁of▁sentence｜>\n\n<");
  EXPECT_EQ(message.content, "c\n");
}

TEST(OutputParser, StreamsWhatIsCertainAtOnce) {
  OutputParser parser({.starts_in_reasoning = false});
  using Deltas = std::vector<Delta>;
  using Kind = Delta::Kind;
  EXPECT_EQ(parser.Feed("Hello\n\n"), (Deltas{{Kind::kContent, "Hello", -1}}));
  EXPECT_EQ(parser.Feed("<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\""), Deltas{});
  EXPECT_EQ(parser.Feed(">"),
            (Deltas{{Kind::kToolCallStart, "f", 0}, {Kind::kToolCallArguments, "{", 0}}));
  EXPECT_EQ(parser.Feed("<｜DSML｜parameter name=\"a\" string=\"true\">li\nne"),
            (Deltas{{Kind::kToolCallArguments, "\"a\": \"li\\nne", 0}}));
  EXPECT_EQ(parser.Feed("</"), Deltas{});
  EXPECT_EQ(parser.Feed("b>"), (Deltas{{Kind::kToolCallArguments, "</b>", 0}}));
  EXPECT_EQ(parser.Feed("</｜DSML｜parameter></｜DSML｜invoke>"),
            (Deltas{{Kind::kToolCallArguments, "\"}", 0}}));
  EXPECT_EQ(parser.Finish(StopReason::kStop).reason, FinishReason::kToolCalls);
}

TEST(OutputParser, TakesWrappersOff) {
  ParserOptions options{.starts_in_reasoning = false};
  options.tools = {{.name = "f", .parameters = {"a", "b"}}, {.name = "g", .parameters = {"input"}}};
  const auto arguments = [&](const std::string& name, const std::string& parameters,
                             StopReason reason = StopReason::kStop) {
    const std::string text =
        "<｜DSML｜tool_calls><｜DSML｜invoke name=\"" + name + "\">" + parameters;
    const std::string expected = Describe(ParseCompletion(text, options, reason));
    ExpectSameForEveryCut(text, options, reason, expected);
    return ParseCompletion(text, options, reason).tool_calls.at(0).arguments;
  };
  const auto parameter = [](const std::string& name, const char* is_string,
                            const std::string& value) {
    return "<｜DSML｜parameter name=\"" + name + "\" string=\"" + is_string + "\">" + value +
           "</｜DSML｜parameter>";
  };
  EXPECT_EQ(arguments("f", parameter("input", "false", "{\"a\":1e5}")), "{\"a\": 100000.0}");
  EXPECT_EQ(arguments("f", parameter("arguments", "true", "{\"b\":\"x\"}")), "{\"b\": \"x\"}");
  EXPECT_EQ(arguments("f", parameter("arguments", "false", "\"{\\\"b\\\":2}\"")), "{\"b\": 2}");
  EXPECT_EQ(arguments("f", parameter("input", "true", "{\"c\":1}")),
            "{\"input\": \"{\\\"c\\\":1}\"}");
  EXPECT_EQ(arguments("f", parameter("input", "true", "text")), "{\"input\": \"text\"}");
  EXPECT_EQ(arguments("f", parameter("input", "false", "{\"a\":1}") + parameter("b", "false", "2")),
            "{\"input\": {\"a\":1}, \"b\": 2}");
  EXPECT_EQ(arguments("g", parameter("input", "false", "{\"input\":1}")),
            "{\"input\": {\"input\":1}}");
  EXPECT_EQ(arguments("unknown", parameter("input", "false", "{\"a\":1}")),
            "{\"input\": {\"a\":1}}");
  EXPECT_EQ(arguments("f", parameter("input", "true", "{\"a\":1}"), StopReason::kLength),
            "{\"input\": \"{\\\"a\\\":1}\"");
}

TEST(OutputParser, EncodingAParsedTurnGivesItsTextBack) {
  const std::string completion =
      "Let me see.\n</think>Checking.\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke "
      "name=\"get_weather\">\n"
      "<｜DSML｜parameter name=\"city\" string=\"true\">東京 \"x\"\n</｜DSML｜parameter>\n"
      "<｜DSML｜parameter name=\"days\" string=\"false\">[1, 2.5, {\"k\": "
      "null}]</｜DSML｜parameter>\n"
      "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"now\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
      "<｜end▁of▁sentence｜>";
  const ParsedMessage parsed = ParseCompletion(completion, {}, StopReason::kStop);
  Conversation conversation;
  conversation.messages.emplace_back();
  conversation.messages.back().content = "?";
  const std::string before = Encode(conversation, {}).value().text;
  Message turn;
  turn.role = Role::kAssistant;
  turn.reasoning_content = parsed.reasoning_content;
  turn.content = parsed.content;
  for (const ParsedCall& call : parsed.tool_calls)
    turn.tool_calls.push_back({.id = "", .name = call.name, .arguments = call.arguments});
  conversation.messages.push_back(turn);
  EXPECT_EQ(Encode(conversation, {}).value().text, before + completion);
}

}  // namespace
}  // namespace fathom::chat
