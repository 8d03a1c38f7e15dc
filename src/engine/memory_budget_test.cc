#include "engine/memory_budget.h"

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

TEST(MemoryBudgetTest, WeightsComeFirstIfTheyFit) {
  EXPECT_EQ(DefaultStateBytes(100 * kGiB, 50 * kGiB), 40 * kGiB);
  EXPECT_EQ(DefaultStateBytes(24 * kGiB, 150 * kGiB), 6 * kGiB);
}

}  // namespace
}  // namespace fathom::engine
