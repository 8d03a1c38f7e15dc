#include "kernels/indexer.h"

#include <algorithm>
#include <numeric>

#include "kernels/paths.h"
#include "kernels/trace.h"

namespace fathom::kernels {
namespace {

// Queries of one sequence stand side by side and share its keys.
Work WorkOf(std::span<const IndexQuery> queries, int64_t heads, int64_t dim) {
  Work work;
  int64_t keys = 0;  // of the sequence so far
  for (size_t i = 0; i < queries.size(); ++i) {
    const bool is_new = i == 0 || queries[i].keys != queries[i - 1].keys;
    const int64_t more = is_new ? queries[i].visible : std::max(keys, queries[i].visible) - keys;
    keys = is_new ? queries[i].visible : keys + more;
    work.state_bytes += more * dim * static_cast<int64_t>(sizeof(float));
    work.operations += 2 * queries[i].visible * heads * dim;
  }
  return work;
}

}  // namespace

void SelectTop(std::span<const float> scores, std::span<int32_t> picks,
               std::span<int32_t> scratch) {
  FATHOM_CHECK_LE(picks.size(), scores.size());
  FATHOM_CHECK_EQ(scratch.size(), scores.size());
  const auto is_better = [&](int32_t a, int32_t b) {
    const float x = scores[static_cast<size_t>(a)];
    const float y = scores[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  };
  std::iota(scratch.begin(), scratch.end(), 0);
  if (picks.size() < scores.size())
    std::nth_element(scratch.begin(), scratch.begin() + std::ssize(picks), scratch.end(),
                     is_better);
  std::copy_n(scratch.begin(), picks.size(), picks.begin());
  std::sort(picks.begin(), picks.end(), is_better);
}

void ScoreBlocks(const IndexQuery& query, int64_t heads, int64_t dim, std::span<float> scores,
                 const Context& ctx) {
  FATHOM_CHECK_EQ(std::ssize(scores), query.visible);
  float* scratch = ctx.workspace.Get<float>(Workspace::kPartial, IndexScratchFloats(heads, dim));
  ParallelFor(ctx, 1, 1, [&](int64_t, int64_t, int) {
    OpsOf(ctx.path).index_scores({query.q, query.weights, heads, dim, query.keys, 0, query.visible,
                                  ctx.mode == numerics::Mode::kOfficial, scores.data(), scratch});
  });
}

void SelectBlocks(std::span<const IndexQuery> queries, int64_t heads, int64_t dim, int64_t topk,
                  const Context& ctx) {
  // Keys per chunk of scoring work: one query at a million tokens is shared by all threads.
  constexpr int64_t kKeysPerChunk = 2048;
  TraceSpan span(ctx.trace, Operation::kIndexer);
  if (span.is_on()) span.Add(WorkOf(queries, heads, dim));
  int64_t visible_max = 0;
  for (const IndexQuery& query : queries) visible_max = std::max(visible_max, query.visible);
  const int64_t scratch_floats = IndexScratchFloats(heads, dim);
  const int64_t chunks = (visible_max + kKeysPerChunk - 1) / kKeysPerChunk;
  // Queries are taken in groups, so that the score matrix stays bounded at any context length.
  const int64_t group =
      std::max<int64_t>(1, (int64_t{1} << 22) / std::max<int64_t>(1, visible_max));
  float* scratch =
      ctx.workspace.Get<float>(Workspace::kPartial, scratch_floats * ctx.pool.threads());
  const int64_t group_rows = std::min<int64_t>(group, std::ssize(queries));
  float* scores = ctx.workspace.Get<float>(Workspace::kScores, group_rows * visible_max * 2);
  int32_t* order = reinterpret_cast<int32_t*>(scores + group_rows * visible_max);
  for (int64_t first = 0; first < std::ssize(queries); first += group) {
    const int64_t count = std::min(group, std::ssize(queries) - first);
    ParallelFor(ctx, count * chunks, 1, [&](int64_t begin, int64_t, int thread) {
      const int64_t i = begin / chunks, key = begin % chunks * kKeysPerChunk;
      const IndexQuery& query = queries[static_cast<size_t>(first + i)];
      if (key >= query.visible) return;
      OpsOf(ctx.path).index_scores(
          {query.q, query.weights, heads, dim, query.keys, key,
           std::min(key + kKeysPerChunk, query.visible), ctx.mode == numerics::Mode::kOfficial,
           scores + i * visible_max + key, scratch + thread * scratch_floats});
    });
    ParallelFor(ctx, count, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const IndexQuery& query = queries[static_cast<size_t>(first + i)];
        const size_t visible = static_cast<size_t>(query.visible);
        const size_t picked = static_cast<size_t>(std::min(topk, query.visible));
        SelectTop({scores + i * visible_max, visible}, {query.picks, picked},
                  {order + i * visible_max, visible});
      }
    });
  }
}

}  // namespace fathom::kernels
