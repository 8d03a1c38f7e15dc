// Merging against the definition, written down as plainly as possible.
#include "tokenizer/stages/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <utility>

namespace fathom::tokenizer {
namespace {

using Merges = std::map<std::pair<TokenId, TokenId>, Merge>;

std::array<TokenId, 256> Bytes() {
  std::array<TokenId, 256> bytes;
  for (size_t i = 0; i < 256; ++i) bytes[i] = static_cast<TokenId>(i);
  return bytes;
}

Bpe MakeBpe(const Merges& merges) {
  MergeTable table(std::ssize(merges));
  for (const auto& [pair, merge] : merges) table.Insert(pair.first, pair.second, merge);
  return Bpe(Bytes(), std::move(table));
}

// Repeats: the pair with the smallest rank, the leftmost of equal ones, becomes one token.
std::vector<TokenId> ByDefinition(const Merges& merges, const std::string& piece) {
  std::vector<TokenId> ids;
  for (const char byte : piece) ids.push_back(static_cast<uint8_t>(byte));
  for (;;) {
    const Merge* best = nullptr;
    size_t best_at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = merges.find({ids[i], ids[i + 1]});
      if (found == merges.end()) continue;
      if (best != nullptr && found->second.rank >= best->rank) continue;
      best = &found->second;
      best_at = i;
    }
    if (best == nullptr) return ids;
    ids[best_at] = best->result;
    ids.erase(ids.begin() + static_cast<int64_t>(best_at) + 1);
  }
}

// Random merges over three letters; the result of a merge is the token of the joined text, as in a
// file, so that several pairs lead to one token.
Merges RandomMerges(std::mt19937& random, int count) {
  std::vector<std::string> contents = {"a", "b", "c"};
  std::map<std::string, TokenId> ids = {{"a", 'a'}, {"b", 'b'}, {"c", 'c'}};
  Merges merges;
  for (int rank = 0; rank < count; ++rank) {
    const std::string left = contents[random() % contents.size()];
    const std::string right = contents[random() % contents.size()];
    const auto [place, is_new] =
        ids.try_emplace(left + right, static_cast<TokenId>(256 + ids.size()));
    if (is_new) contents.push_back(left + right);
    merges.try_emplace({ids[left], ids[right]}, Merge{rank, place->second});
  }
  return merges;
}

TEST(Bpe, BothWaysFollowTheDefinition) {
  std::mt19937 random(7);
  Bpe::Scratch scratch;
  for (int round = 0; round < 400; ++round) {
    const Merges merges = RandomMerges(random, 1 + static_cast<int>(random() % 20));
    const Bpe bpe = MakeBpe(merges);
    std::string piece;
    for (size_t n = random() % (Bpe::kShortBytesMax + 1); n > 0; --n)
      piece += static_cast<char>('a' + random() % 3);
    const std::vector<TokenId> expected = ByDefinition(merges, piece);
    std::vector<TokenId> from_short, from_long;
    bpe.EncodeShort(piece, from_short);
    bpe.EncodeLong(piece, scratch, from_long);
    ASSERT_EQ(from_short, expected) << piece;
    ASSERT_EQ(from_long, expected) << piece;
  }
}

TEST(Bpe, LongPiecesFollowTheDefinition) {
  std::mt19937 random(8);
  Bpe::Scratch scratch;
  for (int round = 0; round < 60; ++round) {
    const Merges merges = RandomMerges(random, 30);
    std::string piece;
    for (size_t n = 40 + random() % 300; n > 0; --n)
      piece += static_cast<char>('a' + random() % (round % 2 == 0 ? 1 : 3));
    std::vector<TokenId> ids;
    MakeBpe(merges).Encode(piece, scratch, ids);
    ASSERT_EQ(ids, ByDefinition(merges, piece)) << piece;
  }
}

TEST(Bpe, EqualPairsMergeFromTheLeft) {
  const Bpe bpe = MakeBpe({{{'a', 'a'}, {0, 256}}});
  Bpe::Scratch scratch;
  std::vector<TokenId> ids;
  bpe.Encode("aaaaa", scratch, ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{256, 256, 'a'}));
}

TEST(Bpe, AppendsAndAcceptsNothing) {
  const Bpe bpe = MakeBpe({});
  Bpe::Scratch scratch;
  std::vector<TokenId> ids = {1};
  bpe.Encode("", scratch, ids);
  bpe.EncodeLong("", scratch, ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{1}));
  bpe.Encode("\xFF", scratch, ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{1, 255}));
}

TEST(MergeTable, FindsWhatWasInsertedAndTheLastOfRepeats) {
  MergeTable table(1000);
  for (TokenId i = 0; i < 1000; ++i) table.Insert(i, i * 7, {i, i + 1});
  table.Insert(3, 21, {5000, 9});
  for (TokenId i = 0; i < 1000; ++i) {
    EXPECT_EQ(table.Find(i, i * 7).rank, i == 3 ? 5000 : i);
    EXPECT_EQ(table.Find(i, i * 7).result, i == 3 ? 9 : i + 1);
    EXPECT_LT(table.Find(i, i * 7 + 1).result, 0);
  }
  EXPECT_LT(MergeTable(0).Find(0, 0).result, 0);
}

}  // namespace
}  // namespace fathom::tokenizer
