// The row operations of the AVX-512 path.
#include "kernels/row_ops.h"

#if defined(__x86_64__)

#include "kernels/cpu/rows.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels {
namespace cpu {
namespace {

// Eight doubles, for numerics::SoftplusSteps.
struct Double512 {
  using D = __m512d;
  static D Set(double x) { return _mm512_set1_pd(x); }
  static D Add(D a, D b) { return _mm512_add_pd(a, b); }
  static D Sub(D a, D b) { return _mm512_sub_pd(a, b); }
  static D Mul(D a, D b) { return _mm512_mul_pd(a, b); }
  static D Div(D a, D b) { return _mm512_div_pd(a, b); }
  static D AddExponent(D p, D t) {
    return _mm512_castsi512_pd(
        _mm512_add_epi64(_mm512_castpd_si512(p), _mm512_slli_epi64(_mm512_castpd_si512(t), 52)));
  }
  static __m512i ExponentBits(D u) {
    const __m512i root = _mm512_set1_epi64(numerics::ScalarDouble::kSqrtHalf);
    return _mm512_srli_epi64(_mm512_sub_epi64(_mm512_castpd_si512(u), root), 52);
  }
  static D Exponent(D u) { return _mm512_cvtepi64_pd(ExponentBits(u)); }
  static D Mantissa(D u) {
    return _mm512_castsi512_pd(
        _mm512_sub_epi64(_mm512_castpd_si512(u), _mm512_slli_epi64(ExponentBits(u), 52)));
  }
  static D ZeroBelow(D e, D x, double limit) {
    return _mm512_mask_mov_pd(e, _mm512_cmp_pd_mask(x, Set(limit), _CMP_LT_OQ), Set(0));
  }
};

struct Rows512 : Vec512 {
  static F Min(F a, F b) { return _mm512_min_ps(a, b); }
  static F Sqrt(F x) { return _mm512_sqrt_ps(x); }
  static float SqrtOne(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
  static F Abs(F x) { return _mm512_abs_ps(x); }
  static F PowerOf(F x) { return _mm512_and_ps(x, Bits(0x7f800000)); }
  static F CopySign(F magnitude, F sign) {
    return _mm512_or_ps(magnitude, _mm512_and_ps(sign, Bits(static_cast<int>(0x80000000u))));
  }
  static float Largest(F x) { return _mm512_reduce_max_ps(x); }
  // The first n lanes, zeros above.
  static F KeepFirst(F x, int64_t n) { return _mm512_maskz_mov_ps(First(n), x); }
  static F SwapPairs(F x) { return _mm512_permute_ps(x, 0xb1); }

  // Lane i gets lane i ^ kStride.
  template <int kStride>
  static F Swap(F x) {
    if constexpr (kStride == 1) return _mm512_permute_ps(x, 0xb1);
    if constexpr (kStride == 2) return _mm512_permute_ps(x, 0x4e);
    if constexpr (kStride == 4) return _mm512_shuffle_f32x4(x, x, 0xb1);
    return _mm512_shuffle_f32x4(x, x, 0x4e);
  }
  template <int kStride>
  static F NegateUpper(F x) {
    constexpr __mmask16 kUpper = kStride == 1   ? 0xaaaa
                                 : kStride == 2 ? 0xcccc
                                 : kStride == 4 ? 0xf0f0
                                                : 0xff00;
    const __m512i sign = _mm512_maskz_set1_epi32(kUpper, static_cast<int>(0x80000000u));
    return _mm512_xor_ps(x, _mm512_castsi512_ps(sign));
  }

  static F Softplus(F x) {
    const __m256 low = HalfSoftplus(_mm512_castps512_ps256(x));
    const __m256 high = HalfSoftplus(_mm512_extractf32x8_ps(x, 1));
    const F result = _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
    const __mmask16 use = _mm512_cmp_ps_mask(x, Set(20.0f), _CMP_LE_OQ);
    return _mm512_mask_mov_ps(x, use, result);
  }

  static float SumOfSquares(const float* x, int64_t n) {
    __m512d sum = _mm512_setzero_pd();
    int64_t k = 0;
    for (; k + 8 <= n; k += 8) {
      const __m512d v = _mm512_cvtps_pd(_mm256_loadu_ps(x + k));
      sum = _mm512_add_pd(sum, _mm512_mul_pd(v, v));
    }
    if (k < n) {
      const __mmask8 first = static_cast<__mmask8>((1u << (n - k)) - 1u);
      const __m512d v = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(first, x + k));
      sum = _mm512_mask_add_pd(sum, first, sum, _mm512_mul_pd(v, v));
    }
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(sum), _mm512_extractf64x4_pd(sum, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return static_cast<float>(_mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two))));
  }

