// The operations of the AVX2 path, one file each.
#pragma once

#include "kernels/paths.h"

namespace fathom::kernels::cpu {

void DotBF16Avx2(const DotTask& task, const uint16_t* const* x);
void DotF32Avx2(const DotTask& task, const float* const* x);
void AttendAvx2(const AttentionTask& task);
void IndexScoresAvx2(const IndexTask& task);

}  // namespace fathom::kernels::cpu
