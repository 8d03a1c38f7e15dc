// Hyper-connections: both worked cases of model.md 17 and 17.1, and equality over batches.
#include "kernels/hyper_connection.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/kernel_testing.h"

namespace fathom::kernels {
namespace {

using numerics::Mode;
using testing::Random;
using testing::TestContext;
using testing::Values;

// The printed digits, six after the point, and float32 steps around values of size one.
constexpr float kPrinted = 1.5e-6f;

struct Split {
  std::vector<float> pre = std::vector<float>(4), post = std::vector<float>(4),
                     comb = std::vector<float>(16);
};

Split SplitOf(const std::vector<float>& mixes, const std::vector<float>& base,
              const std::vector<float>& scale) {
  const tensor::QuantView none;
  Split split;
  SplitMixes(mixes, {none, base, scale, 4, 20, 1e-6f, 1e-6f}, split.pre, split.post, split.comb);
  return split;
}

TEST(HyperConnection, SymmetricWorkedCase) {
  std::vector<float> mixes = {0.5f, -0.5f, 1, 0, 0.25f, -0.25f, 0, 1};
  std::vector<float> base(24, 0.0f);
  for (int i = 0; i < 16; ++i) mixes.push_back(0.125f * static_cast<float>(i) - 1);
  for (size_t i = 0; i < 4; ++i) base[8 + 5 * i] = 1;
  const Split split = SplitOf(mixes, base, {0.5f, 0.25f, 2});
  const float pre[] = {0.5621775f, 0.4378245f, 0.6224604f, 0.5000010f};
  const float post[] = {1.0312399f, 0.9687601f, 1.0000000f, 1.1243531f};
  for (size_t j = 0; j < 4; ++j) {
    EXPECT_NEAR(split.pre[j], pre[j], 2e-7f);
    EXPECT_NEAR(split.post[j], post[j], 3e-7f);
    float row = 0, column = 0;
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_NEAR(split.comb[4 * j + k], j == k ? 0.475365f : 0.174878f, kPrinted);
      row += split.comb[4 * j + k];
      column += split.comb[4 * k + j];
    }
    EXPECT_NEAR(row, 0.999999f, kPrinted);
    EXPECT_NEAR(column, 0.999999f, kPrinted);
  }
}

std::vector<float> AsymmetricMixes() {
  return {1,      -2,    0.25f, 3,  -1, 0.5f,  2, -0.25f, 0.5f, -1.5f, 2,      0.25f,
          -0.75f, 1.25f, 0,     -2, 3,  -0.5f, 1, 0.75f,  -1,   2.5f,  -0.25f, 0.125f};
}
std::vector<float> AsymmetricBase() {
  std::vector<float> base = {0.1f, -0.2f, 0.3f, -0.4f, 0.05f, 0.15f, -0.25f, 0.35f};
  for (int i = 0; i < 16; ++i)
    base.push_back(i % 5 == 0 ? 0.5f : -0.125f * static_cast<float>(i % 3));
  return base;
}
const std::vector<float> kAsymmetricScale = {0.5f, 0.75f, 1.5f};

TEST(HyperConnection, AsymmetricWorkedCase) {
  const Split split = SplitOf(AsymmetricMixes(), AsymmetricBase(), kAsymmetricScale);
  const float pre[] = {0.645657f, 0.231476f, 0.604680f, 0.750261f};
  const float post[] = {0.663624f, 1.256632f, 1.554600f, 1.081072f};
  const float comb[] = {0.129359f, 0.000693f, 0.602977f, 0.266970f, 0.077341f, 0.583168f,
                        0.280756f, 0.058732f, 0.781015f, 0.001058f, 0.085618f, 0.132313f,
                        0.012285f, 0.415081f, 0.030647f, 0.541984f};
  for (size_t j = 0; j < 4; ++j) {
    EXPECT_NEAR(split.pre[j], pre[j], kPrinted);
    EXPECT_NEAR(split.post[j], post[j], kPrinted);
    float column = 0;
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_NEAR(split.comb[4 * j + k], comb[4 * j + k], kPrinted);
      column += split.comb[4 * k + j];
    }
    // The last step divides columns by their sums plus 1e-6.
    EXPECT_NEAR(column, 1 / (1 + 1e-6f), 3e-7f);
  }
}

