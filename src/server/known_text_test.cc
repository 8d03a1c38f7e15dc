#include "server/known_text.h"

#include <gtest/gtest.h>

#include <string>

namespace fathom::server {
namespace {

using Ids = std::vector<TokenId>;

TEST(KnownTextTest, TheLongestKnownBeginningGivesItsIds) {
  KnownText known(1 << 20);
  known.Remember("me", "question one END", Ids{1, 2, 3}, {});
  const auto first = known.Find("me", "question one END question two END", "END");
  EXPECT_EQ(first.ids, (Ids{1, 2, 3}));
  EXPECT_EQ(first.mark.bytes, 16);
  known.Remember("me", "question one END question two END", Ids{1, 2, 3, 7, 8}, first);
  EXPECT_EQ(known.Find("me", "question one END question two END and", "END").ids,
            (Ids{1, 2, 3, 7, 8}));
  EXPECT_EQ(known.Find("me", "question one END other two END", "END").ids, (Ids{1, 2, 3}));
  EXPECT_EQ(known.Find("me", "question one EN", "END").mark.bytes, 0);
}

TEST(KnownTextTest, OwnersAreApart) {
  KnownText known(1 << 20);
  known.Remember("me", "a END", Ids{1}, {});
  EXPECT_TRUE(known.Find("you", "a END", "END").ids.empty());
  EXPECT_TRUE(known.Find("", "mea END", "END").ids.empty());
}

TEST(KnownTextTest, MemoryIsBoundedAndAChainWithoutItsBeginningIsUnknown) {
  KnownText known(20'000);
  KnownText::Found parent;
  std::string text;
  Ids ids;
  for (int i = 0; i < 100; ++i) {
    text += "turn " + std::to_string(i) + " END";
    for (int j = 0; j < 20; ++j) ids.push_back(i * 20 + j);
    known.Remember("me", text, ids, parent);
    parent = known.Find("me", text, "END");
    if (parent.mark.bytes > 0) {
      EXPECT_EQ(Ids(ids.begin(), ids.begin() + std::ssize(parent.ids)), parent.ids);
    }
    EXPECT_LE(known.bytes(), 20'000);
  }
}

}  // namespace
}  // namespace fathom::server
