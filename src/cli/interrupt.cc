#include "cli/interrupt.h"

#include <cstdlib>

namespace fathom::cli {
namespace {

// The one thing a signal handler can reach.
std::atomic<bool> was_interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void OnInterrupt(int) { was_interrupted.store(true, std::memory_order_relaxed); }

// The status a shell reports for a program that Ctrl-C ended.
constexpr int kInterruptedStatus = 130;

}  // namespace

Interrupt::Interrupt(Signals signals) {
  was_interrupted = false;
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  // Without SA_RESTART: a wait for input ends as well.
  action.sa_flags = signals == Signals::kOnce ? static_cast<int>(SA_RESETHAND) : 0;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &saved_);
}

Interrupt::~Interrupt() { sigaction(SIGINT, &saved_, nullptr); }

const std::atomic<bool>& Interrupt::flag() const { return was_interrupted; }

bool Interrupt::Take() { return was_interrupted.exchange(false); }

void Interrupt::EndProgram() {
  signal(SIGINT, SIG_DFL);
  raise(SIGINT);
  std::_Exit(kInterruptedStatus);
}

}  // namespace fathom::cli
