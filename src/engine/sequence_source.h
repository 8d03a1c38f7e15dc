// Where the state of a prompt comes from and where it goes: the one place that a store of earlier
// states has to know. There is none here: every sequence begins empty and is dropped at its end.
// For the engine's thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/types.h"
#include "model/config.h"
#include "model/sequence.h"
#include "numerics/mode.h"

namespace fathom::engine {

class SequenceSource {
 public:
  // Keeps the reference.
  SequenceSource(const model::Config& config, numerics::Mode mode) : config_(config), mode_(mode) {}

  struct Acquired {
    std::unique_ptr<model::Sequence> sequence;
    // Tokens of the prompt that it holds already: fewer than all, since the last one's logits are
    // wanted.
    int64_t reused = 0;
  };
  // With room for `capacity` tokens. `key` is whose prompt it is.
  Acquired Acquire(std::span<const TokenId> prompt, std::string_view key, int64_t capacity);

  // Another one in the same state.
  std::unique_ptr<model::Sequence> Fork(const model::Sequence& sequence, int64_t capacity);

  // Nobody uses it any more. It holds the first length() tokens of prompt and completion.
  void Release(std::unique_ptr<model::Sequence> sequence, std::span<const TokenId> prompt,
               std::span<const TokenId> completion, std::string_view key);

  // What a sequence of that capacity takes when all of it is in use.
  int64_t BytesOf(int64_t capacity) const {
    return model::Sequence::BytesFor(config_, capacity, mode_);
  }

 private:
  const model::Config& config_;
  numerics::Mode mode_;
};

}  // namespace fathom::engine
