// The tree against a list of everything that was inserted, over random operations; and the reasons
// it gives for what it does not find.
#include "cache/prefix_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>

namespace fathom::cache {
namespace {

using model::kPageTokens;
using model::PagePool;
using model::PageRef;
using Tokens = std::vector<TokenId>;

constexpr int64_t kPageBytes = 256;
constexpr int64_t kTailBytes = 100;
constexpr int64_t kLarge = int64_t{1} << 40;

Tail MakeTail(int value) {
  return std::make_shared<const std::vector<std::byte>>(static_cast<size_t>(kTailBytes),
                                                        static_cast<std::byte>(value));
}

// Tokens [begin, end) of the text `seed`.
Tokens Text(int64_t count, TokenId seed) {
  Tokens tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<TokenId>((seed * 7919 + i * 104729 + i * i % 31) % 1000));
  return tokens;
}

Tokens Joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::span<const TokenId> First(const Tokens& tokens, int64_t count) {
  return std::span(tokens).first(static_cast<size_t>(count));
}

struct Fixture {
  explicit Fixture(int64_t bytes_max = kLarge) : tree(kPageBytes, bytes_max) {}

  // The state after the first `count` tokens, in pages of its own; `known` pages are those.
  std::vector<PageRef> Insert(const std::string& key, const Tokens& tokens, int64_t count,
                              int tail = 0, std::vector<PageRef> pages = {}) {
    while (std::ssize(pages) < count / kPageTokens) pages.push_back(pool->New());
    tree.Insert(key, First(tokens, count), pages, MakeTail(tail));
    return pages;
  }

