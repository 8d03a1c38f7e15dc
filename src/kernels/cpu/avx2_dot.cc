// The BF16 product of the AVX2 path, in the order of linear.h. Weights are decoded four steps at a
// time into eight registers of 16 BF16 codes; a pair becomes two floats (the odd code is the upper
// half of its 32-bit lane) and two fused multiply-adds, which is what vdpbf16ps computes.
#include "kernels/cpu/avx2.h"

#if defined(__x86_64__)

#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/vec256.h"
#include "kernels/linear.h"

namespace fathom::kernels::cpu {
namespace {

using F = Vec256::F;

constexpr int kInputsMax = 4;  // served by one decoding

// Four steps as BF16 codes in pair order, without scales: lanes 0 .. 7 and 8 .. 15 of each.
struct Four {
  __m256i step[4][2];
};

__m256i Load(const std::byte* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

// Bytes of the 16-byte table for each byte of `index`, which is below 16.
__m256i Look(const uint8_t (&table)[16], __m256i index) {
  const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), index);
}

struct ByteTables {
  uint8_t e2m1_high[16], e2m1_low[16];
  uint8_t e4m3_subnormal[16];  // low bytes of codes 0 .. 7, then their high bytes
};
constexpr ByteTables MakeByteTables() {
  ByteTables t{};
  for (int i = 0; i < 16; ++i) {
    t.e2m1_high[i] = static_cast<uint8_t>(E2M1Bits(i) >> 8);
    t.e2m1_low[i] = static_cast<uint8_t>(E2M1Bits(i) & 255);
    const uint16_t subnormal = E4M3Magnitude(i & 7);
    t.e4m3_subnormal[i] = static_cast<uint8_t>(i < 8 ? subnormal & 255 : subnormal >> 8);
  }
  return t;
}
constexpr ByteTables kTables = MakeByteTables();

// 16 E4M3 codes, each doubled into both bytes of its word -> BF16.
__m256i DecodeE4M3(__m256i doubled) {
  const __m256i magnitude = _mm256_and_si256(doubled, _mm256_set1_epi16(0x7f));
  const __m256i normal =
      _mm256_add_epi16(_mm256_slli_epi16(magnitude, 4), _mm256_set1_epi16(120 << 7));
  const __m256i index = _mm256_add_epi16(_mm256_and_si256(doubled, _mm256_set1_epi16(0x0707)),
                                         _mm256_set1_epi16(0x0800));
  const __m256i subnormal = Look(kTables.e4m3_subnormal, index);
  __m256i value =
      _mm256_blendv_epi8(normal, subnormal, _mm256_cmpgt_epi16(_mm256_set1_epi16(8), magnitude));
  value = _mm256_blendv_epi8(value, _mm256_set1_epi16(0x7fc0),
                             _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x7f)));
  const __m256i sign = _mm256_and_si256(doubled, _mm256_set1_epi16(static_cast<short>(0x8000)));
  return _mm256_or_si256(value, sign);
}

// The lowest nibble of every word, as an E2M1 code -> BF16. Entry 0 of both tables is 0.
__m256i DecodeE2M1(__m256i words) {
  const __m256i index = _mm256_and_si256(words, _mm256_set1_epi16(15));
  return _mm256_or_si256(Look(kTables.e2m1_low, index),
                         Look(kTables.e2m1_high, _mm256_slli_epi16(index, 8)));
}

// The four steps of word q of an FP4 stretch: the words of the four blocks r are transposed within
// groups of four.
Four DecodeFp4(const std::byte* p, int64_t q) {
  Four four;
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const std::byte* chunk = p + 32 * half;
    const __m256i r0 = Load(chunk), r1 = Load(chunk + 64);
    const __m256i r2 = Load(chunk + 128), r3 = Load(chunk + 192);
    const __m256i a = q < 2 ? _mm256_unpacklo_epi32(r0, r1) : _mm256_unpackhi_epi32(r0, r1);
    const __m256i b = q < 2 ? _mm256_unpacklo_epi32(r2, r3) : _mm256_unpackhi_epi32(r2, r3);
    const __m256i words = q % 2 == 0 ? _mm256_unpacklo_epi64(a, b) : _mm256_unpackhi_epi64(a, b);
    four.step[0][half] = DecodeE2M1(words);
    four.step[1][half] = DecodeE2M1(_mm256_srli_epi16(words, 4));
    four.step[2][half] = DecodeE2M1(_mm256_srli_epi16(words, 8));
    four.step[3][half] = DecodeE2M1(_mm256_srli_epi16(words, 12));
  }
  return four;
}

// Steps 4 index .. 4 index + 3 of the stretch at p: those of a block, but for FP4.
template <Format kFormat>
Four DecodeFour(const std::byte* p, int64_t index) {
  if constexpr (kFormat == Format::kFp4) return DecodeFp4(p, index);
  p += CodeBytes<kFormat>(kBlock) * index;
  Four four;
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    if constexpr (kFormat == Format::kFp8) {
#pragma GCC unroll 2
      for (int s = 0; s < 4; s += 2) {
        const __m256i codes = Load(p + 32 * s + 32 * half);
        four.step[s][half] = DecodeE4M3(_mm256_unpacklo_epi8(codes, codes));
        four.step[s + 1][half] = DecodeE4M3(_mm256_unpackhi_epi8(codes, codes));
      }
    } else {
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) four.step[s][half] = Load(p + 64 * s + 32 * half);
    }
  }
  return four;
}

__m256 Odd(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000)));
}
__m256 Even(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }

float Scale(uint8_t code) {
  return _mm_cvtss_f32(
      _mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(kScaleTable.bits[code]))));
}

