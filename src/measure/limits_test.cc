#include "measure/limits.h"

#include <gtest/gtest.h>

#include "base/topology.h"

namespace fathom::measure {
namespace {

TEST(Limits, PercentilesAreValuesThatOccurred) {
  EXPECT_EQ(Percentile({}, 50), 0);
  EXPECT_EQ(Percentile({7}, 0), 7);
  EXPECT_EQ(Percentile({7}, 100), 7);
  EXPECT_EQ(Percentile({3, 1, 2}, 0), 1);
  EXPECT_EQ(Percentile({3, 1, 2}, 100), 3);
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Percentile({10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, 90), 9);
}

TEST(Limits, TheMachineSaysHowLargeItsCacheIs) {
  EXPECT_GE(CacheBytes(), 0);
  EXPECT_LT(CacheBytes(), MemoryBytes());
}

#ifdef FATHOM_SANITIZED
constexpr double kFlopsLeast = 1e5;  // loops that are checked step by step, on a busy machine
#else
constexpr double kFlopsLeast = 1e8;
#endif

// Bounds that no machine of the last twenty years or the next ten is outside of, whatever else it
// does: a mistake of units or of counting is.
TEST(Limits, SamplesAreOfTheRightOrder) {
  ThreadPool pool(2);
  kernels::Workspace workspace;
  for (const kernels::Path path : {kernels::BestPath(), kernels::Path::kReference}) {
    Limits limits({pool, workspace, path, numerics::Mode::kOfficial}, 64 << 20);
    double best_read = 0, best_bf16 = 0, best_f32 = 0;
    for (int i = 0; i < 20; ++i) {
      best_read = std::max(best_read, limits.SampleRead());
      best_bf16 = std::max(best_bf16, limits.SampleBF16());
      best_f32 = std::max(best_f32, limits.SampleF32());
    }
    EXPECT_GT(best_read, 1e8);
    EXPECT_LT(best_read, 1e12);  // of two threads
    EXPECT_GT(best_f32, kFlopsLeast);
    EXPECT_LT(best_f32, 1e12);
    EXPECT_GT(best_bf16, kFlopsLeast);
    EXPECT_LT(best_bf16, 1e14);
    EXPECT_LE(limits.read_bytes_s(), best_read);
    EXPECT_LE(limits.bf16_flops(), best_bf16);
    EXPECT_LE(limits.f32_flops(), best_f32);
  }
}

}  // namespace
}  // namespace fathom::measure
