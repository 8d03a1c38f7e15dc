// What remembered and shared states cost, as the allocator counts it: a common beginning once, and
// beyond it only what each sequence writes itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "cache/prefix_tree.h"
#include "model/fill.h"
#include "model/pages.h"
#include "model/sequence.h"

namespace fathom::exactness {
namespace {

using model::PagePool;
using model::Sequence;

constexpr auto kMode = numerics::Mode::kOfficial;
constexpr int64_t kForks = 50;

#ifdef FATHOM_SANITIZED
constexpr bool kIsSanitized = true;  // keeps freed memory, and shadows all of it
#else
constexpr bool kIsSanitized = false;
#endif

// Flash with its first seven layers: windows alone, and both ratios several times.
model::Config FlashLayers() {
  model::Config config = model::FlashPreset();
  config.num_hidden_layers = 7;
  config.compress_ratios.resize(7);
  config.num_nextn_predict_layers = 0;
  return config;
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t mapped = 0, resident = 0;
  statm >> mapped >> resident;
  return resident * 4096;
}

// As a pass over `count` tokens would: every byte that is made writable is written.
void Write(const model::Config& config, Sequence& sequence, int64_t count) {
  const int64_t begin = sequence.length(), end = begin + count;
  sequence.PrepareWrite(begin, end);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    model::LayerState& state = sequence.layer(i);
    const auto window = state.window.mutable_rows();
    for (int64_t p = begin; p < end; ++p)
      std::memset(window.row(p % config.sliding_window), 1,
                  static_cast<size_t>(window.layout.bytes()));
    for (model::CompressorState* partial : {&state.compressor, &state.index_compressor})
      for (tensor::Buffer<float>* buffer : {&partial->open_value, &partial->open_score,
                                            &partial->previous_value, &partial->previous_score})
        std::fill_n(buffer->data(), buffer->size(), 1.0f);
  }
  sequence.Advance(count);
}

TEST(CacheMemoryTest, FiftyForksOfALongPrefixCostHardlyMoreThanOne) {
  const model::Config config = FlashLayers();
  constexpr int64_t kPrefix = 100'000, kMore = 128;
  const auto pool = PagePool::Make(model::MakePageLayout(config, kMode).bytes);
  const int64_t start = ResidentBytes();
  Sequence origin(config, kPrefix + kMore, kMode, pool);
  model::FillRandom(config, kPrefix, 1, origin);
  const int64_t pages = pool->pages_in_use();
  EXPECT_EQ(pages, (kPrefix + model::kPageTokens - 1) / model::kPageTokens);
  const int64_t one = ResidentBytes() - start;
  std::vector<std::unique_ptr<Sequence>> forks;
  for (int64_t i = 1; i < kForks; ++i) forks.push_back(origin.Fork(kPrefix + kMore));
  EXPECT_EQ(pool->pages_in_use(), pages);
  const int64_t shared = ResidentBytes() - start;
  if (!kIsSanitized) {
    EXPECT_GE(one, origin.bytes());
    EXPECT_LT(static_cast<double>(shared), 1.05 * static_cast<double>(one));
  }

  for (const auto& fork : forks) Write(config, *fork, kMore);
  Write(config, origin, kMore);
  // The page that was open when they parted, of which the last to write needs no copy, and the one
  // after it.
  EXPECT_EQ(pool->pages_in_use(), pages + kForks - 1 + kForks);
  const int64_t own = Sequence::BytesFor(config, 0, kMode);
  for (const auto& fork : forks)
    EXPECT_EQ(fork->bytes(), own + std::ssize(fork->pages()) * pool->page_bytes());
  const auto grown = static_cast<double>(ResidentBytes() - start - shared);
  const auto expected =
      static_cast<double>((kForks - 1) * (own + 2 * pool->page_bytes()) + pool->page_bytes());
  if (!kIsSanitized) {
    EXPECT_LT(grown, 1.05 * expected + (40 << 20));  // a slab that is not full
    EXPECT_GT(grown, 0.8 * expected);
  }
  // All of Flash: what model.md 9.1 counts, less the halves of old blocks that nobody reads.
  const auto flash = static_cast<double>(Sequence::BytesFor(model::FlashPreset(), 0, kMode));
  EXPECT_LT(flash, 15.4e6);
}

// A tree that remembers each of many snapshots of one text holds its pages once.
TEST(CacheMemoryTest, SnapshotsOfOneTextShareItsPages) {
  const model::Config config = FlashLayers();
  const int64_t page_bytes = model::MakePageLayout(config, kMode).bytes;
  const int64_t tail_bytes = Sequence::TailBytes(config, kMode);
  const auto pool = PagePool::Make(page_bytes);
  constexpr int64_t kTokens = 64 * 1024, kStride = 4096;
  cache::PrefixTree tree(page_bytes, int64_t{1} << 40);
  std::vector<TokenId> text;
  for (int64_t i = 0; i < kTokens; ++i) text.push_back(static_cast<TokenId>(i * i % 1009));
  Sequence sequence(config, kTokens, kMode, pool);
  for (int64_t i = 0; i < kTokens / kStride; ++i) {
    Write(config, sequence, kStride);
    tree.Insert("", std::span(text).first(static_cast<size_t>(sequence.length())), sequence.pages(),
                std::make_shared<const std::vector<std::byte>>(sequence.SaveTail()));
  }
  EXPECT_EQ(pool->pages_in_use(), kTokens / model::kPageTokens);
  EXPECT_EQ(tree.stats().bytes,
            kTokens / model::kPageTokens * page_bytes + kTokens / kStride * tail_bytes);
  sequence.Reset();
  EXPECT_EQ(pool->pages_in_use(), kTokens / model::kPageTokens);
  EXPECT_EQ(tree.Evict(int64_t{1} << 40),
            kTokens / model::kPageTokens * page_bytes + kTokens / kStride * tail_bytes);
  EXPECT_EQ(pool->pages_in_use(), 0);
}

}  // namespace
}  // namespace fathom::exactness
