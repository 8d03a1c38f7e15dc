#include "engine/memory_budget.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/topology.h"

namespace fathom::engine {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

class MemoryBudgetTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "memory_budget_test";
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name) << text;
  }

  std::string dir_;
};

TEST_F(MemoryBudgetTest, ReadsWhatTheSystemSays) {
  Write("meminfo", "MemTotal:  9000 kB\nMemFree: 100 kB\nMemAvailable:    5000 kB\n");
  EXPECT_EQ(AvailableBytes(dir_, dir_), 5000 * 1024);
}

TEST_F(MemoryBudgetTest, AGroupMayHaveLess) {
  Write("meminfo", "MemAvailable:    5000 kB\n");
  Write("memory.max", "max\n");
  Write("memory.current", "3000000\n");
  EXPECT_EQ(AvailableBytes(dir_, dir_), 5000 * 1024);
  Write("memory.max", "4000000\n");
  EXPECT_EQ(AvailableBytes(dir_, dir_), 1'000'000);
  Write("memory.stat", "anon 1\nfile 500000\nkernel 2\n");
  EXPECT_EQ(AvailableBytes(dir_, dir_), 1'500'000);
  Write("memory.max", "1000000\n");
  EXPECT_EQ(AvailableBytes(dir_, dir_), 0);
}

TEST_F(MemoryBudgetTest, ASilentSystemCountsAsHalfFull) {
  EXPECT_EQ(AvailableBytes(dir_, dir_), MemoryBytes() / 2);
}

TEST_F(MemoryBudgetTest, WeightsComeFirstIfTheyFit) {
  EXPECT_EQ(DefaultStateBytes(100 * kGiB, 50 * kGiB), 40 * kGiB);
  EXPECT_EQ(DefaultStateBytes(24 * kGiB, 150 * kGiB), 6 * kGiB);
}

}  // namespace
}  // namespace fathom::engine
