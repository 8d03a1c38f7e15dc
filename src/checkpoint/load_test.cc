#include "checkpoint/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/folder_testing.h"
#include "base/topology.h"
#include "checkpoint/checkpoint.h"

namespace fathom::checkpoint {
namespace {

using testing::HasSubstr;

const char kGolden[] = FATHOM_SOURCE_DIR "/testdata/golden/longctx-tiny";

TEST(Load, EveryModeGivesTheSameBytes) {
  const Checkpoint lazy = Checkpoint::Open(kGolden).value();
  ASSERT_FALSE(lazy.tensors().empty());
  for (const LoadMode mode : {LoadMode::kMap, LoadMode::kCopy}) {
    const auto loaded = Checkpoint::Open(kGolden, {.mode = mode});
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    ASSERT_EQ(loaded.value().tensors().size(), lazy.tensors().size());
    for (const auto& [name, view] : lazy.tensors()) {
      const tensor::RawView* other = loaded.value().Find(name);
      ASSERT_NE(other, nullptr) << name;
      EXPECT_TRUE(std::ranges::equal(other->bytes, view.bytes)) << name;
    }
  }
}

TEST(Load, TellsHowFarItIs) {
  std::vector<std::pair<int64_t, int64_t>> told;
  const auto note = [&](int64_t done, int64_t total) { told.emplace_back(done, total); };
  const auto loaded = Checkpoint::Open(kGolden, {.mode = LoadMode::kCopy, .progress = note});
  ASSERT_TRUE(loaded.ok());
  int64_t bytes = 0;
  for (const SafetensorsFile& file : loaded.value().files()) bytes += file.file_bytes();
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back(), std::pair(bytes, bytes));
  for (const auto& [done, total] : told) EXPECT_LE(done, total);
}

TEST(Load, ACopyNeedsItsMemory) {
  const int64_t gb = 1000000000;
  EXPECT_TRUE(CheckMemory(LoadMode::kMap, 150 * gb, 8 * gb).ok());
  EXPECT_TRUE(CheckMemory(LoadMode::kCopy, 7 * gb, 8 * gb).ok());
  const auto refused = CheckMemory(LoadMode::kLock, 150 * gb, 8 * gb);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message,
            "load lock: needs 150.00 GB of memory and 0.27 GB beside it, found 8.00 GB available");
}

// A file larger than this machine's memory, all hole.
TEST(Load, ACopyIsRefusedBeforeItStarts) {
  const TempFolder folder;
  const std::string path = folder / "model.safetensors";
  const int64_t bytes = MemoryBytes() + (int64_t{1} << 30);
  std::string header = R"({"a":{"dtype":"I8","shape":[)" + std::to_string(bytes) +
                       R"(],"data_offsets":[0,)" + std::to_string(bytes) + "]}}";
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> 8 * i & 0xFF);
  ASSERT_TRUE(WriteFile(path, file + header).ok());
  std::error_code status;
  std::filesystem::resize_file(path, static_cast<uintmax_t>(bytes) + 8 + header.size(), status);
  if (status) GTEST_SKIP() << "no such large files here: " << status.message();
  for (const LoadMode mode : {LoadMode::kCopy, LoadMode::kLock}) {
    const auto refused = Checkpoint::Open(path, {.mode = mode});
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().message, HasSubstr(" GB available"));
  }
  // Mapped, it is not read either: that would take minutes.
  EXPECT_TRUE(Checkpoint::Open(path, {.mode = LoadMode::kMap}).ok());
}

// In a child, which gives up what a privileged process may do beyond the limit.
TEST(Load, ALockNeedsItsLimit) {
  const auto outcome = [] {
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_MEMLOCK, &none) != 0) std::_Exit(10);
    if (::geteuid() == 0 && ::seteuid(65534) != 0) std::_Exit(11);
    const auto refused = Checkpoint::Open(kGolden, {.mode = LoadMode::kLock});
    if (refused.ok()) std::_Exit(12);
    std::fputs(refused.error().message.c_str(), stderr);
    std::_Exit(0);
  };
  EXPECT_EXIT(outcome(), testing::ExitedWithCode(0),
              "load lock: needs .* GB of locked memory, found a limit of 0.00 GB");
}

}  // namespace
}  // namespace fathom::checkpoint
