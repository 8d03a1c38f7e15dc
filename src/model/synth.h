// Checkpoints with random weights in the published layout and number formats, for tests and
// benchmarks: slices of the large models, and small ones of any shape. The values are scaled so
// that activations stay of order 1 from layer to layer, logits are not flat, and neither gates nor
// indexers degenerate. A byte depends on the seed, the tensor's name and its place only.
#pragma once

#include <cstdint>
#include <string>

#include "base/function_ref.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "model/config.h"

namespace fathom::model {

// Checkpoints up to this size are one file; larger ones are sharded as published.
inline constexpr int64_t kOneFileBytesMax = int64_t{1} << 30;

// Creates `dir`, or empties it of an earlier checkpoint's files when `may_replace` is set. Refuses
// another folder that is not empty.
enum class ExistingFolder { kRefuse, kReplace };
Result<void> PrepareFolder(const std::string& dir, ExistingFolder existing);

struct SynthSummary {
  int64_t tensors = 0;
  int64_t bytes = 0;
  int64_t files = 0;
};
// Writes weights, generation_config.json and, last, config.json into `dir`, a prepared folder, in
// the formats that `config` names (FormatsOf). Memory does not grow with the checkpoint.
// `on_progress` gets bytes done and bytes in all, some times a second. On an error no file stands
// half written under its final name.
Result<SynthSummary> WriteSyntheticCheckpoint(const Config& config, uint64_t seed,
                                              const std::string& dir, ThreadPool& pool,
                                              FunctionRef<void(int64_t, int64_t)> on_progress);

}  // namespace fathom::model
