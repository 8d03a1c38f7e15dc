// How many prompt tokens a step may read: all that fit while nobody waits for the next token of an
// answer, and otherwise as many as keep the step short by the speed seen so far. Speed decides when
// something is computed, never what.
#pragma once

#include <cstdint>

namespace fathom::engine {

class StepPace {
 public:
  explicit StepPace(int64_t chunk_tokens) : chunk_tokens_(chunk_tokens) {}

  // Prompt tokens for a step in which `decode_rows` choices go on; at least 1.
  int64_t PromptRows(int64_t decode_rows) const;
  // What a step took.
  void Record(int64_t decode_rows, int64_t prompt_rows, double seconds);

 private:
  double DecodeSeconds(int64_t decode_rows) const;

  int64_t chunk_tokens_;
  double prompt_row_s_ = 0;   // of one prompt token; 0: not seen yet
  double decode_step_s_ = 0;  // of a step without prompts; 0: not seen yet
};

}  // namespace fathom::engine
