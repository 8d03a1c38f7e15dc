// The desk between the threads that ask and the one that computes: the waiting line, orders and
// counts stand under one mutex, which is never held while a sink is told something or a pass runs.
#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "base/topology.h"
#include "engine/batcher.h"
#include "engine/checks.h"
#include "engine/memory_budget.h"
#include "engine/state_room.h"
#include "engine/waiting_line.h"

namespace fathom::engine {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// A deadline that no clock can overflow at.
Clock::time_point In(double seconds) {
  constexpr double kYear = 365.0 * 24 * 3600;
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(
                            std::chrono::duration<double>(std::clamp(seconds, 0.0, kYear)));
}

Result<void> CheckLimits(const EngineOptions& options) {
  constexpr int64_t kMax = 1 << 20;  // more is a slip of the finger
  if (options.sequences_max < 1 || options.sequences_max > kMax)
    return Error{fmt::format("sequences: expected 1 to {}, found {}", kMax, options.sequences_max)};
  if (options.queue_max < 1 || options.queue_max > kMax)
    return Error{fmt::format("queue: expected 1 to {}, found {}", kMax, options.queue_max)};
  if (options.state_bytes_max < 0)
    return Error{fmt::format("state bytes: expected 0 or more, found {}", options.state_bytes_max)};
  if (options.cache_every < 0)
    return Error{fmt::format("cache every: expected 0 or more, found {}", options.cache_every)};
  return {};
}

}  // namespace

class Engine::Impl {
 public:
  Impl(model::LoadedModel model, const EngineOptions& options);
  ~Impl();

  Result<Submitted> Submit(BatchRequest request);
  void Cancel(uint64_t ticket);
  bool IsAlive(double fresh_s, double timeout_s);
  EngineStats stats() const;
  void Drain(double grace_s);

  const model::LoadedModel& model() const { return model_; }
  const EngineOptions& options() const { return options_; }

 private:
  // What the thread has been told since it last looked.
  struct Orders {
    std::vector<std::unique_ptr<Job>> dropped;  // cancelled before they started
    std::vector<std::shared_ptr<DiskLoad>> arrived;
    std::vector<uint64_t> cancels;
    bool cancel_all = false;
    bool probe = false;
    bool stop = false;
  };

  Result<std::unique_ptr<Job>> MakeJob(BatchRequest request) const;
  Result<void> CheckChoices(const BatchRequest& request) const;
  int64_t RetryAfterSeconds() const;
  void Run();
  bool IsSomeoneWaiting() const;
  Orders NextOrders(bool was_idle);
  std::unique_ptr<Job> TakeWaiting(FunctionRef<Batcher::Verdict(const Job&)> judge);
  void Publish(int64_t dropped);

  EngineOptions options_;
  const model::LoadedModel model_;
  const StateSizes sizes_;
  std::optional<Batcher> batcher_;  // made by the thread, before Open returns

  mutable std::mutex mutex_;
  std::condition_variable wake_;     // the thread: there is something to do
  std::condition_variable changed_;  // those who wait for the thread: a step is over
  WaitingLine line_;
  Orders orders_;
  bool is_ready_ = false;
  bool is_closed_ = false;  // no more requests
  uint64_t tickets_ = 0;    // given out; each was accepted
  int64_t refused_ = 0;
  int64_t done_ = 0;  // requests whose OnDone has been called
  int64_t dropped_done_ = 0;
  EngineStats counts_;
  Clock::time_point forward_end_ = Clock::now();  // of the latest pass
  Clock::time_point start_ = Clock::now();        // of the request that was admitted last
  double start_gap_s_ = 0;                        // between admissions while others wait; smoothed

  std::thread thread_;
};

