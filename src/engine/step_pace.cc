#include "engine/step_pace.h"

#include <algorithm>

namespace fathom::engine {
namespace {

// A step in which answers go on. A reader of a few words a second does not notice such a gap.
constexpr double kStepSeconds = 0.2;
// A step without answers: still short enough that a cancelled prompt does not hold a slow machine
// for long, and that every minute sees the end of a pass.
constexpr double kAloneSeconds = 20;
// Fewer prompt tokens than this cost a pass nearly as much (docs/performance.md, "Batches"), so
// smaller pieces would only make prompts slower.
constexpr int64_t kLeastRows = 8;
// Before anything has been measured.
constexpr int64_t kFirstRows = 64;
// Weight of the newest measurement: a few steps show a change.
constexpr double kNewest = 0.3;

void Smooth(double& value, double seen) {
  value = value == 0 ? seen : value + kNewest * (seen - value);
}

}  // namespace

double StepPace::DecodeSeconds(int64_t decode_rows) const {
  if (decode_rows == 0) return 0;
  if (decode_step_s_ > 0) return decode_step_s_;
  return prompt_row_s_ * static_cast<double>(decode_rows);
}

int64_t StepPace::PromptRows(int64_t decode_rows) const {
  const int64_t most = std::max<int64_t>(1, chunk_tokens_ - decode_rows);
  if (prompt_row_s_ == 0) return std::min(most, kFirstRows);
  double seconds = kAloneSeconds;
  if (decode_rows > 0) {
    // Where decoding alone fills the step, prompts get as much again: gaps double at the worst, and
    // prompts get on.
    const double decode_s = DecodeSeconds(decode_rows);
    seconds = std::max(kStepSeconds - decode_s, decode_s);
  }
  const double rows = std::min(seconds / prompt_row_s_, static_cast<double>(most));
  return std::min(most, std::max(kLeastRows, static_cast<int64_t>(rows)));
}

void StepPace::Record(int64_t decode_rows, int64_t prompt_rows, double seconds) {
  if (prompt_rows == 0) {
    if (decode_rows > 0) Smooth(decode_step_s_, seconds);
    return;
  }
  // Whatever the clock says, a row costs something: 0 stands for "not seen".
  constexpr double kLeastRowSeconds = 1e-9;
  const double prompt_s = seconds - DecodeSeconds(decode_rows);
  Smooth(prompt_row_s_, std::max(prompt_s / static_cast<double>(prompt_rows), kLeastRowSeconds));
}

}  // namespace fathom::engine