// One channel through both doors; fn is built so that its product with x / rms(x) gives the mixes.
TEST(HyperConnection, OneChannelBeforeAndAfterASubLayer) {
  const std::vector<float> x = {1, -2, 0.5f, 4};
  const float rms = std::sqrt((1.0f + 4.0f + 0.25f + 16.0f) / 4);
  std::vector<float> fn(24 * 4, 0.0f);
  const std::vector<float> mixes = AsymmetricMixes(), base = AsymmetricBase();
  for (size_t r = 0; r < 24; ++r) fn[4 * r] = mixes[r] * rms;
  const tensor::QuantView view{
      tensor::Format::kF32, reinterpret_cast<const std::byte*>(fn.data()), nullptr, 24, 4, 0};
  const HyperConnection hc{view, base, kAsymmetricScale, 4, 20, 1e-6f, 0.0f};
  for (const Path path : testing::AvailablePaths()) {
    for (const Mode mode : {Mode::kPure, Mode::kOfficial}) {
      TestContext test(1, path, mode);
      float y[1], post[4], comb[16];
      HyperConnectionPre({x.data(), 1, 4}, hc, {y, 1, 1}, {post, 1, 4}, {comb, 1, 16}, test.ctx);
      std::vector<float> streams = x;
      const float out[1] = {3};
      HyperConnectionPost({out, 1, 1}, {post, 1, 4}, {comb, 1, 16}, {streams.data(), 1, 4},
                          test.ctx);
      if (mode == Mode::kPure) {
        EXPECT_NEAR(y[0], 3.486089f, 3e-6f);
        const float after[] = {2.405197f, 4.265106f, 4.870664f, 5.626811f};
        for (size_t k = 0; k < 4; ++k) EXPECT_NEAR(streams[k], after[k], 5e-6f);
      } else {
        EXPECT_EQ(y[0], 3.484375f);
        const float after[] = {2.40625f, 4.25f, 4.875f, 5.625f};
        for (size_t k = 0; k < 4; ++k) EXPECT_EQ(streams[k], after[k]);
      }
    }
  }
}

TEST(HyperConnection, ManyTokensAtOnceAreEachTokenAlone) {
  Random random(1);
  // Wide enough for tiles of few tokens, of which there are several.
  const int64_t streams = 4, dims = 8192, tokens = 19;
  const testing::Weights fn =
      testing::RandomWeights(tensor::Format::kF32, 24, streams * dims, Values::kOrdinary, random);
  const std::vector<float> base = testing::RandomFloats(24, Values::kOrdinary, false, random);
  const std::vector<float> scale = {0.1f, 0.2f, 0.3f};
  const HyperConnection hc{fn.view, base, scale, streams, 20, 1e-6f, 1e-6f};
  const std::vector<float> x =
      testing::RandomFloats(tokens * streams * dims, Values::kOrdinary, true, random);
  const auto mix = [&](int64_t first, int64_t count, const Context& ctx) {
    std::vector<float> y(static_cast<size_t>(count * dims)), post(static_cast<size_t>(count * 4)),
        comb(static_cast<size_t>(count * 16));
    std::vector<float> after(x.begin() + first * streams * dims,
                             x.begin() + (first + count) * streams * dims);
    HyperConnectionPre({after.data(), count, streams * dims}, hc, {y.data(), count, dims},
                       {post.data(), count, 4}, {comb.data(), count, 16}, ctx);
    HyperConnectionPost({y.data(), count, dims}, {post.data(), count, 4}, {comb.data(), count, 16},
                        {after.data(), count, streams * dims}, ctx);
    return after;
  };
  for (const Mode mode : {Mode::kOfficial, Mode::kPure}) {
    TestContext plain(1, Path::kReference, mode);
    const std::vector<float> expected = mix(0, tokens, plain.ctx);
    for (const Path path : testing::AvailablePaths()) {
      TestContext test(2, path, mode);
      EXPECT_TRUE(testing::SameBits(mix(0, tokens, test.ctx), expected)) << Name(path);
      std::vector<float> alone;
      for (int64_t t = 0; t < tokens; ++t) {
        const std::vector<float> one = mix(t, 1, test.ctx);
        alone.insert(alone.end(), one.begin(), one.end());
      }
      EXPECT_TRUE(testing::SameBits(alone, expected)) << Name(path);
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
