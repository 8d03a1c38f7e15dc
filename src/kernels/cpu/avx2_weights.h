// Weights and inputs as the AVX2 path multiplies them, as floats: a pair of BF16 codes becomes two
// (the odd code is the upper half of its 32-bit lane), each eight of the 16 lanes of linear.h by
// themselves. Included only by files compiled for AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/sizes.h"
#include "kernels/cpu/vec256.h"
#include "kernels/linear.h"

namespace fathom::kernels::cpu {
namespace {

// To the second-level cache.
[[gnu::always_inline]] inline void Prefetch(const void* p, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64)
    __builtin_prefetch(static_cast<const std::byte*>(p) + line, 0, 2);
}

inline __m256i Load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

inline __m256 Odd(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000)));
}
inline __m256 Even(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }

// Tables for byte shuffles, twice because a shuffle stays within 16 bytes. A decoded value is the
// two upper bytes of a float.
struct ByteTables {
  alignas(32) uint8_t e2m1_high[32], e2m1_low[32];  // of a code
  alignas(32) uint8_t e4m3_high[32];                // of the upper four bits of a normal number
  // What turns that into a subnormal number, in places 8 + code.
  alignas(32) uint8_t e4m3_flip_high[32], e4m3_flip_low[32];
};
constexpr ByteTables MakeByteTables() {
  ByteTables t{};
  for (int i = 0; i < 32; ++i) {
    const int upper = i & 8, code = i & 7;
    const uint16_t e2m1 = E2M1Bits(i & 15), subnormal = E4M3Magnitude(code);
    t.e2m1_high[i] = static_cast<uint8_t>(e2m1 >> 8);
    t.e2m1_low[i] = static_cast<uint8_t>(e2m1 & 255);
    t.e4m3_high[i] = static_cast<uint8_t>((upper << 4) + 60 + code);
    if (upper == 0) continue;
    t.e4m3_flip_high[i] = static_cast<uint8_t>((subnormal >> 8) ^ 60);
    t.e4m3_flip_low[i] = static_cast<uint8_t>((subnormal & 255) ^ (code << 4));
  }
  return t;
}
constexpr ByteTables kTables = MakeByteTables();

inline __m256i Look(const uint8_t (&table)[32], __m256i index) {
  return _mm256_shuffle_epi8(_mm256_load_si256(reinterpret_cast<const __m256i*>(table)), index);
}

// The upper two bytes of 32 floats.
struct UpperBytes {
  __m256i low, high;
};
// Of E4M3 codes. The normal number of code s eeef mmm has the bytes 60 + eee, with the sign s, and
// f mmm 0000: its exponent grows by 120. Where the exponent is 0 a subnormal number is meant, which
// differs in bits that depend on the code.
inline UpperBytes DecodeE4M3(__m256i codes) {
  const __m256i nibble = _mm256_set1_epi8(15), all = _mm256_set1_epi8(0x7f);
  const __m256i magnitude = _mm256_and_si256(codes, all);
  const __m256i low = _mm256_andnot_si256(nibble, _mm256_slli_epi16(codes, 4));
  const __m256i high =
      Look(kTables.e4m3_high, _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble));
  // Past the eight subnormal codes bit 7 is set, for which a shuffle gives 0.
  const __m256i index = _mm256_adds_epu8(magnitude, _mm256_set1_epi8(0x78));
  const __m256i nan = _mm256_and_si256(_mm256_cmpeq_epi8(magnitude, all), all);
  return {_mm256_xor_si256(low, Look(kTables.e4m3_flip_low, index)),
          _mm256_or_si256(nan, _mm256_xor_si256(high, Look(kTables.e4m3_flip_high, index)))};
}

// A stretch of one row. `blocks` is 4 but for the last of a row; then `codes` is a copy that is
// padded with zeros to whole blocks (FP4: to the whole stretch, and so are its scales).
struct StretchView {
  const std::byte* codes = nullptr;
  const uint8_t* scale = nullptr;  // of its first block (FP8) or group (FP4)
  int64_t blocks = 4;
};

// Four steps of eight lanes.
struct Four {
  __m256 step[4][2];  // odd, even
};

// Reads eight lanes of a stretch, four steps at a time.
template <Format kFormat>
class StretchReader {
 public:
  // Lanes 8 eight .. 8 eight + 7.
  [[gnu::always_inline]] void Start(const StretchView& stretch, int64_t eight) {
    codes_ = stretch.codes + 32 * eight;
    scale_ = stretch.scale;
    if constexpr (kFormat != Format::kFp4) return;
    // Lane 4 g + r has the four words of group g of block r. words_[q] takes word q of each, the
    // lower (even) halves of four lanes before their upper ones.
    const __m256i r0 = Load(codes_), r1 = Load(codes_ + 64);
    const __m256i r2 = Load(codes_ + 128), r3 = Load(codes_ + 192);
    const __m256i a = _mm256_unpacklo_epi16(r0, r1), b = _mm256_unpacklo_epi16(r2, r3);
    const __m256i c = _mm256_unpackhi_epi16(r0, r1), d = _mm256_unpackhi_epi16(r2, r3);
    words_[0] = _mm256_unpacklo_epi32(a, b);
    words_[1] = _mm256_unpackhi_epi32(a, b);
    words_[2] = _mm256_unpacklo_epi32(c, d);
    words_[3] = _mm256_unpackhi_epi32(c, d);
  }

