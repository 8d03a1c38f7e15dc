// Rotary embedding: the golden frequencies and angles of model.md 17, and the rotation itself.
#include "kernels/rotate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/kernel_testing.h"

namespace fathom::kernels {
namespace {

using numerics::Mode;

// The last digit of a power may differ by one unit between libm implementations.
void ExpectFrequency(float found, float expected, int64_t pair) {
  EXPECT_LE(std::fabs(found - expected), expected * 0x1p-22f) << "pair " << pair;
}

RopeTable CompressedTable() { return RopeTable(64, 160000, Yarn{16, 65536, 32, 1}); }

TEST(RopeTable, GoldenFrequenciesWithoutYarn) {
  const RopeTable table(64, 10000, std::nullopt);
  ASSERT_EQ(table.pairs(), 32);
  const std::pair<int, float> golden[] = {
      {0, 1.0f},           {1, 0.749894202f},    {2, 0.562341332f},
      {15, 0.0133352149f}, {16, 0.00999999978f}, {31, 0.00013335215f}};
  for (const auto& [pair, f] : golden)
    ExpectFrequency(table.frequencies()[static_cast<size_t>(pair)], f, pair);
}

TEST(RopeTable, GoldenFrequenciesWithYarn) {
  const RopeTable table = CompressedTable();
  const std::pair<int, float> golden[] = {
      {0, 1.0f},
      {1, 0.687656045f},
      {2, 0.472870797f},
      {14, 0.00528685655f},
      {15, 0.00363553851f},
      {16, 0.00226562493f},
      {17, 0.00139680132f},
      {20, 0.000296977785f},
      {24, 1.95312532e-05f},
      {25, 5.37231244e-06f},
      {26, 3.69430336e-06f},
      {31, 5.6805294e-07f},
  };
  for (const auto& [pair, f] : golden)
    ExpectFrequency(table.frequencies()[static_cast<size_t>(pair)], f, pair);
  const RopeTable plain(64, 160000, std::nullopt);
  const std::pair<int, float> ratios[] = {{15, 1.0f},     {16, 0.90625f}, {17, 0.8125f},
                                          {18, 0.71875f}, {20, 0.53125f}, {22, 0.34375f},
                                          {24, 0.15625f}, {25, 0.0625f},  {31, 0.0625f}};
  for (const auto& [pair, ratio] : ratios) {
    const size_t i = static_cast<size_t>(pair);
    EXPECT_NEAR(table.frequencies()[i] / plain.frequencies()[i], ratio, 3e-7f) << pair;
  }
}

TEST(RopeTable, GoldenAngles) {
  const RopeTable table = CompressedTable();
  // The angle itself is a float32 product; position times frequency, rounded.
  EXPECT_NEAR(1048575.0f * table.frequencies()[1], 721058.938f, 0.07f);
  EXPECT_NEAR(1048575.0f * table.frequencies()[15], 3812.13477f, 3e-4f);
  EXPECT_NEAR(1048575.0f * table.frequencies()[31], 0.595646083f, 1e-7f);
  EXPECT_NEAR(1000.0f * table.frequencies()[1], 687.656067f, 7e-5f);
  EXPECT_NEAR(1000.0f * table.frequencies()[15], 3.63553858f, 3e-7f);
  EXPECT_NEAR(1000.0f * table.frequencies()[31], 0.000568052928f, 6e-11f);
  std::vector<float> cos(32), sin(32);
  table.Angles(1048575, cos, sin);
  EXPECT_NEAR(cos[1], 0.8300226f, 1e-7f);
  EXPECT_NEAR(sin[1], 0.5577297f, 1e-7f);
  EXPECT_NEAR(cos[15], -0.1868154f, 1e-7f);
  EXPECT_NEAR(sin[15], -0.9823950f, 1e-7f);
  table.Angles(0, cos, sin);
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(cos[i], 1.0f);
    EXPECT_EQ(sin[i], 0.0f);
  }
}

TEST(Rotate, TurnsInterleavedPairsOfTheLastValues) {
  const float cos[] = {0, 1}, sin[] = {1, 0};
  std::vector<float> x = {5, 6, 1, 2, 3, 4};
  RotateHead(x, cos, sin, Direction::kForward, Mode::kPure);
  EXPECT_EQ(x, (std::vector<float>{5, 6, -2, 1, 3, 4}));
  RotateHead(x, cos, sin, Direction::kInverse, Mode::kPure);
  EXPECT_EQ(x, (std::vector<float>{5, 6, 1, 2, 3, 4}));
}

TEST(Rotate, RoundsEachResultInOfficialMode) {
  testing::Random random(1);
  const RopeTable table = CompressedTable();
  std::vector<float> cos(32), sin(32);
  table.Angles(12345, cos, sin);
  std::vector<float> x = testing::RandomFloats(96, testing::Values::kOrdinary, true, random);
  std::vector<float> official = x, pure = x;
  RotateHead(official, cos, sin, Direction::kForward, Mode::kOfficial);
  RotateHead(pure, cos, sin, Direction::kForward, Mode::kPure);
  for (size_t i = 0; i < 96; ++i) EXPECT_EQ(official[i], numerics::RoundToBF16(pure[i]));
}

TEST(Rotate, EveryHeadOfEveryRowUsesItsRowsAngles) {
  testing::Random random(2);
  const int64_t rows = 5, heads = 3, dim = 12, pairs = 4;
  const std::vector<float> x =
      testing::RandomFloats(rows * heads * dim, testing::Values::kOrdinary, true, random);
  const RopeTable table(2 * pairs, 10000, std::nullopt);
  std::vector<float> cos(rows * pairs), sin(rows * pairs);
  for (int64_t t = 0; t < rows; ++t)
    table.Angles(100 * t + 7, {cos.data() + t * pairs, pairs}, {sin.data() + t * pairs, pairs});
  std::vector<float> expected = x;
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t h = 0; h < heads; ++h)
      RotateHead({expected.data() + (t * heads + h) * dim, dim}, {cos.data() + t * pairs, pairs},
                 {sin.data() + t * pairs, pairs}, Direction::kInverse, Mode::kOfficial);
  for (const int threads : {1, 2}) {
    testing::TestContext test(threads, BestPath());
    std::vector<float> y = x;
    Rotate({y.data(), rows, heads * dim}, dim, {cos.data(), rows, pairs}, {sin.data(), rows, pairs},
           Direction::kInverse, test.ctx);
    EXPECT_TRUE(testing::SameBits(y, expected));
  }
}

}  // namespace
}  // namespace fathom::kernels
