// The server without its sockets, driven by tests: requests go in by Service::Handle, and an
// exchange in memory keeps what comes out. It also checks the order in which the service may use an
// exchange. What answers look like in each dialect is reading.h.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "server/service.h"

namespace fathom::conformance {

// What one request got.
struct Reply {
  int status = 0;
  server::Headers headers;
  std::string body;                                      // all bytes, keep-alives included
  bool is_whole = false;                                 // by Send, not by Start, Write, End
  bool is_cut = false;                                   // the connection was closed after it
  std::string_view Header(std::string_view name) const;  // empty when absent
};

// Runs tasks on one thread, by their time and then in order: the executor of all connections.
class Strand {
 public:
  Strand() : thread_([this] { Work(); }) {}
  ~Strand();
  void Post(std::function<void()> task, double delay_s);

 private:
  using Clock = std::chrono::steady_clock;
  void Work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::multimap<Clock::time_point, std::function<void()>> tasks_;
  bool stop_ = false;
  std::thread thread_;  // last: it uses the rest
};

class MemoryExchange : public server::Exchange,
                       public std::enable_shared_from_this<MemoryExchange> {
 public:
  // The strand outlives every task that is posted.
  explicit MemoryExchange(Strand& strand) : strand_(strand) {}

  void Send(int status, server::Headers headers, std::string body) override;
  void Start(int status, server::Headers headers) override;
  void Write(std::string bytes) override;
  void End() override { Close(false); }
  void EndAndClose() override { Close(true); }
  void KeepAlive(double period_s, std::string text) override;
  void Post(std::function<void()> task, double delay_s) override;
  void OnGone(std::function<void()> callback) override;

  // The client leaves.
  void Leave();
  // Until the answer has ended; a failure after a minute.
  Reply Wait();
  // Until so many bytes of the body are there, or it ended.
  std::string WaitForBytes(size_t bytes);

 private:
  void Close(bool is_cut);
  void BeatLater();

  Strand& strand_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Reply reply_;
  bool has_begun_ = false, has_ended_ = false, is_gone_ = false;
  std::function<void()> on_gone_;
  double period_s_ = 0;
  std::string beat_;
  std::chrono::steady_clock::time_point written_;
};

// Members of the usage records, kept.
class UsageLog : public server::UsageSink {
 public:
  void OnUsage(const server::UsageRecord& record) override;
  std::vector<server::UsageRecord> Take();

 private:
  std::mutex mutex_;
  std::vector<server::UsageRecord> records_;
};

// A script in a file, as long as this lives: what the prompt must contain, and the completion.
class ScriptFile {
 public:
  explicit ScriptFile(const std::vector<std::pair<std::string, std::string>>& script);
  ~ScriptFile();
  ScriptFile(const ScriptFile&) = delete;
  ScriptFile& operator=(const ScriptFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct ServerSetup {
  server::ServiceOptions service = {};
  int64_t sequences_max = 64;
  int64_t queue_max = 256;
  int64_t capacity_tokens = 0;  // 0: the model's
  int64_t cache_bytes = 0;      // for remembered prefixes
  // Completions instead of sampled ones when not empty: what the prompt must contain, and the text.
  std::vector<std::pair<std::string, std::string>> script = {};
};

// The nano model behind a service.
class TestServer {
 public:
  explicit TestServer(ServerSetup setup = {});
  ~TestServer();

  // One request, begun; `headers` with names in lower case.
  std::shared_ptr<MemoryExchange> Begin(const std::string& method, const std::string& target,
                                        const std::string& body = "",
                                        const server::Headers& headers = {});
  // And answered.
  Reply Ask(const std::string& method, const std::string& target, const std::string& body = "",
            const server::Headers& headers = {});
  Reply Post(const std::string& target, const std::string& body,
             const server::Headers& headers = {}) {
    return Ask("POST", target, body, headers);
  }

  server::Service& service() { return *service_; }
  UsageLog& usage() { return usage_; }
  // Until nothing runs or waits in the engine; false after ten seconds.
  bool WaitUntilIdle();
  // Until something runs; likewise.
  bool WaitUntilRunning();

 private:
  bool Poll(const std::function<bool(const engine::EngineStats&)>& condition);

  UsageLog usage_;
  std::unique_ptr<server::Service> service_;
  Strand strand_;
};

std::string NanoDir();
ServerSetup Strict();

}  // namespace fathom::conformance