  std::shared_ptr<PagePool> pool = PagePool::Make(kPageBytes);
  PrefixTree tree;
};

TEST(PrefixTreeTest, FindsTheLongestPrefixThatLeavesATokenToRead) {
  Fixture f;
  const Tokens text = Text(1000, 1);
  const auto pages = f.Insert("", text, 256, 1);
  const auto more = f.Insert("", text, 512, 2, pages);
  EXPECT_EQ(f.tree.Find("", First(text, 256)).tokens, 0);  // the last token's logits are wanted
  const Prefix two = f.tree.Find("", First(text, 257));
  EXPECT_EQ(two.tokens, 256);
  EXPECT_EQ(two.pages, pages);
  EXPECT_EQ((*two.tail)[0], std::byte{1});
  EXPECT_EQ(two.miss.reason, Miss::Reason::kNone);
  const Prefix four = f.tree.Find("", text);
  EXPECT_EQ(four.tokens, 512);
  EXPECT_EQ(four.pages, more);
  EXPECT_EQ((*four.tail)[0], std::byte{2});
  EXPECT_EQ(f.tree.Depth("", First(text, 256)), 256);
  EXPECT_EQ(f.tree.Depth("", First(text, 511)), 256);
  EXPECT_EQ(f.tree.Peek("", text).tokens, 512);
  EXPECT_EQ(f.tree.stats().hits, 2);
  EXPECT_EQ(f.tree.stats().misses, 1);
  EXPECT_EQ(f.tree.stats().nodes, 4);
  EXPECT_EQ(f.tree.stats().tails, 2);
  EXPECT_EQ(f.tree.stats().bytes, 4 * kPageBytes + 2 * kTailBytes);
}

TEST(PrefixTreeTest, KeepsThePagesItHas) {
  Fixture f;
  const Tokens text = Text(600, 1);
  const auto first = f.Insert("", text, 256, 1);
  {
    const auto again = f.Insert("", text, 384, 2);
    EXPECT_EQ(f.pool->pages_in_use(), 2 + 3);
  }
  EXPECT_EQ(f.pool->pages_in_use(), 3);
  EXPECT_EQ(f.tree.Find("", text).pages[1], first[1]);
}

TEST(PrefixTreeTest, SaysWhyNotMoreWasFound) {
  using Reason = Miss::Reason;
  Fixture f;
  const Tokens text = Text(600, 1);
  EXPECT_EQ(f.tree.Find("a", text).miss.reason, Reason::kCold);
  f.Insert("a", text, 384);
  EXPECT_EQ(f.tree.Find("a", text).miss.reason, Reason::kNone);
  EXPECT_EQ(f.tree.Find("a", First(text, 100)).miss.reason, Reason::kNone);
  // Another key learns that, and nothing else.
  const Miss other = f.tree.Find("b", text).miss;
  EXPECT_EQ(other.reason, Reason::kOtherKey);
  EXPECT_EQ(other.position, 0);
  EXPECT_TRUE(other.stored.empty() && other.wanted.empty());
  Tokens strange = text;
  strange[0] = 2000;
  EXPECT_EQ(f.tree.Find("b", strange).miss.reason, Reason::kCold);
  EXPECT_EQ(f.tree.Find("a", strange).miss.reason, Reason::kCold);
}

// Its pages are there, but nothing to go on from: what is stored goes on where it ends.
TEST(PrefixTreeTest, APromptThatEndsInsideAStoredOneHasAReason) {
  Fixture f;
  const Tokens text = Text(600, 1);
  f.Insert("", text, 384);
  const Prefix inside = f.tree.Find("", First(text, 300));
  EXPECT_EQ(inside.tokens, 0);
  EXPECT_EQ(inside.miss.reason, Miss::Reason::kDiverged);
  EXPECT_EQ(inside.miss.position, 300);
  EXPECT_EQ(inside.miss.stored, Tokens(text.begin() + 295, text.begin() + 305));
  EXPECT_EQ(inside.miss.wanted, Tokens(text.begin() + 295, text.begin() + 300));
  EXPECT_EQ(f.tree.Find("", First(text, 385)).miss.reason, Miss::Reason::kNone);
}

TEST(PrefixTreeTest, TellsWhereAPromptDiverges) {
  Fixture f;
  const Tokens text = Text(600, 1);
  f.Insert("", text, 384);
  f.Insert("", Joined(Tokens(text.begin(), text.begin() + 200), Text(400, 9)), 384);
  for (const int64_t at : {1, 127, 128, 130, 255, 256, 383}) {
    Tokens asked = text;
    asked[static_cast<size_t>(at)] = 5000;
    const Prefix prefix = f.tree.Find("", asked);
    EXPECT_EQ(prefix.tokens, 0);  // no tail so far up
    EXPECT_EQ(prefix.miss.reason, Miss::Reason::kDiverged) << at;
    EXPECT_EQ(prefix.miss.position, at);
    const int64_t before = std::min<int64_t>(5, at);
    const int64_t after = std::min<int64_t>(5, (at / 128 + 1) * 128 - at);
    EXPECT_EQ(prefix.miss.stored, Tokens(text.begin() + at - before, text.begin() + at + after));
    EXPECT_EQ(prefix.miss.wanted, Tokens(asked.begin() + at - before, asked.begin() + at + 5));
  }
  // With a tail above, the part before is found and the reason stays.
  f.Insert("", text, 128);
  Tokens asked = text;
  asked[300] = 5000;
  EXPECT_EQ(f.tree.Find("", asked).tokens, 128);
  EXPECT_EQ(f.tree.Find("", asked).miss.position, 300);
}

TEST(PrefixTreeTest, RemembersWhatHadToGo) {
  Fixture f;
  const Tokens text = Text(600, 1);
  f.Insert("", text, 256);
  f.Insert("", text, 384);
  EXPECT_EQ(f.tree.Evict(kLarge), 3 * kPageBytes + 2 * kTailBytes);
  EXPECT_EQ(f.pool->pages_in_use(), 0);
  EXPECT_EQ(f.tree.stats().nodes, 0);
  EXPECT_EQ(f.tree.stats().bytes, 0);
  EXPECT_EQ(f.tree.stats().evictions, 2);
  EXPECT_EQ(f.tree.Find("", text).miss.reason, Miss::Reason::kEvicted);
  EXPECT_EQ(f.tree.Find("x", text).miss.reason, Miss::Reason::kCold);
  EXPECT_EQ(f.tree.Find("", Text(600, 2)).miss.reason, Miss::Reason::kCold);
  f.Insert("", text, 384);
  EXPECT_EQ(f.tree.Find("", text).miss.reason, Miss::Reason::kNone);
}

TEST(PrefixTreeTest, WhatIsUsedStaysAndWhatOthersHoldIsNotCounted) {
  Fixture f;
  const Tokens shared = Text(256, 1);
  f.Insert("", shared, 256);
  std::vector<Tokens> texts;
  for (TokenId i = 0; i < 10; ++i) {
    texts.push_back(Joined(shared, Text(400, 10 + i)));
    f.Insert("", texts.back(), 512);
    // Each of them begins with what all share.
    f.tree.Find("", First(texts.back(), 300));
  }
  const Prefix held = f.tree.Find("", texts[9]);
  EXPECT_EQ(held.tokens, 512);
  const int64_t one = 2 * kPageBytes + kTailBytes;
  EXPECT_EQ(f.tree.Evictable(), 9 * one + kTailBytes);
  EXPECT_GE(f.tree.Evict(3 * one), 3 * one);
  // Old ones went, the one that all share and the latest did not.
  EXPECT_EQ(f.tree.Depth("", texts[0]), 256);
  EXPECT_EQ(f.tree.Depth("", texts[9]), 512);
  EXPECT_EQ(f.tree.Find("", texts[0]).miss.reason, Miss::Reason::kEvicted);
  const int64_t pages = f.pool->pages_in_use(), tails = f.tree.stats().tails;
  const int64_t freed = f.tree.Evict(kLarge);
  EXPECT_EQ(f.pool->pages_in_use(), 4);
  EXPECT_EQ(freed, (pages - 4) * kPageBytes + (tails - 1) * kTailBytes);
}

TEST(PrefixTreeTest, KeepsItsBudget) {
  constexpr int64_t kMax = 20 * kPageBytes;
  Fixture f(kMax);
  f.Insert("", Text(3000, 1), 20 * kPageTokens);  // too large with its tail
  EXPECT_EQ(f.tree.stats().nodes, 0);
  for (TokenId i = 0; i < 50; ++i) {
    const Tokens text = Text(640, i);
    f.Insert(i % 2 == 0 ? "a" : "b", text, 128 * (1 + i % 5));
    EXPECT_LE(f.tree.stats().bytes, kMax);
    EXPECT_EQ(f.tree.Depth(i % 2 == 0 ? "a" : "b", text), 128 * (1 + i % 5)) << "the newest went";
  }
  EXPECT_EQ(f.pool->pages_in_use(), f.tree.stats().nodes);
  EXPECT_GT(f.tree.stats().evictions, 0);
}

// A text of a million tokens is a path of 8192 nodes: nothing on it recurs.
TEST(PrefixTreeTest, LongPathsAreNothingSpecial) {
  Fixture f;
  const Tokens text = Text(1 << 20, 3);
  f.Insert("", text, 1 << 20);
  EXPECT_EQ(f.tree.Depth("", text), 1 << 20);
  Tokens asked = text;
  asked.back() = 5000;
  asked.push_back(1);
  EXPECT_EQ(f.tree.Find("", asked).miss.position, (1 << 20) - 1);
  f.tree.Evict(1);
  EXPECT_EQ(f.tree.stats().nodes, 0);
  f.Insert("", text, 1 << 20);
}

// Everything that was ever inserted, by key and tokens.
struct Model {
  std::map<std::pair<std::string, Tokens>, int> tails;

