// Placement is tested on machines by description; builds without hwloc have none, but know the
// rest.
#include "base/topology.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "base/folder_testing.h"

namespace fathom {
namespace {

Machine MakeMachine(int nodes, int cores, int siblings) {
  Machine machine;
  machine.nodes = nodes;
  for (int core = 0; core < nodes * cores; ++core) {
    Core made{core / cores, {}};
    for (int i = 0; i < siblings; ++i) made.cpus.push_back(core * siblings + i);
    machine.cores.push_back(made);
  }
  return machine;
}

std::vector<CpuSet> Sets(std::initializer_list<CpuSet> sets) { return sets; }

TEST(Placement, NodesTakeTurnsAndCoresAreSpread) {
  const Machine machine = MakeMachine(2, 4, 2);  // processors 0-7 and 8-15
  EXPECT_EQ(PlaceThreads(machine, 1), Sets({{0, 1}}));
  EXPECT_EQ(PlaceThreads(machine, 2), Sets({{0, 1}, {8, 9}}));
  EXPECT_EQ(PlaceThreads(machine, 3), Sets({{0, 1}, {8, 9}, {4, 5}}));
  EXPECT_EQ(PlaceThreads(machine, 4), Sets({{0, 1}, {8, 9}, {4, 5}, {12, 13}}));
}

TEST(Placement, EveryCoreOnceBeforeHyperThreads) {
  const Machine machine = MakeMachine(2, 4, 2);
  std::vector<CpuSet> places = PlaceThreads(machine, 8);
  std::sort(places.begin(), places.end());
  ASSERT_EQ(places.size(), 8u);
  for (size_t i = 0; i < places.size(); ++i) EXPECT_EQ(places[i], machine.cores[i].cpus);
  // One more: the first node's cores now have a processor for each thread.
  EXPECT_EQ(PlaceThreads(machine, 9),
            Sets({{0}, {8, 9}, {2}, {10, 11}, {4}, {12, 13}, {6}, {14, 15}, {1}}));
  places = PlaceThreads(machine, 16);
  ASSERT_EQ(places.size(), 16u);
  std::set<int> cpus;
  for (const CpuSet& place : places) {
    ASSERT_EQ(place.size(), 1u);
    cpus.insert(place[0]);
  }
  EXPECT_EQ(cpus.size(), 16u);
  EXPECT_TRUE(PlaceThreads(machine, 17).empty());
}

TEST(Placement, UnevenNodesFillUp) {
  // An affinity mask may leave one core of the first node and three of the second.
  Machine machine;
  machine.nodes = 2;
  machine.cores = {{0, {3}}, {1, {8, 9}}, {1, {10}}, {1, {12, 13}}};
  EXPECT_EQ(PlaceThreads(machine, 4), Sets({{3}, {8, 9}, {10}, {12, 13}}));
  EXPECT_EQ(PlaceThreads(machine, 6), Sets({{3}, {8}, {10}, {12}, {9}, {13}}));
  EXPECT_TRUE(PlaceThreads(machine, 7).empty());
}

#ifndef FATHOM_WITHOUT_HWLOC
TEST(Machine, IsReadFromADescription) {
  const auto machine = DescribedMachine("node:2 core:4 pu:2");
  ASSERT_TRUE(machine.ok()) << machine.error().message;
  EXPECT_EQ(machine.value().nodes, 2);
  ASSERT_EQ(machine.value().cores.size(), 8u);
  const Machine expected = MakeMachine(2, 4, 2);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(machine.value().cores[i].node, expected.cores[i].node);
    EXPECT_EQ(machine.value().cores[i].cpus, expected.cores[i].cpus);
  }
  // Two memories beside each other, as processors with some of it on the package have.
  const auto two_kinds =
      DescribedMachine("pack:2 [numa(memory=1GB)] [numa(memory=9GB)] core:3 pu:1");
  ASSERT_TRUE(two_kinds.ok()) << two_kinds.error().message;
  EXPECT_EQ(two_kinds.value().nodes, 2);
  EXPECT_EQ(two_kinds.value().cores.size(), 6u);
  EXPECT_FALSE(DescribedMachine("two nodes").ok());
}
#endif

TEST(Machine, ThisOneHoldsWhatTheThreadMayUse) {
  const Machine machine = ThisMachine();
  ASSERT_GE(machine.cores.size(), 1u);
  EXPECT_EQ(PhysicalCores(), std::ssize(machine.cores));
  std::set<int> cpus;
  for (const Core& core : machine.cores) {
    EXPECT_LT(core.node, machine.nodes);
    EXPECT_TRUE(std::is_sorted(core.cpus.begin(), core.cpus.end()));
    cpus.insert(core.cpus.begin(), core.cpus.end());
  }
  for (const int cpu : ThisThreadCpus()) EXPECT_TRUE(cpus.contains(cpu)) << cpu;
}

TEST(Machine, AThreadGoesWhereItIsBound) {
  const CpuSet before = ThisThreadCpus();
  ASSERT_FALSE(before.empty());
  std::thread([&] {
    EXPECT_TRUE(BindThisThread({before.back()}));
    EXPECT_EQ(ThisThreadCpus(), CpuSet({before.back()}));
    EXPECT_FALSE(BindThisThread({}));
    EXPECT_FALSE(BindThisThread({1 << 20}));
    EXPECT_EQ(ThisThreadCpus(), CpuSet({before.back()}));
  }).join();
  EXPECT_EQ(ThisThreadCpus(), before);
}

TEST(Machine, TheFirstCacheIsSmallerThanTheLast) {
  EXPECT_GE(FirstCacheBytes(), 0);
  if (CacheBytes() > 0) {
    EXPECT_LT(FirstCacheBytes(), CacheBytes());
  }
}

TEST(Memory, AvailableIsPartOfAll) {
  EXPECT_GT(AvailableMemoryBytes(), 0);
  EXPECT_LE(AvailableMemoryBytes(), MemoryBytes());
}

// What a system says in the files of a folder of its own.
class AvailableMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(dir_ + "/self");
    std::filesystem::create_directories(dir_ + "/a/b");
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name) << text;
  }
  int64_t Available() const { return AvailableMemoryBytes(dir_, dir_); }

  const TempFolder folder_;
  const std::string dir_ = folder_.path();
};

