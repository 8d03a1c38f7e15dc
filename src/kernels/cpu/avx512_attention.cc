// Attention and the float32 product of the AVX-512 path: the shared templates, in official mode
// with the inner loops of bf16_loops.h. Pure mode uses the float loops.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/attention.h"
#include "kernels/cpu/bf16_loops.h"
#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {

void AttendAvx512(const AttentionTask& task) {
  if (task.round) {
    Attend<Bf16Loops>(task);
  } else {
    Attend<FloatLoops<Vec512>>(task);
  }
}

void DotF32Avx512(const DotTask& task, const float* const* x) { DotF32<Vec512>(task, x); }

}  // namespace fathom::kernels::cpu

#endif
