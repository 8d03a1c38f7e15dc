// The product of FP4 weights and byte inputs of the NEON path, as int8_stretch.h defines it: each
// row of weights is decoded for some inputs at a time, a quarter of the lanes after the other.
#include "kernels/cpu/neon.h"

#if defined(__aarch64__)

#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/neon_decode.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/sizes.h"
#include "kernels/cpu/vec128.h"
#include "kernels/int8_stretch.h"

namespace fathom::kernels::cpu {
namespace {

constexpr int64_t kInputs = 4;
// Rows that pass over all inputs before the next ones.
constexpr int64_t kGroupRows = 16;
constexpr int64_t kStretchBytes = CodeBytes<Format::kFp4>(kStretch);

struct ByteTable {
  int8_t codes[16];  // doubled
};
constexpr ByteTable MakeByteTable() {
  ByteTable t{};
  for (int i = 0; i < 16; ++i) t.codes[i] = static_cast<int8_t>(DoubledE2M1(i));
  return t;
}
constexpr ByteTable kByteTable = MakeByteTable();

// A stretch of a row; the end of a row is copied out, so that nothing past it is read.
struct Stretch {
  const uint8_t* codes;
  float scales[16];  // of the lanes
  uint8_t copy[kStretchBytes];
};

void Read(const WeightRow& row, int64_t b, int64_t cols, Stretch& stretch) {
  const int64_t inputs = Smaller(kStretch, cols - b * kStretch);
  stretch.codes = reinterpret_cast<const uint8_t*>(row.codes) + b * kStretchBytes;
  if (inputs < kStretch) {
    const int64_t bytes = CodeBytes<Format::kFp4>(inputs);
    std::memcpy(stretch.copy, stretch.codes, static_cast<size_t>(bytes));
    std::memset(stretch.copy + bytes, 0, static_cast<size_t>(kStretchBytes - bytes));
    stretch.codes = stretch.copy;
  }
  const int64_t blocks = (inputs + tensor::kFp4Block - 1) / tensor::kFp4Block;
  LaneScales(row.scale + 16 * b, blocks, stretch.scales);
}

// The eight steps of lanes 4 quarter .. 4 quarter + 3.
struct Steps {
  int8x16_t v[8];
};
[[gnu::always_inline]] inline Steps Decode(const uint8_t* codes, int64_t quarter) {
  const int8x16_t table = vld1q_s8(kByteTable.codes);
  uint32x4_t words[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r)
    words[r] = vreinterpretq_u32_u8(vld1q_u8(codes + 64 * r + 16 * quarter));
  Transpose4(words);
  Steps steps;
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    const uint8x16_t bytes = vreinterpretq_u8_u32(words[q]);
    steps.v[2 * q] = vqtbl1q_s8(table, vandq_u8(bytes, vdupq_n_u8(15)));
    steps.v[2 * q + 1] = vqtbl1q_s8(table, vshrq_n_u8(bytes, 4));
  }
  return steps;
}

// Sums of four lanes. A product is below 2^11, so eight of them fit 16 bits.
[[gnu::always_inline]] inline int32x4_t Sums(const Steps& steps, const int8_t* x) {
  int16x8_t low = vdupq_n_s16(0), high = vdupq_n_s16(0);
#pragma GCC unroll 8
  for (int s = 0; s < 8; ++s) {
    const int8x16_t input = vld1q_s8(x + Int8Stretch::kStep * s);
    low = vmlal_s8(low, vget_low_s8(steps.v[s]), vget_low_s8(input));
    high = vmlal_s8(high, vget_high_s8(steps.v[s]), vget_high_s8(input));
  }
  return vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
}

// Rows [first, end) times kCount inputs; y that of the first of them.
template <int kCount>
void DotRows(const DotTask& task, int64_t first, int64_t end, const Int8Stretch* const* x,
             float* y) {
  const int64_t stretches = Int8Stretches(task.w.cols);
  Stretch stretch;
  for (int64_t o = first; o < end; ++o) {
    const WeightRow row = RowOf<Format::kFp4>(task.w, o);
    float acc[kCount][16] = {};
    for (int64_t b = 0; b < stretches; ++b) {
      Read(row, b, task.w.cols, stretch);
#pragma GCC unroll 4
      for (int64_t quarter = 0; quarter < 4; ++quarter) {
        const Steps steps = Decode(stretch.codes, quarter);
        const float32x4_t scales = vld1q_f32(stretch.scales + 4 * quarter);
#pragma GCC unroll 4
        for (int i = 0; i < kCount; ++i) {
          const Int8Stretch& input = x[i][b];
          const float32x4_t sums = vcvtq_f32_s32(Sums(steps, input.codes + 16 * quarter));
          const float32x4_t both = vmulq_f32(scales, vld1q_f32(input.scales + 4 * quarter));
          float* to = acc[i] + 4 * quarter;
          vst1q_f32(to, vfmaq_f32(vld1q_f32(to), sums, both));
        }
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i)
      y[i * task.y_stride + (o - task.row_begin)] = Vec128::Fold(Vec128::Load(acc[i]));
  }
}

}  // namespace

void DotInt8Neon(const DotTask& task, const Int8Stretch* const* x) {
  const int64_t rows = task.count <= kInputs ? task.row_end - task.row_begin : kGroupRows;
  for (int64_t o = task.row_begin; o < task.row_end; o += rows) {
    const int64_t end = Smaller(o + rows, task.row_end);
    ForShares<kInputs>(task.count, [&](int64_t first, auto inputs) {
      DotRows<inputs>(task, o, end, x + first, task.y + first * task.y_stride);
    });
  }
}

}  // namespace fathom::kernels::cpu

#endif
