#include "kernels/indexer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/paths.h"
#include "kernels/trace.h"

namespace fathom::kernels {
namespace {

// Queries of one sequence stand side by side and share its keys.
Work WorkOf(std::span<const IndexQuery> queries, int64_t heads) {
  Work work;
  int64_t keys = 0;  // of the sequence so far
  for (size_t i = 0; i < queries.size(); ++i) {
    const RowLayout& layout = queries[i].keys.layout;
    const bool is_new = i == 0 || !queries[i].keys.IsSameAs(queries[i - 1].keys);
    const int64_t more = is_new ? queries[i].visible : std::max(keys, queries[i].visible) - keys;
    keys = is_new ? queries[i].visible : keys + more;
    work.state_bytes += more * layout.bytes();
    work.operations += 2 * queries[i].visible * heads * layout.dim;
  }
  return work;
}

// Scores of which a sample is taken, and how many it has.
constexpr int64_t kSampledMin = 4096;
constexpr int64_t kSampleMax = 2048;

// Queries of one set of keys that are scored together, so that a key is decoded once for all.
constexpr int64_t kBatchMax = 8;
// Queries in the works at a time, and their scores: the memory at any context length.
constexpr int64_t kQueriesMax = 64;
constexpr int64_t kScoresMax = int64_t{1} << 21;
// Keys per chunk of scoring work: a single query is shared by all threads from a few hundred on.
constexpr int64_t kChunkKeysMax = 2048;
constexpr int64_t kChunkKeysMin = 192;

float Rank(float score) {
  return std::isnan(score) ? -std::numeric_limits<float>::infinity() : score;
}

// Ascending in the order of selection: larger score first, then lower index.
uint64_t KeyOf(float score, int32_t index) {
  const uint32_t bits = std::bit_cast<uint32_t>(Rank(score) + 0.0f);  // no negative zero
  const uint32_t ascending = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return uint64_t{~ascending} << 32 | static_cast<uint32_t>(index);
}

// The rank-th largest of a sample of the scores, rank from 0 and below kSampleMax.
class Sample {
 public:
  explicit Sample(std::span<const float> scores) {
    for (int64_t i = 0; i < kSampleMax; ++i)
      values_[i] = Rank(scores[static_cast<size_t>(i * std::ssize(scores) / kSampleMax)]);
  }
  float Largest(int64_t rank) {
    std::nth_element(values_, values_ + rank, values_ + kSampleMax, std::greater<float>());
    return values_[rank];
  }

 private:
  float values_[kSampleMax];
};

// Indices of some scores that hold the k best, ascending or in two ascending runs; returns how
// many. Few where the scores differ, and no more than k where most are equal.
int64_t CollectCandidates(std::span<const float> scores, int64_t k, Path path, int32_t* out) {
  const int64_t n = std::ssize(scores);
  if (n >= kSampledMin && k < n / 4) {
    Sample sample(scores);
    const double expected = static_cast<double>(k) * kSampleMax / static_cast<double>(n);
    int64_t rank = static_cast<int64_t>(expected + 4 * std::sqrt(expected) + 4);
    for (; rank < kSampleMax; rank *= 4) {
      const float bound = sample.Largest(rank);
      int64_t count = OpsOf(path).collect_above(scores.data(), n, bound, out);
      if (count >= k) return count;
      // Scores equal to the bound fill up, lowest index first.
      for (int64_t i = 0; i < n && count < k; ++i)
        if (Rank(scores[static_cast<size_t>(i)]) == bound) out[count++] = static_cast<int32_t>(i);
      if (count == k) return count;
    }
  }
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<int32_t>(i);
  return n;
}

int64_t RoundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// A part of a call's queries, with the buffers that their scores pass through.
class Selection {
 public:
  Selection(int64_t heads, int64_t topk, const RowLayout& layout, const Context& ctx)
      : heads_(heads), topk_(topk), layout_(layout), ctx_(ctx), ops_(OpsOf(ctx.path)) {}

  void Run(std::span<const IndexQuery> queries) {
    queries_ = queries;
    visible_max_ = 0;
    for (const IndexQuery& query : queries) visible_max_ = std::max(visible_max_, query.visible);
    if (visible_max_ == 0) return;
    CutIntoBatches();
    Score();
    Pick();
  }

 private:
  struct Batch {
    int64_t first;
    int64_t count;
    int64_t visible;
  };

  bool round() const { return numerics::Rounds(ctx_.mode); }
  const IndexQuery& query(int64_t i) const { return queries_[static_cast<size_t>(i)]; }

  void CutIntoBatches() {
    batch_count_ = 0;
    for (int64_t i = 0; i < std::ssize(queries_); ++i) {
      Batch* last = batch_count_ == 0 ? nullptr : &batches_[batch_count_ - 1];
      if (last == nullptr || last->count == kBatchMax ||
          !query(last->first).keys.IsSameAs(query(i).keys)) {
        last = &batches_[batch_count_++];
        *last = {i, 0, 0};
      }
      ++last->count;
      last->visible = std::max(last->visible, query(i).visible);
    }
  }

