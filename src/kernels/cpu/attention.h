// Attention over vectors of 16 lanes, shared by the instruction sets: K is a set of inner loops
// (FloatLoops below, or a faster one), K::V its vector type. The rows of a block are decoded once
// for all heads of the task. A score has lane = head: queries are transposed so that one row value
// meets 16 heads. A value sum has lane = channel. Templates are
// instantiated only with types of one instruction set and plain functions are static, so that code
// compiled for one instruction set is never linked into another's.
#pragma once

#include <cstdint>

#include "kernels/cpu/decode_row.h"
#include "kernels/cpu/sizes.h"
#include "kernels/paths.h"

namespace fathom::kernels::cpu {

// Rows of a list that are taken together, and those that come next, for fetching ahead.
struct RowBlock {
  RowLayout layout;
  const std::byte* const* rows;
  int64_t n;
  const std::byte* const* next;
  int64_t next_n;
};

// Running values of a head, [heads] each.
struct Running {
  float* max;
  float* denominator;
  float* shrink;
};

// The heads of a task and what they have summed up so far.
struct Heads {
  int64_t count;
  int64_t padded;  // to whole vectors
  int64_t width;   // head_dim padded likewise
  float* acc;      // [padded, width]
  Running running;
};

// The inner loops on float32 operands: right for any values, in both modes.
template <typename Vec>
struct FloatLoops {
  using V = Vec;
  using F = typename V::F;

  // A block's rows as floats.
  struct Rows {
    const float* row[kAttentionBlock];
  };

  // memory [n, width]: where rows that are no floats are decoded to.
  static void Decode(const RowBlock& block, int64_t width, float* memory, Rows& rows) {
    for (int64_t j = 0; j < block.n; ++j) {
      if (block.layout.format == RowFormat::kF32) {
        rows.row[j] = reinterpret_cast<const float*>(block.rows[j]);
      } else {
        RowDecoder<V>::Decode(block.layout, block.rows[j], memory + j * width);
        rows.row[j] = memory + j * width;
      }
    }
  }

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
  static void Score(const float* queries, int64_t heads, int64_t dim, const RowBlock& block,
                    const Rows& decoded, float* scores) {
    const float* const* rows = decoded.row;
    const int64_t n = block.n;
    for (int64_t h = 0; h < heads; h += kLanes) {
      int64_t j = 0;
      for (; j + 4 <= n; j += 4)
        ScoreTile<4>(queries + h, heads, dim, rows + j, scores + j * heads + h);
      for (; j < n; ++j) ScoreTile<1>(queries + h, heads, dim, rows + j, scores + j * heads + h);
    }
  }

  // acc [count, width] <- acc * shrink + sum over pairs of rows. scores is [n (+ 1), heads], with
  // zeros in row n when n is odd.
  static void Accumulate(const Heads& task, int64_t dim, const RowBlock& rows, const Rows& decoded,
                         float* scores) {
    const int64_t count = task.count;
    const ValueBlock block{scores,     task.padded,         decoded.row, rows.n,
                           task.width, task.running.shrink, task.acc};
    constexpr int64_t kTileDims = kLanes * V::kValueVecs;
    int64_t c = 0;
    for (; c + kTileDims <= dim; c += kTileDims) ValueHeads<V::kValueVecs>(block, count, c, kLanes);
    for (; c < dim; c += kLanes) ValueHeads<1>(block, count, c, Smaller(kLanes, dim - c));
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
  static void ValueHeads(const ValueBlock& block, int64_t count, int64_t c, int64_t lanes) {
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
  Heads heads;
  float* queries;  // [head_dim, heads.padded]
  float* scores;   // [kAttentionBlock, heads.padded]
  float* rows;     // a block's rows in K's form
};

// `p` rounded up to a whole vector.
static inline float* AlignToVector(float* p) {
  constexpr uintptr_t kBytes = 64;
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(p) + kBytes - 1) / kBytes * kBytes);
}

static inline AttentionScratch CutScratch(const AttentionTask& task) {
  AttentionScratch s{};
  Heads& heads = s.heads;
  heads.count = task.head_end - task.head_begin;
  heads.padded = PadToLanes(heads.count);
  heads.width = PadToLanes(task.head_dim);
  s.queries = AlignToVector(task.scratch);
  heads.acc = s.queries + heads.padded * task.head_dim;
  s.scores = heads.acc + heads.padded * heads.width;
  heads.running.max = s.scores + kAttentionBlock * heads.padded;
  heads.running.denominator = heads.running.max + heads.padded;
  heads.running.shrink = heads.running.denominator + heads.padded;
  s.rows = heads.running.shrink + heads.padded;
  return s;
}

// o = acc / (denominator + exp(sink - max)).
template <typename V>
void FinishHeads(const AttentionTask& task, const Heads& heads) {
  using F = typename V::F;
  const int64_t dim = task.head_dim, count = heads.count;
  float* denominator = heads.running.denominator;
  for (int64_t h = 0; h < count; h += kLanes) {
    const F sink = V::Load(task.sink + task.head_begin + h, Smaller(kLanes, count - h));
    const F mass = V::Exp(V::Sub(sink, V::Load(heads.running.max + h)));
    V::Store(denominator + h, V::Add(V::Load(denominator + h), mass));
  }
  for (int64_t h = 0; h < count; ++h) {
    float* o = task.o + (task.head_begin + h) * dim;
    const F divisor = V::Set(denominator[h]);
    for (int64_t c = 0; c < dim; c += kLanes) {
      const F value = V::Div(V::Load(heads.acc + h * heads.width + c), divisor);
      V::Store(o + c, task.round ? V::RoundToBF16(value) : value, Smaller(kLanes, dim - c));
    }
  }
}

template <typename K>
void Attend(const AttentionTask& task) {
  using V = typename K::V;
  const int64_t dim = task.head_dim;
  const AttentionScratch s = CutScratch(task);
  const Heads& heads = s.heads;
  K::PackQueries(task.q + task.head_begin * dim, heads.count, heads.padded, dim, s.queries);
  for (int64_t i = 0; i < heads.padded * heads.width; ++i) heads.acc[i] = 0;
  for (int64_t h = 0; h < heads.padded; ++h) {
    heads.running.max[h] = -__builtin_inff();
    heads.running.denominator[h] = 0;
  }
  typename K::Rows rows;
  for (int64_t begin = 0, n = 0; begin < task.count; begin += n) {
    n = task.BlockRows(begin);
    const RowBlock block{task.layout, task.rows + begin, n, task.rows + begin + n,
                         Smaller(kAttentionBlock, task.count - begin - n)};
    K::Decode(block, heads.width, s.rows, rows);
    K::Score(s.queries, heads.padded, dim, block, rows, s.scores);
    SoftmaxBlock<V>(s.scores, n, heads.padded, task.scale, task.round, heads.running);
    K::Accumulate(heads, dim, block, rows, s.scores);
  }
  FinishHeads<V>(task, heads);
}

}  // namespace fathom::kernels::cpu
