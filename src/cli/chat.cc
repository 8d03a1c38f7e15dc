// fathom chat: a conversation in the terminal. Lines that begin with / are commands, the rest goes
// to the model. The session is kept between turns: what the next prompt shares with the last one is
// not processed again. Ctrl-C ends an answer, and an empty line's Ctrl-D the program.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "chat/encode.h"
#include "cli/answer_printer.h"
#include "cli/assistant.h"
#include "cli/chat_file.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/generation_options.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/model_options.h"

namespace fathom::cli {
namespace {

constexpr std::string_view kHelp =
    "/think none|low|high|max   how much to reason before answering\n"
    "/system [TEXT]             set the system message; without TEXT, show it; - removes it\n"
    "/save FILE                 write the conversation as JSON\n"
    "/load FILE                 go on with a saved conversation\n"
    "/reset                     forget the conversation, keep the system message\n"
    "/stats                     times and tokens of the last answer and of all\n"
    "/help                      this list\n"
    "/quit                      leave (also Ctrl-D)\n"
    "Ctrl-C ends an answer. A line that ends in \\ goes on in the next one.\n";

struct ChatOptions {
  ModelOptions model;
  GenerationOptions generation;
  std::string system;
};

// The conversation and what was spent on it.
class Talk {
 public:
  Talk(Assistant& assistant, const ChatOptions& options, sampling::Params sampling,
       Interrupt& interrupt)
      : assistant_(assistant),
        options_(options),
        sampling_(std::move(sampling)),
        interrupt_(interrupt),
        think_(options.generation.think),
        system_(options.system) {}

  // False ends the program.
  bool Handle(const std::string& line) {
    if (!line.starts_with('/')) {
      if (line.find_first_not_of(" \t") != line.npos) Answer(line);
      return true;
    }
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const size_t begin = std::min(line.find_first_not_of(' ', space), line.size());
    const std::string argument = space == line.npos ? "" : line.substr(begin);
    if (name == "/quit" || name == "/exit") return false;
    Command(name, argument);
    return true;
  }

 private:
  void Say(std::string_view text) { std::cerr << text << std::endl; }

  void Command(const std::string& name, const std::string& argument) {
    if (name == "/help") {
      std::cerr << kHelp;
    } else if (name == "/think") {
      SetThink(argument);
    } else if (name == "/system") {
      SetSystem(argument);
    } else if (name == "/save") {
      const auto saved = SaveConversation(argument, Messages());
      Say(saved.ok() ? "Saved " + argument + "." : saved.error().message);
    } else if (name == "/load") {
      Load(argument);
    } else if (name == "/reset") {
      turns_.clear();
      Say("The conversation starts over.");
    } else if (name == "/stats") {
      Stats();
    } else {
      Say(fmt::format("{}: no such command; /help lists them", name));
    }
  }

  void SetThink(const std::string& level) {
    if (!chat::ParseMode(level, assistant_.revision().revision).ok())
      return Say(fmt::format("/think: expected none, low, high or max, found \"{}\"; it is {} now",
                             level, think_));
    think_ = level;
    Say("Thinking: " + level + ".");
  }

  void SetSystem(const std::string& text) {
    if (text.empty())
      return Say(system_.empty() ? "There is no system message." : "System message: " + system_);
    system_ = text == "-" ? "" : text;
    Say(system_.empty() ? "System message removed." : "System message set.");
  }

  void Load(const std::string& path) {
    auto loaded = LoadConversation(path);
    if (!loaded.ok()) return Say(loaded.error().message);
    turns_ = std::move(loaded).value();
    system_.clear();
    if (!turns_.empty() && turns_.front().role == chat::Role::kSystem) {
      system_ = turns_.front().content.value_or("");
      turns_.erase(turns_.begin());
    }
    Say(fmt::format("Loaded {} messages.", turns_.size()));
  }

  void Stats() {
    if (answers_ == 0) return Say("No answer yet.");
    Say("Last answer: " + StatsLine(last_));
    Say(
        fmt::format("All {}: {} prompt tokens processed in {:.2f} s, {} generated in {:.2f} s; the "
                    "context holds {} of {} tokens",
                    answers_, processed_, prompt_seconds_, generated_, generation_seconds_,
                    assistant_.session().tokens().size(), assistant_.session().capacity()));
  }

  std::vector<chat::Message> Messages() const {
    std::vector<chat::Message> messages = turns_;
    if (!system_.empty())
      messages.insert(messages.begin(), TextMessage(chat::Role::kSystem, system_));
    return messages;
  }

  Result<chat::EncodedPrompt> Encode() const {
    const chat::Revision revision = assistant_.revision().revision;
    FATHOM_TRY(const chat::Mode mode, chat::ParseMode(think_, revision));
    return chat::Encode({.context = {}, .messages = Messages()},
                        {.revision = revision,
                         .thinking_mode = mode.thinking_mode,
                         .reasoning_effort = mode.reasoning_effort});
  }

