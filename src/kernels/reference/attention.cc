// The reference path's attention and index scores, in plain scalar C++.
//
// This file is compiled without vectorisation (cmake/rooms.cmake): GCC 12 turns a sum that takes
// the odd element of each pair first (DotPairs) into vector code with another result, which is
// neither this order nor any other the language allows. pair_order_test.cc watches over it.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/reference/attention.h"
#include "kernels/reference/dot.h"
#include "kernels/reference/fma.h"
#include "numerics/functions.h"

namespace fathom::kernels::reference {

namespace {

// acc[c] += p_odd * odd[c], then p_even * even[c].
FATHOM_FMA_CLONES
void AddRowPair(float p_odd, const float* odd, float p_even, const float* even, int64_t n,
                float* acc) {
  for (int64_t c = 0; c < n; ++c) {
    acc[c] = std::fma(p_odd, odd[c], acc[c]);
    acc[c] = std::fma(p_even, even[c], acc[c]);
  }
}

// Rows decoded to floats.
class Rows {
 public:
  Rows(const RowLayout& layout, const std::byte* const* rows, int64_t count)
      : values_(static_cast<size_t>(count * layout.dim)) {
    for (int64_t j = 0; j < count; ++j) {
      float* row = values_.data() + j * layout.dim;
      DecodeRow(layout, rows[j], {row, static_cast<size_t>(layout.dim)});
      pointers_.push_back(row);
    }
  }
  const float* const* pointers() const { return pointers_.data(); }

 private:
  std::vector<float> values_;
  std::vector<const float*> pointers_;
};

}  // namespace

FATHOM_FMA_CLONES
float DotPairs(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; i += 2) {
    sum = std::fma(a[i + 1], b[i + 1], sum);
    sum = std::fma(a[i], b[i], sum);
  }
  return sum;
}

void Attend(const AttentionTask& task) {
  const auto round = [&](float value) { return task.round ? numerics::RoundToBF16(value) : value; };
  const int64_t dim = task.head_dim;
  std::vector<float> acc(static_cast<size_t>(dim));
  const Rows all(task.layout, task.rows, task.count);
  for (int64_t h = task.head_begin; h < task.head_end; ++h) {
    const float* q = task.q + h * dim;
    std::fill(acc.begin(), acc.end(), 0.0f);
    float max = -std::numeric_limits<float>::infinity();
    float denominator = 0;
    for (int64_t begin = 0, n = 0; begin < task.count; begin += n) {
      n = task.BlockRows(begin);
      const float* const* rows = all.pointers() + begin;
      float p[kAttentionBlock + 1] = {};
      float new_max = max;
      for (int64_t j = 0; j < n; ++j) {
        p[j] = DotPairs(q, rows[j], dim) * task.scale;
        new_max = std::max(new_max, p[j]);
      }
      const float shrink = numerics::Exp(max - new_max);
      float sum = 0;
      for (int64_t j = 0; j < n; ++j) {
        p[j] = numerics::Exp(p[j] - new_max);
        sum += p[j];
        p[j] = round(p[j]);
      }
      denominator = denominator * shrink + sum;
      max = new_max;
      for (float& value : acc) value *= shrink;
      // An odd last row is paired with itself at probability zero.
      for (int64_t j = 0; j < n; j += 2)
        AddRowPair(p[j + 1], rows[std::min(j + 1, n - 1)], p[j], rows[j], dim, acc.data());
    }
    denominator += numerics::Exp(task.sink[h] - max);
    for (int64_t c = 0; c < dim; ++c)
      task.o[h * dim + c] = round(acc[static_cast<size_t>(c)] / denominator);
  }
}

void IndexPack(const IndexQuery& query, int64_t heads, bool, float* packed, float*) {
  const RowLayout& layout = query.keys.layout;
  for (int64_t h = 0; h < heads; ++h)
    DecodeRow(layout, query.q + h * layout.bytes(),
              {packed + h * layout.dim, static_cast<size_t>(layout.dim)});
}

void IndexScores(const IndexTask& task) {
  const auto round = [&](float value) { return task.round ? numerics::RoundToBF16(value) : value; };
  const int64_t dim = task.keys.layout.dim;
  std::vector<float> key(static_cast<size_t>(dim));
  for (int64_t b = task.begin; b < task.end; ++b) {
    DecodeRow(task.keys.layout, task.keys.row(b), key);
    for (int64_t i = 0; i < task.count; ++i) {
      const float* q = task.packed + i * task.packed_stride;
      float lanes[16] = {};
      for (int64_t h = 0; h < task.heads; ++h) {
        const float dot = round(DotPairs(q + h * dim, key.data(), dim));
        lanes[h % 16] += round(std::max(dot, 0.0f) * task.queries[i].weights[h]);
      }
      task.scores[i * task.scores_stride + b - task.begin] = round(Fold16(lanes));
    }
  }
}

int64_t CollectAbove(const float* scores, int64_t n, float bound, int32_t* out) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    out[count] = static_cast<int32_t>(i);
    count += scores[i] > bound ? 1 : 0;
  }
  return count;
}

}  // namespace fathom::kernels::reference