Engine::Impl::Impl(model::LoadedModel model, const EngineOptions& options)
    : options_(options),
      model_(std::move(model)),
      sizes_(SizesOf(model_.config(), options.session.mode)) {
  if (options_.state_bytes_max == 0) {
    // A copy of the weights is no longer part of what is available.
    const model::LoadMode load = options_.session.load.mode;
    const bool is_copy = load == model::LoadMode::kCopy || load == model::LoadMode::kLock;
    options_.state_bytes_max =
        DefaultStateBytes(AvailableMemoryBytes(), is_copy ? 0 : WeightBytes(model_));
  }
  if (options_.cache_bytes < 0) options_.cache_bytes = options_.state_bytes_max / 4;
  thread_ = std::thread([this] { Run(); });
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return is_ready_; });
}

Engine::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    orders_.cancel_all = orders_.stop = true;
  }
  wake_.notify_one();
  thread_.join();
  batcher_.reset();  // whose loader may still wake somebody
}

Result<void> Engine::Impl::CheckChoices(const BatchRequest& request) const {
  const int64_t vocab = model_.config().vocab_size, choices = std::ssize(request.choices);
  if (choices < 1 || choices > options_.sequences_max)
    return Error{
        fmt::format("choices: expected 1 to {}, found {}", options_.sequences_max, choices)};
  for (const ChoiceRequest& choice : request.choices) {
    FATHOM_TRY_VOID(sampling::CheckParams(choice.sampling, vocab));
    if (choice.scripted) FATHOM_TRY_VOID(CheckIds("scripted token", *choice.scripted, vocab));
  }
  return {};
}

Result<std::unique_ptr<Job>> Engine::Impl::MakeJob(BatchRequest request) const {
  FATHOM_CHECK(request.sink != nullptr, "a request without a sink");
  const int64_t vocab = model_.config().vocab_size, capacity = options_.session.capacity_tokens;
  const int64_t prompt = std::ssize(request.prompt), choices = std::ssize(request.choices);
  FATHOM_TRY_VOID(CheckChoices(request));
  FATHOM_TRY_VOID(CheckPrompt(request.prompt, capacity, vocab));
  FATHOM_TRY_VOID(CheckMaxTokens(request.max_tokens, prompt, capacity));
  FATHOM_TRY_VOID(CheckIds("stop token", request.stop_tokens, vocab));
  if (request.min_tokens < 0)
    return Error{fmt::format("min tokens: expected 0 or more, found {}", request.min_tokens)};
  auto job = std::make_unique<Job>();
  // The last token need not pass through the model.
  job->capacity = request.max_tokens ? prompt + *request.max_tokens - 1 : capacity;
  for (ChoiceRequest& choice : request.choices) job->choices.emplace_back(std::move(choice));
  request.choices.clear();
  job->request = std::move(request);
  const int64_t need = NeedOf(*job, 0, sizes_);
  if (need > options_.state_bytes_max)
    return Error{fmt::format(
        "state: expected at most {} bytes for all sequences, found {} choices of {} tokens with {} "
        "bytes together",
        options_.state_bytes_max, choices, job->capacity, need)};
  if (options_.disk_store != nullptr && job->request.use_cache)
    job->load = std::make_shared<DiskLoad>(job->request.key, job->request.prompt);
  job->submitted = Clock::now();
  return job;
}

Result<Submitted> Engine::Impl::Submit(BatchRequest request) {
  FATHOM_TRY(std::unique_ptr<Job> job, MakeJob(std::move(request)));
  Submitted submitted;
  {
    const std::lock_guard lock(mutex_);
    if (is_closed_) return Submitted{.status = SubmitStatus::kShuttingDown};
    if (line_.size() >= options_.queue_max) {
      ++refused_;
      return Submitted{.status = SubmitStatus::kQueueFull, .retry_after_s = RetryAfterSeconds()};
    }
    submitted.ticket = job->ticket = ++tickets_;
    if (job->load != nullptr) orders_.arrived.push_back(job->load);
    line_.Push(std::move(job));
  }
  wake_.notify_one();
  return submitted;
}

