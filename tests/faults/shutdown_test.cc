// The way down under load: answers end with their final events or are cut, within the time they are
// given, and nobody is answered afterwards.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/client.h"

namespace fathom::faults {
namespace {

using conformance::kConversing;

struct Running {
  Client client;
  Dialect dialect;
  int64_t tokens;
};

// Streams and whole answers of all dialects, every fourth of them long.
std::vector<Running> Load(int port, int count) {
  std::vector<Running> all;
  for (int i = 0; i < count; ++i) {
    const Dialect dialect = kConversing[i % 3];
    Wish wish = conformance::LongWish(/*stream=*/i % 5 != 0);
    if (i % 4 != 0) wish.max_tokens = 60;
    all.push_back({Client(port), dialect, *wish.max_tokens});
    EXPECT_TRUE(all.back().client.Send(PostText(dialect, wish)));
  }
  for (Running& each : all) {
    if (each.tokens > 1000) continue;
    EXPECT_TRUE(each.client.WaitForBytes(100));
  }
  return all;
}

// Whole and well-formed, with a final event, or refused, or cut. Whether it is whole.
bool ExpectCleanEnd(Running& running) {
  const Reply reply = running.client.Read();
  if (reply.status == 0 || reply.is_cut || reply.status == 503) return false;
  const conformance::Answer answer = conformance::Read(running.dialect, reply);
  EXPECT_NE(answer.end, "") << reply.body.substr(0, 500);
  EXPECT_LE(answer.completion_tokens, running.tokens);
  return true;
}

TEST(Faults, GoingDownUnderLoad) {
  for (const double grace_s : {0.0, 0.2, 20.0}) {
    HttpTestServer server({.setup = conformance::LongAnswers()});
    std::vector<Running> all = Load(server.http().port(), 12);
    if (grace_s > 1)  // nobody waits for the endless ones
      for (Running& each : all)
        if (each.tokens > 1000) each.client.Close();
    const auto start = std::chrono::steady_clock::now();
    server.GoDown(grace_s);
    const double spent =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_LT(spent, grace_s + kPromptSeconds);
    EXPECT_EQ(server.http().stats().connections, 0);
    int whole = 0, open = 0;
    for (Running& each : all) {
      if (!each.client.is_connected()) continue;
      whole += ExpectCleanEnd(each);
      ++open;
    }
    EXPECT_GT(open, 0);
    if (grace_s > 1) {
      EXPECT_EQ(whole, open) << "with time enough";
    }
    EXPECT_FALSE(server.Connect().is_connected()) << "it still accepts";
  }
}

// With time enough every answer is whole.
TEST(Faults, GoingDownLetsAnswersFinish) {
  HttpTestServer server({.setup = conformance::LongAnswers()});
  std::vector<Client> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(server.Connect());
    ASSERT_TRUE(clients.back().Send(
        PostText(kConversing[i % 3], {.text = "[long]", .stream = true, .max_tokens = 100})));
    ASSERT_TRUE(clients.back().WaitForBytes(300));
  }
  server.GoDown(20);
  for (int i = 0; i < 6; ++i) {
    const Reply reply = clients[static_cast<size_t>(i)].Read();
    EXPECT_FALSE(reply.is_cut);
    EXPECT_EQ(conformance::Read(kConversing[i % 3], reply).end, "length");
  }
}

#ifdef FATHOM_PROGRAM

// The program, its output read by us.
class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    process_ = fork();
    if (process_ == 0) {
      dup2(ends[1], STDERR_FILENO);
      std::vector<char*> argv = {const_cast<char*>(FATHOM_PROGRAM)};
      for (const std::string& argument : arguments)
        argv.push_back(const_cast<char*>(argument.c_str()));
      argv.push_back(nullptr);
      execv(FATHOM_PROGRAM, argv.data());
      _exit(127);
    }
    close(ends[1]);
    errors_ = ends[0];
  }
  ~Program() {
    if (process_ > 0) {
      kill(process_, SIGKILL);
      waitpid(process_, nullptr, 0);
    }
    close(errors_);
  }

  // 0 when it ends without saying.
  int Port() {
    constexpr std::string_view kListening = "listening on http://127.0.0.1:";
    for (;;) {
      const size_t at = text_.find(kListening);
      if (at != text_.npos && text_.find('\n', at) != text_.npos)
        return std::stoi(text_.substr(at + kListening.size()));
      pollfd waiting = {.fd = errors_, .events = POLLIN, .revents = 0};
      char buffer[4096];
      if (poll(&waiting, 1, 30000) <= 0) return 0;
      const ssize_t got = read(errors_, buffer, sizeof buffer);
      if (got <= 0) return 0;
      text_.append(buffer, static_cast<size_t>(got));
    }
  }
  void Signal(int number) { kill(process_, number); }
  // The exit status, or 128 + the signal; -1 after half a minute.
  int Wait() {
    for (int i = 0; i < 3000; ++i) {
      int status = 0;
      if (waitpid(process_, &status, WNOHANG) == process_) {
        process_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return -1;
  }
  const std::string& text() const { return text_; }

 private:
  pid_t process_ = -1;
  int errors_ = -1;
  std::string text_;
};

TEST(Faults, TheProgramEndsWellOnSigterm) {
  for (const bool has_load : {false, true}) {
    Program program(
        {"serve", "--port", "0", "-m", conformance::NanoDir(), "--grace", "0.3", "--log", "error"});
    const int port = program.Port();
    ASSERT_GT(port, 0) << program.text();
    std::vector<Running> all;
    if (has_load) all = Load(port, 8);
    program.Signal(SIGTERM);
    EXPECT_EQ(program.Wait(), 0);
    for (Running& each : all) ExpectCleanEnd(each);
    EXPECT_FALSE(Client(port).is_connected());
  }
}

TEST(Faults, TheProgramBoundsAllBodiesTogether) {
  const auto with_limit = [](const char* limit) {
    return std::vector<std::string>{"serve",
                                    "--port",
                                    "0",
                                    "-m",
                                    conformance::NanoDir(),
                                    "--log",
                                    "error",
                                    "--body-limit",
                                    "1000",
                                    "--all-bodies-limit",
                                    limit};
  };
  Program program(with_limit("1500"));
  const int port = program.Port();
  ASSERT_GT(port, 0) << program.text();
  const std::string most = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" +
                           std::string(900, ' ');
  Client first(port), second(port);
  ASSERT_TRUE(first.Send(most) && second.Send(most));
  pollfd answered[] = {{first.fd(), POLLIN, 0}, {second.fd(), POLLIN, 0}};
  ASSERT_EQ(poll(answered, 2, 30000), 1);
  const Reply reply = (answered[0].revents != 0 ? first : second).Read();
  EXPECT_EQ(reply.status, 503);
  EXPECT_NE(reply.body.find("bodies of all requests"), reply.body.npos) << reply.body;

  Program mistaken(with_limit("999"));
  EXPECT_EQ(mistaken.Port(), 0);
  EXPECT_EQ(mistaken.Wait(), 2);
  EXPECT_NE(mistaken.text().find("--all-bodies-limit: expected at least --body-limit, 1000"),
            std::string::npos)
      << mistaken.text();
}

#endif

}  // namespace
}  // namespace fathom::faults
