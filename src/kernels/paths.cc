#include "kernels/paths.h"

#include <algorithm>

namespace fathom::kernels {

const PathOps& OpsOf(Path path) {
  FATHOM_CHECK(IsAvailable(path), std::string(Name(path)) + " is not available on this machine");
#if defined(__x86_64__)
  if (path == Path::kAvx2) return kAvx2Ops;
  if (path == Path::kAvx512) return kAvx512Ops;
#elif defined(__aarch64__)
  if (path == Path::kNeon) return kNeonOps;
#endif
  return kReferenceOps;
}

namespace {

// To whole vectors of 16; a slice per thread then keeps the alignment of the whole.
constexpr int64_t Pad(int64_t n) { return (n + 15) / 16 * 16; }

}  // namespace

// Transposed queries [C, H], accumulators [H, C], scores [block, H], three rows of running values,
// a copy of a block of rows [block, C], and room to align the start.
int64_t AttentionScratchFloats(int64_t heads, int64_t head_dim) {
  const int64_t width = Pad(head_dim);
  return Pad(heads) * (2 * width + kAttentionBlock + 3) + kAttentionBlock * width + 16;
}

// Transposed queries [C, H], scores of 16 keys [16, H] and a copy of these keys.
int64_t IndexScratchFloats(int64_t heads, int64_t dim) {
  return Pad(heads) * (dim + 16) + 16 * Pad(dim) + 16;
}

}  // namespace fathom::kernels
