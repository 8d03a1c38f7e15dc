// The disk tier as its door promises it, with a disk that behaves: what is found again, what makes
// room, who may write, and what happens when writing fails. Damage is disk_damage_test.cc.
#include "cache/disk_store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>

#include "base/file.h"
#include "base/folder_testing.h"
#include "base/log.h"
#include "cache/disk_segment.h"
#include "cache/disk_testing.h"

namespace fathom::cache {
namespace {

using numerics::Mode;

class DiskStoreTest : public testing::Test {
 protected:
  DiskStoreTest() { SetLogLevel(LogLevel::kError); }
  ~DiskStoreTest() override { SetLogLevel(LogLevel::kWarning); }

  void Open() {
    store_.reset();
    auto opened = DiskStore::Open(options_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store_ = std::move(opened).value();
  }
  void Write(std::string_view key, std::span<const TokenId> tokens, int64_t pages) {
    WritePages(*store_, key, tokens, pages, *pool_, options_.tail_bytes);
  }
  // Loads, checks every byte, and says how many pages the prefix has.
  int64_t Found(DiskStore& store, std::string_view key, std::span<const TokenId> tokens,
                int64_t known_pages = 0) {
    const int64_t known = known_pages * model::kPageTokens;
    const Prefix found = store.Load(key, tokens, known, *pool_);
    EXPECT_TRUE(IsRight(found, key, tokens, known, options_.page_bytes, options_.tail_bytes));
    return found.tokens / model::kPageTokens;
  }
  int64_t Found(std::string_view key, std::span<const TokenId> tokens, int64_t known_pages = 0) {
    return Found(*store_, key, tokens, known_pages);
  }

  TempFolder folder_;
  DiskOptions options_ = SmallStore(folder_ / "cache");
  std::shared_ptr<model::PagePool> pool_ = model::PagePool::Make(192);
  std::unique_ptr<DiskStore> store_;
};

TEST_F(DiskStoreTest, FindsWhatWasWrittenAndAfterARestart) {
  const auto tokens = Prompt(1, 5);
  Open();
  EXPECT_EQ(Found("a", tokens), 0);
  Write("a", tokens, 5);
  store_->Flush();
  EXPECT_EQ(Found("a", tokens), 5);
  EXPECT_EQ(store_->stats().writes, 6);  // five pages and a tail
  EXPECT_EQ(store_->stats().hits, 1);
  EXPECT_EQ(store_->stats().misses, 1);
  Open();
  EXPECT_EQ(store_->stats().records, 6);
  EXPECT_EQ(store_->stats().skipped, 0);
  EXPECT_EQ(Found("a", tokens), 5);
}

TEST_F(DiskStoreTest, TheEndWritesWhatIsQueued) {
  const auto tokens = Prompt(1, 40);
  Open();
  Write("a", tokens, 40);
  Open();
  EXPECT_EQ(Found("a", tokens), 40);
}

TEST_F(DiskStoreTest, FindsTheLongestPrefixWithATailThatLeavesAToken) {
  const auto tokens = Prompt(1, 6);
  Open();
  Write("a", tokens, 2);
  Write("a", tokens, 4);
  store_->Flush();
  EXPECT_EQ(store_->stats().writes, 6);  // the second two pages add to the first
  EXPECT_EQ(Found("a", tokens), 4);
  EXPECT_EQ(Found("a", std::span(tokens).first(4 * 128 + 1)), 4);
  EXPECT_EQ(Found("a", std::span(tokens).first(4 * 128)), 2);
  EXPECT_EQ(Found("a", std::span(tokens).first(2 * 128)), 0);
  EXPECT_EQ(Found("a", {}), 0);
}

TEST_F(DiskStoreTest, GivesOnlyWhatIsLongerThanWhatIsKnown) {
  const auto tokens = Prompt(1, 6);
  Open();
  Write("a", tokens, 3);
  Write("a", tokens, 5);
  store_->Flush();
  EXPECT_EQ(Found("a", tokens, 3), 5);
  EXPECT_EQ(Found("a", tokens, 4), 5);
  EXPECT_EQ(Found("a", tokens, 5), 0);
}

TEST_F(DiskStoreTest, KeysAndPromptsDoNotSeeEachOther) {
  const auto one = Prompt(1, 3);
  const auto two = Prompt(2, 3);
  Open();
  Write("a", one, 3);
  Write("b", two, 3);
  store_->Flush();
  EXPECT_EQ(Found("a", one), 3);
  EXPECT_EQ(Found("b", two), 3);
  EXPECT_EQ(Found("b", one), 0);
  EXPECT_EQ(Found("", one), 0);
  // A common beginning without a tail of its own is none.
  auto fork = one;
  fork[2 * 128] += 1;
  EXPECT_EQ(Found("a", fork), 0);
  Write("a", fork, 2);
  store_->Flush();
  EXPECT_EQ(Found("a", fork), 2);
}

TEST_F(DiskStoreTest, NothingIsWrittenTwice) {
  const auto tokens = Prompt(1, 4);
  Open();
  Write("a", tokens, 4);
  Write("a", tokens, 4);
  store_->Flush();
  Write("a", tokens, 4);
  store_->Flush();
  EXPECT_EQ(store_->stats().writes, 5);
}

TEST_F(DiskStoreTest, PagesThatAreNotThereCutThePrefix) {
  const auto tokens = Prompt(1, 4);
  Open();
  auto pages = PagesOf("a", std::span(tokens).first(4 * 128), *pool_);
  pages[1] = {};
  store_->Write("a", std::span(tokens).first(4 * 128), pages,
                TailOf("a", std::span(tokens).first(4 * 128), options_.tail_bytes));
  store_->Flush();
  EXPECT_EQ(store_->stats().writes, 1);
  EXPECT_EQ(Found("a", tokens), 0);
}

TEST_F(DiskStoreTest, AFullQueueDropsWhatDoesNotFit) {
  options_.queue_bytes_max = 4000;
  Open();
  Write("a", Prompt(1, 100), 100);
  store_->Flush();
  EXPECT_LT(store_->stats().writes, 100);
  EXPECT_EQ(pool_->pages_in_use(), 0);
  Write("a", Prompt(2, 2), 2);
  store_->Flush();
  EXPECT_EQ(Found("a", Prompt(2, 2)), 2);
}

TEST_F(DiskStoreTest, ModelsWithoutPagesHaveTailsAlone) {
  options_.page_bytes = 0;
  pool_ = model::PagePool::Make(0);
  const auto tokens = Prompt(1, 3);
  const auto prefix = std::span(tokens).first(3 * 128);
  Open();
  store_->Write("a", prefix, std::vector<model::PageRef>(3),
                TailOf("a", prefix, options_.tail_bytes));
  Open();
  const Prefix found = store_->Load("a", tokens, 0, *pool_);
  EXPECT_EQ(found.tokens, 3 * 128);
  EXPECT_EQ(*found.tail, ContentOf("a", prefix, true, options_.tail_bytes));
}

TEST_F(DiskStoreTest, AnotherModelFindsNothingAndHarmsNothing) {
  const auto tokens = Prompt(1, 3);
  Open();
  Write("a", tokens, 3);
  const DiskOptions own = options_;
  options_.fingerprint = 8;
  Open();
  EXPECT_EQ(Found("a", tokens), 0);
  EXPECT_EQ(store_->stats().records, 0);
  EXPECT_EQ(store_->stats().skipped, 4);
  options_ = own;
  options_.tail_bytes = 101;  // the same model with another layout of its state
  Open();
  EXPECT_EQ(Found("a", tokens), 0);
  EXPECT_EQ(store_->stats().skipped, 1);
  options_ = own;
  Open();
  EXPECT_EQ(Found("a", tokens), 3);
}

TEST_F(DiskStoreTest, WholeSegmentsMakeRoomTheUnusedOnesFirst) {
  options_.bytes_max = 40000;
  Open();
  const auto hot = Prompt(1000, 3);
  Write("a", hot, 3);
  for (unsigned seed = 0; seed < 40; ++seed) {
    Write("a", Prompt(seed, 3), 3);
    store_->Flush();
    EXPECT_LE(store_->stats().bytes, options_.bytes_max);
    EXPECT_EQ(Found("a", hot), 3) << seed;
  }
  EXPECT_EQ(Found("a", Prompt(39, 3)), 3);
  EXPECT_EQ(Found("a", Prompt(5, 3)), 0);
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options_.dir))
    bytes += static_cast<int64_t>(entry.file_size());
  EXPECT_EQ(bytes, store_->stats().bytes);
  options_.bytes_max = 20000;
  Open();
  EXPECT_LE(store_->stats().bytes, options_.bytes_max);
  EXPECT_GT(store_->stats().records, 0);
}

TEST_F(DiskStoreTest, RecordsThatNeverFitEndTheWriting) {
  options_.bytes_max = 700;
  Open();
  Write("a", Prompt(1, 3), 3);
  store_->Flush();
  EXPECT_EQ(store_->stats().writes, 0);
  EXPECT_FALSE(store_->stats().is_writable);
}

TEST_F(DiskStoreTest, ASecondServerReadsAndTheFirstGoesOnWriting) {
  const auto tokens = Prompt(1, 3);
  Open();
  Write("a", tokens, 3);
  store_->Flush();
  {
    const auto second = DiskStore::Open(options_);
    ASSERT_TRUE(second.ok());
    EXPECT_FALSE(second.value()->stats().is_writable);
    EXPECT_EQ(Found(*second.value(), "a", tokens), 3);
    WritePages(*second.value(), "a", Prompt(2, 3), 3, *pool_, options_.tail_bytes);
    second.value()->Flush();
    EXPECT_EQ(second.value()->stats().writes, 0);
  }
  EXPECT_TRUE(store_->stats().is_writable);
  Write("a", Prompt(3, 3), 3);
  store_->Flush();
  EXPECT_EQ(Found("a", Prompt(3, 3)), 3);
  Open();  // the lock went with the first
  EXPECT_TRUE(store_->stats().is_writable);
}

TEST_F(DiskStoreTest, ReadersAndTheWriterOutliveTheDeletionOfSegments) {
  const auto tokens = Prompt(1, 3);
  Open();
  Write("a", tokens, 3);
  store_->Flush();
  const auto second = DiskStore::Open(options_);
  ASSERT_TRUE(second.ok());
  for (const int64_t segment : ListSegments(options_.dir).value())
    std::filesystem::remove(options_.dir + "/" + SegmentName(segment));
  EXPECT_EQ(Found(*second.value(), "a", tokens), 0);
  EXPECT_EQ(second.value()->stats().records, 0);
  EXPECT_EQ(Found("a", tokens), 0);
  Write("a", tokens, 3);
  store_->Flush();
  EXPECT_EQ(Found("a", tokens), 0);  // the first page went to the deleted file
  Write("a", tokens, 3);
  store_->Flush();
  EXPECT_EQ(Found("a", tokens), 3);
  Open();
  EXPECT_EQ(Found("a", tokens), 3);
}

TEST_F(DiskStoreTest, AFolderWithoutALockFileToWriteIsReadOnly) {
  const auto tokens = Prompt(1, 3);
  Open();
  Write("a", tokens, 3);
  store_.reset();
  std::filesystem::remove(options_.dir + "/lock");
  std::filesystem::create_directory(options_.dir + "/lock");  // which root cannot write either
  Open();
  EXPECT_FALSE(store_->stats().is_writable);
  EXPECT_EQ(Found("a", tokens), 3);
}

TEST_F(DiskStoreTest, APathThatIsNoFolderIsAnError) {
  ASSERT_TRUE(WriteFile(folder_ / "file", "x").ok());
  options_.dir = folder_ / "file";
  EXPECT_FALSE(DiskStore::Open(options_).ok());
  options_.dir = folder_ / "file/below";
  EXPECT_FALSE(DiskStore::Open(options_).ok());
}

TEST_F(DiskStoreTest, WhatItMakesIsPrivate) {
  Open();
  Write("a", Prompt(1, 1), 1);
  store_->Flush();
  struct stat status = {};
  ASSERT_EQ(::stat(options_.dir.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  ASSERT_EQ(::stat((options_.dir + "/00000001.fathom-cache").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

// Files of this process end at `bytes`, as on a full disk.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, SIG_DFL);
  }

 private:
  rlimit before_ = {};
};

TEST_F(DiskStoreTest, AFullDiskEndsTheWritingAndNotTheReading) {
  const auto tokens = Prompt(1, 3);
  const auto more = Prompt(2, 3);
  // At every place of a record: inside the header, the payload, the zeros.
  for (const rlim_t limit : {4000, 4100, 4900, 5000, 5120}) {
    std::filesystem::remove_all(options_.dir);
    Open();
    Write("a", tokens, 3);
    store_->Flush();
    EXPECT_EQ(store_->stats().bytes, 3 * 832 + 768);
    {
      const FileLimit full(limit);
      Write("a", more, 3);
      store_->Flush();
      EXPECT_FALSE(store_->stats().is_writable) << limit;
      Write("a", Prompt(3, 3), 3);  // ignored
      store_->Flush();
    }
    EXPECT_EQ(Found("a", tokens), 3);
    EXPECT_EQ(Found("a", more), 0);
    Open();
    EXPECT_EQ(store_->stats().skipped, 0) << "the torn record is cut off";
    EXPECT_EQ(Found("a", tokens), 3);
    EXPECT_TRUE(store_->stats().is_writable);
    Write("a", more, 3);
    store_->Flush();
    EXPECT_EQ(Found("a", more), 3);
  }
}

TEST_F(DiskStoreTest, RecordsCanBeSafeOneByOne) {
  options_.fsync = true;
  Open();
  Write("a", Prompt(1, 3), 3);
  store_->Flush();
  EXPECT_EQ(Found("a", Prompt(1, 3)), 3);
}

TEST_F(DiskStoreTest, ThreadsReadWhileOneWritesAndSegmentsGo) {
  options_.bytes_max = 60000;
  Open();
  std::atomic<bool> is_done = false;
  const auto read = [&](unsigned first) {
    for (unsigned i = 0; !is_done; ++i) Found("a", Prompt(1 + (first + i) % 30, 4));
  };
  std::thread one(read, 0), two(read, 15);
  for (unsigned i = 0; i < 300; ++i) {
    Write("a", Prompt(1 + i % 30, 4), 2 + i % 3);
    if (i % 10 == 0) store_->Flush();
  }
  store_->Flush();
  is_done = true;
  one.join();
  two.join();
  EXPECT_GT(store_->stats().hits, 0);
  EXPECT_EQ(store_->stats().skipped, 0) << "a deleted segment is no damage";
  EXPECT_LE(store_->stats().bytes, options_.bytes_max);
}

TEST_F(DiskStoreTest, TheOperatorSeesAllAndMakesRoom) {
  Open();
  Write("a", Prompt(1, 3), 3);
  store_->Flush();
  EXPECT_FALSE(PruneStore(options_.dir, 0).ok()) << "a server has it";
  options_.fingerprint = 8;
  Open();
  Write("b", Prompt(2, 9), 9);
  store_.reset();
  const auto report = InspectStore(options_.dir, Inspection::kPayloads);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report.value().complaints.empty());
  ASSERT_EQ(report.value().entries.size(), 14u);
  const DiskEntry& tail = report.value().entries[3];
  EXPECT_TRUE(tail.is_tail);
  EXPECT_EQ(tail.tokens, 3 * 128);
  EXPECT_EQ(tail.fingerprint, 7u);
  EXPECT_EQ(tail.segment, "00000001.fathom-cache");
  const int64_t bytes = report.value().bytes;
  EXPECT_EQ(PruneStore(options_.dir, bytes).value(), 0);
  EXPECT_EQ(PruneStore(options_.dir, bytes - 1).value(), 3 * 832 + 768);
  EXPECT_EQ(InspectStore(options_.dir, Inspection::kHeaders).value().entries.size(), 10u);
  EXPECT_GT(PruneStore(options_.dir, 0).value(), 0);
  EXPECT_EQ(InspectStore(options_.dir, Inspection::kHeaders).value().bytes, 0);
  EXPECT_FALSE(InspectStore(folder_ / "nowhere", Inspection::kHeaders).ok());
  EXPECT_FALSE(PruneStore(folder_ / "nowhere", 0).ok());
}

TEST(ModelFingerprintTest, FollowsConfigNamesAndWeights) {
  const TempFolder folder;
  const auto write = [&](const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFile(folder / name, text).ok());
    const auto value = ModelFingerprint(folder.path(), kernels::Path::kReference, Mode::kOfficial);
    return value.ok() ? value.value() : 0;
  };
  EXPECT_EQ(write("config.json", "{}"), 0u) << "no weights";
  const uint64_t first = write("model.safetensors", "headerAAAA");
  EXPECT_NE(first, 0u);
  EXPECT_NE(write("model.safetensors", "headerAAAB"), first);
  EXPECT_NE(write("config.json", "{ }"), first);
  EXPECT_NE(write("other.safetensors", ""), first);
  std::filesystem::remove(folder / "other.safetensors");
  write("notes.txt", "not a weight");
  write("config.json", "{}");
  EXPECT_EQ(write("model.safetensors", "headerAAAA"), first);
  const auto of = [&](kernels::Path path, Mode mode = Mode::kOfficial) {
    return ModelFingerprint(folder.path(), path, mode).value();
  };
  EXPECT_EQ(of(kernels::Path::kAvx512), first);
  EXPECT_NE(of(kernels::Path::kAmx), first);
  EXPECT_EQ(of(kernels::Path::kAmx), of(kernels::Path::kTileReference));
  // States of pure mode have another size, those of fast mode have not.
  EXPECT_NE(of(kernels::Path::kAvx512, Mode::kFast), first);
  std::filesystem::remove(folder / "config.json");
  EXPECT_FALSE(ModelFingerprint(folder.path(), kernels::Path::kReference, Mode::kOfficial).ok());
}

}  // namespace
}  // namespace fathom::cache
