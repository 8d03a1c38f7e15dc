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

FATHOM_FMA_CLONES
float DotPairs(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; i += 2) {
    sum = std::fma(a[i + 1], b[i + 1], sum);
    sum = std::fma(a[i], b[i], sum);
  }
  return sum;
}

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

// Inputs of a step of a tile.
constexpr int64_t kStep = 32;

int64_t WholeSteps(int64_t n) { return (n + kStep - 1) / kStep * kStep; }

// sum of a[i] * b[i] in steps: even and odd places apart, from zero, then both to the sum. n is
// whole steps.
FATHOM_FMA_CLONES
float DotSteps(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t step = 0; step < n; step += kStep) {
    float even = 0, odd = 0;
    for (int64_t i = step; i < step + kStep; i += 2) {
      even = std::fma(a[i], b[i], even);
      odd = std::fma(a[i + 1], b[i + 1], odd);
    }
    sum += even + odd;
  }
  return sum;
}

// acc[c] = acc[c] * shrink + sum of p[j] * rows[j][c] in steps; n is whole steps. A line of each
// row at a time, because whole rows lie in the same places of a cache.
FATHOM_FMA_CLONES
void AddRowSteps(const float* p, const float* const* rows, int64_t n, float shrink, int64_t dim,
                 float* acc) {
  constexpr int64_t kLine = 16;
  for (int64_t begin = 0; begin < dim; begin += kLine) {
    const int64_t width = std::min(kLine, dim - begin);
    float sum[kLine] = {};
    for (int64_t step = 0; step < n; step += kStep) {
      float parts[2][kLine] = {};
      for (int64_t j = step; j < step + kStep; ++j)
        for (int64_t c = 0; c < width; ++c)
          parts[j % 2][c] = std::fma(p[j], rows[j][begin + c], parts[j % 2][c]);
      for (int64_t c = 0; c < width; ++c) sum[c] += parts[0][c] + parts[1][c];
    }
    for (int64_t c = 0; c < width; ++c) acc[begin + c] = std::fma(acc[begin + c], shrink, sum[c]);
  }
}

// The orders of the two products (sparse_attention.h). q and the rows are whole steps of channels,
// with zeros past dim.
struct PairOrder {
  static float Score(const float* q, const float* row, int64_t dim) {
    return DotPairs(q, row, dim);
  }
  // acc = acc * shrink + the rows' values. p is zero past n.
  static void AddValues(const float* p, const float* const* rows, int64_t n, float shrink,
                        std::vector<float>& acc) {
    for (float& value : acc) value *= shrink;
    // An odd last row is paired with itself at probability zero.
    for (int64_t j = 0; j < n; j += 2)
      AddRowPair(p[j + 1], rows[std::min(j + 1, n - 1)], p[j], rows[j], std::ssize(acc),
                 acc.data());
  }
};

struct TileOrder {
  static float Score(const float* q, const float* row, int64_t dim) {
    return DotSteps(q, row, WholeSteps(dim));
  }
  static void AddValues(const float* p, const float* const* rows, int64_t n, float shrink,
                        std::vector<float>& acc) {
    const std::vector<float> zeros(acc.size());
    const float* padded[kAttentionBlock];
    for (int64_t j = 0; j < kAttentionBlock; ++j) padded[j] = j < n ? rows[j] : zeros.data();
    AddRowSteps(p, padded, WholeSteps(n), shrink, std::ssize(acc), acc.data());
  }
};

// Rows decoded to floats, in whole steps.
class Rows {
 public:
  Rows(const RowLayout& layout, const std::byte* const* rows, int64_t count)
      : values_(static_cast<size_t>(count * WholeSteps(layout.dim))) {
    for (int64_t j = 0; j < count; ++j) {
      float* row = values_.data() + j * WholeSteps(layout.dim);
      DecodeRow(layout, rows[j], {row, static_cast<size_t>(layout.dim)});
      pointers_.push_back(row);
    }
  }
  const float* const* pointers() const { return pointers_.data(); }

 private:
  std::vector<float> values_;
  std::vector<const float*> pointers_;
};

template <typename Order>
void AttendIn(const AttentionTask& task) {
  const auto round = [&](float value) { return task.round ? numerics::RoundToBF16(value) : value; };
  const int64_t dim = task.head_dim;
  std::vector<float> acc(static_cast<size_t>(dim));
  std::vector<float> q(static_cast<size_t>(WholeSteps(dim)));
  const Rows all(task.layout, task.rows, task.count);
  for (int64_t h = task.head_begin; h < task.head_end; ++h) {
    std::copy_n(task.q + h * dim, dim, q.begin());
    std::fill(acc.begin(), acc.end(), 0.0f);
    float max = -std::numeric_limits<float>::infinity();
    float denominator = 0;
    for (int64_t begin = 0, n = 0; begin < task.count; begin += n) {
      n = task.BlockRows(begin);
      const float* const* rows = all.pointers() + begin;
      float p[kAttentionBlock + 1] = {};
      float new_max = max;
      for (int64_t j = 0; j < n; ++j) {
        p[j] = Order::Score(q.data(), rows[j], dim) * task.scale;
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
      Order::AddValues(p, rows, n, shrink, acc);
    }
    denominator += numerics::Exp(task.sink[h] - max);
    for (int64_t c = 0; c < dim; ++c)
      task.o[h * dim + c] = round(acc[static_cast<size_t>(c)] / denominator);
  }
}

}  // namespace

void Attend(const AttentionTask& task) { AttendIn<PairOrder>(task); }

void AttendInTiles(const AttentionTask& task) {
  if (!task.round) return Attend(task);
  AttendIn<TileOrder>(task);
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
