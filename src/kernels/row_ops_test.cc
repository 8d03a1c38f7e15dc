// Row operations: every path against the plain versions, bit for bit, over odd sizes, wild values,
// misaligned starts and results that alias their input; packing against its tables.
#include "kernels/row_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/experts.h"
#include "kernels/int8_stretch.h"
#include "kernels/kernel_testing.h"
#include "numerics/flush.h"
#include "numerics/functions.h"

namespace fathom::kernels {
namespace {

using testing::Random;
using testing::RandomFloats;
using testing::Values;

constexpr int64_t kSizes[] = {1,  2,   7,   8,   15,  16,  17,  31,  64,
                              96, 100, 127, 128, 130, 200, 513, 1024};
constexpr Values kKinds[] = {Values::kOrdinary, Values::kWild, Values::kTiny};

// Runs `body(ops, values)` on every path on a copy of `x` that starts at an odd multiple of four
// bytes and expects the reference's bits, in the values and past their end.
template <typename Body>
void ExpectSame(const std::vector<float>& x, Body body, const std::string& what) {
  const numerics::FlushSubnormals flush;
  const auto run = [&](const RowOps& ops) {
    std::vector<float> memory(x.size() + 17, 3.25f);
    std::copy(x.begin(), x.end(), memory.begin() + 1);
    body(ops, memory.data() + 1);
    return memory;
  };
  const std::vector<float> expected = run(kReferenceRowOps);
  EXPECT_EQ(expected.front(), 3.25f);
  for (size_t i = x.size() + 1; i < expected.size(); ++i) EXPECT_EQ(expected[i], 3.25f);
  for (const Path path : testing::AvailablePaths())
    EXPECT_TRUE(testing::SameBits(run(RowOpsOf(path)), expected)) << Name(path) << ", " << what;
}

// body(random, x, n, round) -> calls ExpectSame; over sizes, kinds of values and both modes.
template <typename Body>
void ForCases(uint64_t seed, Body body) {
  Random random(seed);
  for (const int64_t n : kSizes)
    for (const Values kind : kKinds)
      for (const bool round : {false, true})
        body(random, n, kind, round, "n " + std::to_string(n) + (round ? " rounded" : ""));
}

TEST(RowOps, SumOfSquaresIsTheSameOnEveryPath) {
  ForCases(1, [](Random& random, int64_t n, Values kind, bool, const std::string& what) {
    ExpectSame(
        RandomFloats(n, kind, false, random),
        [&](const RowOps& ops, float* x) { x[0] = ops.sum_of_squares(x, n); }, what);
  });
}

TEST(RowOps, ScaledRowsMayAlias) {
  ForCases(2, [](Random& random, int64_t n, Values kind, bool round, const std::string& what) {
    const std::vector<float> x = RandomFloats(n, kind, false, random);
    const std::vector<float> weight = RandomFloats(n, kind, false, random);
    const auto in_place = [&](const RowOps& ops, float* y) {
      ops.scale_row(y, weight.data(), 0.37f, n, round, y);
    };
    ExpectSame(x, in_place, what);
    const auto apart = [&](const RowOps& ops, float* y) {
      ops.scale_row(x.data(), weight.data(), 0.37f, n, round, y);
    };
    ExpectSame(std::vector<float>(x.size(), 1.0f), apart, what);
  });
}

TEST(RowOps, NormalizedHeadsAreTheSameOnEveryPath) {
  ForCases(3, [](Random& random, int64_t n, Values kind, bool round, const std::string& what) {
    ExpectSame(
        RandomFloats(3 * n, kind, round, random),
        [&](const RowOps& ops, float* x) { ops.normalize_heads(x, 3, n, 1e-6f, round); }, what);
  });
}

TEST(RowOps, RotationIsTheSameOnEveryPath) {
  ForCases(4, [](Random& random, int64_t pairs, Values kind, bool round, const std::string& what) {
    const int64_t heads = 3, dim = 2 * pairs + 5;
    const std::vector<float> cos = RandomFloats(pairs, kind, false, random);
    const std::vector<float> sin = RandomFloats(pairs, kind, false, random);
    const std::vector<float> x = RandomFloats(heads * dim, kind, round, random);
    for (const bool inverse : {false, true}) {
      const auto rotate = [&](const RowOps& ops, float* y) {
        ops.rotate_heads({y, heads, dim, cos.data(), sin.data(), pairs, inverse, round});
      };
      ExpectSame(x, rotate, what);
    }
  });
}

TEST(RowOps, StreamsMixTheSameOnEveryPath) {
  ForCases(5, [](Random& random, int64_t n, Values kind, bool round, const std::string& what) {
    for (const int64_t streams : {1, 3, 4, 8}) {
      const std::vector<float> pre = RandomFloats(streams, kind, false, random);
      const std::vector<float> comb = RandomFloats(streams * streams, kind, false, random);
      const std::vector<float> y = RandomFloats(n, kind, round, random);
      const std::vector<float> x = RandomFloats(streams * n, kind, round, random);
      const auto mix = [&](const RowOps& ops, float* out) {
        ops.mix_streams({x.data(), streams, n, pre.data(), round, out});
      };
      ExpectSame(std::vector<float>(y.size()), mix, what);
      const auto spread = [&](const RowOps& ops, float* out) {
        ops.spread_streams({y.data(), streams, n, pre.data(), comb.data(), round, out});
      };
      ExpectSame(x, spread, what);
    }
  });
}

TEST(RowOps, SinkhornIsTheSameOnEveryPath) {
  Random random(6);
  for (const int64_t streams : {1, 2, 3, 4, 8}) {
    for (const Values kind : kKinds) {
      for (const int64_t iterations : {1, 2, 20}) {
        ExpectSame(
            RandomFloats(streams * streams, kind, false, random),
            [&](const RowOps& ops, float* x) { ops.sinkhorn(x, streams, iterations, 1e-6f); },
            "streams " + std::to_string(streams));
      }
    }
  }
}

TEST(RowOps, ElementsAreTheSameOnEveryPath) {
  ForCases(7, [](Random& random, int64_t n, Values kind, bool round, const std::string& what) {
    const std::vector<float> x = RandomFloats(n, kind, false, random);
    const std::vector<float> other = RandomFloats(n, kind, false, random);
    const auto check = [&](auto body) { ExpectSame(x, body, what); };
    check([&](const RowOps& ops, float* y) { ops.round_row(y, n); });
    check([&](const RowOps& ops, float* y) { ops.exp_row(y, n); });
    check([&](const RowOps& ops, float* y) { ops.gate_scores(y, n); });
    check([&](const RowOps& ops, float* y) { ops.add_row(other.data(), n, round, y); });
    check([&](const RowOps& ops, float* y) { ops.add_rounded(other.data(), n, round, y); });
    check([&](const RowOps& ops, float* y) { ops.add_row(y, n, round, y); });
    for (const float limit : {0.0f, 0.5f}) {
      check([&](const RowOps& ops, float* y) {
        ops.swiglu({y, other.data(), n, limit, 0.7f, round, y});
      });
      check([&](const RowOps& ops, float* y) {
        ops.swiglu({other.data(), y, n, limit, 0.7f, round, y});
      });
    }
  });
}

// Values spread over all exponents, with the extremes of a block one at a time.
std::vector<float> BlockValues(int64_t n, float largest, Random& random) {
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) {
    v = random.Signed() * std::ldexp(1.0f, static_cast<int>(random.Below(40)) - 36);
    if (random.Below(8) == 0) v = std::copysign(0.0f, v);
  }
  x[static_cast<size_t>(random.Below(n))] = largest;
  return x;
}

constexpr float kExtremes[] = {0.0f,
                               1e-4f,
                               1e-5f,
                               1.0f,
                               448.0f,
                               464.0f,
                               0x1.fcp127f,
                               std::numeric_limits<float>::max(),
                               0x1p-60f,
                               0x1p-126f,
                               std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN()};

TEST(RowOps, QuantisersAreTheSameOnEveryPath) {
  Random random(8);
  for (const int64_t n : kSizes) {
    for (const float largest : kExtremes) {
      const std::vector<float> x = BlockValues(n, largest, random);
      const std::string what = "n " + std::to_string(n) + ", largest " + std::to_string(largest);
      for (const int64_t block : {64, 128})
        ExpectSame(
            x, [&](const RowOps& ops, float* y) { ops.simulate_e4m3(y, n, block); }, what);
      ExpectSame(
          x, [&](const RowOps& ops, float* y) { ops.simulate_e2m1(y, n); }, what);
    }
    for (const Values kind : kKinds) {
      const std::vector<float> x = RandomFloats(n, kind, false, random);
      ExpectSame(
          x, [&](const RowOps& ops, float* y) { ops.simulate_e4m3(y, n, 128); }, "wild");
      ExpectSame(
          x, [&](const RowOps& ops, float* y) { ops.simulate_e2m1(y, n); }, "wild");
    }
  }
}

// Every BF16 value between two powers of two next to each code, so all ties are met.
TEST(RowOps, QuantisersRoundEveryBF16Value) {
  for (uint32_t high = 0; high < 0x10000u; high += 96) {
    std::vector<float> x;
    for (uint32_t i = 0; i < 96 && high + i < 0x10000u; ++i)
      x.push_back(std::bit_cast<float>((high + i) << 16));
    // One that fixes the scale at 1: the others then are the codes' own neighbourhood.
    for (size_t i = 0; i < x.size(); ++i)
      if (!(std::fabs(x[i]) <= 448.0f)) x[i] = -448.0f;
    x.push_back(448.0f);
    const int64_t n = std::ssize(x);
    ExpectSame(
        x, [&](const RowOps& ops, float* y) { ops.simulate_e4m3(y, n, 128); }, "e4m3");
    for (float& v : x) v = std::min(std::max(v, -6.0f), 6.0f);
    for (size_t i = 31; i < x.size(); i += 32) x[i] = 6.0f;
    ExpectSame(
        x, [&](const RowOps& ops, float* y) { ops.simulate_e2m1(y, n); }, "e2m1");
  }
}

TEST(RowOps, HadamardIsTheSameOnEveryPath) {
  Random random(9);
  for (int64_t n = 1; n <= 512; n *= 2)
    for (const Values kind : kKinds)
      ExpectSame(
          RandomFloats(n, kind, false, random),
          [&](const RowOps& ops, float* y) { ops.hadamard(y, n); }, std::to_string(n));
}

// Packed words of a row; NaN payloads are made alike.
std::vector<uint16_t> Packed(const RowOps& ops, const std::vector<float>& x, tensor::Format format,
                             bool quantize) {
  const numerics::FlushSubnormals flush;
  const int64_t n = std::ssize(x);
  std::vector<float> memory(x.size() + 1);
  std::copy(x.begin(), x.end(), memory.begin() + 1);
  std::vector<uint16_t> out(static_cast<size_t>(PackedWidth(format, n)) + 2, 0xabcd);
  ops.pack({memory.data() + 1, n, format, quantize, out.data() + 1});
  EXPECT_EQ(out.front(), 0xabcd);
  EXPECT_EQ(out.back(), 0xabcd);
  for (uint16_t& word : out)
    if ((word & 0x7fffu) > 0x7f80u) word = 0x7fc0;
  return {out.begin() + 1, out.end() - 1};
}

constexpr tensor::Format kPackedFormats[] = {tensor::Format::kBF16, tensor::Format::kFp8,
                                             tensor::Format::kFp4};

TEST(RowOps, PackingIsTheSameOnEveryPath) {
  Random random(10);
  for (const int64_t n : {1, 16, 100, 128, 129, 500, 512, 513, 1000, 1536}) {
    std::vector<std::vector<float>> rows;
    for (const Values kind : kKinds) rows.push_back(RandomFloats(n, kind, false, random));
    for (const float largest : kExtremes) rows.push_back(BlockValues(n, largest, random));
    for (const std::vector<float>& x : rows)
      for (const tensor::Format format : kPackedFormats)
        for (const bool quantize : {false, true})
          for (const Path path : testing::AvailablePaths())
            EXPECT_EQ(Packed(RowOpsOf(path), x, format, quantize),
                      Packed(kReferenceRowOps, x, format, quantize))
                << Name(path) << ", n " << n << (quantize ? ", quantised" : "");
  }
}

// Each input at its place of the table, zeros behind the last one.
TEST(RowOps, PackingAsBytesIsTheSameOnEveryPath) {
  Random random(12);
  const auto packed = [](const RowOps& ops, const std::vector<float>& x) {
    const int64_t n = std::ssize(x);
    std::vector<Int8Stretch> out(static_cast<size_t>(Int8Stretches(n)) + 1);
    std::memset(static_cast<void*>(out.data()), 0x55, out.size() * sizeof(Int8Stretch));
    const numerics::FlushSubnormals flush;
    ops.pack_int8(x.data(), n, out.data());
    for (Int8Stretch& stretch : out)
      for (float& scale : stretch.scales)
        if (std::isnan(scale)) scale = std::numeric_limits<float>::quiet_NaN();
    return out;
  };
  const auto expect_same = [&](const std::vector<float>& x) {
    const std::vector<Int8Stretch> expected = packed(kReferenceRowOps, x);
    for (const Path path : testing::AvailablePaths())
      EXPECT_EQ(std::memcmp(packed(RowOpsOf(path), x).data(), expected.data(),
                            expected.size() * sizeof(Int8Stretch)),
                0)
          << Name(path) << " n " << x.size();
  };
  for (const int64_t n : {1, 2, 31, 32, 33, 160, 511, 512, 513, 544, 1024, 1184}) {
    for (const float largest : kExtremes) expect_same(BlockValues(n, largest, random));
    for (const Values kind : kKinds) expect_same(RandomFloats(n, kind, false, random));
  }
}

// Each input alone, by the definition of its place.
TEST(RowOps, PackingAsBytesFollowsThePlaces) {
  for (int64_t k = 0; k < kStretch; ++k) {
    std::vector<float> x(kStretch, 0.0f);
    x[static_cast<size_t>(k)] = -1.5f;
    Int8Stretch out;
    kReferenceRowOps.pack_int8(x.data(), kStretch, &out);
    // Eight inputs of a block are two steps: the even ones, then the odd ones.
    const int64_t block = k / 32, lane = block % 4 * 4 + block / 4;
    const int64_t step = k % 32 / 8 * 2 + k % 2;
    EXPECT_EQ(out.codes[64 * step + 4 * lane + k % 8 / 2], -96);
    EXPECT_EQ(out.scales[lane], 0x1p-7f);
    EXPECT_EQ(out.offsets[lane], 12 * 96);
  }
}

TEST(RowOps, PackingFollowsThePairOrder) {
  for (const Path path : testing::AvailablePaths()) {
    for (const tensor::Format format : kPackedFormats) {
      for (const int64_t n : {200, 512, 1400}) {
        std::vector<float> x(static_cast<size_t>(n));
        for (size_t i = 0; i < x.size(); ++i)
          x[i] = std::bit_cast<float>((static_cast<uint32_t>(i) + 0x3000u) << 16);
        const std::vector<uint16_t> packed = Packed(RowOpsOf(path), x, format, false);
        for (int64_t p = 0; p < std::ssize(packed); ++p) {
          const int64_t k = p / kStretch * kStretch + PairOrderOf(format).k[p % kStretch];
          ASSERT_EQ(packed[static_cast<size_t>(p)], k < n ? 0x3000 + k : 0)
              << Name(path) << ", place " << p;
        }
      }
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
