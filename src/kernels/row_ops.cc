#include "kernels/row_ops.h"

namespace fathom::kernels {

const RowOps& RowOpsOf(Path path) {
  FATHOM_CHECK(IsAvailable(path), std::string(Name(path)) + " is not available on this machine");
#if defined(__x86_64__)
  if (path == Path::kAvx2) return kAvx2RowOps;
  if (path == Path::kAvx512 || path == Path::kAmx) return kAvx512RowOps;
#elif defined(__aarch64__)
  if (path == Path::kNeon) return kNeonRowOps;
#endif
  return kReferenceRowOps;
}

}  // namespace fathom::kernels
