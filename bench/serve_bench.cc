// The server under load: many streams at once against the whole of it, in one program, so that the
// processor time of the server without its forward passes can be told. The clients are a process of
// their own.
//
//   serve_bench [--seconds 20] [--streams 64] [--idle 0] [--model DIR]
//
// Prints requests, errors, tokens/s, gaps between events, resident memory over time, the server's
// own processor time per token, and, with --idle, what idle connections cost.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/http.h"
#include "server/service.h"

namespace fathom {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  double seconds = 20;
  int streams = 64;
  int idle = 0;
  std::string model = FATHOM_SOURCE_DIR "/models/nano";
};

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double ResidentMb() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The clients
// ---------------------------------------------------------------------------------------

int Connect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::perror("connect");
    std::exit(1);
  }
  return fd;
}

struct Report {
  int64_t requests = 0;
  int64_t errors = 0;
  int64_t tokens = 0;
  double p50_ms = 0, p99_ms = 0, max_ms = 0;
};

// One connection that asks again as soon as it is answered.
class Stream {
 public:
  Stream(int port, int number) : port_(port), fd_(Connect(port)), number_(number) {}

  int fd() const { return fd_; }
  bool is_waiting() const { return is_waiting_; }

  void Ask() {
    const std::string body =
        R"({"model":"nano","stream":true,"thinking":{"type":"disabled"},"ignore_eos":true,)"
        R"("max_tokens":256,"messages":[{"role":"user","content":"Compute )" +
        std::to_string(number_ + 11) + "+" + std::to_string(++asked_) + ".\"}]}";
    const std::string text =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: load\r\ncontent-length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    if (write(fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      std::perror("write");
      std::exit(1);
    }
    is_waiting_ = true;
    has_event_ = false;
    buffer_.clear();
  }

  // Reads what is there; an answer's events end with [DONE] and the last chunk.
  void Read(Report& report, std::vector<float>& gaps_ms) {
    char bytes[64 << 10];
    const ssize_t count = read(fd_, bytes, sizeof bytes);
    if (count <= 0) {
      ++report.errors;
      is_waiting_ = false;
      close(fd_);
      fd_ = Connect(port_);
      return;
    }
    const Clock::time_point now = Clock::now();
    const std::string_view piece(bytes, static_cast<size_t>(count));
    if (piece.find("\"delta\"") != piece.npos) {
      if (has_event_)
        gaps_ms.push_back(
            std::chrono::duration<float, std::milli>(now - std::exchange(last_, now)).count());
      last_ = now;
      has_event_ = true;
    }
    buffer_ += piece;
    if (!buffer_.ends_with("0\r\n\r\n") && buffer_.find("content-length") == buffer_.npos) return;
    is_waiting_ = false;
    ++report.requests;
    constexpr std::string_view kCount = "\"completion_tokens\":";
    const size_t at = buffer_.rfind(kCount);
    int64_t tokens = 0;
    if (at != buffer_.npos)
      std::from_chars(buffer_.data() + at + kCount.size(), buffer_.data() + buffer_.size(), tokens);
    report.tokens += tokens;
    const bool is_good = buffer_.find("200 OK") != buffer_.npos && tokens == 256 &&
                         buffer_.find("data: [DONE]") != buffer_.npos &&
                         buffer_.find("\"error\"") == buffer_.npos;
    if (!is_good && report.errors++ == 0)
      std::fprintf(stderr, "first error: %s\n", buffer_.substr(0, 600).c_str());
  }

 private:
  int port_;
  int fd_;
  int number_;
  int asked_ = 0;
  bool is_waiting_ = false;
  bool has_event_ = false;
  Clock::time_point last_;
  std::string buffer_;
};

Report RunClients(const Options& options, int port) {
  Report report;
  std::vector<float> gaps_ms;
  std::vector<Stream> streams;
  for (int i = 0; i < options.streams; ++i) streams.emplace_back(port, i);
  for (Stream& stream : streams) stream.Ask();
  const Clock::time_point start = Clock::now();
  std::vector<pollfd> polls(streams.size());
  for (;;) {
    int waiting = 0;
    for (size_t i = 0; i < streams.size(); ++i) {
      if (!streams[i].is_waiting() && SecondsSince(start) < options.seconds) streams[i].Ask();
      polls[i] = {streams[i].is_waiting() ? streams[i].fd() : -1, POLLIN, 0};
      waiting += streams[i].is_waiting();
    }
    if (waiting == 0) break;
    if (SecondsSince(start) > options.seconds + 120) {
      report.errors += waiting;
      break;
    }
    poll(polls.data(), polls.size(), 1000);
    for (size_t i = 0; i < streams.size(); ++i)
      if (polls[i].fd >= 0 && polls[i].revents != 0) streams[i].Read(report, gaps_ms);
  }
  std::sort(gaps_ms.begin(), gaps_ms.end());
  if (!gaps_ms.empty()) {
    const auto at = [&](double part) {
      return gaps_ms[static_cast<size_t>(part * static_cast<double>(gaps_ms.size() - 1))];
    };
    report.p50_ms = at(0.5);
    report.p99_ms = at(0.99);
    report.max_ms = gaps_ms.back();
  }
  return report;
}

