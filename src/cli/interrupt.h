// Ctrl-C as a flag. While one of these lives, SIGINT sets the flag instead of ending the program.
#pragma once

#include <signal.h>

#include <atomic>

namespace fathom::cli {

class Interrupt {
 public:
  // kOnce: a second Ctrl-C ends the program, in case the first is not heard.
  enum class Signals { kOnce, kEvery };
  explicit Interrupt(Signals signals);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  const std::atomic<bool>& flag() const;
  // Whether it was set; clears it.
  bool Take();
  // Ends the program as the signal would have, so that a calling shell sees why.
  [[noreturn]] static void EndProgram();

 private:
  struct sigaction saved_;
};

}  // namespace fathom::cli
