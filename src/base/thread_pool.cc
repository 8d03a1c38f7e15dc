#include "base/thread_pool.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>

#include "base/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fathom {
namespace {

// Spins before sleeping: about 10 us on a 3 GHz core, the length of the serial pieces between two
// loops of a decode step. Longer spins would cost a whole scheduler slice when the partner is
// preempted.
constexpr int kSpins = 2000;

inline void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  // yield does nothing on cores without hyper-threads; isb waits about as long as pause.
  asm volatile("isb");
#endif
}

// Returns once `value` no longer equals `old`.
void WaitWhile(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    Pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads, Pinning pinning) {
  FATHOM_CHECK_GE(threads, 0);
  if (threads == 0 || pinning != Pinning::kOff) {
    const Machine machine = ThisMachine();
    const int cores = static_cast<int>(machine.cores.size());
    if (threads == 0) threads = cores;
    if (pinning == Pinning::kOn || (pinning == Pinning::kAuto && threads == cores))
      places_ = PlaceThreads(machine, threads);
  }
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Work(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  // Another thread's affinity is not ours to change: by now it may be gone.
  if (bound_ == std::this_thread::get_id()) BindThisThread(caller_cpus_);
}

void ThreadPool::BindCaller() {
  bound_ = std::this_thread::get_id();
  caller_cpus_ = ThisThreadCpus();
  BindThisThread(places_[0]);
}

double ThreadPool::WorkerCpuSeconds() const {
  double seconds = 0;
  for (const std::thread& worker : workers_) {
    clockid_t clock;
    timespec used;
    // native_handle only reads, but is not const.
    const pthread_t thread = const_cast<std::thread&>(worker).native_handle();
    if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &used) != 0) continue;
    seconds += static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
  }
  return seconds;
}

void ThreadPool::ParallelFor(int64_t count, Grain grain,
                             FunctionRef<void(int64_t, int64_t, int)> body) {
  FATHOM_CHECK_GE(grain.least, 1);
  FATHOM_CHECK_GE(grain.most, grain.least);
  FATHOM_CHECK_EQ(grain.most % grain.least, 0);
  if (count <= 0) return;
  if (!places_.empty() && bound_ != std::this_thread::get_id()) BindCaller();
  if (workers_.empty() || count <= grain.least) {
    for (int64_t begin = 0; begin < count; begin += grain.most)
      body(begin, std::min(begin + grain.most, count), 0);
    return;
  }
  loop_ = {&body, count, grain};
  next_.store(0, std::memory_order_relaxed);
  running_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  RunChunks(0);
  for (uint32_t left = running_.load(std::memory_order_acquire); left != 0;
       left = running_.load(std::memory_order_acquire))
    WaitWhile(running_, left);
}

void ThreadPool::Work(int thread) {
  if (!places_.empty()) BindThisThread(places_[static_cast<size_t>(thread)]);
  uint32_t seen = 0;
  for (;;) {
    WaitWhile(generation_, seen);
    ++seen;
    if (stop_.load(std::memory_order_relaxed)) return;
    RunChunks(thread);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_all();
  }
}

ThreadPool::Range ThreadPool::Take() {
  const Grain grain = loop_.grain;
  if (grain.least == grain.most) {
    const int64_t begin = next_.fetch_add(grain.least, std::memory_order_relaxed);
    return {begin, std::min(begin + grain.least, loop_.count)};
  }
  // Half of what each thread would still get.
  const int64_t shares = 2 * (std::ssize(workers_) + 1);
  int64_t begin = next_.load(std::memory_order_relaxed);
  for (;;) {
    const int64_t left = loop_.count - begin;
    if (left <= 0) return {begin, begin};
    const int64_t share = left / shares / grain.least * grain.least;
    const int64_t end = begin + std::min(left, std::clamp(share, grain.least, grain.most));
    if (next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) return {begin, end};
  }
}

void ThreadPool::RunChunks(int thread) {
  for (Range range = Take(); range.begin < range.end; range = Take())
    (*loop_.body)(range.begin, range.end, thread);
}

}  // namespace fathom
