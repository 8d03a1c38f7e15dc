// The operations of the AVX-512 path, one file each.
#pragma once

#include "kernels/paths.h"

namespace fathom::kernels::cpu {

void DotBF16Avx512(const DotTask& task, const uint16_t* const* x);
// The same with the panels and fetches that are best with a small first-level cache (Zen 4) or
// those with a larger one (Zen 5).
void DotBF16Avx512With(const DotTask& task, const uint16_t* const* x, bool small_cache);
// The same for so many inputs at most.
void DotFewAvx512(const DotTask& task, const uint16_t* const* x, bool small_cache);
inline constexpr int64_t kFewInputsMax = 7;
// The same for any number of inputs, so many of them at a time.
void DotBatchAvx512(const DotTask& task, const uint16_t* const* x, bool small_cache);
inline constexpr int64_t kBatchInputsMax = 24;
void DotF32Avx512(const DotTask& task, const float* const* x);
void DotInt8Avx512(const DotTask& task, const Int8Stretch* const* x);
void AttendAvx512(const AttentionTask& task);
void IndexPackAvx512(const IndexQuery& query, int64_t heads, bool round, float* packed,
                     float* scratch);
void IndexScoresAvx512(const IndexTask& task);
int64_t CollectAboveAvx512(const float* scores, int64_t n, float bound, int32_t* out);

// Whether the first-level data cache has less than 48 KB, or nobody knows.
bool IsFirstCacheSmall();

}  // namespace fathom::kernels::cpu
