// The program as a user starts it: with pipes, or on a terminal of its own.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace fathom::terminal {

struct Finished {
  int status = -1;  // exit status; 128 + signal when a signal ended it
  std::string out;
  std::string err;
};

// Runs `fathom arguments...` to its end, with `input` on standard input. The bundled model is the
// default one.
Finished RunProgram(const std::vector<std::string>& arguments, const std::string& input = "");

// The same on a pseudo-terminal, to talk with.
class OnTerminal {
 public:
  // `environment`: NAME=value.
  explicit OnTerminal(const std::vector<std::string>& arguments,
                      const std::vector<std::string>& environment = {});
  ~OnTerminal();

  void Type(const std::string& keys);
  // Reads until `text` has appeared in what was written since the last WaitFor that found its own;
  // false after `patience` or at the end of the program.
  bool WaitFor(const std::string& text, std::chrono::seconds patience = std::chrono::seconds(60));
  // What the latest WaitFor read.
  const std::string& seen() const { return seen_; }
  // Waits for the end; status as in Finished.
  int Wait();

 private:
  int terminal_ = -1;
  pid_t process_ = -1;
  std::string unread_;
  std::string seen_;
};

}  // namespace fathom::terminal
