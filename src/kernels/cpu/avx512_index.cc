// Index scores and the collection of candidates of the AVX-512 path.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/bf16_loops.h"
#include "kernels/cpu/index.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {

void IndexPackAvx512(const IndexQuery& query, int64_t heads, bool round, float* packed,
                     float* scratch) {
  if (round) {
    PackIndexQuery<Bf16Loops>(query, heads, packed, scratch);
  } else {
    PackIndexQuery<FloatLoops<Vec512>>(query, heads, packed, scratch);
  }
}

void IndexScoresAvx512(const IndexTask& task) {
  if (task.round) {
    IndexScores<Bf16Loops>(task);
  } else {
    IndexScores<FloatLoops<Vec512>>(task);
  }
}

int64_t CollectAboveAvx512(const float* scores, int64_t n, float bound, int32_t* out) {
  const __m512 limit = _mm512_set1_ps(bound);
  __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  int64_t count = 0, i = 0;
  for (; i < n; i += kLanes) {
    const __mmask16 present = Vec512::First(Smaller(kLanes, n - i));
    const __mmask16 above = _mm512_mask_cmp_ps_mask(
        present, _mm512_maskz_loadu_ps(present, scores + i), limit, _CMP_GT_OQ);
    // Compressing into memory is slow on some machines; the store runs over by up to a vector.
    if (above != 0) {
      _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi32(above, index));
      count += __builtin_popcount(above);
    }
    index = _mm512_add_epi32(index, _mm512_set1_epi32(kLanes));
  }
  return count;
}

}  // namespace fathom::kernels::cpu

#endif
