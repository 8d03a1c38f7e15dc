// Pooling of a block: the worked case of model.md 17.1, block 0, and the cache's roundings.
#include "kernels/compressor.h"

#include <gtest/gtest.h>

#include "kernels/kernel_testing.h"
#include "numerics/blocks.h"

namespace fathom::kernels {
namespace {

using numerics::Mode;

// Eight tokens of one channel in two blocks: a block pools the first halves of its predecessor and
// its own second halves.
TEST(PoolBlock, WorkedCase) {
  float first[8], second[8], first_score[8], second_score[8];
  const float ape_first[] = {0, 0.25f, -0.25f, 0.5f}, ape_second[] = {0.5f, 0, 0.25f, -0.5f};
  for (int t = 0; t < 8; ++t) {
    first[t] = static_cast<float>(t + 1);
    second[t] = static_cast<float>(10 * (t + 1));
    first_score[t] = 0.25f * static_cast<float>(t) + ape_first[t % 4];
    second_score[t] = -0.5f * static_cast<float>(t) + ape_second[t % 4];
  }
  for (const int block : {0, 1}) {
    std::vector<PoolCandidate> candidates(8);
    for (int i = 0; i < 4; ++i) {
      if (block == 1) candidates[static_cast<size_t>(i)] = {first + i, first_score + i};
      candidates[static_cast<size_t>(4 + i)] = {second + 4 * block + i,
                                                second_score + 4 * block + i};
    }
    float pooled = 0;
    PoolBlock(candidates, {&pooled, 1}, Mode::kPure);
    const float expected = block == 0 ? 16.8365394f : 5.6503972f;
    EXPECT_NEAR(pooled, expected, expected * 4e-7f) << "block " << block;
    float rounded = 0;
    PoolBlock(candidates, {&rounded, 1}, Mode::kOfficial);
    EXPECT_EQ(rounded, numerics::RoundToBF16(pooled));
  }
}

TEST(RoundForCache, LatentRowsKeepTheirRotaryValues) {
  testing::Random random(1);
  std::vector<float> row = testing::RandomFloats(192, testing::Values::kOrdinary, true, random);
  std::vector<float> expected = row;
  numerics::SimulateE4M3({expected.data(), 128}, 64);
  RoundForCache(row, 64, RowKind::kLatent, Mode::kOfficial);
  EXPECT_TRUE(testing::SameBits(row, expected));
  RoundForCache(row, 64, RowKind::kLatent, Mode::kPure);
  EXPECT_TRUE(testing::SameBits(row, expected));
}

TEST(RoundForCache, IndexRowsAreRotatedInBothModesAndRoundedInOne) {
  testing::Random random(2);
  const std::vector<float> row =
      testing::RandomFloats(128, testing::Values::kOrdinary, true, random);
  std::vector<float> expected = row, pure = row, official = row;
  numerics::Hadamard(expected);
  RoundForCache(pure, 64, RowKind::kIndex, Mode::kPure);
  EXPECT_TRUE(testing::SameBits(pure, expected));
  for (float& value : expected) value = numerics::RoundToBF16(value);
  numerics::SimulateE2M1(expected);
  RoundForCache(official, 64, RowKind::kIndex, Mode::kOfficial);
  EXPECT_TRUE(testing::SameBits(official, expected));
}

}  // namespace
}  // namespace fathom::kernels
