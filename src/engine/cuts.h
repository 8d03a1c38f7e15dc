// Where the reading of a prompt is cut so that the state there can be remembered: always the last
// multiple of 128 before its end, so that the same prompt, or one that goes on from it, finds it;
// those before the ends of messages, where conversations branch; and some on the way, for prompts
// that differ somewhere in a long text.
#pragma once

#include <cstdint>
#include <deque>
#include <span>

namespace fathom::engine {

// Each cut ends a pass early and costs a copy of the window: of many boundaries the latest count.
inline constexpr int64_t kBoundariesMax = 64;

// Ascending multiples of 128 above `reused` that leave a token of the prompt to read. `every`: see
// EngineOptions::cache_every.
std::deque<int64_t> WantedCuts(int64_t prompt_tokens, int64_t reused,
                               std::span<const int64_t> boundaries, int64_t every);

}  // namespace fathom::engine