TEST_F(AvailableMemoryTest, IsWhatTheSystemSays) {
  Write("meminfo", "MemTotal:  9000 kB\nMemFree: 100 kB\nMemAvailable:    5000 kB\n");
  EXPECT_EQ(Available(), 5000 * 1024);
}

TEST_F(AvailableMemoryTest, AGroupMayHaveLess) {
  Write("meminfo", "MemAvailable:    5000 kB\n");
  Write("self/cgroup", "1:name=x:/y\n0::/a/b\n");
  Write("a/b/memory.max", "max\n");
  Write("a/b/memory.current", "3000000\n");
  EXPECT_EQ(Available(), 5000 * 1024);
  Write("a/b/memory.max", "4000000\n");
  EXPECT_EQ(Available(), 1'000'000);
  Write("a/b/memory.stat", "anon 1\nfile 500000\nkernel 2\n");
  EXPECT_EQ(Available(), 1'500'000);
  Write("a/memory.max", "700000\n");  // the group above
  EXPECT_EQ(Available(), 700'000);
  Write("a/b/memory.max", "1000000\n");
  EXPECT_EQ(Available(), 0);
}

TEST_F(AvailableMemoryTest, ASilentSystemCountsAsHalfFull) {
  EXPECT_EQ(Available(), MemoryBytes() / 2);
  Write("meminfo", "MemAvailable: none\n");
  EXPECT_EQ(Available(), MemoryBytes() / 2);
}

}  // namespace
}  // namespace fathom
