#include "cli/answer_printer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace fathom::cli {
namespace {

constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kPlain = "\x1b[0m";
constexpr std::string_view kClearLine = "\r\x1b[K";
constexpr int64_t kBarColumns = 30;

// What a model says must not steer the terminal: control characters become U+FFFD, but for newline
// and tab. C1 controls are two bytes in UTF-8, 0xC2 and 0x80 to 0x9F.
std::string Harmless(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    const bool is_c1 = byte == 0xC2 && next >= 0x80 && next <= 0x9F;
    if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F || is_c1) {
      out += "\uFFFD";
      i += is_c1;
    } else {
      out += text[i];
    }
  }
  return out;
}

void Put(std::FILE* file, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

std::string Rate(double count, double seconds) {
  return seconds > 0 && count > 0 ? fmt::format(" ({:.1f} tokens/s)", count / seconds) : "";
}

}  // namespace

Terminal Terminal::Detect() {
  Terminal terminal;
  terminal.out_is_terminal = ::isatty(STDOUT_FILENO) != 0;
  terminal.err_is_terminal = ::isatty(STDERR_FILENO) != 0;
  return terminal;
}

void AnswerPrinter::OnPrompt(int64_t done, int64_t total) {
  if (!terminal_.err_is_terminal) return;
  if (done == total) return ClearBar();
  const int64_t filled = done * kBarColumns / total;
  std::string bar(static_cast<size_t>(kBarColumns), '.');
  std::fill_n(bar.begin(), filled, '#');
  Put(terminal_.err, fmt::format("{}[{}] {} of {} prompt tokens", kClearLine, bar, done, total));
  has_bar_ = true;
}

void AnswerPrinter::ClearBar() {
  if (has_bar_) Put(terminal_.err, kClearLine);
  has_bar_ = false;
}

void AnswerPrinter::Write(std::FILE* file, std::string_view text, bool is_terminal) {
  if (text.empty()) return;
  Put(file, is_terminal ? Harmless(text) : std::string(text));
  at_line_start_ = text.back() == '\n';
}

void AnswerPrinter::Enter(Section section) {
  if (section_ == section) return;
  LeaveSection();
  section_ = section;
  at_line_start_ = true;
  if (section != Section::kReasoning) return;
  if (terminal_.out_is_terminal) {
    Put(terminal_.out, kDim);
  } else if (terminal_.err_is_terminal) {
    Put(terminal_.err, kDim);
  }
}

// Each section ends its line; on a terminal an empty line sets reasoning apart.
void AnswerPrinter::LeaveSection() {
  if (section_ == Section::kNone) return;
  if (section_ == Section::kReasoning) {
    std::FILE* file = terminal_.out_is_terminal ? terminal_.out : terminal_.err;
    if (terminal_.out_is_terminal || terminal_.err_is_terminal) Put(file, kPlain);
    if (!at_line_start_) Put(file, "\n");
    if (terminal_.out_is_terminal) Put(file, "\n");
  } else {
    if (section_ == Section::kCall) Put(terminal_.out, ")");
    if (!at_line_start_ || section_ == Section::kCall) Put(terminal_.out, "\n");
  }
  section_ = Section::kNone;
}

void AnswerPrinter::OnDelta(const chat::Delta& delta) {
  ClearBar();
  switch (delta.kind) {
    case chat::Delta::Kind::kReasoning: {
      Enter(Section::kReasoning);
      const bool to_out = terminal_.out_is_terminal;
      Write(to_out ? terminal_.out : terminal_.err, delta.text,
            to_out || terminal_.err_is_terminal);
      return;
    }
    case chat::Delta::Kind::kContent: {
      Enter(Section::kContent);
      Write(terminal_.out, delta.text, terminal_.out_is_terminal);
      return;
    }
    case chat::Delta::Kind::kToolCallStart: {
      LeaveSection();
      Enter(Section::kCall);
      Write(terminal_.out, "call " + delta.text + "(", terminal_.out_is_terminal);
      return;
    }
    case chat::Delta::Kind::kToolCallArguments:
      Write(terminal_.out, delta.text, terminal_.out_is_terminal);
      return;
  }
}

void AnswerPrinter::Finish() {
  ClearBar();
  LeaveSection();
}

// The first token falls out of the prompt's last pass, so n tokens take n - 1 steps.
std::string StatsLine(const engine::Generated& g) {
  const int64_t processed = g.prompt_tokens - g.reused_tokens;
  const int64_t generated = std::ssize(g.tokens);
  const std::string reused =
      g.reused_tokens > 0 ? fmt::format(" ({} of them reused)", g.reused_tokens) : "";
  return fmt::format(
      "{} prompt tokens{} in {:.2f} s{}, {} generated in {:.2f} s{}", g.prompt_tokens, reused,
      g.prompt_seconds, Rate(static_cast<double>(processed), g.prompt_seconds), generated,
      g.generation_seconds, Rate(static_cast<double>(generated - 1), g.generation_seconds));
}

}  // namespace fathom::cli
