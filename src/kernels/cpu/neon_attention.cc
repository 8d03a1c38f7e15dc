// Attention, index scores and the float32 product of the NEON path: the shared templates over
// vectors of four registers.
#include "kernels/cpu/neon.h"

#if defined(__aarch64__)

#include "kernels/cpu/attention.h"
#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/index.h"
#include "kernels/cpu/vec128.h"

namespace fathom::kernels::cpu {

void AttendNeon(const AttentionTask& task) { Attend<FloatLoops<Vec128>>(task); }
void IndexPackNeon(const IndexQuery& query, int64_t heads, bool, float* packed, float* scratch) {
  PackIndexQuery<FloatLoops<Vec128>>(query, heads, packed, scratch);
}
void IndexScoresNeon(const IndexTask& task) { IndexScores<FloatLoops<Vec128>>(task); }
void DotF32Neon(const DotTask& task, const float* const* x) { DotF32<Vec128>(task, x); }

int64_t CollectAboveNeon(const float* scores, int64_t n, float bound, int32_t* out) {
  const float32x4_t limit = vdupq_n_f32(bound);
  int64_t count = 0, i = 0;
  for (; i + 16 <= n; i += 16) {
    const auto above = [&](int v) { return vcgtq_f32(vld1q_f32(scores + i + 4 * v), limit); };
    const uint16x8_t low = vcombine_u16(vmovn_u32(above(0)), vmovn_u32(above(1)));
    const uint16x8_t high = vcombine_u16(vmovn_u32(above(2)), vmovn_u32(above(3)));
    const uint8x16_t bytes = vcombine_u8(vmovn_u16(low), vmovn_u16(high));
    // Four bits of each byte: the 16 answers in one word. Few lie above a useful bound.
    const uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(bytes), 4);
    uint64_t left = vget_lane_u64(vreinterpret_u64_u8(nibbles), 0) & 0x1111111111111111u;
    for (; left != 0; left &= left - 1)
      out[count++] = static_cast<int32_t>(i + __builtin_ctzll(left) / 4);
  }
  for (; i < n; ++i)
    if (scores[i] > bound) out[count++] = static_cast<int32_t>(i);
  return count;
}

}  // namespace fathom::kernels::cpu

#endif
