// Speed of a checkpoint on this machine: decoding at given lengths and batch sizes, reading of a
// prompt in chunks, each beside samples of what the machine allows, taken between the measured
// passes. The figures are medians of ratios whose two halves were measured within the same second.
// What each number means is docs/benchmarks.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/context.h"
#include "kernels/trace.h"
#include "measure/cost.h"
#include "measure/divergence.h"
#include "measure/limits.h"
#include "model/forward.h"
#include "model/weights.h"

namespace fathom::measure {

struct BenchOptions {
  std::vector<int64_t> contexts = {4096};
  std::vector<int64_t> batches = {1};
  int64_t prompt_tokens = 2048;  // 0: no prompt is measured
  int64_t chunk_tokens = 2048;
  int64_t steps = 32;        // decode passes of a point
  double seconds = 30;       // a point ends after this time, but not before one measurement
  int64_t memory_bytes = 0;  // read for the machine's limit; 0: several times its last cache
  int threads = 0;           // 0: one for each physical core
  Pinning pinning = Pinning::kAuto;
  kernels::Path path = kernels::BestPath();
  numerics::Mode mode = numerics::Mode::kOfficial;
  uint64_t seed = 1;
  kernels::Trace* trace = nullptr;            // used, if given: for its events
  const std::atomic<bool>* cancel = nullptr;  // looked at between passes
  std::function<void(std::string_view)> progress = {};
};

struct MachineLimits {
  double read_bytes_s = 0;  // 0: not sampled
  double bf16_flops = 0;
  double f32_flops = 0;
};

// Something measured beside a limit.
struct Against {
  double rate = 0;      // bytes or operations a second, median
  double fraction = 0;  // of the limit, median of the ratios
};

struct DecodePoint {
  int64_t context = 0;  // tokens in each sequence when the last step ends
  int64_t batch = 0;
  int64_t steps = 0;            // measured
  double step_seconds = 0;      // median
  double tokens_s = 0;          // of all sequences together
  Against reading;              // the whole step against the read bandwidth
  Against layers_reading;       // the layers without the output head
  Against computing;            // the whole step against the BF16 peak
  double ceiling_tokens_s = 0;  // of a step that takes the slower of its bytes and its operations
  double fraction_of_ceiling = 0;
  double expert_overlap = 0;  // expert networks read for each (token, expert) pair; 1: no sharing
  MachineLimits meanwhile;    // medians of the limits that the fractions were taken against
  PassCost cost;
};

struct PrefillChunk {
  int64_t position = 0;  // of its first token
  int64_t tokens = 0;
  double seconds = 0;
};

struct PrefillPoint {
  int64_t tokens = 0;  // read in all
  int64_t chunk = 0;
  double tokens_s = 0;
  Against computing;                 // the whole of each chunk against the BF16 peak
  Against layers_computing;          // the layers without the output head
  std::vector<PrefillChunk> chunks;  // in order; of several rounds the last
  MachineLimits meanwhile;
  PassCost cost;
};

struct Report {
  MachineLimits machine;  // at its best while everything was measured
  int threads = 0;
  kernels::Path path = kernels::Path::kReference;
  std::vector<DecodePoint> decode;
  std::vector<PrefillPoint> prefill;
  numerics::Mode mode = numerics::Mode::kOfficial;
  std::optional<Divergence> divergence;  // of another mode from official
  std::vector<std::string> notes;        // what was left out, and why
  bool is_complete = true;               // false: interrupted
};

// The model stays what it is; sequences are made and dropped. Errors: lengths that the options make
// impossible, a context beyond the model's.
Result<Report> RunBench(const model::LoadedModel& loaded, const BenchOptions& options);

}  // namespace fathom::measure
