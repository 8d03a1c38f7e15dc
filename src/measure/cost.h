// What passes cost, from a trace: the whole, the layers without the output head, each operation,
// and each kind of layer.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/trace.h"
#include "model/config.h"

namespace fathom::measure {

// In units of 10^9.
inline double Giga(double value) { return value * 1e-9; }
inline double Giga(int64_t value) { return static_cast<double>(value) * 1e-9; }

struct Cost {
  double seconds = 0;
  kernels::Work work;

  Cost& operator+=(const Cost& other) {
    seconds += other.seconds;
    work += other.work;
    return *this;
  }
  double bytes_s() const { return Rate(work.bytes()); }
  double flops() const { return Rate(work.operations); }

 private:
  double Rate(int64_t amount) const {
    return seconds > 0 ? static_cast<double>(amount) / seconds : 0;
  }
};

struct OperationCost {
  std::string name;
  int64_t calls = 0;
  Cost cost;
};

inline constexpr int kKinds = 3;  // of model::LayerKind

struct PassCost {
  int64_t passes = 0;
  Cost whole;   // without what a measuring program does inside
  Cost layers;  // the main layers
  Cost head;    // mixing of the streams, norm and product
  Cost rest;    // embedding, preparation of the pass
  // Operations inside layers under their names, then the output head and the rest, each as one.
  // Sums to `whole`.
  std::vector<OperationCost> operations;
  std::array<Cost, kKinds> kinds;  // all layers of a kind together
  // Routed experts: networks read in a call, and (token, expert) pairs computed with them.
  double experts_read = 0;
  double experts_chosen = 0;

  PassCost& operator+=(const PassCost& other);
};

// Of `passes` passes whose totals are in the trace.
PassCost CostOf(const kernels::Trace& trace, const model::Config& config, int64_t passes);

// Main layers of a kind.
int64_t CountLayers(const model::Config& config, model::LayerKind kind);

}  // namespace fathom::measure
