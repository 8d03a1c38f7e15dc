#include "tests/api/harness.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/json.h"

namespace fathom::conformance {
namespace {

using std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(60);

steady_clock::time_point In(double seconds) {
  return steady_clock::now() +
         std::chrono::duration_cast<steady_clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

ScriptFile::ScriptFile(const std::vector<std::pair<std::string, std::string>>& script) {
  std::string text;
  for (const auto& [match, completion] : script)
    text += WriteJson(Json::Object{{"match", match}, {"completion", completion}}) + "\n";
  static std::atomic<int> count = 0;
  path_ = testing::TempDir() + "script_" + std::to_string(getpid()) + "_" +
          std::to_string(count++) + ".jsonl";
  EXPECT_TRUE(WriteFile(path_, text).ok());
}

ScriptFile::~ScriptFile() { (void)unlink(path_.c_str()); }

std::string_view Reply::Header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

Strand::~Strand() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Strand::Post(std::function<void()> task, double delay_s) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.emplace(In(delay_s), std::move(task));
  }
  wake_.notify_all();
}

void Strand::Work() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (tasks_.empty()) {
      wake_.wait(lock);
    } else if (const auto time = tasks_.begin()->first; time > Clock::now()) {
      wake_.wait_until(lock, time);
    } else {
      auto task = std::move(tasks_.begin()->second);
      tasks_.erase(tasks_.begin());
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
  }
}

void MemoryExchange::Send(int status, server::Headers headers, std::string body) {
  std::function<void()> dropped;  // it may hold the one who asked for it, and that one this
  {
    const std::lock_guard lock(mutex_);
    if (is_gone_) return;
    EXPECT_FALSE(has_begun_) << "Send after Start or Send";
    has_begun_ = has_ended_ = true;
    reply_ = {
        .status = status, .headers = std::move(headers), .body = std::move(body), .is_whole = true};
    dropped.swap(on_gone_);
  }
  changed_.notify_all();
}

void MemoryExchange::Start(int status, server::Headers headers) {
  const std::lock_guard lock(mutex_);
  if (is_gone_) return;
  EXPECT_FALSE(has_begun_) << "Start after Start or Send";
  has_begun_ = true;
  reply_.status = status;
  reply_.headers = std::move(headers);
}

void MemoryExchange::Write(std::string bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (is_gone_) return;
    EXPECT_TRUE(has_begun_) << "Write before Start";
    EXPECT_FALSE(has_ended_) << "Write after the end: " << bytes;
    reply_.body += bytes;
    written_ = steady_clock::now();
  }
  changed_.notify_all();
}

void MemoryExchange::Close(bool is_cut) {
  {
    const std::lock_guard lock(mutex_);
    if (is_gone_) return;
    EXPECT_TRUE(has_begun_) << "End before Start";
    EXPECT_FALSE(has_ended_) << "a second end";
    has_ended_ = true;
    reply_.is_cut = is_cut;
    on_gone_ = nullptr;
  }
  changed_.notify_all();
}

void MemoryExchange::KeepAlive(double period_s, std::string text) {
  {
    const std::lock_guard lock(mutex_);
    EXPECT_TRUE(has_begun_) << "KeepAlive before Start";
    period_s_ = period_s;
    beat_ = std::move(text);
    written_ = steady_clock::now();
  }
  BeatLater();
}

void MemoryExchange::BeatLater() {
  Post(
      [this] {
        {
          const std::lock_guard lock(mutex_);
          if (steady_clock::now() >= written_ + std::chrono::duration<double>(period_s_)) {
            reply_.body += beat_;
            written_ = steady_clock::now();
          }
        }
        changed_.notify_all();
        BeatLater();
      },
      period_s_);
}

void MemoryExchange::Post(std::function<void()> task, double delay_s) {
  strand_.Post(
      [self = weak_from_this(), task = std::move(task)] {
        const auto alive = self.lock();
        if (!alive) return;
        {
          const std::lock_guard lock(alive->mutex_);
          if (alive->has_ended_ || alive->is_gone_) return;
        }
        task();
      },
      delay_s);
}

void MemoryExchange::OnGone(std::function<void()> callback) {
  const std::lock_guard lock(mutex_);
  if (!has_ended_ && !is_gone_) on_gone_ = std::move(callback);
}

void MemoryExchange::Leave() {
  strand_.Post(
      [self = shared_from_this()] {
        std::function<void()> callback;
        {
          const std::lock_guard lock(self->mutex_);
          if (self->has_ended_) return;
          self->is_gone_ = true;
          callback.swap(self->on_gone_);
        }
        if (callback) callback();
        self->changed_.notify_all();
      },
      0);
}

Reply MemoryExchange::Wait() {
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return has_ended_ || is_gone_; }))
      << "no end of the answer; so far: " << reply_.body;
  return reply_;
}

std::string MemoryExchange::WaitForBytes(size_t bytes) {
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, kPatience,
                                [&] { return has_ended_ || reply_.body.size() >= bytes; }));
  return reply_.body;
}

void UsageLog::OnUsage(const server::UsageRecord& record) {
  const std::lock_guard lock(mutex_);
  records_.push_back(record);
}

std::vector<server::UsageRecord> UsageLog::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(records_, {});
}

TestServer::TestServer(ServerSetup setup) {
  engine::EngineOptions engine;
  engine.session.threads = 1;
  engine.session.capacity_tokens = setup.capacity_tokens;
  engine.sequences_max = setup.sequences_max;
  engine.queue_max = setup.queue_max;
  engine.cache_bytes = setup.cache_bytes;
  setup.service.usage = &usage_;
  const ScriptFile script(setup.script);
  if (!setup.script.empty()) setup.service.script_file = script.path();
  auto opened = server::Service::Open(NanoDir(), engine, setup.service);
  FATHOM_CHECK(opened.ok(), opened.error().message);
  service_ = std::move(opened).value();
}

// The engine's thread posts to the strand as long as something runs.
TestServer::~TestServer() { service_->Drain(0); }

std::shared_ptr<MemoryExchange> TestServer::Begin(const std::string& method,
                                                  const std::string& target,
                                                  const std::string& body,
                                                  const server::Headers& headers) {
  const size_t question = std::min(target.find('?'), target.size());
  server::HttpRequest request;
  request.method = method;
  request.path = target.substr(0, question);
  request.query = target.substr(std::min(question + 1, target.size()));
  request.headers = headers;
  request.body = body;
  const auto exchange = std::make_shared<MemoryExchange>(strand_);
  strand_.Post(
      [this, exchange, request = std::move(request)]() mutable {
        service_->Handle(std::move(request), exchange);
      },
      0);
  return exchange;
}

Reply TestServer::Ask(const std::string& method, const std::string& target, const std::string& body,
                      const server::Headers& headers) {
  return Begin(method, target, body, headers)->Wait();
}

bool TestServer::WaitUntilIdle() {
  return Poll([&](const engine::EngineStats& stats) { return !stats.running && !stats.queued; });
}

bool TestServer::WaitUntilRunning() {
  return Poll([](const engine::EngineStats& stats) { return stats.running > 0; });
}

bool TestServer::Poll(const std::function<bool(const engine::EngineStats&)>& condition) {
  for (const auto end = In(10); steady_clock::now() < end;) {
    if (condition(service_->engine().stats())) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

std::string NanoDir() { return std::string(FATHOM_SOURCE_DIR) + "/models/nano"; }

ServerSetup Strict() {
  ServerSetup setup;
  setup.service.profile = api::Profile::kStrict;
  return setup;
}

}  // namespace fathom::conformance