// By then a quarter of the line has started, at the pace of the latest admissions: those who come
// back at the same time find room.
int64_t Engine::Impl::RetryAfterSeconds() const {
  constexpr double kLongest = 3600;
  const Clock::time_point since = std::max(start_, line_.front()->submitted);
  const double gap_s = std::max(start_gap_s_, Seconds(Clock::now() - since));
  const double seconds = std::ceil(gap_s * static_cast<double>(line_.size()) / 4);
  return static_cast<int64_t>(std::clamp(seconds, 1.0, kLongest));
}

void Engine::Impl::Cancel(uint64_t ticket) {
  {
    const std::lock_guard lock(mutex_);
    if (std::unique_ptr<Job> job = line_.Remove(ticket)) {
      orders_.dropped.push_back(std::move(job));
    } else {
      orders_.cancels.push_back(ticket);
    }
  }
  wake_.notify_one();
}

bool Engine::Impl::IsAlive(double fresh_s, double timeout_s) {
  std::unique_lock lock(mutex_);
  const int64_t steps = counts_.steps;
  if (steps > 0 && Seconds(Clock::now() - forward_end_) <= fresh_s) return true;
  orders_.probe = true;
  wake_.notify_one();
  return changed_.wait_until(lock, In(timeout_s), [&] { return counts_.steps > steps; });
}

EngineStats Engine::Impl::stats() const {
  const double workers_s = batcher_->WorkerCpuSeconds();
  const std::lock_guard lock(mutex_);
  EngineStats stats = counts_;
  stats.accepted = static_cast<int64_t>(tickets_);
  stats.refused = refused_;
  stats.done = done_;
  stats.queued = line_.size();
  stats.forward_cpu_seconds += workers_s;
  if (options_.disk_store != nullptr) stats.disk = options_.disk_store->stats();
  stats.seconds_since_forward = Seconds(Clock::now() - forward_end_);
  return stats;
}

void Engine::Impl::Drain(double grace_s) {
  std::unique_lock lock(mutex_);
  is_closed_ = true;
  const auto is_over = [&] { return done_ == static_cast<int64_t>(tickets_); };
  if (changed_.wait_until(lock, In(grace_s), is_over)) return;
  orders_.cancel_all = true;
  wake_.notify_one();
  changed_.wait(lock, is_over);
}

void Engine::Impl::Run() {
  // The loader's thread changes what is waited for outside the mutex; taking it in between makes
  // sure that this thread sees the change or hears the call.
  batcher_.emplace(model_, options_, [this] {
    { const std::lock_guard lock(mutex_); }
    wake_.notify_one();
  });
  options_.session.threads = batcher_->threads();
  {
    const std::lock_guard lock(mutex_);
    is_ready_ = true;
  }
  changed_.notify_all();
  for (bool was_idle = false;;) {
    const int64_t steps = batcher_->counts().steps;
    Orders orders = NextOrders(was_idle);
    const int64_t dropped = std::ssize(orders.dropped);
    for (const auto& job : orders.dropped) job->request.sink->OnDone();
    orders.dropped.clear();
    for (std::shared_ptr<DiskLoad>& load : orders.arrived) batcher_->Expect(std::move(load));
    orders.arrived.clear();
    for (const uint64_t ticket : orders.cancels) batcher_->Cancel(ticket);
    if (orders.cancel_all) batcher_->CancelAll();
    if (!orders.stop)
      batcher_->Step(
          [&](FunctionRef<Batcher::Verdict(const Job&)> judge) { return TakeWaiting(judge); },
          orders.probe);
    Publish(dropped);
    was_idle = batcher_->counts().steps == steps && batcher_->is_idle() && IsSomeoneWaiting();
    if (orders.stop) return;
  }
}

bool Engine::Impl::IsSomeoneWaiting() const {
  const std::lock_guard lock(mutex_);
  return line_.Any([](const Job&) { return true; });
}

