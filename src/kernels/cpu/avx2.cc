// The table of the AVX2 path.
#include "kernels/cpu/avx2.h"

#if defined(__x86_64__)

namespace fathom::kernels {

const PathOps kAvx2Ops = {cpu::DotBF16Avx2,
                          cpu::DotF32Avx2,
                          cpu::DotInt8Avx2,
                          cpu::AttendAvx2,
                          cpu::IndexPackAvx2,
                          cpu::IndexScoresAvx2,
                          cpu::CollectAboveAvx2,
                          16};

}  // namespace fathom::kernels

#endif
