// The BF16 product of the AVX2 path, in the order of linear.h. A block of 128 weights is decoded
// into eight registers of 16 BF16 codes; a pair becomes two floats (the odd code is the upper half
// of its 32-bit lane) and two fused multiply-adds, which is what vdpbf16ps computes.
#include "kernels/cpu/avx2.h"

#if defined(__x86_64__)

#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/vec256.h"
#include "kernels/linear.h"

namespace fathom::kernels::cpu {
namespace {

using F = Vec256::F;

constexpr int64_t kBlock = 128;
constexpr int kInputsMax = 4;  // served by one decoding

// A block as BF16 codes in pair order, without scales: lanes 0 .. 7 and 8 .. 15 of each step.
struct Block {
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

// Steps `first` and first + 2 of a half block: the codes of the even and odd bytes of its words.
void DecodeE2M1(__m256i codes, int first, int half, Block& block) {
  const __m256i low = Look(kTables.e2m1_low, codes), high = Look(kTables.e2m1_high, codes);
  const __m256i low_byte = _mm256_set1_epi16(0xff);
  block.step[first][half] =
      _mm256_or_si256(_mm256_and_si256(low, low_byte), _mm256_slli_epi16(high, 8));
  block.step[first + 2][half] =
      _mm256_or_si256(_mm256_srli_epi16(low, 8), _mm256_andnot_si256(low_byte, high));
}

template <Format kFormat>
Block DecodeBlock(const std::byte* p) {
  Block block;
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    if constexpr (kFormat == Format::kFp4) {
      const __m256i nibble = _mm256_set1_epi8(15), bytes = Load(p + 32 * half);
      DecodeE2M1(_mm256_and_si256(bytes, nibble), 0, half, block);
      DecodeE2M1(_mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble), 1, half, block);
    } else if constexpr (kFormat == Format::kFp8) {
#pragma GCC unroll 2
      for (int s = 0; s < 4; s += 2) {
        const __m256i codes = Load(p + 32 * s + 32 * half);
        block.step[s][half] = DecodeE4M3(_mm256_unpacklo_epi8(codes, codes));
        block.step[s + 1][half] = DecodeE4M3(_mm256_unpackhi_epi8(codes, codes));
      }
    } else {
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) block.step[s][half] = Load(p + 64 * s + 32 * half);
    }
  }
  return block;
}

__m256 Odd(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000)));
}
__m256 Even(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }

// The 16 sums of a block.
F DotBlock(const Block& w, const uint16_t* x) {
  __m256 p[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
#pragma GCC unroll 4
  for (int s = 0; s < 4; ++s) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256i value =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 32 * s + 16 * half));
      p[half] = _mm256_fmadd_ps(Odd(w.step[s][half]), Odd(value), p[half]);
      p[half] = _mm256_fmadd_ps(Even(w.step[s][half]), Even(value), p[half]);
    }
  }
  return {p[0], p[1]};
}

__m128 Scale(uint8_t code) {
  return _mm_castsi128_ps(_mm_set1_epi32(static_cast<int>(kScaleTable.bits[code])));
}

// The lane scales of block b; lanes that hold none of the row's inputs get zero.
template <Format kFormat>
F ScalesOf(const WeightRow& row, int64_t b, int64_t cols) {
  const int64_t inputs = cols - b * kBlock;
  if constexpr (kFormat == Format::kFp8) {
    const __m256 scale = _mm256_set1_ps(_mm_cvtss_f32(Scale(row.scale[b])));
    if (inputs >= kBlock) return {scale, scale};
    const PairOrder& order = PairOrderOf(kFormat);
    alignas(32) float lanes[16];
    for (int l = 0; l < 16; ++l)
      lanes[l] = order.k[2 * l] < inputs ? _mm256_cvtss_f32(scale) : 0.0f;
    return Vec256::Load(lanes);
  } else {
    const uint8_t* codes = row.scale + 4 * b;
    if (inputs >= kBlock)
      return {_mm256_set_m128(Scale(codes[1]), Scale(codes[0])),
              _mm256_set_m128(Scale(codes[3]), Scale(codes[2]))};
    alignas(32) float lanes[16];
    for (int l = 0; l < 16; ++l)
      lanes[l] = 8 * l < inputs ? _mm_cvtss_f32(Scale(codes[l / 4])) : 0.0f;
    return Vec256::Load(lanes);
  }
}

template <Format kFormat, int kInputs>
void DotRow(const DotTask& task, int64_t o, const uint16_t* const* x, float* y) {
  constexpr int64_t kBytes = CodeBytes<kFormat>(kBlock);
  const WeightRow row = RowOf<kFormat>(task.w, o);
  const int64_t cols = task.w.cols, whole = cols / kBlock;
  F acc[kInputs];
#pragma GCC unroll 4
  for (int i = 0; i < kInputs; ++i) acc[i] = Vec256::Zero();
  const auto add = [&](const std::byte* codes, int64_t b) __attribute__((always_inline)) {
    const Block block = DecodeBlock<kFormat>(codes);
    F scale = Vec256::Zero();
    if constexpr (kFormat != Format::kBF16) scale = ScalesOf<kFormat>(row, b, cols);
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) {
      F p = DotBlock(block, x[i] + b * kBlock);
      if constexpr (kFormat != Format::kBF16) p = Vec256::Mul(p, scale);
      acc[i] = Vec256::Add(acc[i], p);
    }
  };
  for (int64_t b = 0; b < whole; ++b) add(row.codes + b * kBytes, b);
  if (whole * kBlock < cols) {
    // Copied out, so that nothing past the row is read.
    alignas(32) std::byte tail[kBytes] = {};
    std::memcpy(tail, row.codes + whole * kBytes,
                static_cast<size_t>(CodeBytes<kFormat>(cols - whole * kBlock)));
    add(tail, whole);
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
