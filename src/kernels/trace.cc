#include "kernels/trace.h"

#include <algorithm>

#include "base/check.h"

namespace fathom::kernels {

const char* Name(Operation operation) {
  switch (operation) {
    case Operation::kPass:
      return "pass";
    case Operation::kEmbed:
      return "embedding";
    case Operation::kLayer:
      return "layer";
    case Operation::kHead:
      return "output head";
    case Operation::kProductF32:
      return "F32 products";
    case Operation::kProductBF16:
      return "BF16 products";
    case Operation::kProductFp8:
      return "FP8 products";
    case Operation::kProductFp4:
      return "FP4 products";
    case Operation::kRoutedExperts:
      return "routed experts";
    case Operation::kSharedExpert:
      return "shared expert";
    case Operation::kGate:
      return "gate";
    case Operation::kIndexer:
      return "indexer";
    case Operation::kAttention:
      return "attention";
    case Operation::kCompressor:
      return "compressor";
    case Operation::kRmsNorm:
      return "norms";
    case Operation::kNormalizeHeads:
      return "head norms";
    case Operation::kRotate:
      return "rotation";
    case Operation::kRoundRows:
      return "row rounding";
    case Operation::kHyperPre:
      return "hyper-connections, before";
    case Operation::kHyperPost:
      return "hyper-connections, after";
    case Operation::kMeasurement:
      return "measurement";
  }
  return "";
}

void Trace::Reserve(int64_t layers) {
  FATHOM_CHECK_GE(layers, int64_t{0});
  const size_t size = static_cast<size_t>((layers + 1) * kOperations);
  if (totals_.size() < size) totals_.resize(size);
}

void Trace::SetLayer(int64_t layer) {
  FATHOM_CHECK(layer >= kOutside && layer < layers());
  layer_ = layer;
}

size_t Trace::Index(int64_t layer, Operation operation) const {
  FATHOM_CHECK(layer >= kOutside && layer < layers());
  return static_cast<size_t>((layer + 1) * kOperations + static_cast<int64_t>(operation));
}

void Trace::ClearTotals() { std::fill(totals_.begin(), totals_.end(), Total()); }

void Trace::Record(int64_t events_max) {
  FATHOM_CHECK_GE(events_max, int64_t{0});
  events_.clear();
  events_.reserve(static_cast<size_t>(events_max));
  dropped_events_ = 0;
}

void Trace::Add(const Event& event, int64_t inner_ns) {
  Total& total = totals_[Index(event.layer, event.operation)];
  ++total.calls;
  total.own_ns += event.whole_ns - inner_ns;
  total.work += event.work;
  if (events_.size() < events_.capacity()) {
    events_.push_back(event);
  } else if (events_.capacity() > 0) {
    ++dropped_events_;
  }
}

void TraceSpan::Open(Operation operation, const Work& work) {
  parent_ = trace_->open_;
  trace_->open_ = this;
  operation_ = operation;
  layer_ = trace_->layer_;
  inner_ns_ = 0;
  work_ = work;
  begin_ns_ = trace_->NowNs();
}

void TraceSpan::Close() {
  const int64_t whole_ns = trace_->NowNs() - begin_ns_;
  trace_->open_ = parent_;
  if (parent_ != nullptr) parent_->inner_ns_ += whole_ns;
  trace_->Add({operation_, layer_, begin_ns_, whole_ns, work_}, inner_ns_);
}

void TraceSpan::AddLater(const Work& work) {
  std::atomic_ref(work_.weight_bytes).fetch_add(work.weight_bytes, std::memory_order_relaxed);
  std::atomic_ref(work_.state_bytes).fetch_add(work.state_bytes, std::memory_order_relaxed);
  std::atomic_ref(work_.operations).fetch_add(work.operations, std::memory_order_relaxed);
}

}  // namespace fathom::kernels
