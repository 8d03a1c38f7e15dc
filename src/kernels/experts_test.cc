// Routing and expert networks: the worked cases of model.md 17.1, ties, equality of batches with
// single tokens on every path, and a plain double computation.
#include "kernels/experts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernel_testing.h"
#include "kernels/reference/decode.h"
#include "numerics/blocks.h"
#include "numerics/functions.h"

namespace fathom::kernels {
namespace {

using numerics::Mode;
using tensor::Format;
using testing::Random;
using testing::TestContext;
using testing::Values;

TEST(Gate, WorkedCase) {
  std::vector<float> scores = {0, 1, -1, 2};
  TestContext test(1, Path::kReference);
  GateScores({scores.data(), 1, 4}, test.ctx);
  const float expected[] = {0.832555f, 1.145976f, 0.559698f, 1.458399f};
  for (size_t e = 0; e < 4; ++e) EXPECT_NEAR(scores[e], expected[e], 5e-7f);
  const float bias[] = {0.5f, -1.0f, 0.9f, 0.0f};
  int32_t experts[2];
  SelectExperts(scores, bias, experts);
  EXPECT_EQ(experts[0], 2);
  EXPECT_EQ(experts[1], 3);
  float weights[2];
  RoutingWeights(scores, experts, 1.5f, weights);
  EXPECT_NEAR(weights[0], 0.416009f, 5e-7f);
  EXPECT_NEAR(weights[1], 1.083991f, 5e-7f);
}

TEST(Gate, TiesGoToTheLowerExpert) {
  const std::vector<float> scores = {1, 3, 2, 3, 2, 2, 3, 1};
  const std::vector<float> bias(8, 0.25f);
  const auto select = [&](size_t n) {
    std::vector<int32_t> experts(n);
    SelectExperts(scores, bias, experts);
    return experts;
  };
  EXPECT_EQ(select(2), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(select(4), (std::vector<int32_t>{1, 2, 3, 6}));
  EXPECT_EQ(select(5), (std::vector<int32_t>{1, 2, 3, 4, 6}));
  EXPECT_EQ(select(8), (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7}));
}

// Each pick starts from the first expert left and moves on to whatever is larger.
std::vector<int32_t> PickOneByOne(const std::vector<float>& scores, const std::vector<float>& bias,
                                  size_t n) {
  std::vector<int32_t> picks;
  std::vector<bool> taken(scores.size());
  while (picks.size() < n) {
    size_t best = scores.size();
    for (size_t e = 0; e < scores.size(); ++e)
      if (!taken[e] && (best == scores.size() || scores[e] + bias[e] > scores[best] + bias[best]))
        best = e;
    taken[best] = true;
    picks.push_back(static_cast<int32_t>(best));
  }
  std::sort(picks.begin(), picks.end());
  return picks;
}

TEST(Gate, SelectionIsOneByOneForAnyScores) {
  Random random(21);
  for (int round = 0; round < 200; ++round) {
    const size_t experts = static_cast<size_t>(1 + random.Below(300));
    const size_t active =
        static_cast<size_t>(1 + random.Below(std::min<int64_t>(8, static_cast<int64_t>(experts))));
    std::vector<float> scores(experts), bias(experts);
    for (size_t e = 0; e < experts; ++e) {
      // Few distinct values, so that there are ties, and now and then none at all.
      scores[e] = static_cast<float>(random.Below(40)) / 8;
      bias[e] = static_cast<float>(random.Below(3)) / 8;
      if (round % 4 == 0 && random.Below(20) == 0) scores[e] = std::nanf("");
      if (round % 4 == 1 && random.Below(9) == 0)
        scores[e] = -std::numeric_limits<float>::infinity();
    }
    std::vector<int32_t> picks(active);
    SelectExperts(scores, bias, picks);
    EXPECT_EQ(picks, PickOneByOne(scores, bias, active));
  }
}

TEST(Gate, WeightsOfZeroScoresAreZero) {
  const float scores[] = {0, 0, 0};
  const int32_t experts[] = {0, 2};
  float weights[] = {1, 1};
  RoutingWeights(scores, experts, 1.5f, weights);
  EXPECT_EQ(weights[0], 0.0f);
  EXPECT_EQ(weights[1], 0.0f);
}

TEST(SwiGlu, WorkedCases) {
  EXPECT_NEAR(SwiGlu(12, -15, 10, 1, Mode::kPure), -99.99546f, 5e-6f);
  EXPECT_NEAR(SwiGlu(-20, 3, 10, 1, Mode::kPure), -1.2366922e-07f, 1e-13f);
  EXPECT_NEAR(SwiGlu(1.5f, 2, 10, 1, Mode::kPure), 2.4527235f, 3e-7f);
  // Without a limit nothing is clamped; the weight enters before the one rounding.
  EXPECT_NEAR(SwiGlu(12, -15, 0, 1, Mode::kPure), -12.0f * 15.0f / (1 + std::exp(-12.0f)), 2e-5f);
  EXPECT_EQ(SwiGlu(1.5f, 2, 10, 0.3f, Mode::kOfficial),
            numerics::RoundToBF16(SwiGlu(1.5f, 2, 10, 0.3f, Mode::kPure)));
}

struct Experts {
  std::vector<testing::Weights> memory;
  std::vector<ExpertView> views;
};

Experts RandomExperts(Format format, int64_t experts, int64_t dims, int64_t width, Random& random) {
  Experts result;
  for (int64_t e = 0; e < 3 * experts; ++e) {
    const bool is_down = e % 3 == 1;
    result.memory.push_back(testing::RandomWeights(
        format, is_down ? dims : width, is_down ? width : dims, Values::kOrdinary, random));
  }
  for (size_t e = 0; e < static_cast<size_t>(experts); ++e)
    result.views.push_back(
        {result.memory[3 * e].view, result.memory[3 * e + 1].view, result.memory[3 * e + 2].view});
  return result;
}

struct Batch {
  std::vector<float> x;
  std::vector<int32_t> experts;
  std::vector<float> weights;
};

Batch RandomBatch(int64_t tokens, int64_t dims, int64_t experts, int64_t active, Random& random) {
  Batch batch;
  batch.x = testing::RandomFloats(tokens * dims, Values::kOrdinary, true, random);
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> ids;
    while (std::ssize(ids) < active) {
      const int32_t e = static_cast<int32_t>(random.Below(experts));
      if (std::find(ids.begin(), ids.end(), e) == ids.end()) ids.push_back(e);
    }
    std::sort(ids.begin(), ids.end());
    batch.experts.insert(batch.experts.end(), ids.begin(), ids.end());
    for (int64_t a = 0; a < active; ++a) batch.weights.push_back(std::fabs(random.Signed()));
  }
  return batch;
}

constexpr int64_t kDims = 160, kWidth = 96, kExperts = 7, kActive = 3;

std::vector<float> RunRouted(const Batch& batch, int64_t first, int64_t count,
                             const Experts& experts, const Context& ctx) {
  std::vector<float> y(static_cast<size_t>(count * kDims), -7.0f);
  RoutedExperts({batch.x.data() + first * kDims, count, kDims},
                {batch.experts.data() + first * kActive, count, kActive},
                {batch.weights.data() + first * kActive, count, kActive}, experts.views, 10.0f,
                {y.data(), count, kDims}, ctx);
  return y;
}

TEST(RoutedExperts, ManyTokensAtOnceAreEachTokenAlone) {
  Random random(1);
  for (const Format format : {Format::kBF16, Format::kFp8, Format::kFp4}) {
    const Experts experts = RandomExperts(format, kExperts, kDims, kWidth, random);
    for (const int64_t tokens : {1, 2, 17}) {
      const Batch batch = RandomBatch(tokens, kDims, kExperts, kActive, random);
      for (const Mode mode : {Mode::kOfficial, Mode::kPure, Mode::kFast}) {
        std::vector<float> of_family[2];
        for (const Path path : testing::AvailablePaths()) {
          std::vector<float>& expected = of_family[IsTiled(path) ? 1 : 0];
          if (expected.empty()) {
            TestContext plain(1, ReferenceOf(path), mode);
            expected = RunRouted(batch, 0, tokens, experts, plain.ctx);
          }
          for (const int threads : {1, 2}) {
            if (threads == 1 && path == ReferenceOf(path)) continue;  // what is expected
            TestContext test(threads, path, mode);
            EXPECT_TRUE(
                testing::SameBits(RunRouted(batch, 0, tokens, experts, test.ctx), expected));
            std::vector<float> alone;
            for (int64_t t = 0; t < tokens; ++t) {
              const std::vector<float> y = RunRouted(batch, t, 1, experts, test.ctx);
              alone.insert(alone.end(), y.begin(), y.end());
            }
            EXPECT_TRUE(testing::SameBits(alone, expected)) << Name(path) << " threads " << threads;
          }
        }
      }
    }
  }
}

double Dot(const QuantView& w, int64_t o, const std::vector<double>& x) {
  double sum = 0;
  for (int64_t k = 0; k < w.cols; ++k)
    sum += static_cast<double>(reference::CodeValue(w, o, k)) *
           static_cast<double>(reference::ScaleValue(w, o, k)) * x[static_cast<size_t>(k)];
  return sum;
}

// Pure mode against doubles. Each expert is two products and a smooth function between them, whose
// relative condition here is below 4 (|g silu'(g) / silu(g)| <= 1 + |g|, |g| < 3 for these sizes);
// the bound is that of the sums over absolute values carried through both products.
// More tokens for an expert than a chunk of work has.
TEST(RoutedExperts, APromptIsEachTokenAlone) {
  Random random(7);
  constexpr int64_t kTokens = 1000;
  const Batch batch = RandomBatch(kTokens, kDims, kExperts, kActive, random);
  for (const Format format : {Format::kBF16, Format::kFp8, Format::kFp4}) {
    const Experts experts = RandomExperts(format, kExperts, kDims, kWidth, random);
    for (const Path path : testing::AvailablePaths()) {
      if (path == ReferenceOf(path)) continue;
      for (const auto& [threads, mode] :
           {std::pair{1, Mode::kOfficial}, {2, Mode::kOfficial}, {2, Mode::kFast}}) {
        TestContext test(threads, path, mode);
        const std::vector<float> all = RunRouted(batch, 0, kTokens, experts, test.ctx);
        for (const int64_t t : {0, 1, 500, 998, 999}) {
          const std::vector<float> alone = RunRouted(batch, t, 1, experts, test.ctx);
          const auto mine = all.begin() + t * kDims;
          EXPECT_TRUE(testing::SameBits({mine, mine + kDims}, alone))
              << Name(path) << " threads " << threads << " token " << t;
        }
      }
    }
  }
}

TEST(RoutedExperts, AgreesWithDoublesInPureMode) {
  Random random(2);
  const Experts experts = RandomExperts(Format::kFp4, kExperts, kDims, kWidth, random);
  const Batch batch = RandomBatch(5, kDims, kExperts, kActive, random);
  TestContext test(2, BestPath(), Mode::kPure);
  const std::vector<float> y = RunRouted(batch, 0, 5, experts, test.ctx);
  for (int64_t t = 0; t < 5; ++t) {
    const std::vector<double> x(batch.x.begin() + t * kDims, batch.x.begin() + (t + 1) * kDims);
    std::vector<double> magnitude_of_x = x;
    for (double& v : magnitude_of_x) v = std::fabs(v);
    std::vector<double> sum(kDims, 0.0), bound(kDims, 0.0);
    for (int64_t a = 0; a < kActive; ++a) {
      const ExpertView& expert =
          experts.views[static_cast<size_t>(batch.experts[static_cast<size_t>(t * kActive + a)])];
      const double weight =
          static_cast<double>(batch.weights[static_cast<size_t>(t * kActive + a)]);
      std::vector<double> hidden, error;
      for (int64_t f = 0; f < kWidth; ++f) {
        const auto sum_of_magnitudes = [&](const QuantView& w) {
          double s = 0;
          for (int64_t k = 0; k < kDims; ++k)
            s += std::fabs(static_cast<double>(reference::CodeValue(w, f, k)) *
                           static_cast<double>(reference::ScaleValue(w, f, k))) *
                 magnitude_of_x[static_cast<size_t>(k)];
          return s;
        };
        const double gate = std::min(Dot(expert.w1, f, x), 10.0);
        const double up = std::clamp(Dot(expert.w3, f, x), -10.0, 10.0);
        const double silu = gate / (1 + std::exp(-gate));
        hidden.push_back(silu * up * weight);
        // |silu'| < 1.1 everywhere; ten roundings follow, the exponential's among them.
        error.push_back(weight * testing::Gamma(kDims) *
                            (1.1 * sum_of_magnitudes(expert.w1) * std::fabs(up) +
                             std::fabs(silu) * sum_of_magnitudes(expert.w3)) +
                        testing::Gamma(10) * std::fabs(hidden.back()));
      }
      for (int64_t d = 0; d < kDims; ++d) {
        sum[static_cast<size_t>(d)] += Dot(expert.w2, d, hidden);
        for (int64_t f = 0; f < kWidth; ++f) {
          const double w = std::fabs(static_cast<double>(reference::CodeValue(expert.w2, d, f)) *
                                     static_cast<double>(reference::ScaleValue(expert.w2, d, f)));
          bound[static_cast<size_t>(d)] += w * (error[static_cast<size_t>(f)] * 1.001 +
                                                testing::Gamma(kWidth + kActive + 1) *
                                                    std::fabs(hidden[static_cast<size_t>(f)]));
        }
      }
    }
    for (int64_t d = 0; d < kDims; ++d)
      ASSERT_LE(std::fabs(static_cast<double>(y[static_cast<size_t>(t * kDims + d)]) -
                          sum[static_cast<size_t>(d)]),
                bound[static_cast<size_t>(d)])
          << "token " << t << " dim " << d;
  }
}

TEST(SharedExpert, IsARoutedExpertOfWeightOne) {
  Random random(3);
  const Experts experts = RandomExperts(Format::kFp8, 1, kDims, kWidth, random);
  const Batch batch = RandomBatch(6, kDims, 1, 1, random);
  const std::vector<int32_t> ids(6, 0);
  const std::vector<float> ones(6, 1.0f);
  for (const Path path : testing::AvailablePaths()) {
    TestContext test(2, path);
    std::vector<float> routed(6 * kDims), shared(6 * kDims);
    RoutedExperts({batch.x.data(), 6, kDims}, {ids.data(), 6, 1}, {ones.data(), 6, 1},
                  experts.views, 10.0f, {routed.data(), 6, kDims}, test.ctx);
    SharedExpert({batch.x.data(), 6, kDims}, experts.views[0], 10.0f, {shared.data(), 6, kDims},
                 test.ctx);
    EXPECT_TRUE(testing::SameBits(shared, routed)) << Name(path);
  }
}

}  // namespace
}  // namespace fathom::kernels
