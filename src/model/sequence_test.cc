// What a sequence of the published models takes at a million tokens, as the system counts it.
#include "model/sequence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <vector>

#include "base/hash.h"

namespace fathom::model {
namespace {

constexpr int64_t kContext = 1048576;
constexpr int64_t kPage = 4096;

// Address space and resident memory of this process, in bytes.
struct Memory {
  int64_t mapped = 0;
  int64_t resident = 0;
};
Memory MemoryNow() {
  std::ifstream statm("/proc/self/statm");
  Memory memory;
  statm >> memory.mapped >> memory.resident;
  return {memory.mapped * kPage, memory.resident * kPage};
}

struct Limit {
  const char* name;
  Config config;
  double bytes;
};

TEST(Sequence, AMillionTokensFitTheirLimit) {
  const Limit limits[] = {{"Flash", FlashPreset(), 3.75e9}, {"Pro", ProPreset(), 5.4e9}};
  for (const Limit& limit : limits) {
    const Memory before = MemoryNow();
    Sequence sequence(limit.config, kContext, numerics::Mode::kOfficial);
    sequence.PrepareWrite(0, kContext);
    const Memory after = MemoryNow();
    const int64_t mapped = after.mapped - before.mapped;
    EXPECT_LE(static_cast<double>(mapped), limit.bytes) << limit.name;
    // Whole pages of the system: up to 9 buffers a layer, and the lists of pages; the last slab.
    const int64_t buffers = 9 * (limit.config.num_hidden_layers + 1);
    EXPECT_GE(mapped, sequence.bytes()) << limit.name;
    EXPECT_LE(mapped, sequence.bytes() + buffers * kPage + (36 << 20)) << limit.name;
    // Room that nobody uses costs address space only.
    EXPECT_LE(after.resident - before.resident, 8 << 20) << limit.name;
  }
}

TEST(Sequence, TheBytesOfACapacityAreKnownBeforehand) {
  for (const Config& config : {NanoPreset(), FlashPreset(), ProPreset()})
    for (const numerics::Mode mode : {numerics::Mode::kOfficial, numerics::Mode::kPure})
      for (const int64_t capacity : {0, 1, 3, 127, 4096, 100'003}) {
        Sequence sequence(config, capacity, mode);
        sequence.PrepareWrite(0, capacity);
        EXPECT_EQ(Sequence::BytesFor(config, capacity, mode), sequence.bytes());
      }
}

TEST(Sequence, PureRowsAreFloats) {
  const Config config = NanoPreset();
  EXPECT_EQ(Sequence::BytesFor(config, 1024, numerics::Mode::kPure) -
                Sequence::BytesFor(config, 1024, numerics::Mode::kOfficial),
            // 5 windows of 64 rows, 2 CSA layers, 1 HCA layer; 384 B against 136, 128 B against 17.
            // A page of packed rows ends 56 bytes before a multiple of 64.
            (5 * 64 + 2 * 256 + 8) * (384 - 136) + 2 * 256 * (128 - 17) - 8 * 56);
}

// Rows that a forward pass would write, told apart by `value`.
void WriteRows(const Config& config, Sequence& sequence, int64_t count, int value) {
  const int64_t begin = sequence.length(), end = begin + count;
  sequence.PrepareWrite(begin, end);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    LayerState& state = sequence.layer(i);
    const auto set = [&](std::byte* row, const kernels::RowLayout& layout, int64_t place) {
      std::memset(row, static_cast<int>(value + place + i), static_cast<size_t>(layout.bytes()));
    };
    const auto window = state.window.mutable_rows();
    for (int64_t p = begin; p < end; ++p)
      set(window.row(p % config.sliding_window), window.layout, p);
    if (state.ratio == 0) continue;
    for (int64_t b = begin / state.ratio; b < end / state.ratio; ++b) {
      set(sequence.compressed(i).row(b), sequence.compressed(i).layout, b);
      if (state.ratio == 4) set(sequence.index_keys(i).row(b), sequence.index_keys(i).layout, b);
    }
    state.compressor.open_value[0] = static_cast<float>(value);
    if (state.ratio == 4) state.compressor.previous_value[1] = static_cast<float>(value + 1);
  }
  sequence.Advance(count);
}

// A number for everything that a sequence holds.
uint64_t SumOfBytes(const Config& config, Sequence& sequence) {
  uint64_t sum = kHashStart;
  const auto add = [&](const void* data, int64_t bytes) {
    sum = HashText({static_cast<const char*>(data), static_cast<size_t>(bytes)}, sum);
  };
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    LayerState& state = sequence.layer(i);
    const auto window = state.window.rows();
    for (int64_t r = 0; r < std::min(sequence.length(), config.sliding_window); ++r)
      add(window.row(r), window.layout.bytes());
    if (state.ratio == 0) continue;
    for (int64_t b = 0; b < sequence.length() / state.ratio; ++b) {
      add(sequence.compressed(i).row(b), sequence.compressed(i).layout.bytes());
      if (state.ratio == 4)
        add(sequence.index_keys(i).row(b), sequence.index_keys(i).layout.bytes());
    }
    add(state.compressor.previous_value.data(), state.compressor.previous_value.size() * 4);
  }
  return sum;
}

TEST(Sequence, AForkAndItsOriginGoTheirOwnWays) {
  const Config config = NanoPreset();
  const auto pool = PagePool::Make(MakePageLayout(config, numerics::Mode::kOfficial).bytes);
  Sequence origin(config, 2000, numerics::Mode::kOfficial, pool);
  WriteRows(config, origin, 300, 1);
  const uint64_t before = SumOfBytes(config, origin);
  const int64_t pages = pool->pages_in_use();
  const auto fork = origin.Fork(1000);
  EXPECT_EQ(pool->pages_in_use(), pages);  // nothing is copied
  EXPECT_EQ(SumOfBytes(config, *fork), before);
  WriteRows(config, *fork, 100, 50);
  EXPECT_EQ(SumOfBytes(config, origin), before);
  EXPECT_EQ(pool->pages_in_use(), pages + 2);  // the page that was open, and the next
  const uint64_t forked = SumOfBytes(config, *fork);
  EXPECT_NE(forked, before);
  WriteRows(config, origin, 500, 90);
  EXPECT_EQ(SumOfBytes(config, *fork), forked);
  origin.Reset();
  EXPECT_EQ(SumOfBytes(config, *fork), forked);
}

TEST(Sequence, GoesOnFromPagesAndTail) {
  const Config config = NanoPreset();
  const auto pool = PagePool::Make(MakePageLayout(config, numerics::Mode::kOfficial).bytes);
  Sequence origin(config, 2000, numerics::Mode::kOfficial, pool);
  WriteRows(config, origin, 384, 7);
  const std::vector<std::byte> tail = origin.SaveTail();
  EXPECT_EQ(std::ssize(tail), Sequence::TailBytes(config, numerics::Mode::kOfficial));
  Sequence restored(config, 1000, numerics::Mode::kOfficial, pool);
  EXPECT_FALSE(restored.Restore(384, origin.pages(), std::span(tail).subspan(1)));
  EXPECT_EQ(restored.length(), 0);
  ASSERT_TRUE(restored.Restore(384, origin.pages(), tail));
  EXPECT_EQ(restored.length(), 384);
  EXPECT_EQ(SumOfBytes(config, restored), SumOfBytes(config, origin));
  EXPECT_EQ(restored.pages()[2], origin.pages()[2]);
}

TEST(PagePool, GivesMemoryBackAndOutlivesItsOwner) {
  PageRef kept;
  {
    const auto pool = PagePool::Make(1 << 20);
    std::vector<PageRef> pages;
    for (int i = 0; i < 100; ++i) pages.push_back(pool->New());
    EXPECT_EQ(pool->bytes_in_use(), int64_t{100} << 20);
    EXPECT_TRUE(pages[5].is_only());
    kept = pages[5];
    EXPECT_FALSE(pages[5].is_only());
    pages.clear();
    EXPECT_EQ(pool->pages_in_use(), 1);
  }
  kept.data()[0] = std::byte{1};  // still there
  EXPECT_TRUE(kept.is_only());
}

}  // namespace
}  // namespace fathom::model
