// Index scores over vectors of 16 lanes, shared by the instruction sets: K and its inner loops as
// in attention.h, a score has lane = head. The order of addition is that of indexer.h.
#pragma once

#include <cstdint>

#include "kernels/cpu/attention.h"

namespace fathom::kernels::cpu {

// Keys scored before their heads are summed.
inline constexpr int64_t kKeysPerPass = 16;

// packed: the query's heads as K::PackQueries leaves them.
template <typename K>
void PackIndexQuery(const IndexQuery& query, int64_t heads, float* packed, float* scratch) {
  const RowLayout& layout = query.keys.layout;
  float* values = AlignToVector(scratch);
  for (int64_t h = 0; h < heads; ++h)
    RowDecoder<typename K::V>::Decode(layout, query.q + h * layout.bytes(),
                                      values + h * layout.dim);
  K::PackQueries(values, heads, PadToLanes(heads), layout.dim, packed);
}

// The scores of n keys, whose dots with the heads are scores [n, padded heads].
template <typename V>
void SumHeads(const float* scores, int64_t n, const float* weights, int64_t heads, bool round,
              float* out) {
  using F = typename V::F;
  const int64_t padded = PadToLanes(heads);
  for (int64_t j = 0; j < n; ++j) {
    F lanes = V::Zero();
    for (int64_t h = 0; h < heads; h += kLanes) {
      const int64_t width = Smaller(kLanes, heads - h);
      F dot = V::Load(scores + j * padded + h);
      if (round) dot = V::RoundToBF16(dot);
      F term = V::Mul(V::Max(V::Zero(), dot), V::Load(weights + h, width));
      if (round) term = V::RoundToBF16(term);
      lanes = V::AddFirst(lanes, term, width);
    }
    F sum = V::Set(V::Fold(lanes));
    if (round) sum = V::RoundToBF16(sum);
    V::Store(out + j, sum, 1);
  }
}

template <typename K>
void IndexScores(const IndexTask& task) {
  const RowLayout& layout = task.keys.layout;
  const int64_t padded = PadToLanes(task.heads);
  float* scores = AlignToVector(task.scratch);
  float* memory = scores + kKeysPerPass * padded;
  const std::byte* keys[kKeysPerPass];
  typename K::Rows rows;
  for (int64_t begin = task.begin; begin < task.end; begin += kKeysPerPass) {
    const int64_t n = Smaller(kKeysPerPass, task.end - begin);
    for (int64_t j = 0; j < n; ++j) keys[j] = task.keys.row(begin + j);
    const RowBlock block{layout, keys, n, keys, 0};
    K::Decode(block, PadToLanes(layout.dim), memory, rows);
    for (int64_t i = 0; i < task.count; ++i) {
      K::Score(task.packed + i * task.packed_stride, padded, layout.dim, block, rows, scores);
      SumHeads<typename K::V>(scores, n, task.queries[i].weights, task.heads, task.round,
                              task.scores + i * task.scores_stride + begin - task.begin);
    }
  }
}

}  // namespace fathom::kernels::cpu
