// Sixteen float lanes in four NEON registers: the operations that kernels/cpu's shared templates
// are written in. Every 64-bit Arm processor has them.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/neon_decode.h"
#include "numerics/functions.h"
#include "tensor/view.h"

namespace fathom::kernels::cpu {

struct Vec128 {
  struct F {
    float32x4_t a, b, c, d;  // lanes 0 .. 3, 4 .. 7, 8 .. 11, 12 .. 15
  };
  using Format = tensor::Format;

  // Tile sizes that fill 32 registers.
  static constexpr int kDotInputs = 1;
  static constexpr int kValueHeads = 4;
  static constexpr int kValueVecs = 1;

  // Ones in the lanes below n.
  static uint32x4_t First(int32_t n) {
    const int32x4_t lane = {0, 1, 2, 3};
    return vcltq_s32(lane, vdupq_n_s32(n));
  }

  static F Zero() { return Set(0.0f); }
  static F Set(float x) {
    const float32x4_t four = vdupq_n_f32(x);
    return {four, four, four, four};
  }
  static F Load(const float* p) {
    return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
  }
  // The first n lanes, 0 <= n <= 16; zeros above. Nothing past them is read.
  static F Load(const float* p, int64_t n) {
    float lanes[16] = {};
    for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
    return Load(lanes);
  }
  static void Store(float* p, F v) {
    vst1q_f32(p, v.a);
    vst1q_f32(p + 4, v.b);
    vst1q_f32(p + 8, v.c);
    vst1q_f32(p + 12, v.d);
  }
  static void Store(float* p, F v, int64_t n) {
    float lanes[16];
    Store(lanes, v);
    for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
  }

  // A function of registers, register by register.
  template <typename Function>
  static F Each(Function function, F x) {
    return {function(x.a), function(x.b), function(x.c), function(x.d)};
  }
  template <typename Function>
  static F Each(Function function, F x, F y) {
    return {function(x.a, y.a), function(x.b, y.b), function(x.c, y.c), function(x.d, y.d)};
  }

  static F Add(F x, F y) { return Each(vaddq_f32, x, y); }
  static F Sub(F x, F y) { return Each(vsubq_f32, x, y); }
  static F Mul(F x, F y) { return Each(vmulq_f32, x, y); }
  static F Div(F x, F y) { return Each(vdivq_f32, x, y); }
  static F Fma(F x, F y, F z) {
    return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
            vfmaq_f32(z.d, x.d, y.d)};
  }
  // x + y in the first n lanes, x above.
  static F AddFirst(F x, F y, int64_t n) {
    const F sum = Add(x, y);
    const int32_t count = static_cast<int32_t>(n);
    return {vbslq_f32(First(count), sum.a, x.a), vbslq_f32(First(count - 4), sum.b, x.b),
            vbslq_f32(First(count - 8), sum.c, x.c), vbslq_f32(First(count - 12), sum.d, x.d)};
  }
  // x > y ? x : y, so y where either is NaN.
  static F Max(F x, F y) { return Each(Max4, x, y); }

  // numerics::ToBF16 and back.
  static F RoundToBF16(F x) { return Each(Round4, x); }
  // The sequence of numerics::Exp.
  static F Exp(F x) { return Each(Exp4, x); }

  // 16 lanes to 8, 4, 2, 1.
  static float Fold(F v) {
    const float32x4_t four = vaddq_f32(vaddq_f32(v.a, v.c), vaddq_f32(v.b, v.d));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }

  // 16 consecutive codes of a weight row as floats, unscaled, in natural order.
  template <Format kFormat>
  static F Decode(const std::byte* p) {
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(p);
    if constexpr (kFormat == Format::kF32) {
      const auto four = [&](int i) { return vreinterpretq_f32_u8(vld1q_u8(bytes + 16 * i)); };
      return {four(0), four(1), four(2), four(3)};
    } else if constexpr (kFormat == Format::kBF16) {
      return Widen(vreinterpretq_u16_u8(vld1q_u8(bytes)),
                   vreinterpretq_u16_u8(vld1q_u8(bytes + 16)));
    } else if constexpr (kFormat == Format::kFp8) {
      const CodeBytes16 codes = DecodeE4M3(vld1q_u8(bytes));
      return Widen(codes.Front(), codes.Back());
    } else {
      const uint8x8_t packed = vld1_u8(bytes);
      const uint8x8_t low = vand_u8(packed, vdup_n_u8(15)), high = vshr_n_u8(packed, 4);
      const CodeBytes16 codes = DecodeE2M1(vcombine_u8(vzip1_u8(low, high), vzip2_u8(low, high)));
      return Widen(codes.Front(), codes.Back());
    }
  }

 private:
  static F Widen(uint16x8_t low, uint16x8_t high) {
    const auto four = [](uint16x4_t words) {
      return vreinterpretq_f32_u32(vshll_n_u16(words, 16));
    };
    return {four(vget_low_u16(low)), four(vget_high_u16(low)), four(vget_low_u16(high)),
            four(vget_high_u16(high))};
  }

  // Not vmaxq_f32, which gives NaN where either is NaN.
  static float32x4_t Max4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }

  static float32x4_t Round4(float32x4_t x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t sum = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    const uint32x4_t result = vbslq_u32(vceqq_f32(x, x), sum, quiet);
    return vreinterpretq_f32_u32(vandq_u32(result, vdupq_n_u32(0xffff0000u)));
  }

  static float32x4_t Power(int32x4_t e) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(e, vdupq_n_s32(127)), 23));
  }

  // x * y + z, rounded twice.
  static float32x4_t MulAdd(float32x4_t x, float32x4_t y, float z) {
    return vaddq_f32(vmulq_f32(x, y), vdupq_n_f32(z));
  }

  static float32x4_t Exp4(float32x4_t x) {
    using K = numerics::ExpConstants;
    const auto set = [](float value) { return vdupq_n_f32(value); };
    const float32x4_t n = vsubq_f32(MulAdd(x, set(K::kLog2E), K::kRound), set(K::kRound));
    const float32x4_t r =
        vsubq_f32(vsubq_f32(x, vmulq_f32(n, set(K::kLn2High))), vmulq_f32(n, set(K::kLn2Low)));
    float32x4_t p = MulAdd(set(K::kC7), r, K::kC6);
    p = MulAdd(p, r, K::kC5);
    p = MulAdd(p, r, K::kC4);
    p = MulAdd(p, r, K::kC3);
    p = MulAdd(p, r, K::kC2);
    p = MulAdd(p, r, 1.0f);
    p = MulAdd(p, r, 1.0f);
    const int32x4_t whole = vcvtq_s32_f32(n);
    const int32x4_t half = vshrq_n_s32(whole, 1);
    p = vmulq_f32(vmulq_f32(p, Power(half)), Power(vsubq_s32(whole, half)));
    p = vbslq_f32(vcltq_f32(x, set(K::kSmallest)), set(0.0f), p);
    p = vbslq_f32(vcgtq_f32(x, set(K::kLargest)), set(__builtin_inff()), p);
    return vbslq_f32(vceqq_f32(x, x), p, x);
  }
};

}  // namespace fathom::kernels::cpu
