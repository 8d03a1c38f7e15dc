#include "kernels/limits.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/limits.h"

namespace fathom::kernels {
namespace {

using cpu::kPageBytes;
// Small enough to even out threads that are interrupted, long enough to be a stream.
constexpr int64_t kPieceBytes = 4 << 20;

cpu::LimitLoops LoopsOf(Path path) {
#if defined(__x86_64__)
  if (path == Path::kAmx) {
    cpu::LimitLoops loops = cpu::kAvx512Loops;
    loops.peak_bf16 = cpu::PeakBF16Amx;
    loops.bf16_operations = cpu::kAmxPeakOperations;
    return loops;
  }
  if (path == Path::kAvx512) return cpu::kAvx512Loops;
  if (path == Path::kAvx2) return cpu::kAvx2Loops;
#endif
  (void)path;
  return cpu::kPlainLoops;
}

}  // namespace

uint64_t ReadMemory(std::span<const std::byte> memory, ReadLoop loop, const Context& ctx) {
  const int64_t bytes = std::ssize(memory);
  FATHOM_CHECK_EQ(reinterpret_cast<uintptr_t>(memory.data()) % 64, uintptr_t{0});
  FATHOM_CHECK_EQ(bytes % kPageBytes, int64_t{0});
  struct Way {
    bool is_piecewise;
    cpu::Fetch fetch;
  };
  constexpr Way kWays[kReadLoops] = {
      {false, cpu::Fetch::kNothing}, {false, cpu::Fetch::kLines}, {false, cpu::Fetch::kPages},
      {true, cpu::Fetch::kNothing},  {true, cpu::Fetch::kLines},  {true, cpu::Fetch::kPages},
  };
  const Way way = kWays[static_cast<int>(loop)];
  const int64_t pages = bytes / kPageBytes, threads = ctx.pool.threads();
  const int64_t grain = way.is_piecewise ? kPieceBytes / kPageBytes
                                         : std::max<int64_t>(1, (pages + threads - 1) / threads);
  std::atomic<uint64_t> sum = 0;
  ctx.pool.ParallelFor(pages, grain, [&](int64_t begin, int64_t end, int) {
    const std::byte* data = memory.data() + begin * kPageBytes;
    const int64_t length = (end - begin) * kPageBytes;
    sum.fetch_xor(LoopsOf(ctx.path).read(data, length, way.fetch), std::memory_order_relaxed);
  });
  return sum;
}

int64_t RunPeak(Peak peak, int64_t rounds, const Context& ctx) {
  const cpu::LimitLoops loops = LoopsOf(ctx.path);
  const bool is_bf16 = peak == Peak::kBF16;
  const int64_t threads = ctx.pool.threads();
  std::atomic<float> result = 0;
  ctx.pool.ParallelFor(threads, 1, [&](int64_t, int64_t, int) {
    result.store(is_bf16 ? loops.peak_bf16(rounds) : loops.peak_f32(rounds),
                 std::memory_order_relaxed);
  });
  return threads * rounds * (is_bf16 ? loops.bf16_operations : loops.f32_operations);
}

}  // namespace fathom::kernels
