// Attention and index scores over vectors of 16 lanes, shared by the instruction sets: K is a set
// of inner loops (FloatLoops below, or a faster one), K::V its vector type. A score has lane =
// head: queries are transposed so that one row value meets 16 heads. A value sum has lane =
// channel. Both orders of addition are those of sparse_attention.h and indexer.h. Templates are
// instantiated only with types of one instruction set and plain functions are static, so that code
// compiled for one instruction set is never linked into another's.
#pragma once

#include <cstdint>

#include "kernels/paths.h"

namespace fathom::kernels::cpu {

inline constexpr int64_t kLanes = 16;

static constexpr int64_t PadToLanes(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }
static constexpr int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The inner loops on float32 operands: right for any values, in both modes.
template <typename Vec>
struct FloatLoops {
  using V = Vec;
  using F = typename V::F;

  // queries [dim, heads] <- q [count, dim]; zeros for the heads past count.
  static void PackQueries(const float* q, int64_t count, int64_t heads, int64_t dim,
                          float* queries) {
    // In tiles of one vector each way, which keeps the strided side in a few cache lines.
    for (int64_t h0 = 0; h0 < heads; h0 += kLanes) {
      for (int64_t c0 = 0; c0 < dim; c0 += kLanes) {
        for (int64_t h = h0; h < h0 + kLanes; ++h)
          for (int64_t c = c0; c < Smaller(c0 + kLanes, dim); ++c)
            queries[c * heads + h] = h < count ? q[h * dim + c] : 0.0f;
      }
    }
  }

  // scores[j * heads + h] = q_h . row_j for j < n.
  static void Score(const float* queries, int64_t heads, int64_t dim, const float* const* rows,
                    int64_t n, float*, float* scores) {
    for (int64_t h = 0; h < heads; h += kLanes) {
      int64_t j = 0;
      for (; j + 4 <= n; j += 4)
        ScoreTile<4>(queries + h, heads, dim, rows + j, scores + j * heads + h);
      for (; j < n; ++j) ScoreTile<1>(queries + h, heads, dim, rows + j, scores + j * heads + h);
    }
  }

  // acc [count, width] <- acc * shrink + sum over pairs of rows. scores is [n (+ 1), heads], with
  // zeros in row n when n is odd.
  static void Accumulate(float* scores, int64_t heads, int64_t count, const float* const* rows,
                         int64_t n, int64_t dim, int64_t width, float*, const float* shrink,
                         float* acc) {
    const ValueBlock block{scores, heads, rows, n, width, shrink, acc};
    constexpr int64_t kTileDims = kLanes * V::kValueVecs;
    int64_t c = 0;
    for (; c + kTileDims <= dim; c += kTileDims) Heads<V::kValueVecs>(block, count, c, kLanes);
    for (; c < dim; c += kLanes) Heads<1>(block, count, c, Smaller(kLanes, dim - c));
  }

 private:
  struct ValueBlock {
    const float* p;
    int64_t heads;
    const float* const* rows;
    int64_t n;
    int64_t width;
    const float* shrink;
    float* acc;
  };

  template <int kRows>
  static void ScoreTile(const float* queries, int64_t heads, int64_t dim, const float* const* rows,
                        float* scores) {
    F sum[kRows];
#pragma GCC unroll 8
    for (int j = 0; j < kRows; ++j) sum[j] = V::Zero();
    for (int64_t c = 0; c < dim; c += 2) {
#pragma GCC unroll 2
      for (int64_t k = c + 1; k >= c; --k) {
        const F q = V::Load(queries + k * heads);
#pragma GCC unroll 8
        for (int j = 0; j < kRows; ++j) sum[j] = V::Fma(q, V::Set(rows[j][k]), sum[j]);
      }
    }
#pragma GCC unroll 8
    for (int j = 0; j < kRows; ++j) V::Store(scores + j * heads, sum[j]);
  }