  // Where the words of a block go: 32 places each from the lower and the upper 64 inputs.
  struct BlockOrder {
    explicit BlockOrder(const PairOrder& order) {
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        index[s] = _mm512_loadu_si512(order.k + 32 * s);
        upper[s] = _mm512_test_epi16_mask(index[s], _mm512_set1_epi16(64));
      }
    }
    __m512i index[4];
    __mmask32 upper[4];
  };
  static void PackBlock(const F* v, const BlockOrder& order, uint16_t* out) {
    __m512i words[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) words[i] = UpperWords(v[2 * i], v[2 * i + 1], Natural());
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      const __m512i low = _mm512_permutex2var_epi16(words[0], order.index[s], words[1]);
      const __m512i high = _mm512_permutex2var_epi16(words[2], order.index[s], words[3]);
      _mm512_storeu_si512(out + 32 * s, _mm512_mask_mov_epi16(low, order.upper[s], high));
    }
  }

  // The 32 inputs of a lane as 16 pairs, lane after lane; storing them is a transposition.
  struct Stretch {
    __m512i pairs[16];

    void Set(int r, const F* v) {
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g)
        pairs[4 * g + r] = UpperWords(v[2 * g], v[2 * g + 1], FourApart());
    }
    void Store(uint16_t* out) const {
      __m512i a[16], b[16];
#pragma GCC unroll 4
      for (int i = 0; i < 16; i += 4) {
        const __m512i* p = pairs + i;
        const __m512i low01 = _mm512_unpacklo_epi32(p[0], p[1]);
        const __m512i high01 = _mm512_unpackhi_epi32(p[0], p[1]);
        const __m512i low23 = _mm512_unpacklo_epi32(p[2], p[3]);
        const __m512i high23 = _mm512_unpackhi_epi32(p[2], p[3]);
        a[i] = _mm512_unpacklo_epi64(low01, low23);
        a[i + 1] = _mm512_unpackhi_epi64(low01, low23);
        a[i + 2] = _mm512_unpacklo_epi64(high01, high23);
        a[i + 3] = _mm512_unpackhi_epi64(high01, high23);
      }
      // a[4 i + j] holds columns j, 4 + j, 8 + j, 12 + j of rows 4 i to 4 i + 3.
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        b[j] = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x44);
        b[4 + j] = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xee);
        b[8 + j] = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x44);
        b[12 + j] = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xee);
      }
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        _mm512_storeu_si512(out + 32 * j, _mm512_shuffle_i32x4(b[j], b[8 + j], 0x88));
        _mm512_storeu_si512(out + 32 * (4 + j), _mm512_shuffle_i32x4(b[j], b[8 + j], 0xdd));
        _mm512_storeu_si512(out + 32 * (8 + j), _mm512_shuffle_i32x4(b[4 + j], b[12 + j], 0x88));
        _mm512_storeu_si512(out + 32 * (12 + j), _mm512_shuffle_i32x4(b[4 + j], b[12 + j], 0xdd));
      }
    }
  };

 private:
  static F Bits(int bits) { return _mm512_castsi512_ps(_mm512_set1_epi32(bits)); }

  static __m256 HalfSoftplus(__m256 x) {
    return _mm512_cvtpd_ps(numerics::SoftplusSteps<Double512>(_mm512_cvtps_pd(x)));
  }

  // Word p of the result: the upper half of value index[p] / 2 of (a, b).
  static __m512i UpperWords(F a, F b, __m512i index) {
    return _mm512_permutex2var_epi16(_mm512_castps_si512(a), index, _mm512_castps_si512(b));
  }
  static __m512i Natural() {
    alignas(64) static constexpr int16_t kOdd[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                     23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                     45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    return _mm512_load_si512(kOdd);
  }
  // In each 8 values 0 4 1 5 2 6 3 7.
  static __m512i FourApart() {
    alignas(64) static constexpr int16_t kPairs[32] = {1,  9,  3,  11, 5,  13, 7,  15, 17, 25, 19,
                                                       27, 21, 29, 23, 31, 33, 41, 35, 43, 37, 45,
                                                       39, 47, 49, 57, 51, 59, 53, 61, 55, 63};
    return _mm512_load_si512(kPairs);
  }
};

}  // namespace
}  // namespace cpu

const RowOps kAvx512RowOps = cpu::RowKernels<cpu::Rows512>::Table();

}  // namespace fathom::kernels

#endif