// Adds four steps to the lane sums p; x is the packed input from the first of them on. FP8 codes
// are multiplied by `scale`, which is exact.
template <Format kFormat>
void AddFour(const Four& w, float scale, const uint16_t* x, __m256* p) {
  const __m256 scales = _mm256_set1_ps(scale);
#pragma GCC unroll 4
  for (int s = 0; s < 4; ++s) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256i value =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 32 * s + 16 * half));
      __m256 odd = Odd(w.step[s][half]), even = Even(w.step[s][half]);
      if constexpr (kFormat == Format::kFp8) {
        odd = _mm256_mul_ps(odd, scales);
        even = _mm256_mul_ps(even, scales);
      }
      p[half] = _mm256_fmadd_ps(odd, Odd(value), p[half]);
      p[half] = _mm256_fmadd_ps(even, Even(value), p[half]);
    }
  }
}

// Lane scales of an FP4 stretch of which `groups` scales belong to the row; zero for other lanes.
F Fp4Scales(const uint8_t* codes, int64_t groups) {
  alignas(32) float lanes[16];
  for (int l = 0; l < 16; ++l) {
    const int group = 4 * (l % 4) + l / 4;
    lanes[l] = group < groups ? Scale(codes[group]) : 0.0f;
  }
  return Vec256::Load(lanes);
}

// Adds a stretch of `blocks` blocks (FP4: always whole) to the sums of kInputs inputs, which are
// read from `offset` on. `scale` is that of its first block or group.
template <Format kFormat, int kInputs>
void AddStretch(const std::byte* codes, const uint8_t* scale, int64_t blocks, int64_t groups,
                const uint16_t* const* x, int64_t offset, F* acc) {
  const int64_t fours = kFormat == Format::kFp4 ? 4 : blocks;
  F sum[kInputs];
#pragma GCC unroll 2
  for (int64_t begin = 0; begin < 4; begin += 2) {
    __m256 p[kInputs][2];
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) p[i][0] = p[i][1] = _mm256_setzero_ps();
    for (int64_t four = begin; four < begin + 2 && four < fours; ++four) {
      const Four w = DecodeFour<kFormat>(codes, four);
      const float block_scale = kFormat == Format::kFp8 ? Scale(scale[four]) : 1.0f;
#pragma GCC unroll 4
      for (int i = 0; i < kInputs; ++i)
        AddFour<kFormat>(w, block_scale, x[i] + offset + 128 * four, p[i]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i)
      sum[i] = begin == 0 ? F{p[i][0], p[i][1]} : Vec256::Add(sum[i], {p[i][0], p[i][1]});
  }
  if constexpr (kFormat == Format::kFp4) {
    const F scales = Fp4Scales(scale, groups);
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) acc[i] = Vec256::Fma(sum[i], scales, acc[i]);
  } else {
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) acc[i] = Vec256::Add(acc[i], sum[i]);
  }
}

template <Format kFormat, int kInputs>
void DotRow(const DotTask& task, int64_t o, const uint16_t* const* x, float* y) {
  constexpr int64_t kBytes = CodeBytes<kFormat>(kStretch);
  constexpr int64_t kScales = ScaleBlock<kFormat>() == 0 ? 0 : kStretch / ScaleBlock<kFormat>();
  const WeightRow row = RowOf<kFormat>(task.w, o);
  const int64_t cols = task.w.cols, whole = cols / kStretch;
  F acc[kInputs];
#pragma GCC unroll 4
  for (int i = 0; i < kInputs; ++i) acc[i] = Vec256::Zero();
  for (int64_t b = 0; b < whole; ++b)
    AddStretch<kFormat, kInputs>(row.codes + b * kBytes, row.scale + b * kScales, 4, 16, x,
                                 b * kStretch, acc);
  const int64_t inputs = cols - whole * kStretch;
  if (inputs > 0) {
    // Copied out, so that nothing past the row is read.
    alignas(32) std::byte tail[kBytes] = {};
    std::memcpy(tail, row.codes + whole * kBytes, static_cast<size_t>(CodeBytes<kFormat>(inputs)));
    AddStretch<kFormat, kInputs>(tail, row.scale + whole * kScales, (inputs + kBlock - 1) / kBlock,
                                 (inputs + tensor::kFp4Block - 1) / tensor::kFp4Block, x,
                                 whole * kStretch, acc);
  }
#pragma GCC unroll 4
  for (int i = 0; i < kInputs; ++i) y[i * task.y_stride] = Vec256::Fold(acc[i]);
}

template <Format kFormat>
void Dot(const DotTask& task, const uint16_t* const* x) {
  for (int64_t o = task.row_begin; o < task.row_end; ++o) {
    float* y = task.y + (o - task.row_begin);
    int64_t i = 0;
    for (; i + kInputsMax <= task.count; i += kInputsMax)
      DotRow<kFormat, kInputsMax>(task, o, x + i, y + i * task.y_stride);
    for (; i < task.count; ++i) DotRow<kFormat, 1>(task, o, x + i, y + i * task.y_stride);
  }
}

}  // namespace

void DotBF16Avx2(const DotTask& task, const uint16_t* const* x) {
  switch (task.w.format) {
    case Format::kBF16:
      return Dot<Format::kBF16>(task, x);
    case Format::kFp8:
      return Dot<Format::kFp8>(task, x);
    case Format::kFp4:
      return Dot<Format::kFp4>(task, x);
    case Format::kF32:
      return;  // F32 weights have the float32 product only.
  }
}

}  // namespace fathom::kernels::cpu

#endif
