// How the engine serves with a cache: who finds what, who waits for whom, and that remembered
// prefixes never take the memory or the time of those who run.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/folder_testing.h"
#include "engine/state_room.h"
#include "tests/batching/recorder.h"
#include "tests/exactness/memory_store.h"

namespace fathom::exactness {
namespace {

using batching::Ask;
using batching::Asked;
using batching::Door;
using batching::MakeTokens;
using batching::OpenEngine;
using batching::Submit;
using cache::Miss;
using engine::Engine;
using engine::EngineOptions;
using engine::FinishReason;

constexpr const char* kModel = "testdata/golden/bf16-tiny";
constexpr int64_t kVocab = 256;
constexpr int64_t kCapacity = 2000;

EngineOptions Options(int64_t chunk_tokens = 64) {
  EngineOptions options;
  options.session.threads = 1;
  options.session.chunk_tokens = chunk_tokens;
  options.session.capacity_tokens = kCapacity;
  options.state_bytes_max = int64_t{1} << 28;
  options.cache_bytes = -1;
  return options;
}

std::vector<TokenId> Text(int64_t count, uint64_t seed = 1) {
  return MakeTokens(count, kVocab, seed);
}

engine::StateSizes Sizes() {
  const auto session = batching::OpenSession(kModel, kCapacity);
  return engine::SizesOf(session->config(), numerics::Mode::kOfficial);
}

// Submits and waits; the recorder has the rest.
std::shared_ptr<batching::Recorder> Served(Engine& engine, Asked asked) {
  const auto recorder = asked.recorder;
  Submit(engine, std::move(asked.request));
  EXPECT_TRUE(recorder->Wait());
  return recorder;
}

TEST(CacheServingTest, WhoWantsNoCacheHasNone) {
  const auto engine = OpenEngine(kModel, Options());
  for (int i = 0; i < 2; ++i) {
    Asked asked = Ask(Text(300), 200);
    asked.request.use_cache = false;
    const auto served = Served(*engine, std::move(asked));
    EXPECT_EQ(served->reused(), 0);
    EXPECT_EQ(served->miss().reason, Miss::Reason::kDisabled);
  }
  engine->Drain(60);
  EXPECT_EQ(engine->stats().cache_bytes, 0);
  EXPECT_EQ(engine->stats().cache_hits + engine->stats().cache_misses, 0);

  EngineOptions off = Options();
  off.cache_bytes = 0;
  const auto without = OpenEngine(kModel, off);
  EXPECT_EQ(Served(*without, Ask(Text(300), 2))->miss().reason, Miss::Reason::kDisabled);
  EXPECT_EQ(Served(*without, Ask(Text(300), 2))->reused(), 0);
}

TEST(CacheServingTest, KeysShareNothing) {
  const auto engine = OpenEngine(kModel, Options());
  const auto ask = [&](const std::string& key) {
    Asked asked = Ask(Text(300), 2);
    asked.request.key = key;
    return Served(*engine, std::move(asked));
  };
  EXPECT_EQ(ask("a")->miss().reason, Miss::Reason::kCold);
  const auto b = ask("b");
  EXPECT_EQ(b->reused(), 0);
  EXPECT_EQ(b->miss().reason, Miss::Reason::kOtherKey);
  EXPECT_EQ(ask("a")->reused(), 256);
  EXPECT_EQ(ask("b")->reused(), 256);
}

TEST(CacheServingTest, AMissSaysWhereThePromptDiverged) {
  const auto engine = OpenEngine(kModel, Options());
  Served(*engine, Ask(Text(600), 2));
  std::vector<TokenId> other = Text(600);
  other[200] = static_cast<TokenId>((other[200] + 1) % kVocab);
  const auto served = Served(*engine, Ask(other, 2));
  EXPECT_EQ(served->reused(), 0);
  EXPECT_EQ(served->miss().reason, Miss::Reason::kDiverged);
  EXPECT_EQ(served->miss().position, 200);
  EXPECT_EQ(served->miss().wanted[5], other[200]);
}

TEST(CacheServingTest, SnapshotsAreTakenWhereTheyAreWanted) {
  EngineOptions options = Options(2048);
  options.cache_every = 512;
  const auto engine = OpenEngine(kModel, options);
  Asked asked = Ask(Text(1500), 2);
  asked.request.boundaries = {300, 700, 1499};
  const auto served = Served(*engine, std::move(asked));
  // The first pass is a short one: the engine does not know its pace yet.
  std::vector<int64_t> steps = served->prompt_steps();
  steps.erase(steps.begin());
  EXPECT_EQ(steps, (std::vector<int64_t>{256, 512, 640, 1024, 1408, 1500}));
  for (const auto& [cut, expected] :
       std::vector<std::pair<int64_t, int64_t>>{{256, 0}, {257, 256}, {513, 512}, {1023, 640}}) {
    const std::vector<TokenId> text = Text(1500);
    EXPECT_EQ(Served(*engine, Ask({text.begin(), text.begin() + cut}, 1))->reused(), expected);
  }
}

// Prefixes may take all the memory that requests leave, and give it back at once.
TEST(CacheServingTest, RememberedPrefixesGiveWayToRequests) {
  const engine::StateSizes sizes = Sizes();
  EngineOptions options = Options();
  // Two requests of 7 pages, and the cache would like as much again.
  options.state_bytes_max = 2 * (7 * sizes.page + sizes.own) + sizes.tail;
  options.cache_bytes = options.state_bytes_max;
  const auto engine = OpenEngine(kModel, options);
  int64_t running = 0, most = 0;
  for (uint64_t round = 0; round < 3; ++round) {
    std::vector<Asked> all;
    for (uint64_t i = 0; i < 3; ++i) {
      all.push_back(Ask(Text(700, 10 * round + i), 150));
      all.back().request.key = std::to_string(i);
      all.back().recorder->on_start = [&] { most = std::max(most, ++running); };
      all.back().recorder->on_end = [&] { --running; };
      all.back().recorder->on_token = [&](int64_t tokens) {
        if (tokens % 50 == 0) {
          const engine::EngineStats stats = engine->stats();
          EXPECT_LE(stats.state_bytes + stats.cache_bytes, options.state_bytes_max);
        }
        return true;
      };
    }
    for (Asked& asked : all) Submit(*engine, std::move(asked.request));
    for (const Asked& asked : all) {
      ASSERT_TRUE(asked.recorder->Wait());
      EXPECT_EQ(asked.recorder->answer().reason, FinishReason::kLength);
    }
  }
  EXPECT_EQ(most, 2);
  EXPECT_EQ(Served(*engine, Ask(Text(700, 0), 1))->reused(), 0);
  Asked first = Ask(Text(700, 0), 1);
  first.request.key = "0";
  EXPECT_EQ(Served(*engine, std::move(first))->miss().reason, Miss::Reason::kEvicted);
  engine->Drain(60);
  const engine::EngineStats stats = engine->stats();
  EXPECT_GT(stats.cache_evictions, 0);
  EXPECT_GT(stats.cache_bytes, 0);
  EXPECT_EQ(stats.state_bytes, 0);
}

// Five requests that would not fit together do when they share a prefix that is remembered.
TEST(CacheServingTest, SharedPagesNeedRoomOnce) {
  const engine::StateSizes sizes = Sizes();
  EngineOptions options = Options();
  options.state_bytes_max = 5 * (2 * sizes.page + sizes.own) + 12 * sizes.page + sizes.tail;
  options.cache_bytes = options.state_bytes_max;
  const auto engine = OpenEngine(kModel, options);
  Served(*engine, Ask(Text(1281), 1));
  int64_t running = 0, most = 0;
  Door door;
  std::vector<Asked> all;
  for (uint64_t i = 0; i < 5; ++i) {
    std::vector<TokenId> text = Text(1280);
    text.push_back(static_cast<TokenId>(i));
    all.push_back(Ask(text, 120));
    all.back().recorder->on_start = [&] {
      most = std::max(most, ++running);
      door.Pass();
    };
    all.back().recorder->on_end = [&] { --running; };
  }
  for (Asked& asked : all) Submit(*engine, std::move(asked.request));
  door.Open();
  for (const Asked& asked : all) {
    ASSERT_TRUE(asked.recorder->Wait());
    EXPECT_EQ(asked.recorder->reused(), 1280);
  }
  EXPECT_EQ(most, 5);
}

TEST(CacheServingTest, ASlowDiskHoldsUpNobodyElse) {
  const auto store = std::make_shared<MemoryStore>(Sizes().page);
  EngineOptions options = Options();
  options.disk_store = store;
  Served(*OpenEngine(kModel, options), Ask(Text(900), 2));
  const auto engine = OpenEngine(kModel, options);
  Door door;
  store->on_load = [&] { door.Pass(); };
  Asked waits = Ask(Text(900), 3), goes_on = Ask(Text(50, 7), 200);
  goes_on.request.use_cache = false;
  Submit(*engine, std::move(waits.request));
  door.WaitForCaller();
  Served(*engine, std::move(goes_on));
  EXPECT_EQ(waits.recorder->starts(), 0);
  door.Open();
  ASSERT_TRUE(waits.recorder->Wait());
  EXPECT_EQ(waits.recorder->reused(), 896);
  // What was loaded is in memory from now on.
  EXPECT_EQ(Served(*engine, Ask(Text(900), 3))->reused(), 896);
  EXPECT_EQ(store->stats().hits, 1);
}

TEST(CacheServingTest, CancelledWhileItIsLoaded) {
  const auto store = std::make_shared<MemoryStore>(Sizes().page);
  EngineOptions options = Options();
  options.disk_store = store;
  Served(*OpenEngine(kModel, options), Ask(Text(900), 2));
  const auto engine = OpenEngine(kModel, options);
  Door door;
  store->on_load = [&] { door.Pass(); };
  Asked cancelled = Ask(Text(900), 3), queued = Ask(Text(900), 3);
  const uint64_t first = Submit(*engine, std::move(cancelled.request));
  door.WaitForCaller();
  const uint64_t second = Submit(*engine, std::move(queued.request));
  engine->Cancel(first);
  engine->Cancel(second);
  ASSERT_TRUE(cancelled.recorder->Wait());
  ASSERT_TRUE(queued.recorder->Wait());
  door.Open();
  EXPECT_EQ(Served(*engine, Ask(Text(900), 3))->reused(), 896);
  engine->Drain(60);
  EXPECT_EQ(engine->stats().state_bytes, 0);
}

// Prefixes that were loaded for requests further back do not keep the first one from starting.
TEST(CacheServingTest, LoadedPrefixesGiveWayWhenNothingElseHelps) {
  const engine::StateSizes sizes = Sizes();
  const auto store = std::make_shared<MemoryStore>(sizes.page);
  EngineOptions options = Options();
  options.disk_store = store;
  for (uint64_t i = 0; i < 3; ++i) Served(*OpenEngine(kModel, options), Ask(Text(600, i), 2));
  // One at a time.
  options.state_bytes_max = 7 * sizes.page + sizes.own + sizes.tail;
  const auto engine = OpenEngine(kModel, options);
  std::vector<Asked> all;
  for (uint64_t i = 0; i < 6; ++i) {
    all.push_back(Ask(Text(600, i % 4), 100));
    all.back().request.priority = static_cast<int>(i);
  }
  for (Asked& asked : all) Submit(*engine, std::move(asked.request));
  for (const Asked& asked : all) {
    ASSERT_TRUE(asked.recorder->Wait());
    EXPECT_EQ(asked.recorder->answer().tokens.size(), 100u);
  }
}

// The folder of the options, made and read by the engine itself.
TEST(CacheServingTest, AFolderOutlivesTheEngine) {
  const TempFolder folder;
  EngineOptions options = Options();
  options.disk.dir = folder.path();
  Served(*OpenEngine(kModel, options), Ask(Text(900), 2));
  const auto engine = OpenEngine(kModel, options);
  EXPECT_EQ(Served(*engine, Ask(Text(900), 3))->reused(), 896);
  EXPECT_EQ(engine->stats().disk.hits, 1);
  // Another model finds nothing there.
  const auto other = OpenEngine("testdata/golden/longctx-tiny", options);
  EXPECT_EQ(Served(*other, Ask(Text(900), 3))->reused(), 0);
}

// A hit answers sooner; by how much is a matter of the machine.
TEST(CacheServingTest, AHitAnswersSooner) {
  EngineOptions options = Options(2048);
  const auto engine = OpenEngine(kModel, options);
  const auto seconds = [&](int64_t reused) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(Served(*engine, Ask(Text(1900), 1))->reused(), reused);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const double cold = seconds(0);
  const double hit = std::min({seconds(1792), seconds(1792), seconds(1792)});
  EXPECT_LT(5 * hit, cold);
}

}  // namespace
}  // namespace fathom::exactness
