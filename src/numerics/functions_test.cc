// The elementary functions against the library's doubles, their cut-offs, and the golden values of
// model.md 17.
#include "numerics/functions.h"

#include <gtest/gtest.h>

#include <cmath>

#include "numerics/flush.h"

namespace fathom::numerics {
namespace {

// Distance in units of the last place of the nearest float to `exact`.
double Ulps(float found, double exact) {
  const float nearest = static_cast<float>(exact);
  const double unit =
      static_cast<double>(std::nextafter(nearest, HUGE_VALF)) - static_cast<double>(nearest);
  return std::fabs(static_cast<double>(found) - exact) / unit;
}

TEST(Exp, IsWithinTwoUlpsOverItsRange) {
  double worst = 0;
  for (int i = 0; i <= 1 << 20; ++i) {
    const float x = -87.0f + static_cast<float>(i) * (175.7f / (1 << 20));
    worst = std::max(worst, Ulps(Exp(x), std::exp(static_cast<double>(x))));
  }
  EXPECT_LE(worst, 2.0);
  for (int i = -1000; i <= 1000; ++i) {
    const float x = static_cast<float>(i) * 1e-6f;
    EXPECT_LE(Ulps(Exp(x), std::exp(static_cast<double>(x))), 1.0);
  }
}

TEST(Exp, CutOffs) {
  EXPECT_EQ(Exp(0.0f), 1.0f);
  EXPECT_EQ(Exp(-0.0f), 1.0f);
  EXPECT_GT(Exp(-87.0f), 0x1p-126f);
  EXPECT_EQ(Exp(std::nextafter(-87.0f, -100.0f)), 0.0f);
  EXPECT_EQ(Exp(-HUGE_VALF), 0.0f);
  EXPECT_TRUE(std::isfinite(Exp(88.72283f)));
  EXPECT_EQ(Exp(std::nextafter(88.72283f, 100.0f)), HUGE_VALF);
  EXPECT_EQ(Exp(HUGE_VALF), HUGE_VALF);
  EXPECT_TRUE(std::isnan(Exp(NAN)));
}

TEST(Exp, FlushingSubnormalsChangesNothing) {
  for (int i = 0; i < 20000; ++i) {
    const float x = -87.5f + static_cast<float>(i) * 0.01f;
    const float plain = Exp(x);
    const FlushSubnormals flush;
    EXPECT_EQ(Exp(x), plain) << x;
  }
}

TEST(FlushSubnormals, EndsWithItsScope) {
  volatile float small = 0x1p-126f;
  {
    const FlushSubnormals flush;
    volatile float half = small * 0.5f;
    EXPECT_EQ(half, 0.0f);
    volatile float subnormal = std::bit_cast<float>(1u);
    volatile float scaled = subnormal * 0x1p30f;
    EXPECT_EQ(scaled, 0.0f);
  }
  volatile float half = small * 0.5f;
  EXPECT_EQ(half, 0x1p-127f);
}

TEST(Softplus, GoldenRoots) {
  const std::pair<float, float> golden[] = {{-20.0f, 4.5399931e-05f}, {-5.0f, 0.0819472298f},
                                            {-1.0f, 0.559697866f},    {0.0f, 0.832554638f},
                                            {1.0f, 1.14597631f},      {5.0f, 2.23756909f},
                                            {20.0f, 4.47213602f},     {30.0f, 5.47722578f}};
  for (const auto& [x, root] : golden)
    EXPECT_NEAR(std::sqrt(Softplus(x)), root, root * 0x1p-22f) << x;
  EXPECT_GT(Softplus(-80.0f), 0.0f);
  EXPECT_EQ(Softplus(21.0f), 21.0f);
}

TEST(Sigmoid, ValuesAndLimits) {
  EXPECT_EQ(Sigmoid(0.0f), 0.5f);
  EXPECT_EQ(Sigmoid(HUGE_VALF), 1.0f);
  EXPECT_EQ(Sigmoid(-HUGE_VALF), 0.0f);
  for (int i = -800; i <= 800; ++i) {
    const float x = static_cast<float>(i) * 0.1f;
    const double exact = 1 / (1 + std::exp(-static_cast<double>(x)));
    // The exponential's two units, a sum and a quotient.
    EXPECT_NEAR(Sigmoid(x), exact, exact * 4 * 0x1p-23);
    EXPECT_NEAR(Silu(x), static_cast<double>(x) * exact,
                std::fabs(static_cast<double>(x)) * exact * 5 * 0x1p-23);
  }
}

}  // namespace
}  // namespace fathom::numerics
