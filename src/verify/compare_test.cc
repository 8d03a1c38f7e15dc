#include "verify/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace fathom::verify {
namespace {

MatrixView<const float> View(const std::vector<float>& values, int64_t rows) {
  return {values.data(), rows, std::ssize(values) / rows};
}

TEST(Compare, CountsMeanPercentileAndDisagreements) {
  std::vector<float> a(101), b(101);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i);
  const Statistics s = Compare(View(a, 1), View(b, 1));
  EXPECT_EQ(s.rows, 1);
  EXPECT_DOUBLE_EQ(s.mean, 50);
  EXPECT_DOUBLE_EQ(s.p99, 99);
  EXPECT_DOUBLE_EQ(s.max, 100);
  EXPECT_EQ(s.top1_differ, 1);
}

TEST(Compare, PercentileLiesBetweenNeighbours) {
  const std::vector<float> a = {0, 1}, b = {0, 0};
  EXPECT_DOUBLE_EQ(Compare(View(a, 1), View(b, 1)).p99, 0.99);
}

TEST(Compare, NanSpoilsEveryStatistic) {
  const std::vector<float> a = {0, std::nanf("")}, b = {0, 0};
  const Statistics s = Compare(View(a, 1), View(b, 1));
  EXPECT_TRUE(std::isnan(s.mean) && std::isnan(s.p99) && std::isnan(s.max));
  EXPECT_TRUE(std::isnan(MaxDifference(View(a, 1), View(b, 1))));
  EXPECT_TRUE(std::isnan(RelativeError(View(a, 1), View(b, 1))));
}

TEST(RelativeError, IsTheQuotientOfNorms) {
  const std::vector<float> a = {3, 0, 0, 1}, b = {0, 0, 4, 1};
  EXPECT_DOUBLE_EQ(RelativeError(View(a, 2), View(b, 2)), 5 / std::sqrt(17.0));
  EXPECT_DOUBLE_EQ(RelativeError(View(a, 2), View(a, 2)), 0);
}

TEST(ArgMax, TakesTheFirstOfEquals) {
  const std::vector<float> a = {1, 3, 3, 2};
  EXPECT_EQ(ArgMax(a.data(), 4), 1);
}

TEST(Bf16Steps, CountsNeighboursAcrossZero) {
  EXPECT_EQ(Bf16Steps(1.0f, 1.0f), 0);
  EXPECT_EQ(Bf16Steps(1.0f, 1.0078125f), 1);
  EXPECT_EQ(Bf16Steps(0.0f, -0.0f), 0);
  EXPECT_EQ(Bf16Steps(1.0f, 1.0f + 0x1p-20f), 1);
  EXPECT_EQ(Bf16Steps(std::nanf(""), std::nanf("")), 0);
  EXPECT_GT(Bf16Steps(std::nanf(""), 1.0f), 1000000);
  EXPECT_GT(Bf16Steps(-1.0f, 1.0f), 30000);
}

}  // namespace
}  // namespace fathom::verify
