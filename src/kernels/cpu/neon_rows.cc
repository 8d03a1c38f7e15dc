// The row operations of the NEON path.
#include "kernels/row_ops.h"

#if defined(__aarch64__)

#include "kernels/cpu/neon_decode.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/vec128.h"

namespace fathom::kernels {
namespace cpu {
namespace {

// Two doubles, for numerics::SoftplusSteps.
struct Double128 {
  using D = float64x2_t;
  static D Set(double x) { return vdupq_n_f64(x); }
  static D Add(D a, D b) { return vaddq_f64(a, b); }
  static D Sub(D a, D b) { return vsubq_f64(a, b); }
  static D Mul(D a, D b) { return vmulq_f64(a, b); }
  static D Div(D a, D b) { return vdivq_f64(a, b); }
  static D AddExponent(D p, D t) {
    return vreinterpretq_f64_u64(
        vaddq_u64(vreinterpretq_u64_f64(p), vshlq_n_u64(vreinterpretq_u64_f64(t), 52)));
  }
  static uint64x2_t ExponentBits(D u) {
    const uint64x2_t root = vdupq_n_u64(numerics::ScalarDouble::kSqrtHalf);
    return vshrq_n_u64(vsubq_u64(vreinterpretq_u64_f64(u), root), 52);
  }
  static D Exponent(D u) { return vcvtq_f64_u64(ExponentBits(u)); }
  static D Mantissa(D u) {
    return vreinterpretq_f64_u64(
        vsubq_u64(vreinterpretq_u64_f64(u), vshlq_n_u64(ExponentBits(u), 52)));
  }
  static D ZeroBelow(D e, D x, double limit) {
    return vbslq_f64(vcltq_f64(x, Set(limit)), Set(0), e);
  }
};

struct Rows128 : Vec128 {
  // a < b ? a : b, so b where either is NaN.
  static F Min(F a, F b) { return Each(Min4, a, b); }
  static F Sqrt(F x) { return Each(vsqrtq_f32, x); }
  static float SqrtOne(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }
  static F Abs(F x) {
    return Each([](float32x4_t v) { return And(v, 0x7fffffffu); }, x);
  }
  static F PowerOf(F x) {
    return Each([](float32x4_t v) { return And(v, 0x7f800000u); }, x);
  }
  static F CopySign(F magnitude, F sign) {
    return Each(
        [](float32x4_t m, float32x4_t s) { return vbslq_f32(vdupq_n_u32(0x80000000u), s, m); },
        magnitude, sign);
  }
  // Of magnitudes without NaN.
  static float Largest(F x) {
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.a, x.b), vmaxq_f32(x.c, x.d)));
  }
  // The first n lanes, zeros above.
  static F KeepFirst(F x, int64_t n) {
    const int32_t count = static_cast<int32_t>(n);
    const auto keep = [](float32x4_t v, uint32x4_t mask) {
      return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), mask));
    };
    return {keep(x.a, First(count)), keep(x.b, First(count - 4)), keep(x.c, First(count - 8)),
            keep(x.d, First(count - 12))};
  }
  static F SwapPairs(F x) { return Swap<1>(x); }

  // Lane i gets lane i ^ kStride.
  template <int kStride>
  static F Swap(F x) {
    if constexpr (kStride == 1) return Each(vrev64q_f32, x);
    if constexpr (kStride == 2) return Each([](float32x4_t v) { return vextq_f32(v, v, 2); }, x);
    if constexpr (kStride == 4) return {x.b, x.a, x.d, x.c};
    return {x.c, x.d, x.a, x.b};
  }
  template <int kStride>
  static F NegateUpper(F x) {
    if constexpr (kStride == 4) return {x.a, vnegq_f32(x.b), x.c, vnegq_f32(x.d)};
    if constexpr (kStride == 8) return {x.a, x.b, vnegq_f32(x.c), vnegq_f32(x.d)};
    constexpr uint32_t kSign = 0x80000000u;
    const uint32x4_t upper = {0, kStride == 1 ? kSign : 0, kStride == 2 ? kSign : 0, kSign};
    return Each(
        [&](float32x4_t v) {
          return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v), upper));
        },
        x);
  }

  static F Softplus(F x) { return Each(Softplus4, x); }

  static float SumOfSquares(const float* x, int64_t n) {
    float64x2_t sum[4] = {Double128::Set(0), Double128::Set(0), Double128::Set(0),
                          Double128::Set(0)};
    int64_t k = 0;
    for (; k + 8 <= n; k += 8) {
      const float32x4_t low = vld1q_f32(x + k), high = vld1q_f32(x + k + 4);
      const float64x2_t v[4] = {vcvt_f64_f32(vget_low_f32(low)), vcvt_high_f64_f32(low),
                                vcvt_f64_f32(vget_low_f32(high)), vcvt_high_f64_f32(high)};
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sum[i] = vaddq_f64(sum[i], vmulq_f64(v[i], v[i]));
    }
    double lanes[8];
    for (int i = 0; i < 4; ++i) vst1q_f64(lanes + 2 * i, sum[i]);
    for (int64_t l = 0; k + l < n; ++l)
      lanes[l] += static_cast<double>(x[k + l]) * static_cast<double>(x[k + l]);
    for (int half = 4; half >= 1; half /= 2)
      for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    return static_cast<float>(lanes[0]);
  }

  // Where the words of a block go: the orders of BF16 and FP8 move eight inputs at a time.
  struct BlockOrder {
    explicit BlockOrder(const PairOrder& order) : k(order.k) {}
    const int16_t* k;
  };
  static void PackBlock(const F* v, const BlockOrder& order, uint16_t* out) {
    uint16_t words[128];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      vst1q_u16(words + 16 * i, UpperWords(v[i].a, v[i].b));
      vst1q_u16(words + 16 * i + 8, UpperWords(v[i].c, v[i].d));
    }
    for (int i = 0; i < 16; ++i) vst1q_u16(out + 8 * i, vld1q_u16(words + order.k[8 * i]));
  }

  // [g, q, r]: the pairs of steps 4 q .. 4 q + 3 in lane 4 g + r; storing them is a transposition.
  struct Stretch {
    uint32x4_t pairs[4][4][4];

    void Set(int r, const F* v) {
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) {
        pairs[g][0][r] = FourApart(v[2 * g].a, v[2 * g].b);
        pairs[g][1][r] = FourApart(v[2 * g].c, v[2 * g].d);
        pairs[g][2][r] = FourApart(v[2 * g + 1].a, v[2 * g + 1].b);
        pairs[g][3][r] = FourApart(v[2 * g + 1].c, v[2 * g + 1].d);
      }
    }
    void Store(uint16_t* out) {
      for (int q = 0; q < 4; ++q) {
        for (int g = 0; g < 4; ++g) {
          Transpose4(pairs[g][q]);
          for (int u = 0; u < 4; ++u)
            vst1q_u16(out + 32 * (4 * q + u) + 8 * g, vreinterpretq_u16_u32(pairs[g][q][u]));
        }
      }
    }
  };

 private:
  static float32x4_t And(float32x4_t x, uint32_t bits) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(bits)));
  }
  // Not vminq_f32, which gives NaN where either is NaN.
  static float32x4_t Min4(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }

  static float32x4_t Softplus4(float32x4_t x) {
    const float64x2_t low = numerics::SoftplusSteps<Double128>(vcvt_f64_f32(vget_low_f32(x)));
    const float64x2_t high = numerics::SoftplusSteps<Double128>(vcvt_high_f64_f32(x));
    const float32x4_t result = vcombine_f32(vcvt_f32_f64(low), vcvt_f32_f64(high));
    return vbslq_f32(vcleq_f32(x, vdupq_n_f32(20.0f)), result, x);
  }

  // The upper halves of eight values.
  static uint16x8_t UpperWords(float32x4_t low, float32x4_t high) {
    return vuzp2q_u16(vreinterpretq_u16_f32(low), vreinterpretq_u16_f32(high));
  }
  // Those in the order 0 4 1 5 2 6 3 7.
  static uint32x4_t FourApart(float32x4_t low, float32x4_t high) {
    return vreinterpretq_u32_u16(
        vtrn2q_u16(vreinterpretq_u16_f32(low), vreinterpretq_u16_f32(high)));
  }
};

}  // namespace
}  // namespace cpu

const RowOps kNeonRowOps = cpu::RowKernels<cpu::Rows128>::Table();

}  // namespace fathom::kernels

#endif
