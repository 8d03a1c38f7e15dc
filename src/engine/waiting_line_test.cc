#include "engine/waiting_line.h"

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

class WaitingLineTest : public testing::Test {
 protected:
  void Push(const std::string& key, int priority = 0) {
    auto job = std::make_unique<Job>();
    job->ticket = ++tickets_;
    job->request.key = key;
    job->request.priority = priority;
    line_.Push(std::move(job));
  }
  // Keys and tickets of everything that waits, as it would be taken.
  std::string TakeAll() {
    std::string order;
    while (const auto job = line_.Take([](const Job&) { return Verdict::kTake; }))
      order += job->request.key + std::to_string(job->ticket) + " ";
    return order;
  }

  WaitingLine line_;
  uint64_t tickets_ = 0;
};

TEST_F(WaitingLineTest, KeysTakeTurnsAndKeepTheirOrder) {
  for (const char* key : {"a", "a", "a", "b", "b", "c"}) Push(key);
  EXPECT_EQ(TakeAll(), "a1 b4 c6 a2 b5 a3 ");
}

TEST_F(WaitingLineTest, AKeyThatHasJustHadItsTurnComesLater) {
  Push("a");
  EXPECT_EQ(TakeAll(), "a1 ");
  Push("a"), Push("b");
  EXPECT_EQ(TakeAll(), "b3 a2 ");
}

// Turns that nobody took are not saved up.
TEST_F(WaitingLineTest, AKeyThatWasAwayHasNoTurnsInHand) {
  for (int i = 0; i < 5; ++i) Push("a");
  TakeAll();
  for (const char* key : {"b", "b", "b", "a", "a"}) Push(key);
  EXPECT_EQ(TakeAll(), "b6 b7 a9 b8 a10 ");
}

TEST_F(WaitingLineTest, PrioritiesComeBeforeTurns) {
  Push("a"), Push("a", 2), Push("b", -1), Push("a", 2), Push("b", 2);
  EXPECT_EQ(TakeAll(), "a2 b5 a4 a1 b3 ");
}

TEST_F(WaitingLineTest, TheJudgeSkipsAndStops) {
  Push("a"), Push("b"), Push("c");
  const auto second = line_.Take(
      [](const Job& job) { return job.request.key == "a" ? Verdict::kSkip : Verdict::kTake; });
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->ticket, 2u);
  EXPECT_EQ(line_.Take([](const Job&) { return Verdict::kStop; }), nullptr);
  EXPECT_EQ(line_.front()->ticket, 1u);
  EXPECT_EQ(line_.size(), 2);
}

TEST_F(WaitingLineTest, TicketsAreRemoved) {
  Push("a"), Push("b"), Push("a");
  EXPECT_EQ(line_.Remove(2)->request.key, "b");
  EXPECT_EQ(line_.Remove(2), nullptr);
  EXPECT_EQ(line_.RemoveAll().size(), 2u);
  EXPECT_EQ(line_.size(), 0);
}

TEST_F(WaitingLineTest, ManyKeysDoNotGrowIt) {
  for (int i = 0; i < 20'000; ++i) {
    Push("key " + std::to_string(i));
    EXPECT_NE(line_.Take([](const Job&) { return Verdict::kTake; }), nullptr);
  }
  Push("a"), Push("b");
  EXPECT_EQ(TakeAll(), "a20001 b20002 ");
}

}  // namespace
}  // namespace fathom::engine
