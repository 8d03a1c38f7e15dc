// The row operations of the AVX2 path.
#include "kernels/row_ops.h"

#if defined(__x86_64__)

#include "kernels/cpu/rows.h"
#include "kernels/cpu/vec256.h"

namespace fathom::kernels {
namespace cpu {
namespace {

// Four doubles, for numerics::SoftplusSteps.
struct Double256 {
  using D = __m256d;
  static D Set(double x) { return _mm256_set1_pd(x); }
  static D Add(D a, D b) { return _mm256_add_pd(a, b); }
  static D Sub(D a, D b) { return _mm256_sub_pd(a, b); }
  static D Mul(D a, D b) { return _mm256_mul_pd(a, b); }
  static D Div(D a, D b) { return _mm256_div_pd(a, b); }
  static D AddExponent(D p, D t) {
    return _mm256_castsi256_pd(
        _mm256_add_epi64(_mm256_castpd_si256(p), _mm256_slli_epi64(_mm256_castpd_si256(t), 52)));
  }
  static __m256i ExponentBits(D u) {
    const __m256i root = _mm256_set1_epi64x(numerics::ScalarDouble::kSqrtHalf);
    return _mm256_srli_epi64(_mm256_sub_epi64(_mm256_castpd_si256(u), root), 52);
  }
  // A small whole number in the low bits of 2^52, less 2^52.
  static D Exponent(D u) {
    const __m256i bits = _mm256_or_si256(ExponentBits(u), _mm256_castpd_si256(Set(0x1p52)));
    return Sub(_mm256_castsi256_pd(bits), Set(0x1p52));
  }
  static D Mantissa(D u) {
    return _mm256_castsi256_pd(
        _mm256_sub_epi64(_mm256_castpd_si256(u), _mm256_slli_epi64(ExponentBits(u), 52)));
  }
  static D ZeroBelow(D e, D x, double limit) {
    return _mm256_andnot_pd(_mm256_cmp_pd(x, Set(limit), _CMP_LT_OQ), e);
  }
};

struct Rows256 : Vec256 {
  static F Min(F a, F b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
  static F Sqrt(F x) { return {_mm256_sqrt_ps(x.low), _mm256_sqrt_ps(x.high)}; }
  static float SqrtOne(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
  static F Abs(F x) { return And(x, 0x7fffffff); }
  static F PowerOf(F x) { return And(x, 0x7f800000); }
  static F CopySign(F magnitude, F sign) {
    const F s = And(sign, static_cast<int>(0x80000000u));
    return {_mm256_or_ps(magnitude.low, s.low), _mm256_or_ps(magnitude.high, s.high)};
  }
  static float Largest(F x) {
    const __m256 eight = _mm256_max_ps(x.low, x.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  // The first n lanes, zeros above.
  static F KeepFirst(F x, int64_t n) {
    return {_mm256_and_ps(x.low, _mm256_castsi256_ps(First(n))),
            _mm256_and_ps(x.high, _mm256_castsi256_ps(First(n - 8)))};
  }
  static F SwapPairs(F x) { return Swap<1>(x); }

  // Lane i gets lane i ^ kStride.
  template <int kStride>
  static F Swap(F x) {
    if constexpr (kStride == 1)
      return {_mm256_permute_ps(x.low, 0xb1), _mm256_permute_ps(x.high, 0xb1)};
    if constexpr (kStride == 2)
      return {_mm256_permute_ps(x.low, 0x4e), _mm256_permute_ps(x.high, 0x4e)};
    if constexpr (kStride == 4)
      return {_mm256_permute2f128_ps(x.low, x.low, 1), _mm256_permute2f128_ps(x.high, x.high, 1)};
    return {x.high, x.low};
  }
  template <int kStride>
  static F NegateUpper(F x) {
    constexpr int kSign = static_cast<int>(0x80000000u);
    constexpr int k1 = kStride == 1 ? kSign : 0, k2 = kStride == 2 ? kSign : 0,
                  k4 = kStride == 4 ? kSign : 0, k8 = kStride == 8 ? kSign : 0;
    const __m256 low = _mm256_castsi256_ps(
        _mm256_setr_epi32(0, k1, k2, k1 | k2, k4, k4 | k1, k4 | k2, k4 | k2 | k1));
    const __m256 high = _mm256_xor_ps(low, _mm256_castsi256_ps(_mm256_set1_epi32(k8)));
    return {_mm256_xor_ps(x.low, low), _mm256_xor_ps(x.high, high)};
  }

  static F Softplus(F x) { return {Softplus8(x.low), Softplus8(x.high)}; }

  static float SumOfSquares(const float* x, int64_t n) {
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    int64_t k = 0;
    for (; k + 8 <= n; k += 8) {
      const __m256d a = _mm256_cvtps_pd(_mm_loadu_ps(x + k));
      const __m256d b = _mm256_cvtps_pd(_mm_loadu_ps(x + k + 4));
      low = _mm256_add_pd(low, _mm256_mul_pd(a, a));
      high = _mm256_add_pd(high, _mm256_mul_pd(b, b));
    }
    alignas(32) double lanes[8];
    _mm256_store_pd(lanes, low);
    _mm256_store_pd(lanes + 4, high);
    for (int64_t l = 0; k + l < n; ++l)
      lanes[l] += static_cast<double>(x[k + l]) * static_cast<double>(x[k + l]);
    for (int half = 4; half >= 1; half /= 2)
      for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    return static_cast<float>(lanes[0]);
  }

  // Where the words of a block go. The orders of BF16 and FP8 move eight inputs at a time.
  struct BlockOrder {
    explicit BlockOrder(const PairOrder& order) : k(order.k) {
      for (int i = 0; i < 16; ++i)
        for (int j = 1; j < 8; ++j) in_eights = in_eights && k[8 * i + j] == k[8 * i] + j;
    }
    const int16_t* k;
    bool in_eights = true;
  };
  static void PackBlock(const F* v, const BlockOrder& order, uint16_t* out) {
    alignas(32) uint16_t words[128];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      _mm256_store_si256(reinterpret_cast<__m256i*>(words + 16 * i), UpperWords(v[i]));
    if (order.in_eights) {
      for (int i = 0; i < 16; ++i) __builtin_memcpy(out + 8 * i, words + order.k[8 * i], 16);
    } else {
      for (int i = 0; i < 128; ++i) out[i] = words[order.k[i]];
    }
  }

  // The 32 inputs of a lane as 16 pairs, lane after lane; storing them is a transposition.
  struct Stretch {
    alignas(32) uint32_t pairs[16][16];

    void Set(int r, const F* v) {
      const __m256i four_apart =
          _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 0, 1, 8, 9, 2, 3,
                           10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i)
        _mm256_store_si256(reinterpret_cast<__m256i*>(pairs[4 * (i / 2) + r] + 8 * (i % 2)),
                           _mm256_shuffle_epi8(UpperWords(v[i]), four_apart));
    }
    void Store(uint16_t* out) const {
      for (int s = 0; s < 16; s += 8) {
        for (int l = 0; l < 16; l += 8) Transpose8(pairs[l] + s, out + 32 * s + 2 * l);
      }
    }
    // Eight lanes of eight steps.
    static void Transpose8(const uint32_t* from, uint16_t* out) {
      __m256i a[8], b[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i)
        a[i] = _mm256_load_si256(reinterpret_cast<const __m256i*>(from + 16 * i));
#pragma GCC unroll 2
      for (int i = 0; i < 8; i += 4) {
        const __m256i low01 = _mm256_unpacklo_epi32(a[i], a[i + 1]);
        const __m256i high01 = _mm256_unpackhi_epi32(a[i], a[i + 1]);
        const __m256i low23 = _mm256_unpacklo_epi32(a[i + 2], a[i + 3]);
        const __m256i high23 = _mm256_unpackhi_epi32(a[i + 2], a[i + 3]);
        b[i] = _mm256_unpacklo_epi64(low01, low23);
        b[i + 1] = _mm256_unpackhi_epi64(low01, low23);
        b[i + 2] = _mm256_unpacklo_epi64(high01, high23);
        b[i + 3] = _mm256_unpackhi_epi64(high01, high23);
      }
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        StoreWords(out + 32 * j, _mm256_permute2x128_si256(b[j], b[4 + j], 0x20));
        StoreWords(out + 32 * (4 + j), _mm256_permute2x128_si256(b[j], b[4 + j], 0x31));
      }
    }
    static void StoreWords(uint16_t* out, __m256i words) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), words);
    }
  };

 private:
  static F And(F x, int bits) {
    const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(bits));
    return {_mm256_and_ps(x.low, mask), _mm256_and_ps(x.high, mask)};
  }

  static __m256 Softplus8(__m256 x) {
    const __m128 low = Softplus4(_mm256_castps256_ps128(x));
    const __m128 high = Softplus4(_mm256_extractf128_ps(x, 1));
    const __m256 use = _mm256_cmp_ps(x, _mm256_set1_ps(20.0f), _CMP_LE_OQ);
    return _mm256_blendv_ps(x, _mm256_set_m128(high, low), use);
  }
  static __m128 Softplus4(__m128 x) {
    return _mm256_cvtpd_ps(numerics::SoftplusSteps<Double256>(_mm256_cvtps_pd(x)));
  }

  // The upper halves of 16 values.
  static __m256i UpperWords(F v) {
    const __m256i low = _mm256_srli_epi32(_mm256_castps_si256(v.low), 16);
    const __m256i high = _mm256_srli_epi32(_mm256_castps_si256(v.high), 16);
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
  }
};

}  // namespace
}  // namespace cpu

const RowOps kAvx2RowOps = cpu::RowKernels<cpu::Rows256>::Table();

}  // namespace fathom::kernels

#endif