  // Length and tail of the longest prefix that the tree may know.
  std::pair<int64_t, int> Longest(const std::string& key, const Tokens& asked) const {
    for (int64_t n = (std::ssize(asked) - 1) / kPageTokens * kPageTokens; n > 0; n -= kPageTokens) {
      const auto it = tails.find({key, Tokens(asked.begin(), asked.begin() + n)});
      if (it != tails.end()) return {n, it->second};
    }
    return {0, 0};
  }
};

// Texts that branch at pages and inside them, over an alphabet so small that they often agree.
Tokens RandomText(std::mt19937_64& random) {
  Tokens tokens;
  const int64_t pages = 1 + static_cast<int64_t>(random() % 6);
  for (int64_t i = 0; i < pages; ++i) {
    const Tokens page = Text(kPageTokens, static_cast<TokenId>(random() % 2));
    tokens.insert(tokens.end(), page.begin(), page.end());
    if (random() % 8 == 0) tokens.back() = 7;
  }
  tokens.resize(tokens.size() - random() % 3);
  return tokens;
}

// Content of the page after `tokens`, so that each page is seen to be the one that belongs there.
void CheckPages(const std::string& key, const Tokens& asked, const Prefix& prefix) {
  ASSERT_EQ(std::ssize(prefix.pages) * kPageTokens, prefix.tokens);
  for (int64_t i = 0; i < std::ssize(prefix.pages); ++i) {
    const auto* stamp =
        reinterpret_cast<const size_t*>(prefix.pages[static_cast<size_t>(i)].data());
    std::string path = key;
    for (int64_t t = 0; t < (i + 1) * kPageTokens; ++t)
      path += "," + std::to_string(asked[static_cast<size_t>(t)]);
    EXPECT_EQ(*stamp, std::hash<std::string>()(path));
  }
}

std::vector<PageRef> StampedPages(PagePool& pool, const std::string& key, const Tokens& tokens,
                                  int64_t count) {
  std::vector<PageRef> pages;
  std::string path = key;
  for (int64_t t = 0; t < count; ++t) {
    path += "," + std::to_string(tokens[static_cast<size_t>(t)]);
    if ((t + 1) % kPageTokens != 0) continue;
    pages.push_back(pool.New());
    *reinterpret_cast<size_t*>(pages.back().data()) = std::hash<std::string>()(path);
  }
  return pages;
}

void CompareOverRandomOperations(uint64_t seed, int64_t bytes_max) {
  std::mt19937_64 random(seed);
  Fixture f(bytes_max);
  Model model;
  int64_t hits = 0;
  for (int step = 0; step < 600; ++step) {
    const std::string key = random() % 4 == 0 ? "b" : "a";
    const Tokens text = RandomText(random);
    const int64_t count = std::ssize(text) / kPageTokens * kPageTokens;
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        if (count == 0) break;
        const int value = static_cast<int>(random() % 256);
        Tokens stored(text.begin(), text.begin() + count);
        const bool is_new = f.tree.Depth(key, stored) < count;
        f.tree.Insert(key, stored, StampedPages(*f.pool, key, text, count), MakeTail(value));
        if (is_new) model.tails[{key, stored}] = value;
        break;
      }
      case 3:
        if (random() % 10 == 0) f.tree.Evict(static_cast<int64_t>(random() % 2000));
        break;
      default: {
        const auto [longest, tail] = model.Longest(key, text);
        const Prefix peeked = f.tree.Peek(key, text);
        const Prefix found = f.tree.Find(key, text);
        EXPECT_EQ(peeked.tokens, found.tokens);
        CheckPages(key, text, found);
        if (f.tree.stats().evictions == 0) {
          EXPECT_EQ(found.tokens, longest);
        } else {
          EXPECT_LE(found.tokens, longest);
        }
        if (found.tokens < longest) {
          EXPECT_EQ(found.miss.reason, Miss::Reason::kEvicted);
        }
        if (found.tokens == 0) break;
        ++hits;
        const auto it = model.tails.find({key, Tokens(text.begin(), text.begin() + found.tokens)});
        ASSERT_NE(it, model.tails.end()) << "found what was never inserted";
        EXPECT_EQ((*found.tail)[0], static_cast<std::byte>(it->second));
      }
    }
    const TreeStats& stats = f.tree.stats();
    ASSERT_EQ(f.pool->pages_in_use(), stats.nodes);
    ASSERT_EQ(stats.bytes, stats.nodes * kPageBytes + stats.tails * kTailBytes);
    ASSERT_EQ(stats.tail_bytes, stats.tails * kTailBytes);
    ASSERT_LE(stats.bytes, bytes_max);
    ASSERT_EQ(f.tree.Evictable(), stats.bytes);
  }
  EXPECT_GT(hits, 50);
  const int64_t bytes = f.tree.stats().bytes;
  EXPECT_EQ(f.tree.Evict(kLarge), bytes);
  EXPECT_EQ(f.tree.stats().bytes, 0);
}

TEST(PrefixTreeTest, AgreesWithAListOfEverything) {
  for (uint64_t seed = 1; seed <= 20; ++seed) CompareOverRandomOperations(seed, kLarge);
}

TEST(PrefixTreeTest, AgreesWithAListOfEverythingWhileItForgets) {
  for (uint64_t seed = 1; seed <= 20; ++seed) CompareOverRandomOperations(seed, 30 * kPageBytes);
}

}  // namespace
}  // namespace fathom::cache
