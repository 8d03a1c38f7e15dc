// The operations of the NEON path, one file each.
#pragma once

#include "kernels/paths.h"

namespace fathom::kernels::cpu {

void DotBF16Neon(const DotTask& task, const uint16_t* const* x);
void DotF32Neon(const DotTask& task, const float* const* x);
void DotInt8Neon(const DotTask& task, const Int8Stretch* const* x);
void AttendNeon(const AttentionTask& task);
void IndexPackNeon(const IndexQuery& query, int64_t heads, bool round, float* packed,
                   float* scratch);
void IndexScoresNeon(const IndexTask& task);
int64_t CollectAboveNeon(const float* scores, int64_t n, float bound, int32_t* out);

}  // namespace fathom::kernels::cpu
