// Attention, index scores and the float32 product of the NEON path: the shared templates over
// vectors of four registers.
#include "kernels/cpu/neon.h"

#if defined(__aarch64__)

#include "kernels/cpu/attention.h"
#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/vec128.h"

namespace fathom::kernels::cpu {

void AttendNeon(const AttentionTask& task) { Attend<FloatLoops<Vec128>>(task); }
void IndexScoresNeon(const IndexTask& task) { IndexScores<FloatLoops<Vec128>>(task); }
void DotF32Neon(const DotTask& task, const float* const* x) { DotF32<Vec128>(task, x); }

}  // namespace fathom::kernels::cpu

#endif
