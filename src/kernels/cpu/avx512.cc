// The table of the AVX-512 path.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "base/topology.h"

namespace fathom::kernels {

bool cpu::IsFirstCacheSmall() {
  static const bool is_small = FirstCacheBytes() < 48 << 10;
  return is_small;
}

// Four vectors of heads share each row value that is fetched, but two already hide the latencies.
const PathOps kAvx512Ops = {cpu::DotBF16Avx512,
                            cpu::DotF32Avx512,
                            cpu::DotInt8Avx512,
                            cpu::AttendAvx512,
                            cpu::IndexPackAvx512,
                            cpu::IndexScoresAvx512,
                            cpu::CollectAboveAvx512,
                            32};

}  // namespace fathom::kernels

#endif
