// The operations that the AMX path has for itself; the others are those of the AVX-512 path.
#pragma once

#include "kernels/paths.h"

namespace fathom::kernels::cpu {

// Whether processor and operating system have the tiles, which a process must ask for; asks.
bool HasAmx();

// dot_bf16 in the tile order of linear.h, of a task with one input row.
void DotOneAmx(const DotTask& task, const uint16_t* const* x);
// The same of any number of input rows, and what it reads.
void DotTilesAmx(const DotTask& task, const InputTiles& x);
void ToTilesAmx(const uint16_t* const* x, int64_t count, int64_t begin, int64_t steps,
                uint32_t* tile);

// In the tile order of sparse_attention.h; pure mode as the AVX-512 path.
void AttendAmx(const AttentionTask& task);

// A loop of kernels/limits.h, of kAmxPeakOperations a round.
float PeakBF16Amx(int64_t rounds);
inline constexpr int64_t kAmxPeakOperations = 4 * 16 * 16 * 32 * 2;

}  // namespace fathom::kernels::cpu
