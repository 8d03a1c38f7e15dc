// Sixteen float lanes in two AVX2 registers: the operations that kernels/cpu's shared templates are
// written in. Included only by files compiled for AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/tables.h"
#include "numerics/functions.h"
#include "tensor/view.h"

namespace fathom::kernels::cpu {

struct Vec256 {
  struct F {
    __m256 low, high;  // lanes 0 .. 7 and 8 .. 15
  };
  using Format = tensor::Format;

  // Tile sizes that fill 16 registers.
  static constexpr int kDotInputs = 1;
  static constexpr int kValueHeads = 4;
  static constexpr int kValueVecs = 1;

  static __m256i First(int64_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
  }

  static F Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static F Set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  // The first n lanes, 0 <= n <= 16; zeros above. Nothing past them is read.
  static F Load(const float* p, int64_t n) {
    return {_mm256_maskload_ps(p, First(n)), _mm256_maskload_ps(p + 8, First(n - 8))};
  }
  static void Store(float* p, F v) {
    _mm256_storeu_ps(p, v.low);
    _mm256_storeu_ps(p + 8, v.high);
  }
  static void Store(float* p, F v, int64_t n) {
    _mm256_maskstore_ps(p, First(n), v.low);
    _mm256_maskstore_ps(p + 8, First(n - 8), v.high);
  }

  static F Add(F a, F b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static F Sub(F a, F b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
  static F Mul(F a, F b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
  static F Div(F a, F b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
  static F Fma(F a, F b, F c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  // a + b in the first n lanes, a above.
  static F AddFirst(F a, F b, int64_t n) {
    const F sum = Add(a, b);
    return {Select(First(n), sum.low, a.low), Select(First(n - 8), sum.high, a.high)};
  }
  // a > b ? a : b, so b where either is NaN.
  static F Max(F a, F b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }

  // numerics::ToBF16 and back.
  static F RoundToBF16(F x) { return {Round8(x.low), Round8(x.high)}; }
  // The sequence of numerics::Exp.
  static F Exp(F x) { return {Exp8(x.low), Exp8(x.high)}; }

  // 16 lanes to 8, 4, 2, 1.
  static float Fold(F v) {
    const __m256 eight = _mm256_add_ps(v.low, v.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

  // 16 consecutive codes of a weight row as floats, unscaled, in natural order.
  template <Format kFormat>
  static F Decode(const std::byte* p) {
    if constexpr (kFormat == Format::kF32) {
      return Load(reinterpret_cast<const float*>(p));
    } else if constexpr (kFormat == Format::kBF16) {
      return {WidenBF16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
              WidenBF16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)))};
    } else if constexpr (kFormat == Format::kFp8) {
      const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
      return {DecodeE4M3(codes), DecodeE4M3(_mm_unpackhi_epi64(codes, codes))};
    } else {
      const __m128i packed = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
      const __m128i nibble = _mm_set1_epi8(15);
      const __m128i low = _mm_and_si128(packed, nibble);
      const __m128i high = _mm_and_si128(_mm_srli_epi16(packed, 4), nibble);
      const __m128i codes = _mm_unpacklo_epi8(low, high);
      return {DecodeE2M1(codes), DecodeE2M1(_mm_unpackhi_epi64(codes, codes))};
    }
  }

 private:
  static __m256 Select(__m256i mask, __m256 yes, __m256 no) {
    return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(mask));
  }

  static __m256 Round8(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    const __m256i sum = _mm256_add_epi32(bits, half);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256 is_nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    const __m256 result =
        _mm256_blendv_ps(_mm256_castsi256_ps(sum), _mm256_castsi256_ps(quiet), is_nan);
    return _mm256_and_ps(result, _mm256_castsi256_ps(_mm256_set1_epi32(-0x10000)));
  }

  static __m256 Power(__m256i e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  }

  // a * b + c, rounded twice.
  static __m256 MulAdd(__m256 a, __m256 b, float c) {
    return _mm256_add_ps(_mm256_mul_ps(a, b), _mm256_set1_ps(c));
  }

  static __m256 Exp8(__m256 x) {
    using K = numerics::ExpConstants;
    const auto set = [](float value) { return _mm256_set1_ps(value); };
    const __m256 n = _mm256_sub_ps(MulAdd(x, set(K::kLog2E), K::kRound), set(K::kRound));
    const __m256 r = _mm256_sub_ps(_mm256_sub_ps(x, _mm256_mul_ps(n, set(K::kLn2High))),
                                   _mm256_mul_ps(n, set(K::kLn2Low)));
    __m256 p = MulAdd(set(K::kC7), r, K::kC6);
    p = MulAdd(p, r, K::kC5);
    p = MulAdd(p, r, K::kC4);
    p = MulAdd(p, r, K::kC3);
    p = MulAdd(p, r, K::kC2);
    p = MulAdd(p, r, 1.0f);
    p = MulAdd(p, r, 1.0f);
    const __m256i whole = _mm256_cvttps_epi32(n);
    const __m256i half = _mm256_srai_epi32(whole, 1);
    p = _mm256_mul_ps(_mm256_mul_ps(p, Power(half)), Power(_mm256_sub_epi32(whole, half)));
    p = _mm256_andnot_ps(_mm256_cmp_ps(x, set(K::kSmallest), _CMP_LT_OQ), p);
    p = _mm256_blendv_ps(p, _mm256_castsi256_ps(_mm256_set1_epi32(0x7f800000)),
                         _mm256_cmp_ps(x, set(K::kLargest), _CMP_GT_OQ));
    return _mm256_blendv_ps(p, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  }

  static __m256 WidenBF16(__m128i words) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
  }

  // The lower 8 bytes.
  static __m256 DecodeE4M3(__m128i codes) {
    const __m256i table = _mm256_slli_epi32(
        _mm256_setr_epi32(E4M3Magnitude(0), E4M3Magnitude(1), E4M3Magnitude(2), E4M3Magnitude(3),
                          E4M3Magnitude(4), E4M3Magnitude(5), E4M3Magnitude(6), E4M3Magnitude(7)),
        16);
    const __m256i code = _mm256_cvtepu8_epi32(codes);
    const __m256i low = _mm256_and_si256(code, _mm256_set1_epi32(0x7f));
    const __m256i normal =
        _mm256_add_epi32(_mm256_slli_epi32(low, 20), _mm256_set1_epi32(120 << 23));
    const __m256i subnormal = _mm256_permutevar8x32_epi32(table, low);
    __m256i bits =
        _mm256_blendv_epi8(normal, subnormal, _mm256_cmpgt_epi32(_mm256_set1_epi32(8), low));
    bits = _mm256_blendv_epi8(bits, _mm256_set1_epi32(0x7fc00000),
                              _mm256_cmpeq_epi32(low, _mm256_set1_epi32(0x7f)));
    const __m256i sign = _mm256_slli_epi32(_mm256_xor_si256(code, low), 24);
    return _mm256_castsi256_ps(_mm256_or_si256(bits, sign));
  }

  // The lower 8 bytes, one code each.
  static __m256 DecodeE2M1(__m128i codes) {
    const __m256 table = _mm256_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f);
    const __m256i code = _mm256_cvtepu8_epi32(codes);
    const __m256i sign = _mm256_slli_epi32(_mm256_srli_epi32(code, 3), 31);
    return _mm256_or_ps(_mm256_permutevar8x32_ps(table, code), _mm256_castsi256_ps(sign));
  }
};

}  // namespace fathom::kernels::cpu
