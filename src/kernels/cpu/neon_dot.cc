// The BF16 product of the NEON path, in the order of linear.h. A pair becomes two floats (the odd
// BF16 code is the upper half of its 32-bit lane) and two fused multiply-adds, which is what
// vdpbf16ps computes. Arm's own BF16 instructions are not used: bfdot and bfmmla round differently
// from a fused multiply-add, and on most processors differently from their own double.
//
// A panel of four rows is decoded to floats, one stretch of 512 inputs at a time, and meets tiles
// of up to four inputs, whose sixteen sums of four lanes fill half of the registers.
#include "kernels/cpu/neon.h"

#if defined(__aarch64__)

#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/neon_decode.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/sizes.h"
#include "kernels/cpu/vec128.h"
#include "kernels/linear.h"

namespace fathom::kernels::cpu {
namespace {

constexpr int64_t kSteps = kStretch / 32;
constexpr int64_t kTileInputs = 4;

// One stretch of some rows. Lives on the stack.
struct Panel {
  static constexpr int64_t kRows = 4;
  static constexpr int64_t kInputs = 64;  // inputs per decoding

  // The four lanes from 4 * quarter on: even and odd weight of each row at each step.
  alignas(64) float weights[4][kSteps][kRows][2][4];
  alignas(64) float scales[kRows][16];
  alignas(64) float acc[kRows][kInputs][16];
};

float32x4_t Even(uint32x4_t pairs) { return vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16)); }
float32x4_t Odd(uint32x4_t pairs) {
  return vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000u)));
}

void PutPairs(uint16x8_t pairs, float (&to)[2][4]) {
  vst1q_f32(to[0], Even(vreinterpretq_u32_u16(pairs)));
  vst1q_f32(to[1], Odd(vreinterpretq_u32_u16(pairs)));
}

// The product with the scale is the BF16 value that linear.h asks for: exact, with flushed
// subnormals.
void PutScaledPairs(uint16x8_t pairs, float32x4_t scale, float (&to)[2][4]) {
  vst1q_f32(to[0], vmulq_f32(Even(vreinterpretq_u32_u16(pairs)), scale));
  vst1q_f32(to[1], vmulq_f32(Odd(vreinterpretq_u32_u16(pairs)), scale));
}

void DecodeBF16(const uint8_t* codes, int64_t steps, int64_t r, Panel& panel) {
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t quarter = 0; quarter < 4; ++quarter)
      PutPairs(vreinterpretq_u16_u8(vld1q_u8(codes + 64 * s + 16 * quarter)),
               panel.weights[quarter][s][r]);
  }
}

// Steps come in twos: the lower and upper halves of four 16-byte groups.
void DecodeFp8(const uint8_t* codes, const uint8_t* scales, int64_t steps, int64_t r,
               Panel& panel) {
  for (int64_t s = 0; s < steps; s += 2) {
    const float32x4_t scale = vdupq_n_f32(ScaleOf(scales[s / 4]));
    for (int64_t quarter = 0; quarter < 4; ++quarter) {
      const CodeBytes16 values = DecodeE4M3(vld1q_u8(codes + 32 * s + 16 * quarter));
      PutScaledPairs(values.Front(), scale, panel.weights[quarter][s][r]);
      PutScaledPairs(values.Back(), scale, panel.weights[quarter][s + 1][r]);
    }
  }
}

// Lane 4 g + r takes 16 bytes of block r. Each of their dwords holds eight inputs, the even
// elements of four steps before the odd ones.
void DecodeFp4(const uint8_t* codes, int64_t row, Panel& panel) {
  for (int64_t g = 0; g < 4; ++g) {
    uint32x4_t dwords[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) dwords[r] = vreinterpretq_u32_u8(vld1q_u8(codes + 64 * r + 16 * g));
    Transpose4(dwords);
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
      const uint8x16_t bytes = vreinterpretq_u8_u32(dwords[q]);
      const CodeBytes16 low = DecodeE2M1(vandq_u8(bytes, vdupq_n_u8(15)));
      const CodeBytes16 high = DecodeE2M1(vshrq_n_u8(bytes, 4));
      auto* steps = panel.weights[g] + 4 * q;
      PutPairs(low.Even(), steps[0][row]);
      PutPairs(high.Even(), steps[1][row]);
      PutPairs(low.Odd(), steps[2][row]);
      PutPairs(high.Odd(), steps[3][row]);
    }
  }
}

// Stretch `stretch` of row o to place r of the panel. `steps` covers all of its inputs.
template <Format kFormat>
void DecodeToPanel(const DotTask& task, int64_t o, int64_t stretch, int64_t steps, int64_t r,
                   Panel& panel) {
  constexpr int64_t kBytes = CodeBytes<kFormat>(kStretch);
  const WeightRow row = RowOf<kFormat>(task.w, o);
  const int64_t inputs = task.w.cols - stretch * kStretch;
  const uint8_t* codes = reinterpret_cast<const uint8_t*>(row.codes) + stretch * kBytes;
  // The end of a row is copied out, so that nothing past it is read.
  alignas(64) uint8_t tail[kBytes];
  if (inputs < kStretch) {
    const int64_t bytes = CodeBytes<kFormat>(inputs);
    std::memcpy(tail, codes, static_cast<size_t>(bytes));
    std::memset(tail + bytes, 0, static_cast<size_t>(kBytes - bytes));
    codes = tail;
  }
  if constexpr (kFormat == Format::kBF16) {
    DecodeBF16(codes, steps, r, panel);
  } else if constexpr (kFormat == Format::kFp8) {
    DecodeFp8(codes, row.scale + 4 * stretch, steps, r, panel);
  } else {
    DecodeFp4(codes, r, panel);
    const int64_t groups = (inputs + tensor::kFp4Block - 1) / tensor::kFp4Block;
    LaneScales(row.scale + 16 * stretch, groups, panel.scales[r]);
  }
}

