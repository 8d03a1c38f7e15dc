// Rows of attention as BF16 values, for the paths that multiply them so: FP8 rows become BF16 by
// exponent arithmetic, without a detour over float32. Everything here is private to the file that
// includes it.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

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

// A block's rows in pairs along the channels, and room for pairs of rows.
struct PairedRows {
  uint32_t* pairs;  // [kAttentionBlock, stride]
  int64_t stride;
  uint32_t* values;  // [ceil(dim / 32), kPairedWords]
};

// Words between two rows of `dim` values, one vector more than needed: rows then do not meet in the
// same cache sets.
inline int64_t RowStride(int64_t dim) { return PadToLanes(dim / 2) + kLanes; }

// A tile of pairs of rows, 32 channels of each, and one vector more, so that tiles do not meet in
// the same cache sets.
constexpr int64_t kPairedWords = kAttentionBlock / 2 * 32 + kLanes;

// The BF16 values of `even` and `odd` as pairs.
inline __m512i PairUp(__m512 even, __m512 odd) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even), 16);
  return _mm512_mask_blend_epi16(0xaaaaaaaau, low, _mm512_castps_si512(odd));
}

// The upper 16 bits of the 32 dwords of a and b.
inline __m512i UpperHalves(__m512i a, __m512i b) {
  const __m256i low = _mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16));
  const __m256i high = _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, 16));
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// n <= 32 consecutive BF16 values held as floats -> 16 pairs, zeros past n.
inline void PackPairs(const float* x, int64_t n, uint32_t* out) {
  const __m512i low = _mm512_castps_si512(Vec512::Load(x, Smaller(kLanes, n)));
  const __m512i high = n > kLanes ? _mm512_castps_si512(Vec512::Load(x + kLanes, n - kLanes))
                                  : _mm512_setzero_si512();
  _mm512_storeu_si512(out, UpperHalves(low, high));
}

// The first n < 64 bytes, or n <= 32 words; masked accesses are slower than whole ones.
inline __m512i LoadBytes(const std::byte* p, int64_t n) {
  return _mm512_maskz_loadu_epi8((__mmask64{1} << n) - 1, p);
}
inline void StoreWords(uint16_t* p, __m512i words, int64_t n) {
  _mm512_mask_storeu_epi16(p, static_cast<__mmask32>((uint64_t{1} << n) - 1), words);
}

// A latent row as BF16. False, and nothing of use in `out`, where adding exponents is not enough:
// NaN codes, and scales whose products might leave BF16's normal numbers.
inline bool DecodeLatent(const RowLayout& layout, const std::byte* row, uint32_t* out) {
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
    const __m512i high =
        _mm512_or_si512(_mm512_permutex2var_epi8(high0, code, high1), _mm512_and_si512(code, sign));
    const __m512i exponent = _mm512_set1_epi16(static_cast<int16_t>((scale - 127) * 128));
    __m512i first = _mm512_unpacklo_epi8(low, high), second = _mm512_unpackhi_epi8(low, high);
    // Zeros stay zeros.
    first = _mm512_mask_add_epi16(first, _mm512_test_epi16_mask(first, magnitude), first, exponent);
    second =
        _mm512_mask_add_epi16(second, _mm512_test_epi16_mask(second, magnitude), second, exponent);
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

// Row values as BF16; what lies past the row up to a whole vector becomes zero. spare [dim].
inline void RowToBF16(const RowLayout& layout, const std::byte* row, float* spare, uint32_t* out) {
  // Whole vectors are read later, and what lies past the row shall be no NaN of old.
  if (layout.dim % (2 * kLanes) != 0)
    _mm512_storeu_si512(out + PadToLanes(layout.dim / 2) - kLanes, _mm512_setzero_si512());
  if (layout.format == RowFormat::kLatent && DecodeLatent(layout, row, out)) return;
  const float* values = reinterpret_cast<const float*>(row);
  if (layout.format != RowFormat::kF32) {
    RowDecoder<Vec512>::Decode(layout, row, spare);
    values = spare;
  }
  for (int64_t c = 0; c < layout.dim; c += 2 * kLanes)
    PackPairs(values + c, Smaller(2 * kLanes, layout.dim - c), out + c / 2);
}

// Row values in pairs of rows, tile by tile of 32 channels, so that a tile of all rows is one
// stretch of memory. An odd last row is paired with itself at probability zero.
inline void PairRows(const PairedRows& rows, int64_t n, int64_t dim) {
  const __m512i low = _mm512_load_si512(kPairWords.low), high = _mm512_load_si512(kPairWords.high);
  for (int64_t j = 0; j < n; j += 2) {
    const uint32_t* even = rows.pairs + j * rows.stride;
    const uint32_t* odd = rows.pairs + Smaller(j + 1, n - 1) * rows.stride;
    uint32_t* out = rows.values + j / 2 * 32;
    for (int64_t c = 0; c < dim; c += 32, out += kPairedWords) {
      const __m512i a = _mm512_loadu_si512(even + c / 2), b = _mm512_loadu_si512(odd + c / 2);
      _mm512_store_si512(out, _mm512_permutex2var_epi16(a, low, b));
      _mm512_store_si512(out + kLanes, _mm512_permutex2var_epi16(a, high, b));
    }
  }
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

}  // namespace
}  // namespace fathom::kernels::cpu
