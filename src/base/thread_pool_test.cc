#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <vector>

namespace fathom {
namespace {

TEST(ThreadPool, CoversEveryIndexOnceForAnyGrain) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t count : {0, 1, 7, 1000}) {
      for (const int64_t grain : {1, 3, 64, 5000}) {
        std::vector<int> hits(static_cast<size_t>(count));
        pool.ParallelFor(count, grain, [&](int64_t begin, int64_t end, int thread) {
          EXPECT_GE(thread, 0);
          EXPECT_LT(thread, threads);
          for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
        });
        for (const int hit : hits) ASSERT_EQ(hit, 1);
      }
    }
  }
}

TEST(ThreadPool, RangesOfAGrainWithTwoLengthsGetShorter) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (const int64_t count : {1, 7, 1000, 100003}) {
      for (const Grain grain : {Grain(1, 4), Grain(3, 300), Grain(64, 64 * 1024)}) {
        std::vector<int64_t> ends(static_cast<size_t>(count));  // by where a range begins
        pool.ParallelFor(count, grain, [&](int64_t begin, int64_t end, int) {
          ends[static_cast<size_t>(begin)] = end;
        });
        int64_t last = grain.most;
        for (int64_t begin = 0; begin < count;) {
          const int64_t end = ends[static_cast<size_t>(begin)], length = end - begin;
          ASSERT_GT(length, 0);
          EXPECT_LE(length, last);
          if (end != count) {
            EXPECT_EQ(length % grain.least, 0);
          }
          last = length;
          begin = end;
        }
        if (threads > 1 && count > threads * grain.most) {
          EXPECT_LE(last, grain.least);
        }
      }
    }
  }
}

TEST(ThreadPool, RunsManyShortLoops) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  for (int round = 0; round < 20000; ++round)
    pool.ParallelFor(4, 1, [&](int64_t begin, int64_t, int) { sum += begin; });
  EXPECT_EQ(sum.load(), 20000 * 6);
}

// The place of each thread of a pool while it runs loops.
std::vector<CpuSet> Places(ThreadPool& pool) {
  std::vector<CpuSet> places(static_cast<size_t>(pool.threads()));
  std::atomic<int> arrived{0};
  pool.ParallelFor(pool.threads(), 1, [&](int64_t, int64_t, int thread) {
    places[static_cast<size_t>(thread)] = ThisThreadCpus();
    ++arrived;
    while (arrived < pool.threads()) std::this_thread::yield();  // so that each takes one
  });
  return places;
}

TEST(ThreadPool, PinnedThreadsStayWhereTheyArePlaced) {
  const CpuSet before = ThisThreadCpus();
  const Machine machine = ThisMachine();
  const int cores = static_cast<int>(machine.cores.size());
  for (const int threads : {1, cores}) {
    {
      ThreadPool pool(threads, Pinning::kOn);
      EXPECT_TRUE(pool.is_pinned());
      EXPECT_EQ(ThisThreadCpus(), before);  // until the first loop
      EXPECT_EQ(Places(pool), PlaceThreads(machine, threads));
      EXPECT_EQ(ThisThreadCpus(), PlaceThreads(machine, threads)[0]);
    }
    EXPECT_EQ(ThisThreadCpus(), before);
  }
}

TEST(ThreadPool, PinsByItselfWhenEachCoreHasAThread) {
  const int cores = PhysicalCores();
  EXPECT_TRUE(ThreadPool(0, Pinning::kAuto).is_pinned());
  EXPECT_TRUE(ThreadPool(cores, Pinning::kAuto).is_pinned());
  EXPECT_FALSE(ThreadPool(cores + 1, Pinning::kAuto).is_pinned());
  EXPECT_FALSE(ThreadPool(cores, Pinning::kOff).is_pinned());
  EXPECT_FALSE(ThreadPool(1000, Pinning::kOn).is_pinned());  // more than there are processors
}

TEST(ThreadPool, APoolHandedOnPinsItsNewCaller) {
  const CpuSet before = ThisThreadCpus();
  ThreadPool pool(1, Pinning::kOn);
  std::thread([&] {
    pool.ParallelFor(1, 1, [](int64_t, int64_t, int) {});
    EXPECT_EQ(ThisThreadCpus(), PlaceThreads(ThisMachine(), 1)[0]);
  }).join();
  EXPECT_EQ(ThisThreadCpus(), before);
}

}  // namespace
}  // namespace fathom
