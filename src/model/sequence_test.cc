// What a sequence of the published models takes at a million tokens, as the system counts it.
#include "model/sequence.h"

#include <gtest/gtest.h>

#include <fstream>

namespace fathom::model {
namespace {

constexpr int64_t kMillion = 1048576;
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
    const Sequence sequence(limit.config, kMillion, numerics::Mode::kOfficial);
    const Memory after = MemoryNow();
    const int64_t mapped = after.mapped - before.mapped;
    EXPECT_LE(static_cast<double>(mapped), limit.bytes) << limit.name;
    // Whole pages: up to 11 buffers a layer, and a little for the list of them.
    const int64_t buffers = 11 * (limit.config.num_hidden_layers + 1);
    EXPECT_GE(mapped, sequence.bytes()) << limit.name;
    EXPECT_LE(mapped, sequence.bytes() + buffers * kPage + (1 << 20)) << limit.name;
    // Room that nobody uses costs address space only.
    EXPECT_LE(after.resident - before.resident, 4 << 20) << limit.name;
  }
}

TEST(Sequence, TheBytesOfACapacityAreKnownBeforehand) {
  for (const Config& config : {NanoPreset(), FlashPreset(), ProPreset()})
    for (const numerics::Mode mode : {numerics::Mode::kOfficial, numerics::Mode::kPure})
      for (const int64_t capacity : {0, 1, 3, 127, 4096, 100'003})
        EXPECT_EQ(Sequence::BytesFor(config, capacity, mode),
                  Sequence(config, capacity, mode).bytes());
}

TEST(Sequence, PureRowsAreFloats) {
  const Config config = NanoPreset();
  const Sequence official(config, 1000, numerics::Mode::kOfficial);
  const Sequence pure(config, 1000, numerics::Mode::kPure);
  EXPECT_EQ(pure.bytes() - official.bytes(),
            // 5 windows of 64 rows, 2 CSA layers, 1 HCA layer; 384 B against 136, 128 B against 17.
            (5 * 64 + 2 * 250 + 7) * (384 - 136) + 2 * 250 * (128 - 17));
}

}  // namespace
}  // namespace fathom::model
