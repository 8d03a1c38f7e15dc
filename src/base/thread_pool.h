// A fixed set of threads that share loops. Work is handed out in ranges from one atomic counter, so
// a preempted thread delays its current range and nothing else. Results must not depend on who ran
// a range: a kernel computes each output element whole, in one range.
//
// Threads may be pinned to cores (base/topology.h says to which). The calling thread is one of them
// from its first loop on; it gets its old affinity back when it destroys the pool. Threads that it
// starts in between inherit its core.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/function_ref.h"
#include "base/topology.h"

namespace fathom {

enum class Pinning {
  kOff,
  kAuto,  // when there is one thread for each physical core that the process may run on
  kOn,    // unless there are more threads than logical processors
};

// How long the ranges are that a loop is handed out in. One number: each that long but the last.
// Two: a share of what is left, whole multiples of `least`, so that long ranges come first and
// short ones make the ends of the threads meet.
struct Grain {
  int64_t least = 1;
  int64_t most = 1;

  Grain(int64_t all) : least(all), most(all) {}  // NOLINT: a number is a grain
  Grain(int64_t shortest, int64_t longest) : least(shortest), most(longest) {}
};

class ThreadPool {
 public:
  // `threads` >= 1 counts the caller. 0 means one per physical core available to the process.
  explicit ThreadPool(int threads = 0, Pinning pinning = Pinning::kOff);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }
  bool is_pinned() const { return !places_.empty(); }
  // Processor time of the workers (not of the caller) since they started, in loops and waiting for
  // the next one. Any thread may ask.
  double WorkerCpuSeconds() const;

  // Calls body(begin, end, thread) on ranges that cover [0, count), as long as `grain` says;
  // `thread` in [0, threads()) is unique among calls that run at once. Returns when all are done.
  // Not reentrant: one loop at a time, from the thread that owns the pool. Allocates nothing.
  void ParallelFor(int64_t count, Grain grain, FunctionRef<void(int64_t, int64_t, int)> body);

 private:
  struct Loop {
    FunctionRef<void(int64_t, int64_t, int)>* body = nullptr;
    int64_t count = 0;
    Grain grain = 1;
  };

  void Work(int thread);
  void BindCaller();
  void RunChunks(int thread);
  // The next range of the loop to be worked on; empty when there is none left.
  struct Range {
    int64_t begin;
    int64_t end;
  };
  Range Take();

  Loop loop_;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};  // raised to start a loop
  alignas(64) std::atomic<uint32_t> running_{0};     // workers not yet done with it
  std::atomic<bool> stop_{false};
  std::vector<CpuSet> places_;  // by thread; empty: not pinned
  std::thread::id bound_;       // the caller that was bound to places_[0]
  CpuSet caller_cpus_;          // where it could run before
  std::vector<std::thread> workers_;
};

}  // namespace fathom