  // Steps 4 index .. 4 index + 3.
  [[gnu::always_inline]] Four Read(int64_t index) const {
    if constexpr (kFormat == Format::kFp4) return ReadFp4(index);
    if constexpr (kFormat == Format::kFp8) return ReadFp8(index);
    Four four;
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      const __m256i pairs = Load(codes_ + 2 * kBlock * index + 64 * s);
      four.step[s][0] = Odd(pairs);
      four.step[s][1] = Even(pairs);
    }
    return four;
  }

 private:
  // Byte 0 of a half word holds steps 0 and 1, byte 1 steps 2 and 3.
  [[gnu::always_inline]] Four ReadFp4(int64_t index) const {
    Four four;
#pragma GCC unroll 2
    for (int s = 0; s < 2; ++s) {
      const __m256i words = s == 0 ? words_[index] : _mm256_srli_epi16(words_[index], 4);
      const __m256i code = _mm256_and_si256(words, _mm256_set1_epi8(15));
      const __m256i low = Look(kTables.e2m1_low, code), high = Look(kTables.e2m1_high, code);
      const __m256i even = _mm256_unpacklo_epi8(low, high);
      const __m256i odd = _mm256_unpackhi_epi8(low, high);
      four.step[s][0] = Even(odd);
      four.step[s][1] = Even(even);
      four.step[s + 2][0] = Odd(odd);
      four.step[s + 2][1] = Odd(even);
    }
    return four;
  }

  [[gnu::always_inline]] Four ReadFp8(int64_t index) const {
    float value;
    std::memcpy(&value, &kScaleTable.bits[scale_[index]], sizeof(value));
    const __m256 scale = _mm256_set1_ps(value);
    Four four;
#pragma GCC unroll 2
    for (int s = 0; s < 4; s += 2) {
      const UpperBytes bytes = DecodeE4M3(Load(codes_ + kBlock * index + 32 * s));
      const __m256i pairs[2] = {_mm256_unpacklo_epi8(bytes.low, bytes.high),
                                _mm256_unpackhi_epi8(bytes.low, bytes.high)};
#pragma GCC unroll 2
      for (int t = 0; t < 2; ++t) {
        // Exact, or flushed to zero.
        four.step[s + t][0] = _mm256_mul_ps(Odd(pairs[t]), scale);
        four.step[s + t][1] = _mm256_mul_ps(Even(pairs[t]), scale);
      }
    }
    return four;
  }

  const std::byte* codes_ = nullptr;
  const uint8_t* scale_ = nullptr;
  __m256i words_[4];
};

// Lane scales of an FP4 stretch whose 16 scales are at `scale`.
inline Vec256::F Fp4Scales(const uint8_t* scale) {
  // Lane 4 g + r takes scale 4 r + g.
  const __m128i place = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m128i codes =
      _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scale)), place);
  const auto widen = [](__m128i eight) {
    const __m256i wide = _mm256_cvtepu8_epi32(eight);
    // 255 is NaN, and must not read as infinity.
    const __m256i is_nan = _mm256_cmpeq_epi32(wide, _mm256_set1_epi32(255));
    return _mm256_castsi256_ps(
        _mm256_blendv_epi8(_mm256_slli_epi32(wide, 23), _mm256_set1_epi32(0x7fc00000), is_nan));
  };
  return {widen(codes), widen(_mm_unpackhi_epi64(codes, codes))};
}

// Where the last stretch of a row is copied to when it is not whole, so that nothing past the row
// is read.
template <Format kFormat>
struct StretchCopy {
  alignas(32) std::byte codes[CodeBytes<kFormat>(kStretch)];
  uint8_t scale[16];  // FP4
};

// Where the stretches of a row stand.
template <Format kFormat>
class RowReader {
 public:
  RowReader(const tensor::QuantView& w, int64_t o) : row_(RowOf<kFormat>(w, o)), cols_(w.cols) {}

  const std::byte* codes(int64_t stretch) const {
    return row_.codes + CodeBytes<kFormat>(stretch * kStretch);
  }
  StretchView At(int64_t stretch, StretchCopy<kFormat>& copy) const {
    constexpr int64_t kScaleInputs = ScaleBlock<kFormat>();
    const int64_t inputs = cols_ - stretch * kStretch;
    const uint8_t* scale = row_.scale;
    if constexpr (kScaleInputs != 0) scale += stretch * (kStretch / kScaleInputs);
    if (inputs >= kStretch) return {codes(stretch), scale, 4};
    copy = {};
    std::memcpy(copy.codes, codes(stretch), static_cast<size_t>(CodeBytes<kFormat>(inputs)));
    if constexpr (kFormat == Format::kFp4) {
      const int64_t scales = (inputs + kScaleInputs - 1) / kScaleInputs;
      std::memcpy(copy.scale, scale, static_cast<size_t>(scales));
      return {copy.codes, copy.scale, 4};
    }
    return {copy.codes, scale, (inputs + kBlock - 1) / kBlock};
  }

 private:
  WeightRow row_;
  int64_t cols_;
};

}  // namespace
}  // namespace fathom::kernels::cpu
