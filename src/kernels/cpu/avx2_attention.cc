// Attention, index scores and the float32 product of the AVX2 path: the shared templates over
// vectors of two registers.
#include "kernels/cpu/avx2.h"

#if defined(__x86_64__)

#include "kernels/cpu/attention.h"
#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/vec256.h"

namespace fathom::kernels::cpu {

void AttendAvx2(const AttentionTask& task) { Attend<FloatLoops<Vec256>>(task); }
void IndexScoresAvx2(const IndexTask& task) { IndexScores<FloatLoops<Vec256>>(task); }
void DotF32Avx2(const DotTask& task, const float* const* x) { DotF32<Vec256>(task, x); }

}  // namespace fathom::kernels::cpu

#endif
