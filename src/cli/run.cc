// fathom run: one prompt, one answer. From flags to a question, and from the answer to the terminal
// or one JSON object; the way between is assistant.h.
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/file.h"
#include "chat/encode.h"
#include "chat/python_json.h"
#include "chat/templates.h"
#include "cli/answer_printer.h"
#include "cli/assistant.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/generation_options.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/records.h"
#include "kernels/trace.h"
#include "measure/chrome_trace.h"

namespace fathom::cli {
namespace {

struct RunOptions {
  ModelOptions model;
  GenerationOptions generation;
  std::optional<std::string> prompt;
  std::string file;
  std::string dash;
  std::string system;
  std::string tools;
  std::string response_format;
  std::optional<int64_t> logprobs;
  bool raw = false;
  bool json = false;
  bool verbose = false;
  std::string profile;
};

// A text typed or piped in ends with a newline that nobody means; --raw keeps it.
Result<std::string> PromptText(const RunOptions& options) {
  if (options.prompt) return *options.prompt;
  if (options.file.empty() && options.dash.empty() && ::isatty(STDIN_FILENO) != 0)
    return Error{"prompt: expected -p TEXT, -f FILE or standard input, found none"};
  FATHOM_TRY(std::string text, ReadFileOrInput(options.file.empty() ? "-" : options.file));
  if (!options.raw && text.ends_with('\n')) text.pop_back();
  return text;
}

Result<Json> ReadJsonFile(const std::string& path) {
  FATHOM_TRY(const std::string text, ReadFileOrInput(path));
  auto json = chat::ParsePythonJson(text);
  if (!json.ok()) return std::move(json).error().In(path);
  return json;
}

// Function objects, bare or as {"type": "function", "function": {...}}.
Result<std::vector<Json>> ReadTools(const std::string& path) {
  std::vector<Json> functions;
  if (path.empty()) return functions;
  FATHOM_TRY(const Json json, ReadJsonFile(path));
  if (!json.is_array())
    return Error{fmt::format("{}: expected an array of tools, found {}", path, json.KindName())};
  for (const Json& tool : json.array()) {
    const Json* function = tool.Find("function");
    if (function == nullptr) function = &tool;
    const Json* name = function->Find("name");
    if (name == nullptr || !name->is_string())
      return Error{fmt::format("{}: expected functions with a \"name\", found {}", path,
                               WriteJson(*function).substr(0, 60))};
    functions.push_back(*function);
  }
  return functions;
}

Result<chat::EncodedPrompt> EncodeChat(const RunOptions& options, const std::string& text,
                                       const std::vector<Json>& tools, chat::Revision revision) {
  chat::Conversation conversation;
  if (!options.system.empty() || !options.response_format.empty())
    conversation.messages.push_back(TextMessage(chat::Role::kSystem, options.system));
  if (!options.response_format.empty()) {
    FATHOM_TRY(conversation.messages.back().response_format, ReadJsonFile(options.response_format));
  }
  conversation.messages.push_back(TextMessage(chat::Role::kUser, text));
  if (!tools.empty()) chat::AttachTools(conversation, tools);
  FATHOM_TRY(const chat::Mode mode, chat::ParseMode(options.generation.think, revision));
  return chat::Encode(conversation, {.revision = revision,
                                     .thinking_mode = mode.thinking_mode,
                                     .reasoning_effort = mode.reasoning_effort});
}

// Text that begins with BOS has it already.
Result<chat::EncodedPrompt> EncodeRawText(std::string_view text) {
  if (text.starts_with(chat::kBos)) text.remove_prefix(chat::kBos.size());
  return chat::EncodeRaw(text);
}

Result<Question> MakeQuestion(const RunOptions& options, const Assistant& assistant) {
  FATHOM_TRY(const std::string text, PromptText(options));
  FATHOM_TRY(const std::vector<Json> tools, ReadTools(options.tools));
  Question question;
  FATHOM_TRY(question.prompt,
             options.raw ? EncodeRawText(text)
                         : EncodeChat(options, text, tools, assistant.revision().revision));
  question.is_raw = options.raw;
  question.special_in_user_text = !options.generation.no_special_in_user_text;
  question.tools = chat::ReadToolSchemas(tools);
  question.stop_strings = options.generation.stop;
  FATHOM_TRY(question.sampling, options.generation.Params(assistant.sampling_defaults()));
  question.sampling.logprobs = options.logprobs;
  question.max_tokens = options.generation.max_tokens;
  return question;
}

// JSON has no -inf.
Json LogprobJson(float logprob) {
  return std::isfinite(logprob) ? Json(static_cast<double>(logprob)) : Json();
}

Json LogprobsJson(const Answer& answer, const tokenizer::Tokenizer& tokenizer) {
  const auto entry = [&](TokenId token, float logprob) {
    return Json(Json::Object{{"id", int64_t{token}},
                             {"token", tokenizer.TokenText(token)},
                             {"logprob", LogprobJson(logprob)}});
  };
  Json::Array reports;
  for (const TokenReport& report : answer.logprobs) {
    Json json = entry(report.token, report.logprob);
    Json::Array top;
    for (const auto& [token, logprob] : report.top) top.push_back(entry(token, logprob));
    json.Set("top", std::move(top));
    reports.push_back(std::move(json));
  }
  return reports;
}

Json AnswerJson(const Answer& answer, const Question& question, const Assistant& assistant) {
  Json::Array calls;
  for (const chat::ParsedCall& call : answer.message.tool_calls)
    calls.push_back(Json::Object{{"name", call.name}, {"arguments", call.arguments}});
  const auto ids = [](const std::vector<TokenId>& tokens) {
    return Json(Json::Array(tokens.begin(), tokens.end()));
  };
  const engine::Generated& generated = answer.generated;
  Json json = Json::Object{
      {"content", answer.message.content},
      {"reasoning_content", answer.message.reasoning_content},
      {"tool_calls", std::move(calls)},
      {"finish_reason", answer.finish_reason},
      {"prompt_tokens", generated.prompt_tokens},
      {"completion_tokens", static_cast<int64_t>(std::ssize(generated.tokens))},
      {"prompt_seconds", generated.prompt_seconds},
      {"completion_seconds", generated.generation_seconds},
      {"seed", question.sampling.seed},
      {"model", assistant.dir()},
      {"chat_revision", std::string(chat::RevisionName(assistant.revision().revision))},
      {"chat_revision_reason", assistant.revision().reason},
      {"prompt_ids", ids(answer.prompt_ids)},
      {"ids", ids(generated.tokens)}};
  if (question.sampling.logprobs) json.Set("logprobs", LogprobsJson(answer, assistant.tokenizer()));
  return json;
}

// For --json: only the progress of the prompt is shown.
class ProgressOnly : public AnswerPrinter {
 public:
  using AnswerPrinter::AnswerPrinter;
  void OnDelta(const chat::Delta&) override {}
};

Result<int> Run(RunOptions& options) {
  if (options.logprobs && !options.json)
    return Error{"--logprobs: expected --json beside it, found none"};
  kernels::Trace trace;  // outlives the session
  if (!options.profile.empty()) {
    trace.Record(measure::kProfileEvents);
    options.model.trace = &trace;
  }
  FATHOM_TRY(const std::unique_ptr<Assistant> assistant,
             Assistant::Open(options.model, options.generation.chat_revision));
  if (options.verbose) std::cerr << assistant->Description() << '\n';
  FATHOM_TRY(Question question, MakeQuestion(options, *assistant));
  const Interrupt interrupt(Interrupt::Signals::kOnce);
  question.cancel = &interrupt.flag();
  const Terminal terminal = Terminal::Detect();
  const auto printer = options.json ? std::make_unique<ProgressOnly>(terminal)
                                    : std::make_unique<AnswerPrinter>(terminal);
  const auto answer = assistant->Ask(question, *printer);
  printer->Finish();
  if (!answer.ok()) return answer.error();
  if (options.json)
    std::cout << WriteJson(AnswerJson(answer.value(), question, *assistant)) << std::endl;
  std::cerr << StatsLine(answer.value().generated) << '\n';
  if (!options.profile.empty()) FATHOM_TRY_VOID(measure::WriteChromeTrace(trace, options.profile));
  if (answer.value().generated.reason == engine::FinishReason::kCancelled) Interrupt::EndProgram();
  return 0;
}

void AddInput(CLI::App& command, RunOptions& options) {
  CLI::Option* prompt = command.add_option("-p,--prompt", options.prompt, "The prompt");
  CLI::Option* file =
      command.add_option("-f,--file", options.file, "Read the prompt from this file");
  CLI::Option* dash =
      command.add_option("input", options.dash, "-: read the prompt from standard input")
          ->check(CLI::IsMember({"-"}));
  prompt->excludes(file)->excludes(dash);
  file->excludes(dash);
  command.add_option("--system", options.system, "System message");
  command.add_option("--tools", options.tools, "Offer the tools of this file: a JSON array");
  command.add_option("--response-format", options.response_format,
                     "Tell the model to answer by the JSON schema of this file (it is asked, not "
                     "forced)");
}

}  // namespace

void RegisterRun(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<RunOptions>();  // shared with the callback below
  CLI::App* command = app.add_subcommand(
      "run",
      "Answer one prompt, streamed. Standard output gets the answer; reasoning stands above it, "
      "dimmed, on a terminal, and goes to standard error otherwise. Ctrl-C ends the answer.");
  AddInput(*command, *options);
  options->model.AddTo(*command);
  options->generation.AddTo(*command);
  CLI::Option* raw = command->add_flag(
      "--raw", options->raw,
      "BOS and the text as given, without chat markup; the completion is printed whole, tags "
      "included. Stop strings are looked for everywhere in it");
  for (const char* name : {"--system", "--tools", "--response-format", "--think"})
    raw->excludes(command->get_option(name));
  command->add_flag("--json", options->json,
                    "One JSON object at the end: content, reasoning_content, tool_calls, "
                    "finish_reason, token counts, times, seed, ids");
  command->add_option("--logprobs", options->logprobs,
                      "With --json: log-probabilities of each token and of the N likeliest ones, "
                      "from the model's own distribution, before temperature and penalties");
  command->add_flag(
      "--verbose", options->verbose,
      "Say on standard error what is run, and which prompt format was chosen and why");
  command->add_option("--profile", options->profile,
                      "Write a Chrome trace of the passes to this file (chrome://tracing)");
  command->footer(
      "Examples:\n"
      "  fathom run -p \"Compute 72*36.\" --think max --temp 0\n"
      "  fathom run -m ~/DeepSeek-V4-Flash -f question.txt > answer.txt\n"
      "  echo 'Hello' | fathom run - --think none --json");
  command->callback([options, &exit_code] { exit_code = ExitStatus("run", Run(*options)); });
}

}  // namespace fathom::cli
