// Selection of blocks: exactness, ties, and equality over batches, paths and threads.
#include "kernels/indexer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "kernels/kernel_testing.h"

namespace fathom::kernels {
namespace {

using testing::Random;
using testing::TestContext;
using testing::Values;

std::vector<int32_t> Select(const std::vector<float>& scores, size_t k, Path path) {
  std::vector<int32_t> picks(k);
  std::vector<uint64_t> scratch(scores.size());
  SelectTop(scores, picks, scratch, path);
  return picks;
}

// By a full sort, a NaN as minus infinity.
std::vector<int32_t> Sorted(std::vector<float> scores) {
  for (float& score : scores)
    if (std::isnan(score)) score = -HUGE_VALF;
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  return order;
}

TEST(SelectTop, BestFirstAndTiesGoToTheLowerIndex) {
  const std::vector<float> scores = {1, 3, 2, 3, 2, 2, 3, -1};
  const auto select = [&](size_t k) { return Select(scores, k, Path::kReference); };
  EXPECT_EQ(select(0), (std::vector<int32_t>{}));
  EXPECT_EQ(select(2), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(select(4), (std::vector<int32_t>{1, 3, 6, 2}));
  EXPECT_EQ(select(5), (std::vector<int32_t>{1, 3, 6, 2, 4}));
  EXPECT_EQ(select(8), (std::vector<int32_t>{1, 3, 6, 2, 4, 5, 0, 7}));
  EXPECT_EQ(Select({NAN, -HUGE_VALF, 0.0f, -0.0f, -NAN}, 5, Path::kReference),
            (std::vector<int32_t>{2, 3, 0, 1, 4}));
}

// Shapes of scores that a sample of them may judge wrongly: plateaus, rare large values, order.
TEST(SelectTop, IsTheSortedSelection) {
  Random random(1);
  constexpr int64_t kCount = 50000;
  const std::pair<const char*, std::function<float(int64_t)>> shapes[] = {
      {"distinct", [&](int64_t) { return random.Signed(); }},
      {"500 values", [&](int64_t) { return static_cast<float>(random.Below(500)); }},
      {"one value", [&](int64_t) { return 0.0f; }},
      {"zeros of both signs", [&](int64_t i) { return i % 3 == 0 ? -0.0f : 0.0f; }},
      {"plateau and few above", [&](int64_t) { return random.Below(900) == 0 ? 1.0f : 0.0f; }},
      {"plateau and few below", [&](int64_t) { return random.Below(900) == 0 ? -1.0f : 0.0f; }},
      {"two plateaus", [&](int64_t i) { return i < 300 || i > kCount - 300 ? 1.0f : 0.0f; }},
      {"large values between the sampled ones",
       [&](int64_t i) { return i * 2048 % kCount < 2048 ? 0.0f : random.Signed() + 9; }},
      {"rising", [&](int64_t i) { return static_cast<float>(i); }},
      {"falling", [&](int64_t i) { return static_cast<float>(-i); }},
      {"NaN and infinities",
       [&](int64_t i) { return i % 7 == 0   ? NAN
                               : i % 5 == 0 ? -HUGE_VALF
                                            : random.Signed(); }},
      {"NaN only", [&](int64_t) { return NAN; }},
  };
  for (const auto& [name, shape] : shapes) {
    for (const int64_t n : {int64_t{3000}, int64_t{4096}, kCount}) {
      std::vector<float> scores;
      for (int64_t i = 0; i < n; ++i) scores.push_back(shape(i));
      const std::vector<int32_t> order = Sorted(scores);
      for (const int64_t k : {int64_t{1}, int64_t{7}, int64_t{512}, n - 1, n}) {
        const std::vector<int32_t> expected(order.begin(), order.begin() + k);
        for (const Path path : testing::AvailablePaths())
          EXPECT_EQ(Select(scores, static_cast<size_t>(k), path), expected)
              << name << ", " << k << " of " << n << ", " << Name(path);
      }
    }
  }
}

TEST(SelectBlocks, ManyQueriesAtOnceAreEachQueryAlone) {
  Random random(2);
  const int64_t heads = 24, dim = 32, topk = 40;
  const std::vector<float> keys =
      testing::RandomFloats(2500 * dim, Values::kOrdinary, true, random);
  const std::vector<int64_t> visible = {0, 1, 39, 40, 41, 700, 2049, 2500};
  const int64_t n = std::ssize(visible);
  const std::vector<float> q =
      testing::RandomFloats(n * heads * dim, Values::kOrdinary, true, random);
  const std::vector<float> weights =
      testing::RandomFloats(n * heads, Values::kOrdinary, true, random);
  const CacheRows cached = FloatRows(keys.data(), dim), cached_q = FloatRows(q.data(), dim);
  const auto select = [&](int64_t first, int64_t count, const Context& ctx) {
    std::vector<std::vector<int32_t>> picks(static_cast<size_t>(count));
    std::vector<IndexQuery> queries;
    for (int64_t i = 0; i < count; ++i) {
      auto& mine = picks[static_cast<size_t>(i)];
      const int64_t seen = visible[static_cast<size_t>(first + i)];
      mine.resize(static_cast<size_t>(std::min(topk, seen)));
      queries.push_back({cached_q.row((first + i) * heads), weights.data() + (first + i) * heads,
                         cached, seen, mine.data()});
    }
    SelectBlocks(queries, heads, topk, ctx);
    return picks;
  };
  for (const numerics::Mode mode : {numerics::Mode::kOfficial, numerics::Mode::kPure}) {
    TestContext plain(1, Path::kReference, mode);
    const auto expected = select(0, n, plain.ctx);
    // Everything visible is taken while it fits.
    EXPECT_EQ(std::ssize(expected[3]), topk);
    EXPECT_EQ(*std::max_element(expected[3].begin(), expected[3].end()), topk - 1);
    for (const Path path : testing::AvailablePaths()) {
      for (const int threads : {1, 2}) {
        TestContext test(threads, path, mode);
        EXPECT_EQ(select(0, n, test.ctx), expected) << Name(path);
        for (int64_t i = 0; i < n; ++i)
          EXPECT_EQ(select(i, 1, test.ctx)[0], expected[static_cast<size_t>(i)]) << Name(path);
      }
    }
  }
}

// In pure mode the picks are the best by a plain double computation, up to scores too close to
// tell apart: a pick may fall short of a key left out by the error bound only.
TEST(SelectBlocks, PicksAreTheBestScores) {
  Random random(3);
  const int64_t heads = 8, dim = 32, count = 300, topk = 20;
  const std::vector<float> q = testing::RandomFloats(heads * dim, Values::kOrdinary, true, random);
  const std::vector<float> weights = testing::RandomFloats(heads, Values::kOrdinary, true, random);
  const std::vector<float> keys =
      testing::RandomFloats(count * dim, Values::kOrdinary, true, random);
  std::vector<double> score(count), bound(count);
  for (int64_t b = 0; b < count; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      double dot = 0, size = 0;
      for (int64_t c = 0; c < dim; ++c) {
        const double term = static_cast<double>(q[static_cast<size_t>(h * dim + c)]) *
                            static_cast<double>(keys[static_cast<size_t>(b * dim + c)]);
        dot += term;
        size += std::fabs(term);
      }
      const double weight = static_cast<double>(weights[static_cast<size_t>(h)]);
      score[static_cast<size_t>(b)] += std::max(dot, 0.0) * weight;
      bound[static_cast<size_t>(b)] += testing::Gamma(dim + heads + 1) * size * std::fabs(weight);
    }
  }
  for (const Path path : testing::AvailablePaths()) {
    TestContext test(1, path, numerics::Mode::kPure);
    std::vector<int32_t> picks(topk);
    const IndexQuery query{FloatRows(q.data(), dim).data, weights.data(),
                           FloatRows(keys.data(), dim), count, picks.data()};
    SelectBlocks({&query, 1}, heads, topk, test.ctx);
    double worst = 1e30;
    for (const int32_t b : picks)
      worst = std::min(worst, score[static_cast<size_t>(b)] + bound[static_cast<size_t>(b)]);
    for (int32_t b = 0; b < count; ++b) {
      if (std::find(picks.begin(), picks.end(), b) == picks.end()) {
        EXPECT_LE(score[static_cast<size_t>(b)] - bound[static_cast<size_t>(b)], worst);
      }
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
