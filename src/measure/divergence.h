// How far a numeric mode is from official: the divergence of its next-token distributions over text
// that the model itself writes.
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/context.h"
#include "model/weights.h"

namespace fathom::measure {

struct Divergence {
  int64_t tokens = 0;   // distributions compared
  double mean_kl = 0;   // of the mode's from official's, in nats
  double max_kl = 0;    // of one token
  double same_top = 0;  // share of tokens for which both find the same one most likely
};

struct DivergenceOptions {
  int64_t tokens = 512;
  double seconds = 30;  // ends after this time, but not before one token
  uint64_t seed = 1;
  std::function<bool()> is_cancelled = {};  // may be empty, as the next
  std::function<void(int64_t done)> progress = {};
};

// Two sequences read the same tokens, one in ctx.mode and one in official mode. The first token is
// the model's bos; each later one is drawn from official's distribution at temperature 1. Uses the
// context's threads and workspace; ctx.trace is not told.
Divergence MeasureDivergence(const model::LoadedModel& loaded, const kernels::Context& ctx,
                             const DivergenceOptions& options);

}  // namespace fathom::measure
