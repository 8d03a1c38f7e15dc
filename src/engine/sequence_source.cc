// Empty sequences are not kept for the next request: making one costs address space only, and one
// that was used would have to give its pages back first.
#include "engine/sequence_source.h"

namespace fathom::engine {

SequenceSource::Acquired SequenceSource::Acquire(std::span<const TokenId> prompt,
                                                 std::string_view key, int64_t capacity) {
  (void)prompt, (void)key;
  return {std::make_unique<model::Sequence>(config_, capacity, mode_), 0};
}

std::unique_ptr<model::Sequence> SequenceSource::Fork(const model::Sequence& sequence,
                                                      int64_t capacity) {
  return sequence.Fork(capacity);
}

void SequenceSource::Release(std::unique_ptr<model::Sequence> sequence,
                             std::span<const TokenId> prompt, std::span<const TokenId> completion,
                             std::string_view key) {
  (void)prompt, (void)completion, (void)key;
  sequence.reset();
}

}  // namespace fathom::engine