// Sleeps while there is nothing to do. `was_idle`: the latest look at the line found nobody who
// could start; memory that others hold comes back without a word, so it is looked at again, but not
// at once.
Engine::Impl::Orders Engine::Impl::NextOrders(bool was_idle) {
  constexpr std::chrono::milliseconds kPause{5};
  const auto has_orders = [&] {
    return !orders_.dropped.empty() || !orders_.arrived.empty() || !orders_.cancels.empty() ||
           orders_.cancel_all || orders_.probe || orders_.stop;
  };
  const auto may_start = [](const Job& job) {
    return job.load == nullptr || job.load->state != DiskLoad::State::kLoading;
  };
  std::unique_lock lock(mutex_);
  if (was_idle && line_.Any(may_start)) wake_.wait_for(lock, kPause, has_orders);
  wake_.wait(lock, [&] { return !batcher_->is_idle() || line_.Any(may_start) || has_orders(); });
  Orders orders = std::exchange(orders_, {});
  if (orders.cancel_all) {
    for (std::unique_ptr<Job>& job : line_.RemoveAll()) orders.dropped.push_back(std::move(job));
  }
  return orders;
}

// The mutex is free while the judge looks at a job, which may mean comparing its whole prompt and
// making room for it. A job that is cancelled meanwhile leaves the line but lives on: this thread
// drops it, after the step.
std::unique_ptr<Job> Engine::Impl::TakeWaiting(FunctionRef<Batcher::Verdict(const Job&)> judge) {
  using Verdict = Batcher::Verdict;
  WaitingLine::Cursor cursor;
  std::unique_ptr<Job> job;
  std::unique_lock lock(mutex_);
  while (job == nullptr) {
    const Job* next = line_.Next(cursor);
    if (next == nullptr) return nullptr;
    lock.unlock();
    const Verdict verdict = judge(*next);
    lock.lock();
    if (verdict == Verdict::kStop) return nullptr;
    if (verdict == Verdict::kTake) job = line_.Take(cursor);
  }
  constexpr double kNewest = 0.2;
  const Clock::time_point now = Clock::now();
  start_gap_s_ += kNewest * (Seconds(now - std::max(start_, job->submitted)) - start_gap_s_);
  start_ = now;
  return job;
}

void Engine::Impl::Publish(int64_t dropped) {
  {
    const std::lock_guard lock(mutex_);
    if (batcher_->counts().steps != counts_.steps) forward_end_ = Clock::now();
    counts_ = batcher_->counts();
    dropped_done_ += dropped;
    done_ = dropped_done_ + batcher_->jobs_done();
  }
  changed_.notify_all();
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Open(const std::string& dir, const EngineOptions& options) {
  FATHOM_TRY_VOID(CheckLimits(options));
  FATHOM_TRY(model::LoadedModel model, model::LoadedModel::Load(dir, options.session.load));
  EngineOptions resolved = options;
  FATHOM_TRY(resolved.session, Resolve(options.session, model.config()));
  FATHOM_TRY(resolved.disk.fingerprint,
             cache::ModelFingerprint(dir, *resolved.session.path, resolved.session.mode));
  if (resolved.disk_store == nullptr && !resolved.disk.dir.empty()) {
    const StateSizes sizes = SizesOf(model.config(), resolved.session.mode);
    resolved.disk.page_bytes = sizes.page;
    resolved.disk.tail_bytes = sizes.tail;
    FATHOM_TRY(resolved.disk_store, cache::DiskStore::Open(resolved.disk));
  }
  return std::unique_ptr<Engine>(new Engine(std::make_unique<Impl>(std::move(model), resolved)));
}

const model::Config& Engine::config() const { return impl_->model().config(); }
const model::LoadedModel& Engine::model() const { return impl_->model(); }
const EngineOptions& Engine::options() const { return impl_->options(); }
int64_t Engine::capacity() const { return impl_->options().session.capacity_tokens; }
Result<Submitted> Engine::Submit(BatchRequest request) { return impl_->Submit(std::move(request)); }
void Engine::Cancel(uint64_t ticket) { impl_->Cancel(ticket); }
bool Engine::IsAlive(double fresh_s, double timeout_s) {
  return impl_->IsAlive(fresh_s, timeout_s);
}
EngineStats Engine::stats() const { return impl_->stats(); }
void Engine::Drain(double grace_s) { impl_->Drain(grace_s); }

}  // namespace fathom::engine
