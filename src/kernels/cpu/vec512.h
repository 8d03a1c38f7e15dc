// Sixteen float lanes in one AVX-512 register: the operations that kernels/cpu's shared templates
// are written in. Included only by files compiled for AVX-512.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/tables.h"
#include "numerics/functions.h"
#include "tensor/view.h"

namespace fathom::kernels::cpu {

struct Vec512 {
  using F = __m512;
  using Format = tensor::Format;

  // Tile sizes that fill 32 registers.
  static constexpr int kDotInputs = 4;
  static constexpr int kValueHeads = 8;
  static constexpr int kValueVecs = 2;

  static __mmask16 First(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

  static F Zero() { return _mm512_setzero_ps(); }
  static F Set(float x) { return _mm512_set1_ps(x); }
  static F Load(const float* p) { return _mm512_loadu_ps(p); }
  // The first n lanes, 0 <= n <= 16; zeros above. Nothing past them is read.
  static F Load(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(First(n), p); }
  static void Store(float* p, F v) { _mm512_storeu_ps(p, v); }
  static void Store(float* p, F v, int64_t n) { _mm512_mask_storeu_ps(p, First(n), v); }

  static F Add(F a, F b) { return _mm512_add_ps(a, b); }
  static F Sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F Mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F Div(F a, F b) { return _mm512_div_ps(a, b); }
  static F Fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  // a + b in the first n lanes, a above.
  static F AddFirst(F a, F b, int64_t n) { return _mm512_mask_add_ps(a, First(n), a, b); }
  // a > b ? a : b, so b where either is NaN.
  static F Max(F a, F b) { return _mm512_max_ps(a, b); }

  // numerics::ToBF16 and back.
  static F RoundToBF16(F x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    __m512i sum = _mm512_add_epi32(bits, half);
    sum = _mm512_mask_or_epi32(sum, is_nan, bits, _mm512_set1_epi32(0x400000));
    return _mm512_castsi512_ps(_mm512_and_si512(sum, _mm512_set1_epi32(-0x10000)));
  }

  // The sequence of numerics::Exp.
  static F Exp(F x) {
    using K = numerics::ExpConstants;
    const F n = Sub(Add(Mul(x, Set(K::kLog2E)), Set(K::kRound)), Set(K::kRound));
    const F r = Sub(Sub(x, Mul(n, Set(K::kLn2High))), Mul(n, Set(K::kLn2Low)));
    F p = Add(Mul(Set(K::kC7), r), Set(K::kC6));
    p = Add(Mul(p, r), Set(K::kC5));
    p = Add(Mul(p, r), Set(K::kC4));
    p = Add(Mul(p, r), Set(K::kC3));
    p = Add(Mul(p, r), Set(K::kC2));
    p = Add(Mul(p, r), Set(1.0f));
    p = Add(Mul(p, r), Set(1.0f));
    const __m512i whole = _mm512_cvttps_epi32(n);
    const __m512i half = _mm512_srai_epi32(whole, 1);
    p = Mul(Mul(p, Power(half)), Power(_mm512_sub_epi32(whole, half)));
    const __mmask16 is_small = _mm512_cmp_ps_mask(x, Set(K::kSmallest), _CMP_LT_OQ);
    const __mmask16 is_large = _mm512_cmp_ps_mask(x, Set(K::kLargest), _CMP_GT_OQ);
    p = _mm512_mask_mov_ps(p, is_small, Zero());
    p = _mm512_mask_mov_ps(p, is_large, _mm512_castsi512_ps(_mm512_set1_epi32(0x7f800000)));
    return _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
  }

  // 16 lanes to 8, 4, 2, 1.
  static float Fold(F v) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

  // Fold of 16 registers: lane j of the result is that of v[j].
  static F Fold16(const F* v) {
    F eight[8], four[4], two[2];
    // Halves, quarters and pairs of two registers meet in one: the additions are those of Fold.
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      eight[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0x44),
                               _mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0xee));
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(eight[2 * i], eight[2 * i + 1], 0x88),
                              _mm512_shuffle_f32x4(eight[2 * i], eight[2 * i + 1], 0xdd));
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
      two[i] = _mm512_add_ps(_mm512_shuffle_ps(four[2 * i], four[2 * i + 1], 0x44),
                             _mm512_shuffle_ps(four[2 * i], four[2 * i + 1], 0xee));
    const __m512 one = _mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], 0x88),
                                     _mm512_shuffle_ps(two[0], two[1], 0xdd));
    // Lane 4 j + i holds v[4 i + j].
    const __m512i place = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_ps(place, one);
  }

  // 16 consecutive codes of a weight row as floats, unscaled, in natural order.
  template <Format kFormat>
  static F Decode(const std::byte* p) {
    if constexpr (kFormat == Format::kF32) {
      return _mm512_loadu_ps(p);
    } else if constexpr (kFormat == Format::kBF16) {
      const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
    } else if constexpr (kFormat == Format::kFp8) {
      return DecodeE4M3(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    } else {
      return DecodeE2M1(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    }
  }

 private:
  static F Power(__m512i e) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(e, _mm512_set1_epi32(127)), 23));
  }

  static F DecodeE4M3(__m128i codes) {
    const __m512i table = _mm512_slli_epi32(
        _mm512_setr_epi32(E4M3Magnitude(0), E4M3Magnitude(1), E4M3Magnitude(2), E4M3Magnitude(3),
                          E4M3Magnitude(4), E4M3Magnitude(5), E4M3Magnitude(6), E4M3Magnitude(7), 0,
                          0, 0, 0, 0, 0, 0, 0),
        16);
    const __m512i code = _mm512_cvtepu8_epi32(codes);
    const __m512i low = _mm512_and_si512(code, _mm512_set1_epi32(0x7f));
    __m512i bits = _mm512_add_epi32(_mm512_slli_epi32(low, 20), _mm512_set1_epi32(120 << 23));
    bits = _mm512_mask_permutexvar_epi32(bits, _mm512_cmplt_epi32_mask(low, _mm512_set1_epi32(8)),
                                         low, table);
    bits = _mm512_mask_mov_epi32(bits, _mm512_cmpeq_epi32_mask(low, _mm512_set1_epi32(0x7f)),
                                 _mm512_set1_epi32(0x7fc00000));
    const __m512i sign = _mm512_slli_epi32(_mm512_xor_si512(code, low), 24);
    return _mm512_castsi512_ps(_mm512_or_si512(bits, sign));
  }

  static F DecodeE2M1(__m128i packed) {
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i low = _mm_and_si128(packed, nibble);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(packed, 4), nibble);
    const __m512 table = _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f,
                                        -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
    return _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm_unpacklo_epi8(low, high)), table);
  }
};

}  // namespace fathom::kernels::cpu
