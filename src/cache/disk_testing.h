// What the tests of the disk tier share: prompts, and pages whose content
// follows from the prefix that they belong to, so that any wrong page is noticed.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cache/disk_store.h"

namespace fathom::cache {

inline DiskOptions SmallStore(const std::string& dir) {
  return {.dir = dir,
          .bytes_max = int64_t{1} << 20,
          .segment_bytes = int64_t{1} << 13,
          .fingerprint = 7,
          .page_bytes = 192,
          .tail_bytes = 100};  // no multiple of the alignment
}

// `pages` full pages and one token more. Equal seeds begin alike.
inline std::vector<TokenId> Prompt(unsigned seed, int64_t pages) {
  std::minstd_rand random(seed);
  std::vector<TokenId> tokens(static_cast<size_t>(pages * model::kPageTokens + 1));
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % 1000);
  return tokens;
}

// What the page at the end of the prefix, or its tail, has to hold.
inline std::vector<std::byte> ContentOf(std::string_view key, std::span<const TokenId> prefix,
                                        bool is_tail, int64_t bytes) {
  uint64_t state = is_tail ? 1 : 2;
  const auto mix = [&](uint64_t value) {
    state = (state ^ value) * 0x9E3779B97F4A7C15u;
    state ^= state >> 29;
  };
  for (const char c : key) mix(static_cast<unsigned char>(c));
  for (const TokenId token : prefix) mix(static_cast<uint64_t>(token));
  std::vector<std::byte> content(static_cast<size_t>(bytes));
  for (size_t i = 0; i < content.size(); i += sizeof(state)) {
    mix(3);
    std::memcpy(content.data() + i, &state, std::min(sizeof(state), content.size() - i));
  }
  return content;
}

inline Tail TailOf(std::string_view key, std::span<const TokenId> prefix, int64_t bytes) {
  return std::make_shared<const std::vector<std::byte>>(ContentOf(key, prefix, true, bytes));
}

inline std::vector<model::PageRef> PagesOf(std::string_view key, std::span<const TokenId> prefix,
                                           model::PagePool& pool) {
  std::vector<model::PageRef> pages;
  for (size_t end = model::kPageTokens; end <= prefix.size(); end += model::kPageTokens) {
    pages.push_back(pool.New());
    const auto content = ContentOf(key, prefix.first(end), false, pool.page_bytes());
    std::copy(content.begin(), content.end(), pages.back().data());
  }
  return pages;
}

// Remembers the state after the first `pages` pages of `tokens`.
inline void WritePages(DiskStore& store, std::string_view key, std::span<const TokenId> tokens,
                       int64_t pages, model::PagePool& pool, int64_t tail_bytes) {
  const auto prefix = tokens.first(static_cast<size_t>(pages * model::kPageTokens));
  store.Write(key, prefix, PagesOf(key, prefix, pool), TailOf(key, prefix, tail_bytes));
}

// Whether every byte of what was found is that of the prompt's beginning.
inline testing::AssertionResult IsRight(const Prefix& found, std::string_view key,
                                        std::span<const TokenId> tokens, int64_t known_tokens,
                                        int64_t page_bytes, int64_t tail_bytes) {
  if (found.tokens == 0 && found.pages.empty() && found.tail == nullptr) {
    return testing::AssertionSuccess();
  }
  if (found.tokens <= known_tokens || found.tokens >= std::ssize(tokens) ||
      found.tokens != std::ssize(found.pages) * model::kPageTokens || found.tail == nullptr) {
    return testing::AssertionFailure() << "a prefix of " << found.tokens << " tokens";
  }
  const auto prefix = tokens.first(static_cast<size_t>(found.tokens));
  if (*found.tail != ContentOf(key, prefix, true, tail_bytes)) {
    return testing::AssertionFailure() << "wrong tail after " << found.tokens;
  }
  for (size_t i = 0; i < found.pages.size(); ++i) {
    const size_t end = (i + 1) * model::kPageTokens;
    if (static_cast<int64_t>(end) <= known_tokens) {
      if (found.pages[i]) return testing::AssertionFailure() << "loaded known page " << i;
      continue;
    }
    const auto content = ContentOf(key, prefix.first(end), false, page_bytes);
    if (!found.pages[i] || !std::equal(content.begin(), content.end(), found.pages[i].data())) {
      return testing::AssertionFailure() << "wrong page " << i;
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace fathom::cache
