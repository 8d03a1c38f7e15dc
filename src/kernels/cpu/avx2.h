// The operations of the AVX2 path, one file each.
#pragma once

#include "kernels/paths.h"

namespace fathom::kernels::cpu {

void DotBF16Avx2(const DotTask& task, const uint16_t* const* x);
void DotF32Avx2(const DotTask& task, const float* const* x);
void DotInt8Avx2(const DotTask& task, const Int8Stretch* const* x);
void AttendAvx2(const AttentionTask& task);
void IndexPackAvx2(const IndexQuery& query, int64_t heads, bool round, float* packed,
                   float* scratch);
void IndexScoresAvx2(const IndexTask& task);
int64_t CollectAboveAvx2(const float* scores, int64_t n, float bound, int32_t* out);

}  // namespace fathom::kernels::cpu
