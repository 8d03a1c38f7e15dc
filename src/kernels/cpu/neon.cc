// The table of the NEON path.
#include "kernels/cpu/neon.h"

#if defined(__aarch64__)

namespace fathom::kernels {

const PathOps kNeonOps = {cpu::DotBF16Neon,
                          cpu::DotF32Neon,
                          cpu::DotInt8Neon,
                          cpu::AttendNeon,
                          cpu::IndexPackNeon,
                          cpu::IndexScoresNeon,
                          cpu::CollectAboveNeon,
                          16};

}  // namespace fathom::kernels

#endif
