// Servers that are killed while they write: a child process writes prompts through the store in a
// loop and is killed at a random moment; then the folder is opened again, everything that is found
// must be right byte for byte, and what was flushed before must be found.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "base/folder_testing.h"
#include "base/log.h"
#include "cache/disk_testing.h"

namespace fathom::cache {
namespace {

constexpr int64_t kPages = 6;
constexpr unsigned kPrompts = 500;

DiskOptions KilledStore(const std::string& dir) {
  DiskOptions options = SmallStore(dir);
  // So large that some kills come in the middle of a write.
  options.page_bytes = 16384;
  options.tail_bytes = 200000;
  options.segment_bytes = 1000000;
  return options;
}

// The child: writes prompt after prompt, and counts in `flushed` those that are on disk. Ends by
// being killed.
[[noreturn]] void WriteForever(const DiskOptions& options, unsigned first,
                               std::atomic<unsigned>& flushed) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // the test may fail and leave
  const auto pool = model::PagePool::Make(options.page_bytes);
  const auto store = DiskStore::Open(options);
  if (!store.ok() || !store.value()->stats().is_writable) ::_exit(3);
  for (unsigned i = 0;; ++i) {
    const auto tokens = Prompt(first + i % kPrompts, kPages);
    for (const int64_t pages : {kPages / 2, kPages}) {
      WritePages(*store.value(), "k", tokens, pages, *pool, options.tail_bytes);
    }
    if (i % 4 == 3) {
      store.value()->Flush();
      flushed = i + 1;
    }
  }
}

class KillTest : public testing::Test {
 protected:
  KillTest()
      : flushed_(static_cast<std::atomic<unsigned>*>(::mmap(nullptr, sizeof(std::atomic<unsigned>),
                                                            PROT_READ | PROT_WRITE,
                                                            MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    SetLogLevel(LogLevel::kError);
  }
  ~KillTest() override {
    SetLogLevel(LogLevel::kWarning);
    ::munmap(static_cast<void*>(flushed_), sizeof(std::atomic<unsigned>));
  }

  enum class From { kStart, kFirstFlush };
  // Lets a child write for that long, from its start or from when something of it is on disk; false
  // when it ended by itself.
  bool WriteAndKill(const DiskOptions& options, unsigned first, From from,
                    std::chrono::microseconds time) {
    *flushed_ = 0;
    const pid_t child = ::fork();
    if (child == 0) WriteForever(options, first, *flushed_);
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (from == From::kFirstFlush && *flushed_ == 0 &&
           std::chrono::steady_clock::now() < patience) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    std::this_thread::sleep_for(time);
    ::kill(child, SIGKILL);
    int status = 0;
    return ::waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGKILL;
  }

  // Pages found of the prompts from `first` on; `whole` counts those found to their end.
  int64_t FindAll(DiskStore& store, const DiskOptions& options, unsigned first, unsigned& whole) {
    const auto pool = model::PagePool::Make(options.page_bytes);
    int64_t pages = 0;
    int64_t misses = 0;
    whole = 0;
    // What is on disk is the newest end of a sequence: a few misses in a row may lie before it.
    for (unsigned i = 0; i < kPrompts && misses < 100; ++i) {
      const auto tokens = Prompt(first + i, kPages);
      const Prefix found = store.Load("k", tokens, 0, *pool);
      EXPECT_TRUE(IsRight(found, "k", tokens, 0, options.page_bytes, options.tail_bytes));
      pages += found.tokens / model::kPageTokens;
      misses = found.tokens == 0 ? misses + 1 : 0;
      if (found.tokens == kPages * model::kPageTokens) ++whole;
    }
    return pages;
  }

  std::atomic<unsigned>* const flushed_;  // in memory that the child shares
};

// FATHOM_KILLS=1000 for more.
TEST_F(KillTest, WhatAKilledServerLeavesIsRight) {
  const char* const wanted = ::getenv("FATHOM_KILLS");
  const int64_t kills = wanted != nullptr ? ::atoll(wanted) : 30;
  const TempFolder folder;
  DiskOptions options = KilledStore(folder / "cache");
  options.bytes_max = int64_t{1} << 30;  // nothing has to go
  std::mt19937_64 random(static_cast<uint64_t>(kills));
  int64_t found = 0, torn = 0, flushed = 0;
  for (int64_t i = 0; i < kills && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    // Every tenth time from an empty folder; in between on what earlier kills left.
    if (i % 10 == 0) std::filesystem::remove_all(options.dir);
    const unsigned first = 1 + static_cast<unsigned>(i % 10) * kPrompts;
    const From from = i % 2 == 0 ? From::kStart : From::kFirstFlush;
    ASSERT_TRUE(WriteAndKill(options, first, from, std::chrono::microseconds(random() % 20000)));
    const auto store = DiskStore::Open(options);
    ASSERT_TRUE(store.ok());
    EXPECT_TRUE(store.value()->stats().is_writable) << "the lock went with the process";
    torn += store.value()->stats().skipped;
    unsigned whole = 0;
    found += FindAll(*store.value(), options, first, whole);
    EXPECT_GE(whole, std::min(flushed_->load(), kPrompts)) << "what was flushed is there";
    flushed += flushed_->load();
  }
  EXPECT_GT(found, 0);
  EXPECT_GT(flushed, 0);
  fmt::print("{} kills: {} pages found, {} prompts flushed, {} torn records\n", kills, found,
             flushed, torn);
}

// The same while segments are deleted to make room.
TEST_F(KillTest, AKillWhileRoomIsMadeIsHarmless) {
  const TempFolder folder;
  DiskOptions options = KilledStore(folder / "cache");
  options.bytes_max = 4000000;
  std::mt19937_64 random(5);
  int64_t found = 0;
  for (int64_t i = 0; i < 15 && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    ASSERT_TRUE(
        WriteAndKill(options, 1, From::kFirstFlush, std::chrono::microseconds(random() % 30000)));
    const auto store = DiskStore::Open(options);
    ASSERT_TRUE(store.ok());
    EXPECT_LE(store.value()->stats().bytes, options.bytes_max);
    unsigned whole = 0;
    found += FindAll(*store.value(), options, 1, whole);
  }
  EXPECT_GT(found, 0);
}

// A killed writer, and a second server that waited: the first open after the kill may write.
TEST_F(KillTest, ReadersOfAWriterThatIsKilledSeeSoundRecords) {
  const TempFolder folder;
  DiskOptions options = KilledStore(folder / "cache");
  options.bytes_max = int64_t{1} << 30;
  *flushed_ = 0;
  const pid_t child = ::fork();
  if (child == 0) WriteForever(options, 1, *flushed_);
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (*flushed_ < 8 && std::chrono::steady_clock::now() < patience)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_GE(*flushed_, 8u);
  if (const auto reader = DiskStore::Open(options); reader.ok()) {
    EXPECT_FALSE(reader.value()->stats().is_writable);
    unsigned whole = 0;
    FindAll(*reader.value(), options, 1, whole);
    EXPECT_GE(whole, 8u);
  } else {
    ADD_FAILURE() << reader.error().message;
  }
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const auto next = DiskStore::Open(options);
  ASSERT_TRUE(next.ok());
  EXPECT_TRUE(next.value()->stats().is_writable);
}

}  // namespace
}  // namespace fathom::cache
