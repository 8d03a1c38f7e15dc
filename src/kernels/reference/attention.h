// Attention and index scores of the reference path; see reference.cc for its table.
#pragma once

#include "kernels/paths.h"

namespace fathom::kernels::reference {

// sum of a[i] * b[i] one product after the other, the odd element of each pair first (the order of
// vdpbf16ps). n is even.
float DotPairs(const float* a, const float* b, int64_t n);

void Attend(const AttentionTask& task);
// The same in the order of tiles, except in pure mode, where tiles multiply nothing.
void AttendInTiles(const AttentionTask& task);
void IndexPack(const IndexQuery& query, int64_t heads, bool round, float* packed, float* scratch);
void IndexScores(const IndexTask& task);
int64_t CollectAbove(const float* scores, int64_t n, float bound, int32_t* out);

}  // namespace fathom::kernels::reference
