// The inner loops of attention.h for official mode on AVX-512: all operands are BF16 values, and
// two of them travel in one 32-bit lane through vdpbf16ps. Everything here is private to the file
// that includes it.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/bf16_rows.h"

namespace fathom::kernels::cpu {
namespace {

// acc + odd * odd, then + even * even, per lane; pairs are 32-bit lanes with the even element low.
inline __m512 DotPair(__m512 acc, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

struct Bf16Loops {
  using V = Vec512;
  using Rows = PairedRows;

  // queries [dim / 2, heads] in pairs along the channels.
  static void PackQueries(const float* q, int64_t count, int64_t heads, int64_t dim,
                          float* queries) {
    uint32_t* pairs = reinterpret_cast<uint32_t*>(queries);
    for (int64_t h0 = 0; h0 < heads; h0 += kLanes) {
      for (int64_t c0 = 0; c0 < dim; c0 += 2 * kLanes) {
        alignas(64) uint32_t tile[kLanes][kLanes] = {};
        for (int64_t h = h0; h < Smaller(h0 + kLanes, count); ++h)
          PackPairs(q + h * dim + c0, Smaller(2 * kLanes, dim - c0), tile[h - h0]);
        for (int64_t c = 0; c < Smaller(kLanes, (dim - c0) / 2); ++c)
          for (int64_t h = 0; h < kLanes; ++h) pairs[(c0 / 2 + c) * heads + h0 + h] = tile[h][c];
      }
    }
  }

  static void Decode(const RowBlock& block, int64_t, float* memory, Rows& rows) {
    rows.stride = RowStride(block.layout.dim);
    rows.pairs = reinterpret_cast<uint32_t*>(memory);
    rows.values = rows.pairs + kAttentionBlock * rows.stride;
    // Values are paired when all rows are there; until then their place is free.
    float* spare = memory + kAttentionBlock * rows.stride;
    for (int64_t j = 0; j < block.n; ++j)
      RowToBF16(block.layout, block.rows[j], spare, rows.pairs + j * rows.stride);
  }

  static void Score(const float* queries, int64_t heads, int64_t dim, const RowBlock& block,
                    const Rows& rows, float* scores) {
    const ScoreBlock task{reinterpret_cast<const uint32_t*>(queries),
                          heads,
                          dim / 2,
                          rows.pairs,
                          rows.stride,
                          block.n,
                          scores};
    // Rows of the first tiles below; the next block is fetched by the end of them.
    const int64_t tile_rows = heads >= 4 * kLanes ? 6 : heads >= 2 * kLanes ? 12 : 8;
    Fetch fetch(block,
                (block.n + tile_rows - 1) / tile_rows * ((dim / 2 + kStepPairs - 1) / kStepPairs));
    int64_t h = 0;
    for (; h + 4 * kLanes <= heads; h += 4 * kLanes) ScoreHeads<6, 4>(task, h, fetch);
    for (; h + 2 * kLanes <= heads; h += 2 * kLanes) ScoreHeads<12, 2>(task, h, fetch);
    for (; h < heads; h += kLanes) ScoreHeads<8, 1>(task, h, fetch);
  }

  static void Accumulate(const Heads& heads, int64_t dim, const RowBlock& block, const Rows& rows,
                         float* scores) {
    // Probabilities in pairs of rows, in place: pair j is written after row 2 j was read.
    const int64_t pairs = (block.n + 1) / 2, padded = heads.padded;
    uint32_t* p = reinterpret_cast<uint32_t*>(scores);
    for (int64_t j = 0; j < pairs; ++j)
      for (int64_t h = 0; h < padded; h += kLanes)
        _mm512_store_si512(p + j * padded + h, PairUp(V::Load(scores + 2 * j * padded + h),
                                                      V::Load(scores + (2 * j + 1) * padded + h)));
    PairRows(rows, block.n, dim);
    const ValueBlock task{p, rows.values, pairs, heads};
    int64_t c = 0;
    for (; c + 2 * kLanes <= heads.width; c += 2 * kLanes) ValueHeads<2>(task, c);
    if (c < heads.width) ValueHeads<1>(task, c);
  }

 private:
  struct ScoreBlock {
    const uint32_t* queries;
    int64_t heads;
    int64_t pairs;  // along the channels
    const uint32_t* rows;
    int64_t row_stride;
    int64_t n;
    float* scores;
  };
  // Channel pairs between two calls for memory.
  static constexpr int64_t kStepPairs = 16;

  struct ValueBlock {
    const uint32_t* p;
    const uint32_t* values;
    int64_t pairs;  // of rows
    const Heads& heads;
  };

  template <int kRows, int kVecs>
  static void ScoreHeads(const ScoreBlock& task, int64_t h, Fetch& fetch) {
    int64_t j = 0;
    for (; j + kRows <= task.n; j += kRows) ScoreTile<kRows, kVecs>(task, h, j, fetch);
    for (; j + 4 <= task.n; j += 4) ScoreTile<4, kVecs>(task, h, j, fetch);
    for (; j < task.n; ++j) ScoreTile<1, kVecs>(task, h, j, fetch);
  }

  template <int kRows, int kVecs>
  static void ScoreTile(const ScoreBlock& task, int64_t h, int64_t j, Fetch& fetch) {
    const uint32_t* rows = task.rows + j * task.row_stride;
    const uint32_t* queries = task.queries + h;
    __m512 sum[kRows][kVecs];
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) sum[i][v] = _mm512_setzero_ps();
    }
    for (int64_t c0 = 0; c0 < task.pairs; c0 += kStepPairs) {
      fetch.Step();
      const int64_t end = Smaller(c0 + kStepPairs, task.pairs);
      for (int64_t c = c0; c < end; ++c, queries += task.heads) {
        __m512i q[kVecs];
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) q[v] = _mm512_load_si512(queries + v * kLanes);
#pragma GCC unroll 12
        for (int i = 0; i < kRows; ++i) {
          const __m512i row = _mm512_set1_epi32(static_cast<int>(rows[i * task.row_stride + c]));
#pragma GCC unroll 4
          for (int v = 0; v < kVecs; ++v) sum[i][v] = DotPair(sum[i][v], q[v], row);
        }
      }
    }
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v)
        V::Store(task.scores + (j + i) * task.heads + h + v * kLanes, sum[i][v]);
    }
  }

  template <int kVecs>
  static void ValueHeads(const ValueBlock& task, int64_t c) {
    int64_t h = 0;
    for (; h + 8 <= task.heads.count; h += 8) ValueTile<8, kVecs>(task, h, c);
    for (; h < task.heads.count; ++h) ValueTile<1, kVecs>(task, h, c);
  }

  template <int kHeads, int kVecs>
  static void ValueTile(const ValueBlock& task, int64_t h, int64_t c) {
    const Heads& heads = task.heads;
    const uint32_t* values = task.values + c / 32 * kPairedWords + c % 32;
    const uint32_t* p = task.p + h;
    __m512 sum[kHeads][kVecs];
#pragma GCC unroll 8
    for (int i = 0; i < kHeads; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v)
        sum[i][v] = V::Mul(V::Load(heads.acc + (h + i) * heads.width + c + v * kLanes),
                           V::Set(heads.running.shrink[h + i]));
    }
    for (int64_t j = 0; j < task.pairs; ++j, values += 32, p += heads.padded) {
      __m512i value[kVecs];
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) value[v] = _mm512_load_si512(values + v * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kHeads; ++i) {
        const __m512i pair = _mm512_set1_epi32(static_cast<int>(p[i]));
#pragma GCC unroll 2
        for (int v = 0; v < kVecs; ++v) sum[i][v] = DotPair(sum[i][v], pair, value[v]);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kHeads; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v)
        V::Store(heads.acc + (h + i) * heads.width + c + v * kLanes, sum[i][v]);
    }
  }
};

}  // namespace
}  // namespace fathom::kernels::cpu
