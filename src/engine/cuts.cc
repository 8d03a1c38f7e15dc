#include "engine/cuts.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "model/pages.h"

namespace fathom::engine {

using model::kPageTokens;

std::deque<int64_t> WantedCuts(int64_t prompt_tokens, int64_t reused,
                               std::span<const int64_t> boundaries, int64_t every) {
  const int64_t last = (prompt_tokens - 1) / kPageTokens * kPageTokens;
  std::vector<int64_t> cuts;
  for (const int64_t boundary : boundaries) {
    const int64_t cut = boundary / kPageTokens * kPageTokens;
    if (cut > reused && cut < last) cuts.push_back(cut);
  }
  std::sort(cuts.begin(), cuts.end(), std::greater<>());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  if (std::ssize(cuts) > kBoundariesMax) cuts.resize(static_cast<size_t>(kBoundariesMax));
  const int64_t step = std::max(every / kPageTokens, int64_t{1}) * kPageTokens;
  if (every > 0)
    for (int64_t cut = (reused / step + 1) * step; cut < last; cut += step) cuts.push_back(cut);
  if (last > reused) cuts.push_back(last);
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return {cuts.begin(), cuts.end()};
}

}  // namespace fathom::engine
