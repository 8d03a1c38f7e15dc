// Attention, index scores and the float32 product of the AVX-512 path: the shared templates, with
// inner loops of their own for official mode, where all operands are BF16 values and two of them
// travel in one 32-bit lane through vdpbf16ps. Pure mode uses the float loops.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/attention.h"
#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

// acc + odd * odd, then + even * even, per lane; pairs are 32-bit lanes with the even element low.
__m512 DotPair(__m512 acc, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

// The BF16 values of `even` and `odd` as pairs.
__m512i PairUp(__m512 even, __m512 odd) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even), 16);
  return _mm512_mask_blend_epi16(0xaaaaaaaau, low, _mm512_castps_si512(odd));
}

struct Bf16Loops {
  using V = Vec512;

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

  static void Score(const float* queries, int64_t heads, int64_t dim, const float* const* rows,
                    int64_t n, float* packed, float* scores) {
    uint32_t* row_pairs = reinterpret_cast<uint32_t*>(packed);
    const int64_t stride = PadToLanes(dim / 2);
    for (int64_t j = 0; j < n; ++j)
      for (int64_t c = 0; c < dim; c += 2 * kLanes)
        PackPairs(rows[j] + c, Smaller(2 * kLanes, dim - c), row_pairs + j * stride + c / 2);
    const ScoreBlock block{
        reinterpret_cast<const uint32_t*>(queries), heads, dim / 2, row_pairs, stride, scores};
    int64_t h = 0;
    for (; h + 4 * kLanes <= heads; h += 4 * kLanes) ScoreHeads<6, 4>(block, h, n);
    for (; h + 2 * kLanes <= heads; h += 2 * kLanes) ScoreHeads<8, 2>(block, h, n);
    for (; h < heads; h += kLanes) ScoreHeads<8, 1>(block, h, n);
  }

  static void Accumulate(float* scores, int64_t heads, int64_t count, const float* const* rows,
                         int64_t n, int64_t dim, int64_t width, float* packed, const float* shrink,
                         float* acc) {
    // Probabilities in pairs of rows, in place: pair j is written after row 2 j was read.
    const int64_t pairs = (n + 1) / 2;
    uint32_t* p = reinterpret_cast<uint32_t*>(scores);
    for (int64_t j = 0; j < pairs; ++j)
      for (int64_t h = 0; h < heads; h += kLanes)
        _mm512_store_si512(p + j * heads + h, PairUp(V::Load(scores + 2 * j * heads + h),
                                                     V::Load(scores + (2 * j + 1) * heads + h)));
    // Row values likewise; an odd last row is paired with itself at probability zero.
    uint32_t* values = reinterpret_cast<uint32_t*>(packed);
    for (int64_t j = 0; j < pairs; ++j) {
      const float* even = rows[2 * j];
      const float* odd = rows[Smaller(2 * j + 1, n - 1)];
      for (int64_t c = 0; c < dim; c += kLanes) {
        const int64_t lanes = Smaller(kLanes, dim - c);
        _mm512_store_si512(values + j * width + c,
                           PairUp(V::Load(even + c, lanes), V::Load(odd + c, lanes)));
      }
    }
    const ValueBlock block{p, heads, values, width, pairs, shrink, acc};
    int64_t c = 0;
    for (; c + 2 * kLanes <= width; c += 2 * kLanes) ValueHeads<2>(block, count, c);
    for (; c < width; c += kLanes) ValueHeads<1>(block, count, c);
  }

 private:
  struct ScoreBlock {
    const uint32_t* queries;
    int64_t heads;
    int64_t pairs;  // along the channels
    const uint32_t* rows;
    int64_t row_stride;
    float* scores;
  };
  struct ValueBlock {
    const uint32_t* p;
    int64_t heads;
    const uint32_t* values;
    int64_t width;
    int64_t pairs;  // of rows
    const float* shrink;
    float* acc;
  };

  // n <= 32 consecutive BF16 values held as floats -> 16 pairs, zeros past n.
  static void PackPairs(const float* x, int64_t n, uint32_t* out) {
    const __m512i low = _mm512_castps_si512(V::Load(x, Smaller(kLanes, n)));
    const __m512i high =
        n > kLanes ? _mm512_castps_si512(V::Load(x + kLanes, n - kLanes)) : _mm512_setzero_si512();
    _mm512_storeu_si512(out, UpperHalves(low, high));
  }

  // The upper 16 bits of the 32 dwords of a and b.
  static __m512i UpperHalves(__m512i a, __m512i b) {
    const __m256i low = _mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16));
    const __m256i high = _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, 16));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }

  template <int kRows, int kVecs>
  static void ScoreHeads(const ScoreBlock& block, int64_t h, int64_t n) {
    int64_t j = 0;
    for (; j + kRows <= n; j += kRows) ScoreTile<kRows, kVecs>(block, h, j);
    for (; j + 2 <= n; j += 2) ScoreTile<2, kVecs>(block, h, j);
    for (; j < n; ++j) ScoreTile<1, kVecs>(block, h, j);
  }

  template <int kRows, int kVecs>
  static void ScoreTile(const ScoreBlock& block, int64_t h, int64_t j) {
    const uint32_t* rows = block.rows + j * block.row_stride;
    const uint32_t* queries = block.queries + h;
    __m512 sum[kRows][kVecs];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) sum[i][v] = _mm512_setzero_ps();
    }
    for (int64_t c = 0; c < block.pairs; ++c, queries += block.heads) {
      __m512i q[kVecs];
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) q[v] = _mm512_load_si512(queries + v * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const __m512i row = _mm512_set1_epi32(static_cast<int>(rows[i * block.row_stride + c]));
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) sum[i][v] = DotPair(sum[i][v], q[v], row);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v)
        V::Store(block.scores + (j + i) * block.heads + h + v * kLanes, sum[i][v]);
    }
  }

  template <int kVecs>
  static void ValueHeads(const ValueBlock& block, int64_t count, int64_t c) {
    int64_t h = 0;
    for (; h + 8 <= count; h += 8) ValueTile<8, kVecs>(block, h, c);
    for (; h < count; ++h) ValueTile<1, kVecs>(block, h, c);
  }

  template <int kHeads, int kVecs>
  static void ValueTile(const ValueBlock& block, int64_t h, int64_t c) {
    __m512 sum[kHeads][kVecs];
#pragma GCC unroll 8
    for (int i = 0; i < kHeads; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v)
        sum[i][v] = V::Mul(V::Load(block.acc + (h + i) * block.width + c + v * kLanes),
                           V::Set(block.shrink[h + i]));
    }
    for (int64_t j = 0; j < block.pairs; ++j) {
      __m512i value[kVecs];
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v)
        value[v] = _mm512_load_si512(block.values + j * block.width + c + v * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kHeads; ++i) {
        const __m512i p = _mm512_set1_epi32(static_cast<int>(block.p[j * block.heads + h + i]));
#pragma GCC unroll 2
        for (int v = 0; v < kVecs; ++v) sum[i][v] = DotPair(sum[i][v], p, value[v]);
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

}  // namespace

void AttendAvx512(const AttentionTask& task) {
  if (task.round) {
    Attend<Bf16Loops>(task);
  } else {
    Attend<FloatLoops<Vec512>>(task);
  }
}

void IndexScoresAvx512(const IndexTask& task) {
  if (task.round) {
    IndexScores<Bf16Loops>(task);
  } else {
    IndexScores<FloatLoops<Vec512>>(task);
  }
}

void DotF32Avx512(const DotTask& task, const float* const* x) { DotF32<Vec512>(task, x); }

}  // namespace fathom::kernels::cpu

#endif
