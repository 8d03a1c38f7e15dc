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
    while (const auto job = TakeFirst())
      order += job->request.key + std::to_string(job->ticket) + " ";
    return order;
  }

  std::unique_ptr<Job> TakeFirst() {
    WaitingLine::Cursor cursor;
    (void)line_.Next(cursor);
    return line_.Take(cursor);
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

TEST_F(WaitingLineTest, AWalkTakesWhereItStands) {
  WaitingLine::Cursor cursor;
  EXPECT_EQ(line_.Next(cursor), nullptr);
  EXPECT_EQ(line_.Take(cursor), nullptr);
  Push("a"), Push("b"), Push("c");
  EXPECT_EQ(line_.Next(cursor)->ticket, 1u);
  EXPECT_EQ(line_.Next(cursor)->ticket, 2u);
  EXPECT_EQ(line_.Take(cursor)->ticket, 2u);
  EXPECT_EQ(line_.Take(cursor), nullptr);  // it has gone
  EXPECT_EQ(line_.front()->ticket, 1u);
  EXPECT_EQ(line_.size(), 2);
  EXPECT_EQ(line_.Next(cursor)->ticket, 3u);
  EXPECT_EQ(line_.Next(cursor), nullptr);
  EXPECT_EQ(line_.Take(cursor)->ticket, 3u);  // the end is no step
}

TEST_F(WaitingLineTest, AWalkBearsChangesOfTheLine) {
  Push("a"), Push("a"), Push("b");
  WaitingLine::Cursor cursor;
  EXPECT_EQ(line_.Next(cursor)->ticket, 1u);
  EXPECT_NE(line_.Remove(1), nullptr);  // under the cursor
  EXPECT_NE(line_.Remove(3), nullptr);  // before it gets there
  Push("c", 1), Push("c");              // ahead of it and behind it
  EXPECT_EQ(line_.Take(cursor), nullptr);
  EXPECT_EQ(line_.Next(cursor)->ticket, 5u);
  EXPECT_EQ(line_.Next(cursor)->ticket, 2u);
  EXPECT_EQ(line_.Next(cursor), nullptr);
  EXPECT_EQ(line_.front()->ticket, 4u);
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
    EXPECT_NE(TakeFirst(), nullptr);
  }
  Push("a"), Push("b");
  EXPECT_EQ(TakeAll(), "a20001 b20002 ");
}

}  // namespace
}  // namespace fathom::engine