  Result<cli::Answer> Ask() {
    Question question;
    FATHOM_TRY(question.prompt, Encode());
    question.special_in_user_text = !options_.generation.no_special_in_user_text;
    question.stop_strings = options_.generation.stop;
    question.sampling = sampling_;
    question.max_tokens = options_.generation.max_tokens;
    question.cancel = &interrupt_.flag();
    AnswerPrinter printer(Terminal::Detect());
    auto answer = assistant_.Ask(question, printer);
    printer.Finish();
    return answer;
  }

  // A turn that cannot be encoded or does not fit is taken back; an interrupted answer stays as far
  // as it got.
  void Answer(const std::string& text) {
    turns_.push_back(TextMessage(chat::Role::kUser, text));
    interrupt_.Take();
    auto asked = Ask();
    const bool interrupted = interrupt_.Take();
    if (!asked.ok()) {
      turns_.pop_back();
      return Say(asked.error().message);
    }
    cli::Answer& answer = asked.value();
    if (interrupted) Say("(interrupted)");
    if (answer.finish_reason == "length") Say("(the answer ends here: no more tokens)");
    Count(answer.generated);
    chat::Message message = TextMessage(chat::Role::kAssistant, answer.message.content);
    message.reasoning_content = answer.message.reasoning_content;
    for (const chat::ParsedCall& call : answer.message.tool_calls)
      message.tool_calls.push_back({.id = "", .name = call.name, .arguments = call.arguments});
    turns_.push_back(std::move(message));
  }

  void Count(const engine::Generated& generated) {
    last_ = generated;
    ++answers_;
    processed_ += generated.prompt_tokens - generated.reused_tokens;
    generated_ += std::ssize(generated.tokens);
    prompt_seconds_ += generated.prompt_seconds;
    generation_seconds_ += generated.generation_seconds;
  }

  Assistant& assistant_;
  const ChatOptions& options_;
  const sampling::Params sampling_;
  Interrupt& interrupt_;
  std::string think_;
  std::string system_;
  std::vector<chat::Message> turns_;  // user and assistant
  engine::Generated last_;
  int64_t answers_ = 0, processed_ = 0, generated_ = 0;
  double prompt_seconds_ = 0, generation_seconds_ = 0;
};

// One entry, over several lines where a line ends in a backslash.
LineEditor::Outcome ReadEntry(LineEditor& editor, std::string& entry) {
  entry.clear();
  std::string line;
  for (const char* prompt = "> ";; prompt = "| ") {
    const auto outcome = editor.Read(prompt, line);
    if (outcome != LineEditor::Outcome::kLine) return outcome;
    if (!line.ends_with('\\')) break;
    line.back() = '\n';
    entry += line;
  }
  entry += line;
  return LineEditor::Outcome::kLine;
}

Result<int> Chat(const ChatOptions& options) {
  FATHOM_TRY(const std::unique_ptr<Assistant> assistant,
             Assistant::Open(options.model, options.generation.chat_revision));
  FATHOM_TRY(const sampling::Params sampling,
             options.generation.Params(assistant->sampling_defaults()));
  FATHOM_TRY_VOID(sampling::CheckParams(sampling, assistant->session().config().vocab_size));
  Interrupt interrupt(Interrupt::Signals::kEvery);
  LineEditor editor(HistoryPath());
  if (editor.is_interactive())
    std::cerr << assistant->Description() << "\n/help lists the commands.\n";
  Talk talk(*assistant, options, sampling, interrupt);
  std::string entry;
  for (;;) {
    const auto outcome = ReadEntry(editor, entry);
    if (outcome == LineEditor::Outcome::kEnd) break;
    if (outcome == LineEditor::Outcome::kInterrupted) {
      interrupt.Take();
      if (!editor.is_interactive()) break;
      std::cerr << "\n(Ctrl-D or /quit to leave)\n";
      continue;
    }
    if (!talk.Handle(entry)) return 0;
  }
  if (editor.is_interactive()) std::cerr << '\n';
  return 0;
}

}  // namespace

void RegisterChat(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ChatOptions>();  // shared with the callback below
  CLI::App* command = app.add_subcommand(
      "chat",
      "Hold a conversation in the terminal, with line editing and history. Ctrl-C ends an answer, "
      "not the program; /help lists the commands. Without a terminal each line of standard input "
      "is a message or a command.");
  command->add_option("--system", options->system, "System message");
  options->model.AddTo(*command);
  options->generation.AddTo(*command);
  command->footer(
      "Examples:\n"
      "  fathom chat\n"
      "  fathom chat -m ~/DeepSeek-V4-Flash --system 'Answer briefly.' --think low");
  command->callback([options, &exit_code] { exit_code = ExitStatus("chat", Chat(*options)); });
}

}  // namespace fathom::cli
