// Known answers of the authors' own implementation (Random123, kat_vectors, "philox4x32 10").
#include "numerics/philox.h"

#include <gtest/gtest.h>

#include <bit>

namespace fathom::numerics {
namespace {

using Counter = std::array<uint32_t, 4>;
using Key = std::array<uint32_t, 2>;

TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox4x32(Counter{0, 0, 0, 0}, Key{0, 0}),
            (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32(Counter{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                       Key{0xffffffff, 0xffffffff}),
            (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32(Counter{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                       Key{0xa4093822, 0x299f31d0}),
            (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Each bit of counter and key changes about half of the output bits.
TEST(Philox, EveryInputBitMatters) {
  const Counter counter{1, 2, 3, 4};
  const Key key{5, 6};
  const Counter base = Philox4x32(counter, key);
  for (int bit = 0; bit < 192; ++bit) {
    Counter c = counter;
    Key k = key;
    const uint32_t flip = uint32_t{1} << (bit % 32);
    if (bit < 128) {
      c[static_cast<size_t>(bit / 32)] ^= flip;
    } else {
      k[static_cast<size_t>(bit / 32 - 4)] ^= flip;
    }
    const Counter other = Philox4x32(c, k);
    int changed = 0;
    for (size_t i = 0; i < 4; ++i) changed += std::popcount(base[i] ^ other[i]);
    // Binomial(128, 1/2): mean 64, standard deviation 5.7; the bound is 6 of them.
    EXPECT_GT(changed, 30) << bit;
    EXPECT_LT(changed, 98) << bit;
  }
}

}  // namespace
}  // namespace fathom::numerics
