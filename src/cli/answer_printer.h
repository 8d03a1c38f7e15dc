// Shows an answer while it is made. On a terminal, reasoning is dimmed and stands above the answer.
// Where standard output is a file or a pipe it gets the answer alone, and reasoning goes to
// standard error. Progress of a long prompt is a bar on standard error, if that is a terminal.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "cli/assistant.h"

namespace fathom::cli {

// Where and how to print.
struct Terminal {
  std::FILE* out = stdout;
  std::FILE* err = stderr;
  bool out_is_terminal = false;
  bool err_is_terminal = false;

  static Terminal Detect();
};

class AnswerPrinter : public AnswerSink {
 public:
  explicit AnswerPrinter(const Terminal& terminal) : terminal_(terminal) {}

  void OnPrompt(int64_t done, int64_t total) override;
  void OnDelta(const chat::Delta& delta) override;
  // Ends the last line and clears the bar. Once, after the answer.
  void Finish();

 private:
  enum class Section { kNone, kReasoning, kContent, kCall };

  void Enter(Section section);
  void LeaveSection();
  void Write(std::FILE* file, std::string_view text, bool is_terminal);
  void ClearBar();

  const Terminal terminal_;
  Section section_ = Section::kNone;
  bool has_bar_ = false;
  bool at_line_start_ = true;  // of the stream that the section writes to
};

// "12 prompt tokens in 0.02 s (600.0 tokens/s), 8 generated in 0.10 s (70.0 tokens/s)".
std::string StatsLine(const engine::Generated& generated);

}  // namespace fathom::cli
