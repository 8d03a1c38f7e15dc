#include "kernels/paths.h"

#include <algorithm>

namespace fathom::kernels {

const PathOps& OpsOf(Path path) {
  FATHOM_CHECK(IsAvailable(path), std::string(Name(path)) + " is not available on this machine");
#if defined(__x86_64__)
  if (path == Path::kAvx2) return kAvx2Ops;
  if (path == Path::kAvx512) return kAvx512Ops;
  if (path == Path::kAmx) return kAmxOps;
#elif defined(__aarch64__)
  if (path == Path::kNeon) return kNeonOps;
#endif
  return path == Path::kTileReference ? kTileReferenceOps : kReferenceOps;
}

namespace {

// To whole vectors of 16; a slice per thread then keeps the alignment of the whole.
constexpr int64_t Pad(int64_t n) { return (n + 15) / 16 * 16; }

}  // namespace

// Transposed queries [C, H], accumulators [H, C], scores [block, H], three rows of running values,
// a block of rows as floats or as BF16 once for each use, and room to align the start. Tiles: one
// vector more in each row of the accumulators, which end with whole steps, a shrink for each block
// of a group, and the probabilities and values of a group in pairs.
int64_t AttentionScratchFloats(int64_t heads, int64_t head_dim) {
  const int64_t width = Pad(head_dim);
  const int64_t rows = kAttentionBlock * (Pad(head_dim / 2) + 16);
  const int64_t values = (width / 32 + 1) * (kAttentionBlock * 16 + 16);
  const int64_t vectors = Pad(heads) * (2 * width + kAttentionBlock + 3) +
                          std::max(kAttentionBlock * width, rows + values);
  const int64_t tiles = Pad(heads) * (2 * (width + 32) + kAttentionBlock + 2 +
                                      kAttentionGroup * (1 + kAttentionBlock / 2)) +
                        rows + width + kAttentionGroup * values;
  return std::max(vectors, tiles) + 16;
}

// A query in float32, transposed or not, or its values as bytes with what belongs to them; heads in
// whole pairs of vectors.
int64_t IndexQueryFloats(int64_t heads, int64_t dim) {
  return Pad(dim) * Pad(heads) + 4 * (Pad(heads) + 16) + 32;
}

// A query's values, its transposed form, scores of a pass of keys, and these keys decoded.
int64_t IndexScratchFloats(int64_t heads, int64_t dim) {
  constexpr int64_t kKeys = 64;
  return 2 * Pad(heads) * Pad(dim) + kKeys * (Pad(heads) + Pad(dim) + 16) + 64;
}

}  // namespace fathom::kernels
