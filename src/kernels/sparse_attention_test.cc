// Attention through its door: the worked case of model.md 17.1, equality of batches with single
// tokens, and agreement with doubles.
#include "kernels/sparse_attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/kernel_testing.h"

namespace fathom::kernels {
namespace {

using numerics::Mode;
using testing::Random;
using testing::TestContext;
using testing::Values;

TEST(SparseAttention, WorkedCaseWithASink) {
  // q . row * scale = 0.5 for each of the three rows, whose values stand in the last two channels.
  const float q[] = {1, 0, 0, 0};
  const float rows[3][4] = {{0.5f, 0, 0.5f, 0.25f}, {0.5f, 0, -1, 1}, {0.5f, 0, 2, -0.5f}};
  const float sink[] = {0.75f};
  for (const Path path : testing::AvailablePaths()) {
    TestContext test(1, path, Mode::kPure);
    float o[4] = {};
    const CacheRows cached = FloatRows(rows[0], 4);
    const auto gather = [&](int64_t, const std::byte** list) -> int64_t {
      for (int i = 0; i < 3; ++i) list[i] = cached.row(i);
      return 3;
    };
    SparseAttention({q, 1, 4}, 1, sink, 1.0f, {cached.layout, 3, gather}, {o, 1, 4}, test.ctx);
    EXPECT_NEAR(o[2], 0.3501380f, 1e-7f) << Name(path);
    EXPECT_NEAR(o[3], 0.1750690f, 1e-7f) << Name(path);
    // The sink's share is what is missing from the weights of the constant channel.
    EXPECT_NEAR(1 - o[0] / 0.5f, 0.2997f, 5e-5f) << Name(path);
  }
}

struct Problem {
  int64_t tokens;
  int64_t heads;
  int64_t dim;
  std::vector<float> q;
  std::vector<float> sink;
  std::vector<std::vector<float>> cache;

  int64_t Count(int64_t t) const { return std::min<int64_t>(1 + 37 * t, std::ssize(cache)); }
  std::vector<float> Attend(int64_t first, int64_t count, const Context& ctx) const {
    std::vector<float> o(static_cast<size_t>(count * heads * dim), -7.0f);
    const auto gather = [&](int64_t t, const std::byte** list) {
      const int64_t n = Count(first + t);
      for (int64_t i = 0; i < n; ++i)
        list[i] = reinterpret_cast<const std::byte*>(
            cache[static_cast<size_t>((i * 7 + first + t) % std::ssize(cache))].data());
      return n;
    };
    const RowLayout layout{RowFormat::kF32, dim, 0};
    SparseAttention({q.data() + first * heads * dim, count, heads * dim}, heads, sink, 0.125f,
                    {layout, std::ssize(cache), gather}, {o.data(), count, heads * dim}, ctx);
    return o;
  }
};

Problem RandomProblem(int64_t tokens, int64_t heads, int64_t dim, Random& random) {
  Problem p{tokens,
            heads,
            dim,
            testing::RandomFloats(tokens * heads * dim, Values::kOrdinary, true, random),
            testing::RandomFloats(heads, Values::kOrdinary, false, random),
            {}};
  for (int i = 0; i < 200; ++i)
    p.cache.push_back(testing::RandomFloats(dim, Values::kOrdinary, true, random));
  return p;
}

TEST(SparseAttention, ManyTokensAtOnceAreEachTokenAlone) {
  Random random(1);
  for (const auto& [heads, dim] : {std::pair<int64_t, int64_t>{64, 64}, {3, 20}, {80, 32}}) {
    const Problem problem = RandomProblem(6, heads, dim, random);
    for (const Mode mode : {Mode::kOfficial, Mode::kPure}) {
      for (const Path path : testing::AvailablePaths()) {
        TestContext plain(1, ReferenceOf(path), mode);
        const std::vector<float> expected = problem.Attend(0, 6, plain.ctx);
        for (const int threads : {1, 2, 3}) {
          TestContext test(threads, path, mode);
          EXPECT_TRUE(testing::SameBits(problem.Attend(0, 6, test.ctx), expected)) << Name(path);
          std::vector<float> alone;
          for (int64_t t = 0; t < 6; ++t) {
            const std::vector<float> o = problem.Attend(t, 1, test.ctx);
            alone.insert(alone.end(), o.begin(), o.end());
          }
          EXPECT_TRUE(testing::SameBits(alone, expected)) << Name(path) << " threads " << threads;
        }
      }
    }
  }
}

// A probability carries the relative error e^d - 1 of its score's absolute error d (products, sums
// and two scalings: gamma_{C + 2} sum |q r| scale), a few roundings of the exponential and one per
// rescaling and addition; numerator and denominator both.
TEST(SparseAttention, AgreesWithDoublesInPureMode) {
  Random random(2);
  const int64_t heads = 5, dim = 48;
  const Problem problem = RandomProblem(6, heads, dim, random);
  TestContext test(1, BestPath(), Mode::kPure);
  const std::vector<float> o = problem.Attend(0, 6, test.ctx);
  for (int64_t t = 0; t < 6; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      const float* q = problem.q.data() + (t * heads + h) * dim;
      double mass = std::exp(static_cast<double>(problem.sink[static_cast<size_t>(h)]));
      double score_error = 0;
      std::vector<double> sum(static_cast<size_t>(dim), 0.0), magnitude(sum);
      const int64_t n = problem.Count(t);
      for (int64_t i = 0; i < n; ++i) {
        const auto& row =
            problem.cache[static_cast<size_t>((i * 7 + t) % std::ssize(problem.cache))];
        double score = 0, size = 0;
        for (int64_t c = 0; c < dim; ++c) {
          const double term =
              static_cast<double>(q[c]) * static_cast<double>(row[static_cast<size_t>(c)]);
          score += term * 0.125;
          size += std::fabs(term) * 0.125;
        }
        score_error = std::max(score_error, testing::Gamma(dim + 2) * size);
        const double p = std::exp(score);
        mass += p;
        for (size_t c = 0; c < sum.size(); ++c) {
          sum[c] += p * static_cast<double>(row[c]);
          magnitude[c] += p * std::fabs(static_cast<double>(row[c]));
        }
      }
      // The difference to the maximum is rounded too; scores here are below 8.
      const double relative =
          2 * (std::expm1(2 * score_error + 16 * 0x1p-24) + testing::Gamma(n + 40));
      for (size_t c = 0; c < sum.size(); ++c)
        ASSERT_LE(std::fabs(static_cast<double>(o[static_cast<size_t>((t * heads + h) * dim) + c]) -
                            sum[c] / mass),
                  relative * magnitude[c] / mass)
            << "token " << t << " head " << h << " channel " << c;
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
