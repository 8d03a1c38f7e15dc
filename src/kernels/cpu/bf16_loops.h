// The inner loops of attention.h for official mode on AVX-512: all operands are BF16 values, and
// two of them travel in one 32-bit lane through vdpbf16ps. FP8 rows become BF16 by exponent
// arithmetic, without a detour over float32. Everything here is private to the file that includes
// it.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

// acc + odd * odd, then + even * even, per lane; pairs are 32-bit lanes with the even element low.
inline __m512 DotPair(__m512 acc, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

// The low and the high bytes of the E4M3 magnitudes as BF16.
struct E4M3Bytes {
  uint8_t low[128];
  uint8_t high[128];
};
constexpr E4M3Bytes MakeE4M3Bytes() {
  E4M3Bytes bytes{};
  for (int code = 0; code < 128; ++code) {
    bytes.low[code] = static_cast<uint8_t>(E4M3Magnitude(code) & 0xff);
    bytes.high[code] = static_cast<uint8_t>(E4M3Magnitude(code) >> 8);
  }
  return bytes;
}
alignas(64) constexpr E4M3Bytes kE4M3Bytes = MakeE4M3Bytes();

// Which words of two vectors a, b make the pairs (a[i], b[i]): the first 16, and the others.
struct PairWords {
  uint16_t low[32];
  uint16_t high[32];
};
constexpr PairWords MakePairWords() {
  PairWords words{};
  for (int i = 0; i < 32; ++i) {
    words.low[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
    words.high[i] = static_cast<uint16_t>(words.low[i] + 16);
  }
  return words;
}
alignas(64) constexpr PairWords kPairWords = MakePairWords();

struct Bf16Loops {
  using V = Vec512;

  // A block's rows in pairs along the channels, and room for pairs of rows.
  struct Rows {
    uint32_t* pairs;  // [n, stride]
    int64_t stride;
    uint32_t* values;  // [ceil(width / 32), kTileWords]
  };

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

  static void Decode(const RowBlock& block, int64_t width, float* memory, Rows& rows) {
    const RowLayout& layout = block.layout;
    // One vector more than needed: rows then do not meet in the same cache sets.
    rows.stride = PadToLanes(layout.dim / 2) + kLanes;
    rows.pairs = reinterpret_cast<uint32_t*>(memory);
    rows.values = rows.pairs + kAttentionBlock * rows.stride;
    for (int64_t j = 0; j < block.n; ++j) {
      uint32_t* out = rows.pairs + j * rows.stride;
      // Whole vectors are read later, and what lies past the row shall be no NaN of old.
      if (layout.dim % (2 * kLanes) != 0)
        _mm512_storeu_si512(out + PadToLanes(layout.dim / 2) - kLanes, _mm512_setzero_si512());
      if (layout.format == RowFormat::kLatent && DecodeLatent(layout, block.rows[j], out)) continue;
      const float* values = reinterpret_cast<const float*>(block.rows[j]);
      if (layout.format != RowFormat::kF32) {
        float* spare = memory + block.n * rows.stride;
        RowDecoder<V>::Decode(layout, block.rows[j], spare);
        values = spare;
      }
      for (int64_t c = 0; c < layout.dim; c += 2 * kLanes)
        PackPairs(values + c, Smaller(2 * kLanes, layout.dim - c), out + c / 2);
    }
    (void)width;
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
  // A tile of pairs of rows, 32 channels of each, and one vector more, so that tiles do not meet in
  // the same cache sets.
  static constexpr int64_t kTileWords = kAttentionBlock / 2 * 32 + kLanes;
  // Channel pairs between two calls for memory.
  static constexpr int64_t kStepPairs = 16;

  struct ValueBlock {
    const uint32_t* p;
    const uint32_t* values;
    int64_t pairs;  // of rows
    const Heads& heads;
  };

  // The BF16 values of `even` and `odd` as pairs.
  static __m512i PairUp(__m512 even, __m512 odd) {
    const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even), 16);
    return _mm512_mask_blend_epi16(0xaaaaaaaau, low, _mm512_castps_si512(odd));
  }

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

  // A latent row as BF16. False, and nothing of use in `out`, where adding exponents is not enough:
  // NaN codes, and scales whose products might leave BF16's normal numbers.
  static bool DecodeLatent(const RowLayout& layout, const std::byte* row, uint32_t* out) {
    const __m512i low0 = _mm512_load_si512(kE4M3Bytes.low);
    const __m512i low1 = _mm512_load_si512(kE4M3Bytes.low + 64);
    const __m512i high0 = _mm512_load_si512(kE4M3Bytes.high);
    const __m512i high1 = _mm512_load_si512(kE4M3Bytes.high + 64);
    // Unpacking works within 16 bytes; after this shuffle it yields codes in their order.
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    const __m512i magnitude = _mm512_set1_epi16(0x7fff);
    const uint8_t* scales = reinterpret_cast<const uint8_t*>(row + layout.scale_offset());
    uint16_t* words = reinterpret_cast<uint16_t*>(out);
    __mmask64 is_nan = 0;
    bool is_far = false;
    const int64_t codes = layout.codes();
    for (int64_t k = 0; k < codes; k += 64, words += 64) {
      const uint8_t scale = scales[k / 64];
      // Products of 2^-9 .. 448 with 2^(scale - 127).
      is_far |= scale < 10 || scale > 246;
      const int64_t n = Smaller(64, codes - k);
      __m512i code = n == 64 ? _mm512_loadu_si512(row + k) : LoadBytes(row + k, n);
      is_nan |= _mm512_cmpeq_epi8_mask(_mm512_or_si512(code, sign), _mm512_set1_epi8(-1));
      code = _mm512_permutexvar_epi64(order, code);
      const __m512i low = _mm512_permutex2var_epi8(low0, code, low1);
      const __m512i high = _mm512_or_si512(_mm512_permutex2var_epi8(high0, code, high1),
                                           _mm512_and_si512(code, sign));
      const __m512i exponent = _mm512_set1_epi16(static_cast<int16_t>((scale - 127) * 128));
      __m512i first = _mm512_unpacklo_epi8(low, high), second = _mm512_unpackhi_epi8(low, high);
      // Zeros stay zeros.
      first =
          _mm512_mask_add_epi16(first, _mm512_test_epi16_mask(first, magnitude), first, exponent);
      second = _mm512_mask_add_epi16(second, _mm512_test_epi16_mask(second, magnitude), second,
                                     exponent);
      if (n == 64) {
        _mm512_storeu_si512(words, first);
        _mm512_storeu_si512(words + 32, second);
      } else {
        StoreWords(words, first, Smaller(32, n));
        if (n > 32) StoreWords(words + 32, second, n - 32);
      }
    }
    const std::byte* rotary = row + codes;
    words = reinterpret_cast<uint16_t*>(out) + codes;
    int64_t k = 0;
    for (; k + 32 <= layout.rotary; k += 32)
      _mm512_storeu_si512(words + k, _mm512_loadu_si512(rotary + 2 * k));
    if (k < layout.rotary)
      StoreWords(words + k, LoadBytes(rotary + 2 * k, 2 * (layout.rotary - k)), layout.rotary - k);
    return is_nan == 0 && !is_far;
  }

  // The first n < 64 bytes, or n <= 32 words; masked accesses are slower than whole ones.
  static __m512i LoadBytes(const std::byte* p, int64_t n) {
    return _mm512_maskz_loadu_epi8((__mmask64{1} << n) - 1, p);
  }
  static void StoreWords(uint16_t* p, __m512i words, int64_t n) {
    _mm512_mask_storeu_epi16(p, static_cast<__mmask32>((uint64_t{1} << n) - 1), words);
  }

  // The rows of the next block, which lie anywhere in memory, asked for a few at a time while this
  // block is computed. All at once would keep the queries, which come from the second-level cache,
  // waiting behind them.
  class Fetch {
   public:
    Fetch(const RowBlock& block, int64_t steps)
        : rows_(block.next),
          end_(block.next + block.next_n),
          bytes_(block.layout.bytes()),
          per_step_((block.next_n + steps - 1) / steps) {}
    void Step() {
      for (int64_t i = 0; i < per_step_ && rows_ != end_; ++i) {
        const char* row = reinterpret_cast<const char*>(*rows_++);
        for (int64_t at = 0; at < bytes_; at += 64) _mm_prefetch(row + at, _MM_HINT_T1);
        _mm_prefetch(row + bytes_ - 1, _MM_HINT_T1);
      }
    }

   private:
    const std::byte* const* rows_;
    const std::byte* const* end_;
    int64_t bytes_;
    int64_t per_step_;
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

  // Row values in pairs of rows, tile by tile of 32 channels, so that a tile of all rows is one
  // stretch of memory. An odd last row is paired with itself at probability zero.
  static void PairRows(const Rows& rows, int64_t n, int64_t dim) {
    const __m512i low = _mm512_load_si512(kPairWords.low),
                  high = _mm512_load_si512(kPairWords.high);
    for (int64_t j = 0; j < n; j += 2) {
      const uint32_t* even = rows.pairs + j * rows.stride;
      const uint32_t* odd = rows.pairs + Smaller(j + 1, n - 1) * rows.stride;
      uint32_t* out = rows.values + j / 2 * 32;
      for (int64_t c = 0; c < dim; c += 32, out += kTileWords) {
        const __m512i a = _mm512_loadu_si512(even + c / 2), b = _mm512_loadu_si512(odd + c / 2);
        _mm512_store_si512(out, _mm512_permutex2var_epi16(a, low, b));
        _mm512_store_si512(out + kLanes, _mm512_permutex2var_epi16(a, high, b));
      }
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
    const uint32_t* values = task.values + c / 32 * kTileWords + c % 32;
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
