// Packed rows give back what RoundForCache leaves, bit for bit, in the sizes that the formats
// promise.
#include "kernels/cache_row.h"

#include <gtest/gtest.h>

#include "kernels/compressor.h"
#include "kernels/kernel_testing.h"

namespace fathom::kernels {
namespace {

using numerics::Mode;
using testing::Random;
using testing::SameBits;
using testing::Values;

// Ref: model.md 11.2.
TEST(CacheRow, SizesOfThePublishedModels) {
  EXPECT_EQ(LayoutOf(RowKind::kLatent, 512, 64, Mode::kOfficial).bytes(), 584);
  EXPECT_EQ(LayoutOf(RowKind::kIndex, 128, 0, Mode::kOfficial).bytes(), 68);
  EXPECT_EQ(LayoutOf(RowKind::kLatent, 512, 64, Mode::kPure).bytes(), 2048);
  EXPECT_EQ(LayoutOf(RowKind::kLatent, 96, 32, Mode::kOfficial).bytes(), 136);
  EXPECT_EQ(LayoutOf(RowKind::kIndex, 2, 0, Mode::kOfficial).bytes(), 2);
}

struct Case {
  RowKind kind;
  int64_t dim;
  int64_t rotary;
};

constexpr Case kCases[] = {
    {RowKind::kLatent, 512, 64}, {RowKind::kLatent, 96, 32}, {RowKind::kLatent, 16, 16},
    {RowKind::kLatent, 2, 2},    {RowKind::kLatent, 194, 0}, {RowKind::kIndex, 128, 0},
    {RowKind::kIndex, 2, 0},     {RowKind::kIndex, 16, 0},   {RowKind::kIndex, 32, 0},
    {RowKind::kIndex, 64, 0},    {RowKind::kIndex, 1024, 0},
};

// A row whose blocks differ in size: some are scaled down, some are zero.
std::vector<float> RandomRow(int64_t dim, Values values, bool bf16, Random& random) {
  std::vector<float> row = testing::RandomFloats(dim, values, bf16, random);
  const int64_t block = 32;
  for (int64_t begin = 0; begin < dim; begin += block) {
    const int shift = random.Below(4) == 0 ? -200 : static_cast<int>(random.Below(24)) - 12;
    for (int64_t i = begin; i < std::min(dim, begin + block); ++i)
      row[static_cast<size_t>(i)] = std::ldexp(row[static_cast<size_t>(i)], shift);
  }
  if (!bf16) return row;
  for (float& value : row) value = numerics::RoundToBF16(value);
  return row;
}

TEST(CacheRow, StoringLosesNothing) {
  Random random(1);
  for (const Case& c : kCases) {
    const RowLayout layout = LayoutOf(c.kind, c.dim, c.rotary, Mode::kOfficial);
    for (const Values values : {Values::kOrdinary, Values::kWild, Values::kTiny}) {
      for (int i = 0; i < 300; ++i) {
        const std::vector<float> row = RandomRow(c.dim, values, true, random);
        std::vector<float> rounded = row, given = row, stored(row.size());
        RoundForCache(rounded, c.rotary, c.kind, Mode::kOfficial);
        std::vector<std::byte> bytes(static_cast<size_t>(layout.bytes()));
        EncodeRow(given, c.kind, Mode::kOfficial, layout, bytes.data());
        DecodeRow(layout, bytes.data(), stored);
        ASSERT_TRUE(SameBits(stored, rounded))
            << "kind " << static_cast<int>(c.kind) << " of " << c.dim;
      }
    }
  }
}

TEST(CacheRow, PureRowsAreKeptAsTheyAre) {
  Random random(2);
  const std::vector<float> row = RandomRow(128, Values::kOrdinary, false, random);
  for (const RowKind kind : {RowKind::kLatent, RowKind::kIndex}) {
    const RowLayout layout = LayoutOf(kind, 128, 32, Mode::kPure);
    std::vector<float> rounded = row, given = row, stored(row.size());
    RoundForCache(rounded, 32, kind, Mode::kPure);
    std::vector<std::byte> bytes(static_cast<size_t>(layout.bytes()));
    EncodeRow(given, kind, Mode::kPure, layout, bytes.data());
    DecodeRow(layout, bytes.data(), stored);
    EXPECT_TRUE(SameBits(stored, rounded));
  }
}

// Equal rows are equal bytes, padding included: pages of rows can be compared and hashed.
TEST(CacheRow, EveryByteIsWritten) {
  Random random(3);
  for (const Case& c : kCases) {
    const RowLayout layout = LayoutOf(c.kind, c.dim, c.rotary, Mode::kOfficial);
    const std::vector<float> row = RandomRow(c.dim, Values::kOrdinary, true, random);
    std::vector<std::byte> a(static_cast<size_t>(layout.bytes()), std::byte{0xaa});
    std::vector<std::byte> b(a.size(), std::byte{0x55});
    std::vector<float> given = row;
    EncodeRow(given, c.kind, Mode::kOfficial, layout, a.data());
    given = row;
    EncodeRow(given, c.kind, Mode::kOfficial, layout, b.data());
    EXPECT_EQ(a, b);
  }
}

}  // namespace
}  // namespace fathom::kernels
