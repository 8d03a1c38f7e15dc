#include "server/logprobs.h"

#include <gtest/gtest.h>

#include "tokenizer/synthetic.h"

namespace fathom::server {
namespace {

api::LogprobEntry Entry(std::string bytes) {
  api::LogprobEntry entry;
  entry.chosen.text = bytes;
  entry.chosen.bytes = std::move(bytes);
  return entry;
}

std::vector<std::string> Names(const std::vector<api::LogprobEntry>& entries) {
  std::vector<std::string> names;
  for (const api::LogprobEntry& entry : entries) names.push_back(entry.chosen.text);
  return names;
}

using Strings = std::vector<std::string>;

TEST(LogprobQueueTest, AnEntryComesWithTheBeginningOfItsText) {
  LogprobQueue queue;
  queue.Push(Entry("Hel"));
  queue.Push(Entry("lo"));
  EXPECT_EQ(Names(queue.Take("H")), Strings{"Hel"});
  EXPECT_EQ(Names(queue.Take("ell")), Strings{"lo"});
  EXPECT_EQ(Names(queue.Take("o")), Strings{});
}

TEST(LogprobQueueTest, SwallowedTokensAreDropped) {
  LogprobQueue queue;
  for (const char* bytes : {"a", "\n\n", "<", "b"}) queue.Push(Entry(bytes));
  EXPECT_EQ(Names(queue.Take("a")), Strings{"a"});
  EXPECT_EQ(Names(queue.Take("b")), Strings{"b"});
  queue.Push(Entry("c"));
  queue.Drop();
  EXPECT_EQ(Names(queue.Take("c")), Strings{});
}

TEST(ShowTokenTest, ControlTokensAreSpelledWithDoubledBars) {
  const auto tokenizer =
      tokenizer::Tokenizer::FromJson(tokenizer::SyntheticTokenizerJson(300), "synthetic");
  ASSERT_TRUE(tokenizer.ok());
  const auto eos = ShowToken(tokenizer.value(), 1, -2);
  EXPECT_EQ(eos.text, "<｜｜end▁of▁sentence｜｜>");
  EXPECT_EQ(eos.bytes, eos.text);
  EXPECT_EQ(eos.logprob, -2);
  EXPECT_EQ(ShowToken(tokenizer.value(), 100000, 0).text, "");
}

}  // namespace
}  // namespace fathom::server