// The sums p of `steps` steps in four lanes, of all rows of the panel and kInputs inputs; x[0] ..
// are the inputs, read from `offset` on.
template <int kInputs>
[[gnu::always_inline]] inline void SumSteps(const Panel& panel, int64_t quarter, int64_t steps,
                                            const uint16_t* const* x, int64_t offset,
                                            float32x4_t (&p)[Panel::kRows][kInputs]) {
#pragma GCC unroll 4
  for (int m = 0; m < kInputs; ++m) {
#pragma GCC unroll 4
    for (int r = 0; r < Panel::kRows; ++r) p[r][m] = vdupq_n_f32(0.0f);
  }
  for (int64_t s = 0; s < steps; ++s) {
    const auto& w = panel.weights[quarter][s];
#pragma GCC unroll 4
    for (int m = 0; m < kInputs; ++m) {
      const uint32x4_t pairs =
          vreinterpretq_u32_u16(vld1q_u16(x[m] + offset + 32 * s + 8 * quarter));
      const float32x4_t odd = Odd(pairs), even = Even(pairs);
#pragma GCC unroll 4
      for (int r = 0; r < Panel::kRows; ++r) {
        p[r][m] = vfmaq_f32(p[r][m], vld1q_f32(w[r][1]), odd);
        p[r][m] = vfmaq_f32(p[r][m], vld1q_f32(w[r][0]), even);
      }
    }
  }
}

// Adds a stretch of `steps` steps to the sums of the inputs from i on.
template <Format kFormat, int kInputs>
void DotTile(const uint16_t* const* x, int64_t offset, int64_t steps, int64_t i, Panel& panel) {
  for (int64_t quarter = 0; quarter < 4; ++quarter) {
    float32x4_t p[Panel::kRows][kInputs];
    SumSteps<kInputs>(panel, quarter, steps, x, offset, p);
#pragma GCC unroll 4
    for (int r = 0; r < Panel::kRows; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < kInputs; ++m) {
        float* acc = panel.acc[r][i + m] + 4 * quarter;
        if constexpr (kFormat == Format::kFp4) {
          const float32x4_t scale = vld1q_f32(panel.scales[r] + 4 * quarter);
          vst1q_f32(acc, vfmaq_f32(vld1q_f32(acc), p[r][m], scale));
        } else {
          vst1q_f32(acc, vaddq_f32(vld1q_f32(acc), p[r][m]));
        }
      }
    }
  }
}

template <Format kFormat>
void DotTiles(const uint16_t* const* x, int64_t count, int64_t offset, int64_t steps,
              Panel& panel) {
  for (int64_t i = 0; i < count; i += kTileInputs) {
    switch (count - i) {
      case 1:
        DotTile<kFormat, 1>(x + i, offset, steps, i, panel);
        break;
      case 2:
        DotTile<kFormat, 2>(x + i, offset, steps, i, panel);
        break;
      case 3:
        DotTile<kFormat, 3>(x + i, offset, steps, i, panel);
        break;
      default:
        DotTile<kFormat, kTileInputs>(x + i, offset, steps, i, panel);
    }
  }
}

template <Format kFormat>
void Dot(const DotTask& task, const uint16_t* const* x) {
  Panel panel;
  std::memset(panel.weights, 0, sizeof(panel.weights));  // places without a row are computed, too
  std::memset(panel.scales, 0, sizeof(panel.scales));
  const int64_t cols = task.w.cols;
  for (int64_t o = task.row_begin; o < task.row_end; o += Panel::kRows) {
    const int64_t rows = Smaller(Panel::kRows, task.row_end - o);
    for (int64_t first = 0; first < task.count; first += Panel::kInputs) {
      const int64_t count = Smaller(Panel::kInputs, task.count - first);
      for (int64_t r = 0; r < Panel::kRows; ++r)
        for (int64_t i = 0; i < count; ++i) Vec128::Store(panel.acc[r][i], Vec128::Zero());
      for (int64_t offset = 0; offset < cols; offset += kStretch) {
        const int64_t blocks = (cols - offset + kBlock - 1) / kBlock;
        const int64_t steps = kFormat == Format::kFp4 ? kSteps : Smaller(4 * blocks, kSteps);
        for (int64_t r = 0; r < rows; ++r)
          DecodeToPanel<kFormat>(task, o + r, offset / kStretch, steps, r, panel);
        DotTiles<kFormat>(x + first, count, offset, steps, panel);
      }
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < count; ++i)
          task.y[(first + i) * task.y_stride + (o + r - task.row_begin)] =
              Vec128::Fold(Vec128::Load(panel.acc[r][i]));
    }
  }
}

}  // namespace

void DotBF16Neon(const DotTask& task, const uint16_t* const* x) {
  ForFormat(task.w.format, [&](auto format) { Dot<format>(task, x); });
}

}  // namespace fathom::kernels::cpu

#endif
