// libedit behind the door. It reads whole characters by the locale's encoding, so a program that
// was started without one is given UTF-8 for its characters, and nothing else.
#include "cli/line_editor.h"

#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace fathom::cli {
namespace {

constexpr int kHistoryLines = 1000;

void UseUtf8() {
  setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
}

// The line without its newline; false when there is none.
bool TakeLine(const char* text, ssize_t bytes, std::string& line) {
  if (text == nullptr || bytes <= 0) return false;
  line.assign(text, static_cast<size_t>(bytes));
  if (line.ends_with('\n')) line.pop_back();
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

}  // namespace

struct LineEditor::State {
  EditLine* editor = nullptr;  // null without a terminal
  History* history = nullptr;
  std::string history_path;
  std::string prompt;
  char* buffer = nullptr;  // of getline
  size_t buffer_bytes = 0;

  static char* Prompt(EditLine* editor) {
    State* state = nullptr;
    el_get(editor, EL_CLIENTDATA, &state);
    return state->prompt.data();
  }

  void Remember(const std::string& line) {
    if (line.empty()) return;
    HistEvent event;
    ::history(history, &event, H_ENTER, line.c_str());
    if (!history_path.empty()) ::history(history, &event, H_SAVE, history_path.c_str());
  }
};

LineEditor::LineEditor(const std::string& history_path) : state_(std::make_unique<State>()) {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0) return;
  UseUtf8();
  State& s = *state_;
  s.history_path = history_path;
  s.history = history_init();
  s.editor = el_init("fathom", stdin, stdout, stderr);
  HistEvent event;
  ::history(s.history, &event, H_SETSIZE, kHistoryLines);
  ::history(s.history, &event, H_SETUNIQUE, 1);
  if (!history_path.empty()) ::history(s.history, &event, H_LOAD, history_path.c_str());
  el_set(s.editor, EL_CLIENTDATA, &s);
  el_set(s.editor, EL_PROMPT, &State::Prompt);
  el_set(s.editor, EL_EDITOR, "emacs");
  el_set(s.editor, EL_HIST, ::history, s.history);
  el_set(s.editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  el_source(s.editor, nullptr);  // the user's ~/.editrc
}

LineEditor::~LineEditor() {
  if (state_->editor != nullptr) {
    el_end(state_->editor);
    history_end(state_->history);
  }
  std::free(state_->buffer);
}

bool LineEditor::is_interactive() const { return state_->editor != nullptr; }

LineEditor::Outcome LineEditor::Read(const std::string& prompt, std::string& line) {
  State& s = *state_;
  errno = 0;
  if (s.editor == nullptr) {
    const ssize_t bytes = ::getline(&s.buffer, &s.buffer_bytes, stdin);
    if (TakeLine(s.buffer, bytes, line)) return Outcome::kLine;
    return errno == EINTR ? Outcome::kInterrupted : Outcome::kEnd;
  }
  s.prompt = prompt;
  // Raw before the prompt shows, so that a key typed at once is not lost between two modes.
  el_set(s.editor, EL_PREP_TERM, 1);
  int bytes = 0;
  const char* text = el_gets(s.editor, &bytes);
  if (!TakeLine(text, bytes, line)) return errno == EINTR ? Outcome::kInterrupted : Outcome::kEnd;
  s.Remember(line);
  return Outcome::kLine;
}

std::string HistoryPath() {
  namespace fs = std::filesystem;
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  fs::path folder;
  if (state != nullptr && *state == '/') {
    folder = fs::path(state) / "fathom";
  } else if (home != nullptr && *home == '/') {
    folder = fs::path(home) / ".local/state/fathom";
  } else {
    return "";
  }
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) return "";
  // What one said to a model is nobody else's.
  fs::permissions(folder, fs::perms::owner_all, failed);
  return folder / "history";
}

}  // namespace fathom::cli
