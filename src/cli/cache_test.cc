// fathom cache: what it prints about a store with two models, one without anything, and one with
// damage, and its exit status.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/folder_testing.h"
#include "base/json.h"
#include "base/log.h"
#include "cache/disk_testing.h"
#include "cli/commands.h"

namespace fathom::cli {
namespace {

using testing::HasSubstr;

struct Outcome {
  int status = -1;
  std::string out;
};

Outcome RunCache(const std::string& arguments) {
  CLI::App app;
  Outcome outcome;
  RegisterCache(app, outcome.status);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  try {
    app.parse("cache " + arguments);
  } catch (const CLI::ParseError&) {
    outcome.status = 2;
  }
  outcome.out = testing::internal::GetCapturedStdout();
  testing::internal::GetCapturedStderr();
  return outcome;
}

class CacheCommandTest : public testing::Test {
 protected:
  CacheCommandTest() {
    SetLogLevel(LogLevel::kError);
    const auto pool = model::PagePool::Make(192);
    cache::DiskOptions options = cache::SmallStore(folder_.path());
    for (const unsigned seed : {1u, 2u}) {
      options.fingerprint = seed;
      const auto store = cache::DiskStore::Open(options);
      EXPECT_TRUE(store.ok());
      cache::WritePages(*store.value(), "key", cache::Prompt(seed, 2 + seed), 2 + seed, *pool, 100);
    }
  }

  ~CacheCommandTest() override { SetLogLevel(LogLevel::kWarning); }

  TempFolder folder_;
};

TEST_F(CacheCommandTest, StatCountsModelsAndRecords) {
  const Outcome text = RunCache("stat " + folder_.path());
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, HasSubstr("7.4 kB in 9 records of 1 keys"));
  EXPECT_THAT(text.out,
              HasSubstr("model 0000000000000002: 1 prefixes, the longest of 512 tokens; 4 pages"));
  const auto json = ParseJson(RunCache("stat --json " + folder_.path()).out);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json.value().Find("bytes")->ToInt64().value(), 7 * 832 + 2 * 768);
  EXPECT_EQ(json.value().Find("models")->array().size(), 2u);
}

TEST_F(CacheCommandTest, ListShowsPrefixesOrEverything) {
  const auto prefixes = ParseJson(RunCache("list --json " + folder_.path()).out);
  ASSERT_TRUE(prefixes.ok());
  ASSERT_EQ(prefixes.value().array().size(), 2u);
  EXPECT_EQ(prefixes.value().array()[0].Find("tokens")->ToInt64().value(), 384);
  const auto all = ParseJson(RunCache("list --all --json " + folder_.path()).out);
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all.value().array().size(), 9u);
  EXPECT_THAT(RunCache("list " + folder_.path()).out, HasSubstr("tail        384"));
}

TEST_F(CacheCommandTest, VerifyFindsDamage) {
  EXPECT_EQ(RunCache("verify " + folder_.path()).status, 0);
  const std::string path = folder_ / "00000001.fathom-cache";
  std::string bytes = ReadFile(path).value();
  bytes[700] ^= 1;
  ASSERT_TRUE(WriteFile(path, bytes).ok());
  const Outcome text = RunCache("verify " + folder_.path());
  EXPECT_EQ(text.status, 1);
  EXPECT_THAT(text.out, HasSubstr("00000001.fathom-cache: a payload with a wrong checksum at 0"));
  EXPECT_THAT(text.out, HasSubstr("8 sound records, 1 damaged or foreign stretches"));
  const auto json = ParseJson(RunCache("verify --json " + folder_.path()).out);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json.value().Find("complaints")->array().size(), 1u);
}

TEST_F(CacheCommandTest, PruneDeletesSegments) {
  EXPECT_THAT(RunCache("prune --bytes 1GB " + folder_.path()).out, HasSubstr("0 B removed"));
  const Outcome json = RunCache("prune --json --bytes 5KB " + folder_.path());
  EXPECT_EQ(json.status, 0);
  EXPECT_EQ(json.out, "{\"removed_bytes\":3264}\n");
  EXPECT_THAT(RunCache("stat " + folder_.path()).out, HasSubstr("5 records"));
  EXPECT_EQ(RunCache("prune " + folder_.path()).status, 2) << "how much?";
}

TEST_F(CacheCommandTest, FoldersThatAreNoneAreUnusable) {
  for (const std::string job : {"stat", "list", "verify", "prune --bytes 0"}) {
    EXPECT_EQ(RunCache(job + " " + (folder_ / "nowhere")).status, 2) << job;
  }
  EXPECT_EQ(RunCache("").status, 2);
  std::filesystem::create_directory(folder_ / "empty");
  EXPECT_EQ(RunCache("verify " + (folder_ / "empty")).status, 0);
}

}  // namespace
}  // namespace fathom::cli
