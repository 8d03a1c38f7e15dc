#include "kernels/limits.h"

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/kernel_testing.h"
#include "tensor/buffer.h"

namespace fathom::kernels {
namespace {

using testing::AvailablePaths;
using testing::TestContext;

// Three pieces and a page more, so that no way of sharing them out comes out even.
TEST(Limits, EveryLoopReadsEveryByte) {
  const int64_t bytes = (3 * 4 << 20) + 4096;
  const tensor::RawBuffer buffer(bytes);
  testing::Random random(7);
  uint64_t expected = 0;
  for (int64_t i = 0; i < bytes; i += 8) {
    const uint64_t word = random.Bits();
    std::memcpy(buffer.data() + i, &word, 8);
    expected ^= word;
  }
  const std::span<const std::byte> memory(buffer.data(), static_cast<size_t>(bytes));
  for (const Path path : AvailablePaths()) {
    for (const int threads : {1, 2, 3}) {
      TestContext test(threads, path);
      for (int loop = 0; loop < kReadLoops; ++loop) {
        EXPECT_EQ(ReadMemory(memory, static_cast<ReadLoop>(loop), test.ctx), expected)
            << Name(path) << " loop " << loop << ", " << threads << " threads";
        EXPECT_EQ(ReadMemory(memory.first(0), static_cast<ReadLoop>(loop), test.ctx), 0u);
      }
    }
  }
}

TEST(Limits, PeaksCountTheirOperations) {
  for (const Path path : AvailablePaths()) {
    TestContext one(1, path), two(2, path);
    for (const Peak peak : {Peak::kBF16, Peak::kF32}) {
      const int64_t round = RunPeak(peak, 1, one.ctx);
      EXPECT_GT(round, 0);
      EXPECT_EQ(RunPeak(peak, 5, two.ctx), 10 * round);
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