// The child: waits for the port, works, writes its report.
[[noreturn]] void BeClients(const Options& options, int from_parent, int to_parent) {
  int port = 0;
  if (read(from_parent, &port, sizeof port) != sizeof port) std::_Exit(1);
  std::vector<int> idle;
  for (int i = 0; i < options.idle; ++i) idle.push_back(Connect(port));
  char ready = 1;
  (void)!write(to_parent, &ready, 1);
  (void)!read(from_parent, &ready, 1);
  for (const int fd : idle) close(fd);
  const Report report = RunClients(options, port);
  (void)!write(to_parent, &report, sizeof report);
  std::_Exit(0);
}

// The server
// ----------------------------------------------------------------------------------------

int RunServer(const Options& options, int from_child, int to_child) {
  server::ServiceOptions service_options;
  service_options.model_name = "nano";
  auto service = server::Service::Open(options.model, {}, service_options);
  if (!service.ok()) {
    std::fprintf(stderr, "%s\n", service.error().message.c_str());
    return 1;
  }
  const auto& running = service.value();
  server::HttpOptions http_options;
  http_options.port = 0;
  auto http = server::HttpServer::Listen(
      http_options, [&](server::HttpRequest request, std::shared_ptr<server::Exchange> exchange) {
        running->Handle(std::move(request), std::move(exchange));
      });
  if (!http.ok()) {
    std::fprintf(stderr, "%s\n", http.error().message.c_str());
    return 1;
  }
  const double before_idle_mb = ResidentMb();
  const int port = http.value()->port();
  char byte = 0;
  if (write(to_child, &port, sizeof port) < 0 || read(from_child, &byte, 1) != 1) return 1;
  if (options.idle > 0) {
    for (int i = 0; i < 600 && http.value()->stats().connections < options.idle; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    std::printf("idle connections: %lld, resident memory grew by %.1f MB\n",
                static_cast<long long>(http.value()->stats().connections),
                ResidentMb() - before_idle_mb);
  }
  std::vector<double> resident_mb;
  std::atomic<bool> is_over = false;
  std::thread watcher([&] {
    while (!is_over) {
      resident_mb.push_back(ResidentMb());
      for (int i = 0; i < 10 && !is_over; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  const double cpu_before = CpuSeconds();
  const engine::EngineStats before = running->engine().stats();
  const Clock::time_point start = Clock::now();
  Report report;
  const bool is_reported =
      write(to_child, &byte, 1) == 1 && read(from_child, &report, sizeof report) == sizeof report;
  const double seconds = SecondsSince(start);
  is_over = true;
  watcher.join();
  if (!is_reported) return 1;
  const engine::EngineStats after = running->engine().stats();
  const double forward = after.forward_cpu_seconds - before.forward_cpu_seconds;
  const double own = CpuSeconds() - cpu_before - forward;
  const auto tokens = static_cast<double>(report.tokens);
  std::printf("streams %d, %.0f s: %lld requests, %lld errors, %lld tokens, %.0f tokens/s\n",
              options.streams, seconds, static_cast<long long>(report.requests),
              static_cast<long long>(report.errors), static_cast<long long>(report.tokens),
              tokens / seconds);
  std::printf("gap between events: median %.2f ms, 99 %% %.2f ms, longest %.2f ms\n", report.p50_ms,
              report.p99_ms, report.max_ms);
  std::printf("processor time: forward passes %.1f s, server %.1f s: %.1f us per token\n", forward,
              own, own / tokens * 1e6);
  const size_t n = resident_mb.size();
  std::printf(
      "resident memory: %.1f MB at a tenth of the time, %.1f MB at half, %.1f MB at the end\n",
      resident_mb[n / 10], resident_mb[n / 2], resident_mb[n - 1]);
  running->Drain(0);
  http.value()->Shutdown(1);
  return report.errors == 0 && report.requests > 0 ? 0 : 1;
}

bool ReadOptions(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--seconds") {
      options.seconds = std::atof(argv[i + 1]);
    } else if (name == "--streams") {
      options.streams = std::atoi(argv[i + 1]);
    } else if (name == "--idle") {
      options.idle = std::atoi(argv[i + 1]);
    } else if (name == "--model") {
      options.model = argv[i + 1];
    } else {
      return false;
    }
  }
  return argc % 2 == 1;
}

int Main(int argc, char** argv) {
  Options options;
  if (!ReadOptions(argc, argv, options)) {
    std::fprintf(stderr, "serve_bench [--seconds 20] [--streams 64] [--idle 0] [--model DIR]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  int to_child[2], to_parent[2];
  if (pipe(to_child) != 0 || pipe(to_parent) != 0) return 1;
  const pid_t child = fork();  // before any thread
  if (child == 0) {
    close(to_child[1]);  // so that the end of the parent is seen
    close(to_parent[0]);
    BeClients(options, to_child[0], to_parent[1]);
  }
  close(to_child[0]);
  close(to_parent[1]);
  const int status = RunServer(options, to_parent[0], to_child[1]);
  close(to_child[1]);
  waitpid(child, nullptr, 0);
  return status;
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) { return fathom::Main(argc, argv); }
