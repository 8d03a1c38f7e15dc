// fathom encode: the prompt encoder by itself. A conversation to the text the model reads, or a
// file of recorded cases (testdata/chat/README.md describes the records) to one result a line and a
// verdict.
#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/file.h"
#include "chat/conversation_json.h"
#include "chat/encode.h"
#include "chat/prompt_tokens.h"
#include "chat/python_json.h"
#include "chat/revision.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/records.h"
#include "tokenizer/tokenizer.h"

namespace fathom::cli {
namespace {

using tokenizer::Tokenizer;

struct EncodeCommand {
  std::string file = "-";
  std::string jsonl;
  std::string model;
  std::string tokenizer;
  std::optional<std::string> think;
  std::optional<std::string> revision;
  bool json = false;
  bool no_special_in_user_text = false;
};

// What the records are encoded with.
struct Setting {
  chat::EncodeOptions defaults;
  std::optional<chat::Mode> mode;  // overrides what a record says
  std::optional<Tokenizer> tokenizer;
  chat::PromptTokenOptions tokens;
};

// The reader of a whole checkpoint knows more; from a folder alone, config.json may name the
// revision.
Result<std::optional<std::string>> ConfigRevision(const std::string& model) {
  const std::string path = model + "/config.json";
  if (model.empty() || !FileExists(path)) return std::optional<std::string>();
  FATHOM_TRY(const std::string text, ReadFile(path));
  auto config = ParseJson(text);
  if (!config.ok()) return std::move(config).error().In(path);
  if (config.value().Find("chat_revision") == nullptr) return std::optional<std::string>();
  FATHOM_TRY(std::string revision, GetString(config.value(), "chat_revision", path));
  return std::optional(std::move(revision));
}

Result<Setting> MakeSetting(const EncodeCommand& command) {
  Setting setting;
  chat::RevisionFacts facts;
  facts.option = command.revision;
  FATHOM_TRY(facts.config_revision, ConfigRevision(command.model));
  FATHOM_TRY(const chat::RevisionChoice choice, chat::ChooseRevision(facts));
  setting.defaults.revision = choice.revision;
  if (command.think) {
    FATHOM_TRY(setting.mode, chat::ParseMode(*command.think, choice.revision));
  }
  std::string path = command.tokenizer;
  if (path.empty() && !command.model.empty()) path = command.model + "/tokenizer.json";
  if (!path.empty()) {
    FATHOM_TRY(setting.tokenizer, Tokenizer::Load(path));
  }
  setting.tokens.special_in_user_text = !command.no_special_in_user_text;
  return setting;
}

Result<chat::EncodedPrompt> EncodeConversation(const Json& record, const Setting& setting) {
  FATHOM_TRY(chat::EncodeRecord read, chat::ReadEncodeRecord(record, setting.defaults));
  if (setting.mode) {
    read.options.thinking_mode = setting.mode->thinking_mode;
    read.options.reasoning_effort = setting.mode->reasoning_effort;
  }
  return chat::Encode(read.conversation, read.options);
}

bool HasTag(const Json& record, std::string_view tag) {
  const Json* tags = record.Find("tags");
  if (tags == nullptr || !tags->is_array()) return false;
  for (const Json& item : tags->array())
    if (item == Json(tag)) return true;
  return false;
}

// Compares the tool calls whose arguments are JSON but no object with the wrapped form that the
// server writes where the reference gives up.
void CompareWrapped(const Json& record, const std::string& prompt, RecordOutcome& outcome) {
  int64_t wrapped = 0;
  for (const Json& message : record.Find("messages")->array()) {
    const Json* calls = message.Find("tool_calls");
    if (calls == nullptr || !calls->is_array()) continue;
    for (const Json& call : calls->array()) {
      const Json* function = call.Find("function");
      const Json* name = function == nullptr ? nullptr : function->Find("name");
      const Json* arguments = function == nullptr ? nullptr : function->Find("arguments");
      if (name == nullptr || !name->is_string() || arguments == nullptr || !arguments->is_string())
        continue;
      const auto parsed = chat::ParsePythonJson(arguments->string());
      if (!parsed.ok() || parsed.value().is_object()) continue;
      ++wrapped;
      const std::string expected = fmt::format(
          "<｜DSML｜invoke name=\"{}\">\n<｜DSML｜parameter name=\"arguments\" string=\"true\">{}"
          "</｜DSML｜parameter>\n</｜DSML｜invoke>",
          name->string(), arguments->string());
      if (prompt.find(expected) == prompt.npos)
        outcome.differences.push_back("prompt: expected to contain " + WriteJson(Json(expected)));
    }
  }
  if (wrapped == 0)
    outcome.differences.push_back("error: expected arguments that are JSON but no object");
}

Result<RecordOutcome> RunRecord(const Json& record, const Setting& setting) {
  RecordOutcome outcome;
  const bool expects_error = record.Find("error") != nullptr;
  const bool expects_wrapping = expects_error && HasTag(record, "toolargs");
  const auto prompt = EncodeConversation(record, setting);
  outcome.is_compared = expects_error || record.Find("prompt") != nullptr;
  if (!prompt.ok()) {
    outcome.found.Set("error", prompt.error().message);
    if (outcome.is_compared && (!expects_error || expects_wrapping))
      outcome.differences.push_back("error: expected a prompt, found: " + prompt.error().message);
    return outcome;
  }
  outcome.Add(record, "prompt", prompt.value().text);
  if (setting.tokenizer) {
    const auto ids = chat::TokenizePrompt(prompt.value(), *setting.tokenizer, setting.tokens);
    outcome.Add(record, "n_tokens", std::ssize(ids));
    outcome.Add(record, "ids", IdsJson(ids));
  }
  if (expects_wrapping) {
    CompareWrapped(record, prompt.value().text, outcome);
  } else if (expects_error) {
    outcome.differences.push_back("error: expected a rejection, found a prompt");
  }
  return outcome;
}

Result<int> RunOne(const EncodeCommand& command, const Setting& setting) {
  FATHOM_TRY(const std::string text, ReadFileOrInput(command.file));
  auto json = chat::ParsePythonJson(text);
  if (!json.ok()) return std::move(json).error().In(command.file);
  // A bare list is the messages.
  const Json record =
      json.value().is_array() ? Json(Json::Object{{"messages", json.value()}}) : json.value();
  FATHOM_TRY(const chat::EncodedPrompt prompt, EncodeConversation(record, setting));
  if (!command.json) {
    std::cout << prompt.text;
    return 0;
  }
  Json line =
      Json::Object{{"prompt", prompt.text}, {"starts_in_reasoning", prompt.starts_in_reasoning}};
  if (setting.tokenizer) {
    const auto ids = chat::TokenizePrompt(prompt, *setting.tokenizer, setting.tokens);
    line.Set("n_tokens", std::ssize(ids));
    line.Set("ids", IdsJson(ids));
  }
  std::cout << WriteJson(line) << '\n';
  return 0;
}

int RunEncode(const EncodeCommand& command) {
  const auto run = [&]() -> Result<int> {
    FATHOM_TRY(const Setting setting, MakeSetting(command));
    if (command.jsonl.empty()) return RunOne(command, setting);
    return RunRecords(command.jsonl, command.json,
                      [&](const Json& record) { return RunRecord(record, setting); });
  };
  return ExitStatus("encode", run());
}

}  // namespace

void RegisterEncode(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<EncodeCommand>();  // shared with the callback below
  CLI::App* command = app.add_subcommand(
      "encode",
      "Turn a conversation into the prompt text that the model reads. The conversation is a JSON "
      "object with \"messages\" and, if wanted, \"revision\", \"thinking_mode\", "
      "\"reasoning_effort\", \"drop_thinking\", \"add_default_bos_token\" and \"context\"; or only "
      "the list of messages.");
  CLI::Option* file =
      command->add_option("file", options->file, "The conversation; - or nothing: standard input");
  command
      ->add_option("--jsonl", options->jsonl,
                   "Run the records of this file (-: standard input), one result a line. Records "
                   "are conversations and may have the expected \"prompt\" or \"error\"; with a "
                   "tokenizer also \"n_tokens\" and \"ids\". Ends with \"N of M match\"; exit "
                   "status 1 if any differs")
      ->excludes(file);
  CLI::Option* model = command->add_option(
      "-m,--model", options->model,
      "Model folder: its tokenizer.json, and the revision its config.json names");
  command->add_option("--tokenizer", options->tokenizer, "A tokenizer.json by itself")
      ->excludes(model);
  command->add_option("--think", options->think,
                      "none, low, high or max, whatever the conversation says");
  command->add_option("--chat-revision", options->revision,
                      "preview, 0731 or vision, for conversations that name none (default: what "
                      "the model says, else 0731)");
  command->add_flag("--no-special-in-user-text", options->no_special_in_user_text,
                    "Tokenize control tokens that stand in messages as ordinary text");
  command->add_flag("--json", options->json,
                    "Results as JSON, one object a line; with a tokenizer including the ids");
  command->footer(
      "Examples:\n"
      "  echo '[{\"role\": \"user\", \"content\": \"Hello\"}]' | fathom encode --think high\n"
      "  fathom encode conversation.json -m models/nano --json\n"
      "  fathom encode --jsonl testdata/chat/encode.jsonl \\\n"
      "      --tokenizer testdata/tokenizer/deepseek/tokenizer.json");
  command->callback([options, &exit_code] { exit_code = RunEncode(*options); });
}

}  // namespace fathom::cli
