// Lines from the user: edited, with history, on a terminal; plain lines from anything else. Only
// this room's line_editor.cc knows the library behind it.
#pragma once

#include <memory>
#include <string>

namespace fathom::cli {

class LineEditor {
 public:
  enum class Outcome {
    kLine,
    kInterrupted,  // Ctrl-C (interrupt.h must be catching it)
    kEnd,          // Ctrl-D on an empty line, or the end of the input
  };

  // The history is read from `history_path` and each line appended to it; an empty path keeps none
  // on disk. Without a terminal there is neither prompt nor history.
  explicit LineEditor(const std::string& history_path);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool is_interactive() const;
  // `line` comes without its newline.
  Outcome Read(const std::string& prompt, std::string& line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// $XDG_STATE_HOME/fathom/history or ~/.local/state/fathom/history, its folder made if missing;
// empty when there is no place for it.
std::string HistoryPath();

}  // namespace fathom::cli