  template <int kVecs>
  static void Heads(const ValueBlock& block, int64_t count, int64_t c, int64_t lanes) {
    int64_t h = 0;
    for (; h + V::kValueHeads <= count; h += V::kValueHeads)
      ValueTile<V::kValueHeads, kVecs>(block, h, c, lanes);
    for (; h < count; ++h) ValueTile<1, kVecs>(block, h, c, lanes);
  }

  // kHeads heads and kVecs vectors of channels from c on; only `lanes` of the last are read.
  template <int kHeads, int kVecs>
  static void ValueTile(const ValueBlock& block, int64_t h, int64_t c, int64_t lanes) {
    F sum[kHeads][kVecs];
#pragma GCC unroll 8
    for (int i = 0; i < kHeads; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v)
        sum[i][v] = V::Mul(V::Load(block.acc + (h + i) * block.width + c + v * kLanes),
                           V::Set(block.shrink[h + i]));
    }
    for (int64_t j = 0; j < block.n; j += 2) {
#pragma GCC unroll 2
      for (int64_t k = j + 1; k >= j; --k) {
        // An odd last row is paired with itself at probability zero.
        const float* row = block.rows[Smaller(k, block.n - 1)] + c;
        F value[kVecs];
#pragma GCC unroll 2
        for (int v = 0; v < kVecs; ++v)
          value[v] = lanes == kLanes ? V::Load(row + v * kLanes) : V::Load(row, lanes);
#pragma GCC unroll 8
        for (int i = 0; i < kHeads; ++i) {
          const F p = V::Set(block.p[k * block.heads + h + i]);
#pragma GCC unroll 2
          for (int v = 0; v < kVecs; ++v) sum[i][v] = V::Fma(p, value[v], sum[i][v]);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kHeads; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v)
        V::Store(block.acc + (h + i) * block.width + c + v * kLanes, sum[i][v]);
    }
  }
};

// Running values of a head, [heads] each.
struct Running {
  float* max;
  float* denominator;
  float* shrink;
};

// scores [n, heads] become probabilities against the running maximum, and an odd n gets a row of
// zeros.
template <typename V>
void SoftmaxBlock(float* scores, int64_t n, int64_t heads, float scale, bool round,
                  const Running& running) {
  using F = typename V::F;
  for (int64_t h = 0; h < heads; h += kLanes) {
    const F old_max = V::Load(running.max + h);
    F max = old_max;
    for (int64_t j = 0; j < n; ++j) {
      float* score = scores + j * heads + h;
      const F scaled = V::Mul(V::Load(score), V::Set(scale));
      max = V::Max(scaled, max);
      V::Store(score, scaled);
    }
    const F shrink = V::Exp(V::Sub(old_max, max));
    F sum = V::Zero();
    for (int64_t j = 0; j < n; ++j) {
      float* score = scores + j * heads + h;
      const F p = V::Exp(V::Sub(V::Load(score), max));
      sum = V::Add(sum, p);
      V::Store(score, round ? V::RoundToBF16(p) : p);
    }
    if (n % 2 != 0) V::Store(scores + n * heads + h, V::Zero());
    V::Store(running.max + h, max);
    V::Store(running.shrink + h, shrink);
    V::Store(running.denominator + h,
             V::Add(V::Mul(V::Load(running.denominator + h), shrink), sum));
  }
}

// The working memory of a task, cut into its parts; each starts on a vector.
struct AttentionScratch {
  int64_t heads;   // padded
  int64_t width;   // head_dim padded
  float* queries;  // [head_dim, heads]
  float* acc;      // [heads, width]
  float* scores;   // [kAttentionBlock, heads]
  Running running;
  float* rows;  // [kAttentionBlock, width]: K's own copy of a block
};

// `p` rounded up to a whole vector.
static inline float* AlignToVector(float* p) {
  constexpr uintptr_t kBytes = 64;
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(p) + kBytes - 1) / kBytes * kBytes);
}

