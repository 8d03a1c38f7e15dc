// Where attention's blocks of 64 slots end when the window leaves slots empty (RowList).
#include <gtest/gtest.h>

#include <vector>

#include "kernels/paths.h"

namespace fathom::kernels {
namespace {

std::vector<int64_t> Blocks(int64_t count, int64_t window, int64_t gap) {
  AttentionTask task;
  task.count = count;
  task.window = window;
  task.gap = gap;
  std::vector<int64_t> blocks;
  for (int64_t begin = 0; begin < count; begin += blocks.back())
    blocks.push_back(task.BlockRows(begin));
  return blocks;
}

using Lengths = std::vector<int64_t>;

TEST(AttentionSlots, AListWithoutAWindowIsCutEverySixtyFourRows) {
  EXPECT_EQ(Blocks(130, 0, 0), (Lengths{64, 64, 2}));
  EXPECT_EQ(Blocks(64, 64, 0), (Lengths{64}));
}

TEST(AttentionSlots, CompressedRowsStartAfterAWholeWindow) {
  // 5 of 128 window rows, then 70 compressed rows from slot 128 on.
  EXPECT_EQ(Blocks(75, 5, 123), (Lengths{5, 64, 6}));
  // A full window leaves no gap.
  EXPECT_EQ(Blocks(198, 128, 0), (Lengths{64, 64, 64, 6}));
  // 100 rows fill one block and part of the second.
  EXPECT_EQ(Blocks(103, 100, 28), (Lengths{64, 36, 3}));
}

TEST(AttentionSlots, ASlotCountThatIsNoMultipleOfTheBlockSharesABlock) {
  // 11 of 37 window rows; compressed rows from slot 37: 27 of them end the first block.
  EXPECT_EQ(Blocks(46, 11, 26), (Lengths{38, 8}));
  EXPECT_EQ(Blocks(12, 11, 26), (Lengths{12}));
  // 96 window slots: the second block holds window rows 64..95 and 32 compressed rows.
  EXPECT_EQ(Blocks(200, 96, 0), (Lengths{64, 64, 64, 8}));
  EXPECT_EQ(Blocks(200, 70, 26), (Lengths{64, 38, 64, 34}));
}

}  // namespace
}  // namespace fathom::kernels
