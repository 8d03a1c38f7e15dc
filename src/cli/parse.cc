// fathom parse: the completion parser by itself. What a model generated to reasoning, content and
// tool calls, or a file of recorded cases (testdata/chat/README.md describes the records) to one
// result a line and a verdict. Recorded cases are also parsed in pieces, cut at every byte.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "chat/output_parser.h"
#include "chat/python_json.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/records.h"

namespace fathom::cli {
namespace {

// A record's text is parsed once per cut, which is quadratic: longer ones are cut this many times,
// evenly spread, beside once at all bytes together.
constexpr size_t kSingleCutsMax = 20'000;

struct ParseCommand {
  std::string file = "-";
  std::string jsonl;
  std::string tools;
  std::vector<std::string> stop;
  bool chat = false;
  bool truncated = false;
  bool json = false;
};

Json MessageJson(const chat::ParsedMessage& message) {
  Json::Array calls;
  for (const chat::ParsedCall& call : message.tool_calls)
    calls.push_back(Json::Object{{"name", call.name}, {"arguments", call.arguments}});
  return Json::Object{{"reasoning_content", message.reasoning_content},
                      {"content", message.content},
                      {"tool_calls", std::move(calls)},
                      {"finish_reason", chat::FinishReasonName(message.finish_reason)}};
}

// Tools as a request has them, or their function objects alone.
Result<std::vector<chat::ToolSchema>> ReadTools(const Json& tools) {
  if (!tools.is_array())
    return Error{fmt::format("tools: expected a list, found {}", tools.KindName())};
  std::vector<Json> functions;
  for (const Json& tool : tools.array()) {
    const Json* function = tool.Find("function");
    functions.push_back(function == nullptr ? tool : *function);
  }
  return chat::ReadToolSchemas(functions);
}

chat::ParsedMessage ParsePieces(const std::vector<std::string_view>& pieces,
                                const chat::ParserOptions& options, chat::StopReason reason) {
  chat::OutputParser parser(options);
  chat::ParsedMessage message;
  for (const std::string_view piece : pieces)
    for (const chat::Delta& delta : parser.Feed(piece)) Append(message, delta);
  const auto finished = parser.Finish(reason);
  for (const chat::Delta& delta : finished.deltas) Append(message, delta);
  message.finish_reason = finished.reason;
  return message;
}

// Says where a cut changes the result.
void CompareCuts(std::string_view text, const chat::ParserOptions& options, chat::StopReason reason,
                 const chat::ParsedMessage& whole, RecordOutcome& outcome) {
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
  if (ParsePieces(bytes, options, reason) != whole)
    outcome.differences.push_back("expect: byte by byte the text gives another result");
  const size_t stride = text.size() / kSingleCutsMax + 1;
  for (size_t cut = 1; cut < text.size(); cut += stride) {
    if (ParsePieces({text.substr(0, cut), text.substr(cut)}, options, reason) == whole) continue;
    outcome.differences.push_back(
        fmt::format("expect: cut at byte {} the text gives another result", cut));
    return;
  }
}

Result<RecordOutcome> ParseRecord(const Json& record) {
  FATHOM_TRY(const std::string text, GetString(record, "text", "record"));
  chat::ParserOptions options;
  if (const Json* mode = record.Find("thinking_mode")) {
    if (*mode != Json("thinking") && *mode != Json("chat"))
      return Error{"record: key \"thinking_mode\": expected \"chat\" or \"thinking\""};
    options.starts_in_reasoning = *mode == Json("thinking");
  }
  if (const Json* tools = record.Find("tools"); tools != nullptr && !tools->is_null()) {
    FATHOM_TRY(options.tools, ReadTools(*tools));
  }
  const Json* finish = record.Find("finish");
  const auto reason = finish != nullptr && *finish == Json("length") ? chat::StopReason::kLength
                                                                     : chat::StopReason::kStop;
  const chat::ParsedMessage message = ParseCompletion(text, options, reason);
  RecordOutcome outcome;
  outcome.found = MessageJson(message);
  if (const Json* expected = record.Find("expect")) {
    outcome.is_compared = true;
    const Json found = outcome.found;
    for (const char* name : {"reasoning_content", "content", "tool_calls", "finish_reason"}) {
      if (expected->Find(name) == nullptr)
        outcome.differences.push_back(fmt::format("{}: not in the record's \"expect\"", name));
      outcome.Add(*expected, name, *found.Find(name));
    }
    CompareCuts(text, options, reason, message, outcome);
  }
  return outcome;
}

Result<int> RunOne(const ParseCommand& command) {
  FATHOM_TRY(const std::string text, ReadFileOrInput(command.file));
  chat::ParserOptions options;
  options.starts_in_reasoning = !command.chat;
  options.stop_strings = command.stop;
  if (!command.tools.empty()) {
    FATHOM_TRY(const std::string tools_text, ReadFileOrInput(command.tools));
    auto tools = chat::ParsePythonJson(tools_text);
    if (!tools.ok()) return std::move(tools).error().In(command.tools);
    FATHOM_TRY(options.tools, ReadTools(tools.value()));
  }
  const auto reason = command.truncated ? chat::StopReason::kLength : chat::StopReason::kStop;
  std::cout << WriteJson(MessageJson(ParseCompletion(text, options, reason))) << '\n';
  return 0;
}

int RunParse(const ParseCommand& command) {
  return ExitStatus("parse", command.jsonl.empty()
                                 ? RunOne(command)
                                 : RunRecords(command.jsonl, command.json, ParseRecord));
}

}  // namespace

void RegisterParse(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ParseCommand>();  // shared with the callback below
  CLI::App* command = app.add_subcommand(
      "parse",
      "Turn the text that a model generated into reasoning, content and tool calls, printed as "
      "JSON. Malformed markup is repaired or closed, never refused.");
  CLI::Option* file =
      command->add_option("file", options->file, "The completion; - or nothing: standard input");
  command
      ->add_option("--jsonl", options->jsonl,
                   "Run the records of this file (-: standard input), one result a line. Records "
                   "have \"text\", may have \"thinking_mode\", \"finish\" and \"tools\", and may "
                   "have the expected message in \"expect\"; it must come out for every cut of the "
                   "text, too. Ends with \"N of M match\"; exit status 1 if any differs")
      ->excludes(file);
  bool* const chat = &options->chat;
  CLI::Option* think = command->add_flag_callback(
      "--think", [] {}, "The completion starts with reasoning (default)");
  command->add_flag("--chat", *chat, "The completion starts with content")->excludes(think);
  command->add_flag("--truncated", options->truncated,
                    "The completion was cut off by a token limit");
  command->add_option(
      "--tools", options->tools,
      "JSON file with the list of tools of the request, to repair wrapped arguments");
  command->add_option("--stop", options->stop, "Stop string in the content; may be repeated")
      ->allow_extra_args(false);
  command->add_flag("--json", options->json,
                    "With --jsonl: results as JSON, one object a line (else the result is JSON "
                    "in any case)");
  command->footer(
      "Examples:\n"
      "  printf 'Easy.</think>2 + 2 = 4.' | fathom parse\n"
      "  fathom parse --chat --stop END completion.txt\n"
      "  fathom parse --jsonl testdata/chat/parse.jsonl");
  command->callback([options, &exit_code] { exit_code = RunParse(*options); });
}

}  // namespace fathom::cli