  void Score() {
    const int64_t count = std::ssize(queries_), threads = ctx_.pool.threads();
    const int64_t packed_floats = RoundUp(IndexQueryFloats(heads_, layout_.dim), 16);
    const int64_t scratch_floats = RoundUp(IndexScratchFloats(heads_, layout_.dim), 16);
    float* packed = ctx_.workspace.Get<float>(Workspace::kPartial,
                                              packed_floats * count + scratch_floats * threads);
    float* scratch = packed + packed_floats * count;
    scores_ = ctx_.workspace.Get<float>(Workspace::kScores, visible_max_ * count);
    ParallelFor(ctx_, count, 1, [&](int64_t i, int64_t, int thread) {
      if (query(i).visible > 0)
        ops_.index_pack(query(i), heads_, round(), packed + i * packed_floats,
                        scratch + thread * scratch_floats);
    });
    const int64_t chunk_keys =
        std::clamp(RoundUp(visible_max_ * batch_count_ / (4 * threads), kChunkKeysMin),
                   kChunkKeysMin, kChunkKeysMax);
    const int64_t chunks = (visible_max_ + chunk_keys - 1) / chunk_keys;
    ParallelFor(ctx_, batch_count_ * chunks, 1, [&](int64_t begin, int64_t, int thread) {
      const Batch& batch = batches_[begin / chunks];
      const int64_t key = begin % chunks * chunk_keys;
      if (key >= batch.visible) return;
      ops_.index_scores({&query(batch.first), packed + batch.first * packed_floats, packed_floats,
                         batch.count, heads_, query(batch.first).keys, key,
                         std::min(key + chunk_keys, batch.visible), round(),
                         scores_ + batch.first * visible_max_ + key, visible_max_,
                         scratch + thread * scratch_floats});
    });
  }

  void Pick() {
    const int64_t threads = ctx_.pool.threads();
    uint64_t* order = ctx_.workspace.Get<uint64_t>(Workspace::kOrder, visible_max_ * threads);
    ParallelFor(ctx_, std::ssize(queries_), 1, [&](int64_t i, int64_t, int thread) {
      const size_t visible = static_cast<size_t>(query(i).visible);
      const size_t picked = static_cast<size_t>(std::min(topk_, query(i).visible));
      SelectTop({scores_ + i * visible_max_, visible}, {query(i).picks, picked},
                {order + thread * visible_max_, visible}, ctx_.path);
    });
  }

  int64_t heads_;
  int64_t topk_;
  RowLayout layout_;
  const Context& ctx_;
  const PathOps& ops_;
  std::span<const IndexQuery> queries_;
  int64_t visible_max_ = 0;
  Batch batches_[kQueriesMax];
  int64_t batch_count_ = 0;
  float* scores_ = nullptr;  // [queries, visible_max]
};

}  // namespace

void SelectTop(std::span<const float> scores, std::span<int32_t> picks, std::span<uint64_t> scratch,
               Path path) {
  FATHOM_CHECK_LE(picks.size(), scores.size());
  FATHOM_CHECK_EQ(scratch.size(), scores.size());
  if (picks.empty()) return;
  // Indices first, then in the same place the keys they are ordered by. From the end on: the key of
  // candidate i covers the indices of 2 i and 2 i + 1.
  int32_t* indices = reinterpret_cast<int32_t*>(scratch.data());
  const int64_t count = CollectCandidates(scores, std::ssize(picks), path, indices);
  for (int64_t i = count - 1; i >= 0; --i) {
    int32_t index;
    std::memcpy(&index, indices + i, sizeof(index));
    const uint64_t key = KeyOf(scores[static_cast<size_t>(index)], index);
    std::memcpy(scratch.data() + i, &key, sizeof(key));
  }
  const auto keys = scratch.first(static_cast<size_t>(count));
  const auto end = keys.begin() + std::ssize(picks);
  if (end != keys.end()) std::nth_element(keys.begin(), end, keys.end());
  std::sort(keys.begin(), end);
  for (size_t i = 0; i < picks.size(); ++i)
    picks[i] = static_cast<int32_t>(static_cast<uint32_t>(keys[i]));
}

void ScoreBlocks(const IndexQuery& query, int64_t heads, std::span<float> scores,
                 const Context& ctx) {
  FATHOM_CHECK_EQ(std::ssize(scores), query.visible);
  const int64_t dim = query.keys.layout.dim;
  const int64_t packed_floats = RoundUp(IndexQueryFloats(heads, dim), 16);
  float* packed =
      ctx.workspace.Get<float>(Workspace::kPartial, packed_floats + IndexScratchFloats(heads, dim));
  const bool round = numerics::Rounds(ctx.mode);
  ParallelFor(ctx, 1, 1, [&](int64_t, int64_t, int) {
    const PathOps& ops = OpsOf(ctx.path);
    ops.index_pack(query, heads, round, packed, packed + packed_floats);
    ops.index_scores({&query, packed, packed_floats, 1, heads, query.keys, 0, query.visible, round,
                      scores.data(), query.visible, packed + packed_floats});
  });
}

void SelectBlocks(std::span<const IndexQuery> queries, int64_t heads, int64_t topk,
                  const Context& ctx) {
  if (queries.empty()) return;
  const RowLayout layout = queries[0].keys.layout;
  FATHOM_CHECK_EQ(layout.dim % 2, int64_t{0});
  for (const IndexQuery& query : queries) FATHOM_CHECK(query.keys.layout == layout);
  TraceSpan span(ctx.trace, Operation::kIndexer);
  if (span.is_on()) span.Add(WorkOf(queries, heads));
  Selection selection(heads, topk, layout, ctx);
  for (size_t first = 0; first < queries.size();) {
    // As many as the memory for scores allows, but at least one.
    int64_t count = 0, visible_max = 0;
    for (; count < kQueriesMax && first + static_cast<size_t>(count) < queries.size(); ++count) {
      const int64_t visible = queries[first + static_cast<size_t>(count)].visible;
      visible_max = std::max(visible_max, visible);
      if (count > 0 && visible_max * (count + 1) > kScoresMax) break;
    }
    selection.Run(queries.subspan(first, static_cast<size_t>(count)));
    first += static_cast<size_t>(count);
  }
}

}  // namespace fathom::kernels
