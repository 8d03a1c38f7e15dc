// What a pass costs, operation by operation: time, bytes read and operations, kept as totals for
// each layer and, while recording, as one event for each call. A Context without a trace pays one
// branch per kernel call.
//
// A TraceSpan stands at the top of every kernel door and around the parts of a pass that a model
// names (layers, head). Spans nest; a total holds a span's own time without the spans inside, so
// that totals add up to the whole pass. Spans are opened and closed on the thread that runs the
// pass.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

namespace fathom::kernels {

enum class Operation : uint8_t {
  kPass,  // opened by the model: what is in no other span
  kEmbed,
  kLayer,
  kHead,
  kProductF32,  // Linear, by the format of its weight
  kProductBF16,
  kProductFp8,
  kProductFp4,
  kRoutedExperts,
  kSharedExpert,
  kGate,
  kIndexer,
  kAttention,
  kCompressor,  // pooling; its two products stand under kProductBF16
  kRmsNorm,
  kNormalizeHeads,
  kRotate,
  kRoundRows,  // the cache's rounding of window rows and index queries
  kHyperPre,   // its product included
  kHyperPost,
  kMeasurement,  // what a measuring program does inside a pass, which is no part of it
};
inline constexpr int kOperations = 21;
// "FP8 products", "routed experts", ...
const char* Name(Operation operation);

struct Work {
  // Matrices, values and scales, each byte once per call; of routed experts those that the call
  // chose. Vectors (norms, biases, sinks; under 0.1 % of a model) are not counted.
  int64_t weight_bytes = 0;
  // Rows of the sequence state, once for each token that attends to them; index keys once for all
  // tokens of a sequence.
  int64_t state_bytes = 0;
  // 2 for each multiplication with addition in matrix products, attention and index scores.
  int64_t operations = 0;

  Work& operator+=(const Work& other) {
    weight_bytes += other.weight_bytes;
    state_bytes += other.state_bytes;
    operations += other.operations;
    return *this;
  }
  int64_t bytes() const { return weight_bytes + state_bytes; }
};

class TraceSpan;

class Trace {
 public:
  // The layer of everything that belongs to none.
  static constexpr int64_t kOutside = -1;

  struct Total {
    int64_t calls = 0;
    int64_t own_ns = 0;  // without the spans inside
    Work work;
  };
  struct Event {
    Operation operation = Operation::kPass;
    int64_t layer = kOutside;
    int64_t begin_ns = 0;  // since the trace was made
    int64_t whole_ns = 0;
    Work work;
  };

  Trace() { Reserve(0); }
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  // Room for this many layers; by whoever runs a model, before the first pass.
  void Reserve(int64_t layers);
  int64_t layers() const { return static_cast<int64_t>(totals_.size()) / kOperations - 1; }
  // What follows belongs to this layer, or to none.
  void SetLayer(int64_t layer);

  const Total& total(int64_t layer, Operation operation) const {
    return totals_[Index(layer, operation)];
  }
  void ClearTotals();

  // Keeps events from now on, at most this many; further ones are counted and dropped.
  void Record(int64_t events_max);
  // In the order in which the spans ended.
  std::span<const Event> events() const { return events_; }
  int64_t dropped_events() const { return dropped_events_; }

 private:
  friend class TraceSpan;
  using Clock = std::chrono::steady_clock;

  int64_t NowNs() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start_).count();
  }
  size_t Index(int64_t layer, Operation operation) const;
  void Add(const Event& event, int64_t inner_ns);

  const Clock::time_point start_ = Clock::now();
  int64_t layer_ = kOutside;
  TraceSpan* open_ = nullptr;  // the innermost one
  std::vector<Total> totals_;  // [1 + layers, kOperations]
  std::vector<Event> events_;  // never grows past its reserved size
  int64_t dropped_events_ = 0;
};

// From construction to destruction. Does nothing without a trace.
class TraceSpan {
 public:
  TraceSpan(Trace* trace, Operation operation, const Work& work = {}) : trace_(trace) {
    if (trace_ != nullptr) [[unlikely]]
      Open(operation, work);
  }
  ~TraceSpan() {
    if (trace_ != nullptr) [[unlikely]]
      Close();
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

  bool is_on() const { return trace_ != nullptr; }
  // Work that is known only later. Any thread of the loop inside may call it.
  void Add(const Work& work) {
    if (trace_ != nullptr) [[unlikely]]
      AddLater(work);
  }

 private:
  void Open(Operation operation, const Work& work);
  void Close();
  void AddLater(const Work& work);

  Trace* trace_;
  TraceSpan* parent_;
  Operation operation_;
  int64_t layer_;
  int64_t begin_ns_;
  int64_t inner_ns_;
  Work work_;
};

}  // namespace fathom::kernels
