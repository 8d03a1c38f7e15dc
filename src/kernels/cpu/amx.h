// The operations that the AMX path has for itself; the others are those of the AVX-512 path.
#pragma once

#include "kernels/paths.h"

namespace fathom::kernels::cpu {

// Whether processor and operating system have the tiles, which a process must ask for; asks.
bool HasAmx();

// In the tile order of linear.h.
void DotBF16Amx(const DotTask& task, const uint16_t* const* x);
// The same for the one input row of a task.
void DotOneAmx(const DotTask& task, const uint16_t* x);

// In the tile order of sparse_attention.h; pure mode as the AVX-512 path.
void AttendAmx(const AttentionTask& task);

// A loop of kernels/limits.h, of kAmxPeakOperations a round.
float PeakBF16Amx(int64_t rounds);
inline constexpr int64_t kAmxPeakOperations = 4 * 16 * 16 * 32 * 2;

}  // namespace fathom::kernels::cpu
