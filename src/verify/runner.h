// Runs tokens through the executor that generation uses, in the ways the recorded cases were made:
// a prompt in passes of a chunk each, then one token at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "base/types.h"
#include "model/forward.h"
#include "model/weights.h"
#include "verify/recorded.h"

namespace fathom::verify {

// A loaded model and how to run it; everything a case needs besides its file.
class Runner {
 public:
  // Keeps a reference to the model. threads: 0 is one per core. chunk >= 1.
  Runner(const model::LoadedModel& loaded, kernels::Path path, int threads, int64_t chunk);

  const model::Config& config() const { return loaded_.config(); }
  const model::Weights& weights() const { return loaded_.weights(); }
  bool has_mtp() const { return loaded_.weights().mtp.has_value(); }
  int64_t chunk() const { return chunk_; }
  kernels::Context context(numerics::Mode mode) { return {pool_, workspace_, path_, mode}; }
  // With room for passes of a chunk each, or of tokens_max where that is less.
  model::Executor MakeExecutor(numerics::Mode mode, int64_t tokens_max);

  // How many attention slots the window has while a prompt is read (BatchItem::window_slots).
  enum class Slots {
    kWindow,      // all of them: what `fathom run` computes, for every length and cut
    kAsRecorded,  // min(prompt length, window), as the reference had them when it read the prompt
  };

  // Which logits of a sequence are wanted, by position, ascending.
  struct Wanted {
    std::span<const int64_t> logits;
    std::span<const int64_t> mtp;  // each followed by a further token; empty: no MTP block runs
  };
  struct Logits {
    FloatTable logits;  // one row per wanted position
    FloatTable mtp;
  };
  // The first prompt_len ids as a prompt, the others one by one, each given (teacher forced).
  Logits Run(std::span<const TokenId> ids, int64_t prompt_len, const Wanted& wanted,
             numerics::Mode mode, Slots slots = Slots::kWindow);

  // The prompt, then `count` tokens of its own choice, the largest logit each time. Slots as
  // recorded.
  struct Greedy {
    std::vector<TokenId> generated;
    FloatTable logits;  // row i chose generated[i]
  };
  Greedy RunGreedy(std::span<const TokenId> prompt, int64_t count);

 private:
  int64_t RecordedSlots(int64_t prompt_len) const;

  const model::LoadedModel& loaded_;
  kernels::Path path_;
  int64_t chunk_;
  ThreadPool pool_;
  kernels::Workspace workspace_;
};

}  // namespace fathom::verify
