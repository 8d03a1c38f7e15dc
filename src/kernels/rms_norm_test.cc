// Norms: derived bounds against doubles, the rounding points, aliasing and batches.
#include "kernels/rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/kernel_testing.h"

namespace fathom::kernels {
namespace {

using numerics::Mode;
using testing::Random;
using testing::TestContext;
using testing::Values;

// The sum of squares has no cancellation: relative error gamma_{n + 1}, halved by the root; the
// division, sum, root, reciprocal and two products add one rounding each.
TEST(RmsNorm, LiesWithinTheDerivedBound) {
  Random random(1);
  for (const int64_t dims : {1, 7, 64, 100, 1024, 4096}) {
    const std::vector<float> x = testing::RandomFloats(3 * dims, Values::kOrdinary, true, random);
    const std::vector<float> w = testing::RandomFloats(dims, Values::kOrdinary, true, random);
    TestContext test(1, BestPath(), Mode::kPure);
    std::vector<float> y(x.size());
    RmsNorm({x.data(), 3, dims}, w, 1e-6f, {y.data(), 3, dims}, test.ctx);
    for (int64_t t = 0; t < 3; ++t) {
      double squares = 0;
      for (int64_t i = 0; i < dims; ++i)
        squares += std::pow(static_cast<double>(x[static_cast<size_t>(t * dims + i)]), 2);
      const double scale =
          1 / std::sqrt(squares / static_cast<double>(dims) + static_cast<double>(1e-6f));
      for (int64_t i = 0; i < dims; ++i) {
        const double exact = static_cast<double>(w[static_cast<size_t>(i)]) *
                             static_cast<double>(x[static_cast<size_t>(t * dims + i)]) * scale;
        ASSERT_LE(std::fabs(static_cast<double>(y[static_cast<size_t>(t * dims + i)]) - exact),
                  testing::Gamma(dims + 7) * std::fabs(exact));
      }
    }
  }
}

TEST(RmsNorm, RoundsOnceAndMayAlias) {
  Random random(2);
  const int64_t dims = 200;
  const std::vector<float> x = testing::RandomFloats(4 * dims, Values::kOrdinary, true, random);
  const std::vector<float> w = testing::RandomFloats(dims, Values::kOrdinary, true, random);
  TestContext pure(1, BestPath(), Mode::kPure), official(2, BestPath());
  std::vector<float> exact(x.size()), in_place = x;
  RmsNorm({x.data(), 4, dims}, w, 1e-6f, {exact.data(), 4, dims}, pure.ctx);
  RmsNorm({in_place.data(), 4, dims}, w, 1e-6f, {in_place.data(), 4, dims}, official.ctx);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(in_place[i], numerics::RoundToBF16(exact[i]));
}

// Every operation of the query norm is rounded to BF16. Ref: model.md 8.6.
TEST(NormalizeHeads, RoundsEveryStepInOfficialMode) {
  std::vector<float> x = {1.0f, 1.5f, -2.25f, 3.015625f};
  const auto r = numerics::RoundToBF16;
  // In lanes 0 .. 3, folded as (0 + 2) + (1 + 3) by halves.
  const float a = r(x[0] * x[0]), b = r(x[1] * x[1]), c = r(x[2] * x[2]), d = r(x[3] * x[3]);
  const float mean = r(((a + c) + (b + d)) / 4);
  const float scale = r(1.0f / std::sqrt(r(mean + 1e-6f)));
  std::vector<float> expected;
  for (const float v : x) expected.push_back(r(v * scale));
  TestContext test(1, BestPath());
  NormalizeHeads({x.data(), 1, 4}, 4, 1e-6f, test.ctx);
  EXPECT_EQ(x, expected);
}

TEST(NormalizeHeads, HeadsAndRowsAreIndependent) {
  Random random(3);
  const int64_t rows = 5, heads = 3, dim = 40;
  const std::vector<float> x =
      testing::RandomFloats(rows * heads * dim, Values::kOrdinary, true, random);
  for (const Mode mode : {Mode::kOfficial, Mode::kPure}) {
    TestContext one(1, BestPath(), mode), two(2, Path::kReference, mode);
    std::vector<float> together = x, alone = x;
    NormalizeHeads({together.data(), rows, heads * dim}, dim, 1e-6f, two.ctx);
    for (int64_t h = 0; h < rows * heads; ++h)
      NormalizeHeads({alone.data() + h * dim, 1, dim}, dim, 1e-6f, one.ctx);
    EXPECT_TRUE(testing::SameBits(together, alone));
  }
}

}  // namespace
}  // namespace fathom::kernels
