#include "engine/cuts.h"

#include <gtest/gtest.h>

#include <vector>

namespace fathom::engine {
namespace {

using Cuts = std::deque<int64_t>;

TEST(CutsTest, TheLastMultipleBeforeTheEndIsAlwaysWanted) {
  EXPECT_EQ(WantedCuts(1, 0, {}, 0), Cuts());
  EXPECT_EQ(WantedCuts(128, 0, {}, 0), Cuts());
  EXPECT_EQ(WantedCuts(129, 0, {}, 0), Cuts({128}));
  EXPECT_EQ(WantedCuts(1000, 0, {}, 0), Cuts({896}));
  EXPECT_EQ(WantedCuts(1000, 896, {}, 128), Cuts());
}

TEST(CutsTest, BoundariesAreRoundedDownAndTakenOnce) {
  const std::vector<int64_t> ends = {0, 5, 127, 128, 200, 255, 400, 999, 1000, 5000, -7};
  EXPECT_EQ(WantedCuts(1000, 0, ends, 0), Cuts({128, 384, 896}));
  EXPECT_EQ(WantedCuts(1000, 128, ends, 0), Cuts({384, 896}));
}

TEST(CutsTest, OfManyBoundariesTheLatestCount) {
  std::vector<int64_t> ends;
  for (int64_t i = 1; i <= 100; ++i) ends.push_back(i * 128 + 3);
  const Cuts cuts = WantedCuts(101 * 128 + 5, 0, ends, 0);
  EXPECT_EQ(std::ssize(cuts), kBoundariesMax + 1);
  EXPECT_EQ(cuts.front(), 37 * 128);
  EXPECT_EQ(cuts.back(), 101 * 128);
}

TEST(CutsTest, LongTextsAreCutOnTheWay) {
  EXPECT_EQ(WantedCuts(1000, 0, {}, 300), Cuts({256, 512, 768, 896}));
  EXPECT_EQ(WantedCuts(1000, 256, {}, 300), Cuts({512, 768, 896}));
  EXPECT_EQ(WantedCuts(400, 0, {}, 1), Cuts({128, 256, 384}));
}

}  // namespace
}  // namespace fathom::engine
