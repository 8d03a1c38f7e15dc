// The operations of the NEON path, one file each.
#pragma once

#include "kernels/paths.h"

namespace fathom::kernels::cpu {

void DotBF16Neon(const DotTask& task, const uint16_t* const* x);
void DotF32Neon(const DotTask& task, const float* const* x);
void AttendNeon(const AttentionTask& task);
void IndexScoresNeon(const IndexTask& task);

}  // namespace fathom::kernels::cpu