static inline AttentionScratch CutScratch(const AttentionTask& task) {
  AttentionScratch s{};
  s.heads = PadToLanes(task.head_end - task.head_begin);
  s.width = PadToLanes(task.head_dim);
  s.queries = AlignToVector(task.scratch);
  s.acc = s.queries + s.heads * task.head_dim;
  s.scores = s.acc + s.heads * s.width;
  s.running.max = s.scores + kAttentionBlock * s.heads;
  s.running.denominator = s.running.max + s.heads;
  s.running.shrink = s.running.denominator + s.heads;
  s.rows = s.running.shrink + s.heads;
  return s;
}

template <typename K>
void Attend(const AttentionTask& task) {
  using V = typename K::V;
  using F = typename V::F;
  const int64_t dim = task.head_dim, count = task.head_end - task.head_begin;
  const AttentionScratch s = CutScratch(task);
  K::PackQueries(task.q + task.head_begin * dim, count, s.heads, dim, s.queries);
  for (int64_t i = 0; i < s.heads * s.width; ++i) s.acc[i] = 0;
  for (int64_t h = 0; h < s.heads; ++h) {
    s.running.max[h] = -__builtin_inff();
    s.running.denominator[h] = 0;
  }
  for (int64_t begin = 0, n = 0; begin < task.count; begin += n) {
    n = task.BlockRows(begin);
    const float* const* rows = task.rows + begin;
    K::Score(s.queries, s.heads, dim, rows, n, s.rows, s.scores);
    SoftmaxBlock<V>(s.scores, n, s.heads, task.scale, task.round, s.running);
    K::Accumulate(s.scores, s.heads, count, rows, n, dim, s.width, s.rows, s.running.shrink, s.acc);
  }
  float* denominator = s.running.denominator;
  for (int64_t h = 0; h < count; h += kLanes) {
    const F sink = V::Load(task.sink + task.head_begin + h, Smaller(kLanes, count - h));
    const F mass = V::Exp(V::Sub(sink, V::Load(s.running.max + h)));
    V::Store(denominator + h, V::Add(V::Load(denominator + h), mass));
  }
  for (int64_t h = 0; h < count; ++h) {
    float* o = task.o + (task.head_begin + h) * dim;
    const F divisor = V::Set(denominator[h]);
    for (int64_t c = 0; c < dim; c += kLanes) {
      const F value = V::Div(V::Load(s.acc + h * s.width + c), divisor);
      V::Store(o + c, task.round ? V::RoundToBF16(value) : value, Smaller(kLanes, dim - c));
    }
  }
}

// Keys scored before their heads are summed.
inline constexpr int64_t kKeysPerPass = 16;

template <typename K>
void IndexScores(const IndexTask& task) {
  using V = typename K::V;
  using F = typename V::F;
  const int64_t heads = PadToLanes(task.heads);
  float* queries = AlignToVector(task.scratch);
  float* scores = queries + heads * task.dim;
  float* packed = scores + kKeysPerPass * heads;
  K::PackQueries(task.q, task.heads, heads, task.dim, queries);
  const float* rows[kKeysPerPass];
  for (int64_t begin = task.begin; begin < task.end; begin += kKeysPerPass) {
    const int64_t n = Smaller(kKeysPerPass, task.end - begin);
    for (int64_t j = 0; j < n; ++j) rows[j] = task.keys + (begin + j) * task.dim;
    K::Score(queries, heads, task.dim, rows, n, packed, scores);
    for (int64_t j = 0; j < n; ++j) {
      F lanes = V::Zero();
      for (int64_t h = 0; h < task.heads; h += kLanes) {
        const int64_t width = Smaller(kLanes, task.heads - h);
        F dot = V::Load(scores + j * heads + h);
        if (task.round) dot = V::RoundToBF16(dot);
        F term = V::Mul(V::Max(V::Zero(), dot), V::Load(task.weights + h, width));
        if (task.round) term = V::RoundToBF16(term);
        lanes = V::AddFirst(lanes, term, width);
      }
      F sum = V::Set(V::Fold(lanes));
      if (task.round) sum = V::RoundToBF16(sum);
      V::Store(task.scores + (begin - task.begin + j), sum, 1);
    }
  }
}

}  // namespace fathom::kernels::cpu
