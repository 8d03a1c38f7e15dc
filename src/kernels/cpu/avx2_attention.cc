// Attention, index scores and the float32 product of the AVX2 path: the shared templates over
// vectors of two registers.
#include "kernels/cpu/avx2.h"

#if defined(__x86_64__)

#include "kernels/cpu/attention.h"
#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/index.h"
#include "kernels/cpu/vec256.h"

namespace fathom::kernels::cpu {

void AttendAvx2(const AttentionTask& task) { Attend<FloatLoops<Vec256>>(task); }
void IndexPackAvx2(const IndexQuery& query, int64_t heads, bool, float* packed, float* scratch) {
  PackIndexQuery<FloatLoops<Vec256>>(query, heads, packed, scratch);
}
void IndexScoresAvx2(const IndexTask& task) { IndexScores<FloatLoops<Vec256>>(task); }
void DotF32Avx2(const DotTask& task, const float* const* x) { DotF32<Vec256>(task, x); }

int64_t CollectAboveAvx2(const float* scores, int64_t n, float bound, int32_t* out) {
  const __m256 limit = _mm256_set1_ps(bound);
  int64_t count = 0, i = 0;
  for (; i + 32 <= n; i += 32) {
    uint32_t above = 0;
    for (int v = 0; v < 4; ++v) {
      const __m256 is_above = _mm256_cmp_ps(_mm256_loadu_ps(scores + i + 8 * v), limit, _CMP_GT_OQ);
      above |= static_cast<uint32_t>(_mm256_movemask_ps(is_above)) << (8 * v);
    }
    // Few lie above a useful bound.
    for (; above != 0; above &= above - 1)
      out[count++] = static_cast<int32_t>(i + __builtin_ctz(above));
  }
  for (; i < n; ++i)
    if (scores[i] > bound) out[count++] = static_cast<int32_t>(i);
  return count;
}

}  // namespace fathom::kernels::cpu

#endif
