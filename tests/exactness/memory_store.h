// A disk tier that keeps everything in memory and loses nothing, so that what the engine does with
// one is seen without files.
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cache/disk_store.h"

namespace fathom::exactness {

class MemoryStore : public cache::DiskStore {
 public:
  using Bytes = std::vector<std::byte>;

  void Write(std::string_view key, std::span<const TokenId> tokens,
             std::span<const model::PageRef> pages, cache::Tail tail) override {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[{std::string(key), {tokens.begin(), tokens.end()}}];
    entry.tail = *tail;
    entry.pages.clear();
    for (const model::PageRef& page : pages)
      entry.pages.emplace_back(page.data(), page.data() + page_bytes_);
  }

  cache::Prefix Load(std::string_view key, std::span<const TokenId> tokens, int64_t known_tokens,
                     model::PagePool& pool) override {
    if (on_load) on_load();
    const std::lock_guard lock(mutex_);
    for (int64_t n = (std::ssize(tokens) - 1) / 128 * 128; n > known_tokens; n -= 128) {
      const auto it = entries_.find({std::string(key), {tokens.begin(), tokens.begin() + n}});
      if (it == entries_.end()) continue;
      cache::Prefix prefix;
      prefix.tokens = n;
      prefix.tail = std::make_shared<const Bytes>(it->second.tail);
      for (int64_t i = 0; i < n / 128; ++i) {
        model::PageRef page;
        if (i >= known_tokens / 128) {
          page = pool.New();
          std::memcpy(page.data(), it->second.pages[static_cast<size_t>(i)].data(),
                      static_cast<size_t>(page_bytes_));
        }
        prefix.pages.push_back(std::move(page));
      }
      stats_.hits += 1;
      return prefix;
    }
    stats_.misses += 1;
    return {};
  }

  void Flush() override {}
  cache::DiskStats stats() const override {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  explicit MemoryStore(int64_t page_bytes) : page_bytes_(page_bytes) {}

  std::function<void()> on_load;  // on the thread that loads

 private:
  struct Entry {
    std::vector<Bytes> pages;
    Bytes tail;
  };
  const int64_t page_bytes_;
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::vector<TokenId>>, Entry> entries_;
  cache::DiskStats stats_;
};

}  // namespace fathom::exactness
