#include "tests/terminal/process.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/check.h"
#include "base/folder_testing.h"

namespace fathom::terminal {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);

[[noreturn]] void Execute(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {"fathom"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  setenv("FATHOM_MODEL", FATHOM_SOURCE_DIR "/models/nano", 1);
  execv(FATHOM_PROGRAM, argv.data());
  _exit(127);
}

int StatusOf(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Waits for the end, and makes one if patience ends first.
int Reap(pid_t process) {
  int status = 0;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (waitpid(process, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) kill(process, SIGKILL);
    usleep(2000);
  }
  return StatusOf(status);
}

std::string Slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

// Through files, so that no pipe can fill up and block.
Finished RunProgram(const std::vector<std::string>& arguments, const std::string& input) {
  const TempFolder folder;
  std::ofstream(folder / "in", std::ios::binary) << input;
  const pid_t process = fork();
  FATHOM_CHECK_GE(process, 0);
  if (process == 0) {
    const auto redirect = [&](const char* name, int flags, int to) {
      dup2(open((folder / name).c_str(), flags, 0600), to);
    };
    redirect("in", O_RDONLY, STDIN_FILENO);
    redirect("out", O_WRONLY | O_CREAT, STDOUT_FILENO);
    redirect("err", O_WRONLY | O_CREAT, STDERR_FILENO);
    Execute(arguments);
  }
  Finished finished;
  finished.status = Reap(process);
  finished.out = Slurp(folder / "out");
  finished.err = Slurp(folder / "err");
  return finished;
}

OnTerminal::OnTerminal(const std::vector<std::string>& arguments,
                       const std::vector<std::string>& environment) {
  process_ = forkpty(&terminal_, nullptr, nullptr, nullptr);
  FATHOM_CHECK_GE(process_, 0);
  if (process_ != 0) return;
  setenv("TERM", "xterm", 1);
  for (const std::string& setting : environment) {
    const size_t equals = setting.find('=');
    setenv(setting.substr(0, equals).c_str(), setting.substr(equals + 1).c_str(), 1);
  }
  Execute(arguments);
}

OnTerminal::~OnTerminal() {
  if (process_ > 0) {
    kill(process_, SIGKILL);
    Reap(process_);
  }
  close(terminal_);
}

void OnTerminal::Type(const std::string& keys) {
  FATHOM_CHECK_EQ(write(terminal_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

bool OnTerminal::WaitFor(const std::string& text, std::chrono::seconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    if (const size_t at = unread_.find(text); at != unread_.npos) {
      seen_ = unread_.substr(0, at + text.size());
      unread_.erase(0, seen_.size());
      return true;
    }
    pollfd waiting = {terminal_, POLLIN, 0};
    char bytes[4096];
    if (std::chrono::steady_clock::now() > end) break;
    if (poll(&waiting, 1, 100) <= 0) continue;
    const ssize_t count = read(terminal_, bytes, sizeof(bytes));
    if (count <= 0) break;
    unread_.append(bytes, static_cast<size_t>(count));
  }
  seen_ = unread_;
  return false;
}

int OnTerminal::Wait() {
  WaitFor("\x04 never comes");  // reads to the end, so that the program is not held up
  const int status = Reap(process_);
  process_ = -1;
  return status;
}

}  // namespace fathom::terminal
