// Inside of the room: the passes that are measured, one kind after the other, with samples of the
// limits between them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "measure/bench.h"

namespace fathom::measure {

class Runner {
 public:
  // Keeps both.
  Runner(const model::LoadedModel& loaded, const BenchOptions& options);
  ~Runner();

  // Touches every page of the checkpoint, unless it is larger than memory (false).
  bool WarmUp();
  // The last of options.steps steps ends at `context` tokens; sequences start filled with random
  // entries. Interrupted before the first measurement: steps is 0.
  DecodePoint Decode(int64_t context, int64_t batch);
  PrefillPoint Prefill(int64_t prompt_tokens);

  // Of the measured mode from official; no tokens in official mode, or if interrupted.
  Divergence Diverge();

  MachineLimits Machine();
  int threads() const { return pool_.threads(); }
  bool is_cancelled() const;

 private:
  struct Batch;
  class PeakTap;

  int64_t DecodeSteps(Batch& batch, int64_t count);
  void MeasureSteps(Batch& batch, int64_t steps_max, DecodePoint& point);
  bool MeasurePrompt(int64_t prompt_tokens, PrefillPoint& point);
  TokenId RandomToken();
  void Say(std::string_view what) const;

  const model::LoadedModel& loaded_;
  const BenchOptions& options_;
  ThreadPool pool_;
  kernels::Workspace workspace_;
  kernels::Trace own_trace_;
  kernels::Trace& trace_;
  kernels::Context ctx_;
  model::Executor executor_;
  Limits limits_;
  tensor::Buffer<float> logits_;  // [largest batch, V]
  uint64_t random_;
  // Of the prompt's chunks so far.
  std::vector<double> peaks_, flops_, fractions_, layer_flops_, layer_fractions_, token_seconds_;
};

}  // namespace fathom::measure
