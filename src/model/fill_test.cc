#include "model/fill.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/compressor.h"
#include "model/rows.h"

namespace fathom::model {
namespace {

Config SmallConfig() {
  Config config = NanoPreset();
  config.sliding_window = 16;
  return config;
}

bool SameRows(const kernels::CacheRows& a, const kernels::CacheRows& b, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    if (std::memcmp(a.row(i), b.row(i), static_cast<size_t>(a.layout.bytes())) != 0) return false;
  return true;
}

TEST(Fill, SameSeedSameState) {
  const Config config = SmallConfig();
  constexpr auto kMode = numerics::Mode::kOfficial;
  Sequence a(config, 600, kMode), b(config, 600, kMode), c(config, 600, kMode);
  FillRandom(config, 600, 1, a);
  FillRandom(config, 600, 1, b);
  FillRandom(config, 600, 2, c);
  EXPECT_EQ(a.length(), 600);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const auto window = [&](Sequence& sequence) { return sequence.layer(i).window.rows(); };
    const int64_t ratio = a.layer(i).ratio, blocks = ratio == 0 ? 0 : 600 / ratio;
    EXPECT_TRUE(SameRows(window(a), window(b), config.sliding_window));
    EXPECT_TRUE(SameRows(a.compressed(i), b.compressed(i), blocks));
    EXPECT_TRUE(SameRows(a.index_keys(i), b.index_keys(i), ratio == 4 ? blocks : 0));
    EXPECT_FALSE(SameRows(window(a), window(c), config.sliding_window));
  }
}

// What the forward pass reads there are values that its own rounding could have left.
TEST(Fill, EntriesAreRoundedAsTheCacheIs) {
  const Config config = SmallConfig();
  Sequence sequence(config, 600, numerics::Mode::kOfficial);
  FillRandom(config, 600, 3, sequence);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    LayerState& state = sequence.layer(i);
    const auto check = [&](const kernels::CacheRows& rows, int64_t count, int64_t dim) {
      for (int64_t r = 0; r < count; ++r) {
        std::vector<float> row(static_cast<size_t>(dim));
        kernels::DecodeRow(rows.layout, rows.row(r), row);
        const std::vector<float> from = row;
        double sum = 0;
        for (const float value : row) sum += std::abs(static_cast<double>(value));
        EXPECT_GT(sum, 0) << "layer " << i << " row " << r;
        kernels::RoundForCache(row, config.qk_rope_head_dim, kernels::RowKind::kLatent,
                               numerics::Mode::kOfficial);
        EXPECT_EQ(std::memcmp(row.data(), from.data(), row.size() * sizeof(float)), 0)
            << "layer " << i << " row " << r;
      }
    };
    check(state.window.rows(), config.sliding_window, config.head_dim);
    if (state.ratio != 0)
      check(sequence.compressed(i), VisibleBlocks(599, state.ratio), config.head_dim);
  }
}

TEST(Fill, NoTokensAreAnEmptySequence) {
  const Config config = SmallConfig();
  Sequence sequence(config, 10, numerics::Mode::kOfficial);
  FillRandom(config, 0, 1, sequence);
  EXPECT_EQ(sequence.length(), 0);
  FillRandom(config, 3, 1, sequence);
  EXPECT_EQ(sequence.length(), 3);
}

}  // namespace
}  // namespace fathom::model
