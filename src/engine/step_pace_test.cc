#include "engine/step_pace.h"

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

// A machine on which a pass takes so long; runs steps until the pace has settled.
struct Machine {
  double decode_s = 0;      // of any step with decode rows
  double prompt_row_s = 0;  // of each prompt token

  int64_t Settled(StepPace& pace, int64_t decode_rows) const {
    for (int i = 0; i < 50; ++i) {
      pace.Record(decode_rows, 0, decode_s);
      const int64_t rows = pace.PromptRows(decode_rows);
      pace.Record(decode_rows, rows,
                  (decode_rows > 0 ? decode_s : 0) + prompt_row_s * static_cast<double>(rows));
    }
    return pace.PromptRows(decode_rows);
  }
};

TEST(StepPaceTest, PromptsAloneAreReadInWholeChunks) {
  StepPace pace(2048);
  EXPECT_LE(pace.PromptRows(0), 64);  // nothing is known yet
  EXPECT_EQ((Machine{.prompt_row_s = 1e-3}.Settled(pace, 0)), 2048);
}

TEST(StepPaceTest, AFastMachineReadsWholeChunksBesideAnswers) {
  StepPace pace(512);
  EXPECT_EQ((Machine{.decode_s = 1e-3, .prompt_row_s = 1e-5}.Settled(pace, 2)), 510);
}

TEST(StepPaceTest, StepsWithAnswersKeepToTheirTime) {
  StepPace pace(2048);
  // 0.2 s less 0.05, at 5 ms a token.
  EXPECT_NEAR(static_cast<double>(Machine{.decode_s = 0.05, .prompt_row_s = 5e-3}.Settled(pace, 4)),
              30, 1);
}

TEST(StepPaceTest, SlowDecodingGivesPromptsAsMuchTime) {
  StepPace pace(2048);
  EXPECT_NEAR(static_cast<double>(Machine{.decode_s = 2, .prompt_row_s = 0.1}.Settled(pace, 4)), 20,
              1);
}

TEST(StepPaceTest, APassOnASlowMachineEndsInTime) {
  StepPace pace(2048);
  // 11 tokens a second: V4-Flash on two cores.
  EXPECT_NEAR(static_cast<double>(Machine{.prompt_row_s = 1.0 / 11}.Settled(pace, 0)), 220, 1);
}

TEST(StepPaceTest, PromptsAlwaysGetOn) {
  StepPace pace(4);
  EXPECT_EQ(pace.PromptRows(64), 1);
  EXPECT_EQ((Machine{.decode_s = 9, .prompt_row_s = 100}.Settled(pace, 64)), 1);
  StepPace wide(512);
  EXPECT_EQ((Machine{.decode_s = 9, .prompt_row_s = 100}.Settled(wide, 1)), 8);
}

}  // namespace
}  // namespace fathom::engine
