// The order of summation of DotPairs, against the same order spelled out with volatile steps that
// no compiler may rearrange.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/reference/attention.h"

namespace fathom::kernels {
namespace {

TEST(PairOrder, OddElementIsAddedFirst) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const int64_t n : {2, 4, 30, 96, 512}) {
    std::vector<float> a(static_cast<size_t>(n)), b(a.size());
    for (size_t i = 0; i < a.size(); ++i) a[i] = normal(random), b[i] = normal(random);
    volatile float sum = 0;
    for (size_t i = 0; i < a.size(); i += 2) {
      sum = std::fma(a[i + 1], b[i + 1], sum);
      sum = std::fma(a[i], b[i], sum);
    }
    EXPECT_EQ(reference::DotPairs(a.data(), b.data(), n), sum) << n;
  }
}

}  // namespace
}  // namespace fathom::kernels
