// Each setting by itself on small rows, their order, the draw's distribution, and unusable logits.
#include "sampling/sampler.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <string>

namespace fathom::sampling {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Row = std::vector<float>;

TokenId SampleOnce(const Params& params, const Row& logits, int64_t position = 0,
                   std::span<const uint64_t> allowed = {}) {
  Sampler sampler(params, std::ssize(logits));
  return sampler.Sample(logits, position, allowed).token;
}

// How often each token comes out of `draws` positions.
std::map<TokenId, int> Draws(const Params& params, const Row& logits, int draws = 4000) {
  Sampler sampler(params, std::ssize(logits));
  std::map<TokenId, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sampler.Sample(logits, i).token];
  return counts;
}

std::vector<TokenId> Support(const Params& params, const Row& logits) {
  std::vector<TokenId> tokens;
  for (const auto& [token, count] : Draws(params, logits)) tokens.push_back(token);
  return tokens;
}

using Tokens = std::vector<TokenId>;

TEST(SamplerTest, GreedyTakesTheLargestAndTheLowerIdOnATie) {
  EXPECT_EQ(SampleOnce({.temperature = 0}, {1, 3, 2, 3}), 1);
  EXPECT_EQ(SampleOnce({.temperature = 0}, {-5, -4, -6}), 1);
}

// Each frequency is binomial; six standard deviations of n = 40000 draws fail once in 5e8 runs, and
// the draws are the same in every run.
TEST(SamplerTest, DrawsFollowTheSoftmaxAtATemperature) {
  const Row logits = {std::log(1.0f), std::log(2.0f), std::log(5.0f)};
  constexpr int kDraws = 40000;
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    const auto counts = Draws({.temperature = temperature, .seed = 7}, logits, kDraws);
    double total = 0;
    for (const float logit : logits) total += std::exp(logit / temperature);
    for (size_t i = 0; i < logits.size(); ++i) {
      const double p = std::exp(logits[i] / temperature) / total;
      EXPECT_NEAR(counts.at(static_cast<TokenId>(i)), p * kDraws,
                  6 * std::sqrt(kDraws * p * (1 - p)))
          << "token " << i << " at " << temperature;
    }
  }
}

TEST(SamplerTest, TheDrawDependsOnSeedStreamAndPositionOnly) {
  Row logits(50);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i % 7);
  const auto text = [&](const Params& params) {
    Sampler sampler(params, std::ssize(logits));
    Tokens tokens;
    for (int i = 0; i < 64; ++i) tokens.push_back(sampler.Sample(logits, i).token);
    return tokens;
  };
  const Tokens first = text({.seed = 1});
  EXPECT_EQ(text({.seed = 1}), first);
  EXPECT_NE(text({.seed = 2}), first);
  EXPECT_NE(text({.seed = uint64_t{1} << 32 | 1}), first);
  EXPECT_NE(text({.seed = 1, .stream = 1}), first);
  for (int i = 63; i >= 0; --i)
    EXPECT_EQ(SampleOnce({.seed = 1}, logits, i), first[static_cast<size_t>(i)]) << i;
}

// The tokens were computed by a program in another language, from the definition and in double.
TEST(SamplerTest, AnotherMachineGetsTheseTokens) {
  Row logits(100);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>((i * 37) % 100) * 0.0625f;
  Sampler sampler({.temperature = 0.8f, .top_p = 0.9, .seed = 42}, std::ssize(logits));
  Tokens tokens;
  for (int i = 0; i < 12; ++i) tokens.push_back(sampler.Sample(logits, i).token);
  EXPECT_EQ(tokens, (Tokens{97, 83, 86, 78, 35, 35, 81, 62, 43, 8, 43, 35}));
}

TEST(SamplerTest, TopKKeepsTheLargestAndBreaksTiesById) {
  const Row logits = {1, 2, 2, 2, 1.5f};
  EXPECT_EQ(Support({.top_k = 1}, logits), (Tokens{1}));
  EXPECT_EQ(Support({.top_k = 2}, logits), (Tokens{1, 2}));
  EXPECT_EQ(Support({.top_k = 4}, logits), (Tokens{1, 2, 3, 4}));
  EXPECT_EQ(Support({.top_k = 99}, logits), (Tokens{0, 1, 2, 3, 4}));
}

TEST(SamplerTest, TopPKeepsTheSmallestSetThatReachesIt) {
  const Row logits = {std::log(0.1f), std::log(0.5f), std::log(0.15f), std::log(0.25f)};
  EXPECT_EQ(Support({.top_p = 0.01}, logits), (Tokens{1}));
  EXPECT_EQ(Support({.top_p = 0.49}, logits), (Tokens{1}));
  EXPECT_EQ(Support({.top_p = 0.74}, logits), (Tokens{1, 3}));
  EXPECT_EQ(Support({.top_p = 0.76}, logits), (Tokens{1, 2, 3}));
  EXPECT_EQ(Support({.top_p = 0.95}, logits), (Tokens{0, 1, 2, 3}));
}

// The filter that spares sorting must not change the set: compared with the definition.
TEST(SamplerTest, TopPEqualsItsDefinitionOnLongRows) {
  Row logits(800);
  uint32_t state = 1;
  for (float& logit : logits) {
    state = state * 1664525 + 1013904223;
    logit = static_cast<float>(state >> 8) * 0x1p-24f * 12;
  }
  std::vector<std::pair<double, TokenId>> sorted;
  double total = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    sorted.emplace_back(-logits[i], static_cast<TokenId>(i));
    total += std::exp(static_cast<double>(logits[i]));
  }
  std::sort(sorted.begin(), sorted.end());
  for (const double p : {0.1, 0.5, 0.9, 0.999}) {
    double sum = 0;
    std::map<TokenId, bool> kept;
    for (const auto& [minus_logit, token] : sorted) {
      if (sum >= p * total) break;
      kept[token] = true;
      sum += std::exp(-minus_logit);
    }
    int64_t inside = 0;
    const auto counts = Draws({.top_p = p}, logits, 3000);
    for (const auto& [token, count] : counts) inside += kept.contains(token);
    EXPECT_EQ(inside, std::ssize(counts)) << p;
    if (p <= 0.5) {
      EXPECT_EQ(counts.size(), kept.size()) << p;
    }
  }
}

TEST(SamplerTest, MinPComparesWithTheLargestProbability) {
  const Row logits = {std::log(0.6f), std::log(0.31f), std::log(0.09f)};
  EXPECT_EQ(Support({.min_p = 0.1}, logits), (Tokens{0, 1, 2}));
  EXPECT_EQ(Support({.min_p = 0.5}, logits), (Tokens{0, 1}));
  EXPECT_EQ(Support({.min_p = 0.6}, logits), (Tokens{0}));
  EXPECT_EQ(Support({.min_p = 1}, logits), (Tokens{0}));
}

// Top-p counts within what top-k left: 0.5 of 0.5 + 0.25 is two thirds.
TEST(SamplerTest, TopPWorksOnWhatTopKLeft) {
  const Row logits = {std::log(0.5f), std::log(0.25f), std::log(0.15f), std::log(0.1f)};
  EXPECT_EQ(Support({.top_p = 0.6}, logits), (Tokens{0, 1}));
  EXPECT_EQ(Support({.top_k = 2, .top_p = 0.6}, logits), (Tokens{0}));
}

TEST(SamplerTest, TemperatureComesBeforeTopP) {
  const Row logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  EXPECT_EQ(Support({.temperature = 0.25f, .top_p = 0.6}, logits), (Tokens{0}));
  EXPECT_EQ(Support({.temperature = 4, .top_p = 0.6}, logits), (Tokens{0, 1}));
}

TEST(SamplerTest, RepetitionPenaltyCoversPromptAndCompletion) {
  const Row logits = {4, 3, -1, -1.5f};
  Sampler sampler({.temperature = 0, .repetition_penalty = 2}, 4);
  EXPECT_EQ(sampler.Sample(logits, 0).token, 0);
  sampler.Begin(Tokens{0});
  EXPECT_EQ(sampler.Sample(logits, 1).token, 1);  // 2 3 -1 -1.5
  sampler.Accept(1);
  EXPECT_EQ(sampler.Sample(logits, 2).token, 0);  // 2 1.5 -1 -1.5
  sampler.Begin(Tokens{});
  EXPECT_EQ(sampler.Sample(logits, 0).token, 0);
  Sampler negative({.temperature = 0, .repetition_penalty = 2}, 2);
  negative.Begin(Tokens{0});
  EXPECT_EQ(negative.Sample(Row{-1, -1.5f}, 0).token, 1);  // -2 -1.5
}

TEST(SamplerTest, PresenceAndFrequencyPenaltiesCoverTheCompletionOnly) {
  const Row logits = {2, 1.5f};
  Sampler presence({.temperature = 0, .presence_penalty = 1}, 2);
  presence.Begin(Tokens{0, 0, 0});
  EXPECT_EQ(presence.Sample(logits, 0).token, 0);
  presence.Accept(0);
  EXPECT_EQ(presence.Sample(logits, 1).token, 1);
  Sampler frequency({.temperature = 0, .frequency_penalty = 0.2f}, 2);
  frequency.Accept(0);
  frequency.Accept(0);
  EXPECT_EQ(frequency.Sample(logits, 0).token, 0);  // 1.6
  frequency.Accept(0);
  EXPECT_EQ(frequency.Sample(logits, 0).token, 1);  // 1.4
}

TEST(SamplerTest, BiasIsAddedAfterPenalties) {
  EXPECT_EQ(SampleOnce({.temperature = 0, .logit_bias = {{2, 100.0f}}}, {3, 2, 1}), 2);
  EXPECT_EQ(SampleOnce({.temperature = 0, .logit_bias = {{0, -100.0f}, {1, -1.5f}}}, {3, 2, 1}), 2);
  Sampler sampler({.temperature = 0, .repetition_penalty = 10, .logit_bias = {{0, 2.0f}}}, 2);
  sampler.Begin(Tokens{0});
  EXPECT_EQ(sampler.Sample(Row{1, 2}, 0).token, 0);  // 0.1 + 2, not (1 + 2) / 10
}

TEST(SamplerTest, TheMaskExcludes) {
  Row logits(130, 0.0f);
  logits[3] = 9, logits[129] = 5, logits[64] = 4;
  std::array<uint64_t, 3> allowed = {0, 1, 2};  // 64 and 129
  EXPECT_EQ(SampleOnce({.temperature = 0}, logits, 0, allowed), 129);
  allowed[2] = 0;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(SampleOnce({}, logits, i, allowed), 64);
}

TEST(SamplerTest, UnusableLogitsHaveADefinedResult) {
  for (const float temperature : {0.0f, 1.0f}) {
    for (const double top_p : {1.0, 0.9}) {
      const Params params{.temperature = temperature, .top_p = top_p};
      EXPECT_EQ(SampleOnce(params, {kNan, -kInf, 1, kNan}), 2);
      EXPECT_EQ(SampleOnce(params, {kNan, kNan}), 0);
      EXPECT_EQ(SampleOnce(params, {-kInf, -kInf}), 0);
      EXPECT_EQ(SampleOnce(params, {-kInf, 3, kInf, kNan}), 2);
      const std::array<uint64_t, 1> allowed = {2};
      EXPECT_EQ(SampleOnce(params, {5, kNan}, 0, allowed), 1);
      EXPECT_EQ(SampleOnce(params, {-3e38f, 3e38f}), 1);
    }
  }
  EXPECT_EQ(Support({}, {kInf, 1, kInf}), (Tokens{0, 2}));
}

TEST(SamplerTest, TheSmallestTemperatureIsGreedy) {
  EXPECT_EQ(Support({.temperature = std::numeric_limits<float>::denorm_min()}, {1, 1.0001f, 0}),
            (Tokens{1}));
}

// Exp errs by 2 ulp, the sum of three terms and the final rounding by less than that again.
TEST(SamplerTest, LogprobsAreThoseOfTheModel) {
  const Row logits = {1, 3, kNan, 2};
  Sampler sampler({.temperature = 0, .logit_bias = {{3, 50.0f}}, .logprobs = 2}, 4);
  const Sampled sampled = sampler.Sample(logits, 0);
  EXPECT_EQ(sampled.token, 3);
  const double log_sum = std::log(std::exp(1.0) + std::exp(3.0) + std::exp(2.0));
  EXPECT_NEAR(sampled.logprob, 2 - log_sum, 1e-6);
  ASSERT_EQ(sampled.top.size(), 2u);
  EXPECT_EQ(sampled.top[0].token, 1);
  EXPECT_NEAR(sampled.top[0].logprob, 3 - log_sum, 1e-6);
  EXPECT_EQ(sampled.top[1].token, 3);
  EXPECT_EQ(sampled.top[1].logprob, sampled.logprob);
}

TEST(LogprobsTest, AreOfTheTemperedDistributionWhenAskedFor) {
  const std::vector<float> logits = {1, 3, 2, 0};
  Sampler sampler({.temperature = 0.5f, .logprobs = 4, .logprobs_after_temperature = true}, 4);
  const Sampled sampled = sampler.Sample(logits, 0);
  const double log_sum = std::log(std::exp(2) + std::exp(6) + std::exp(4) + std::exp(0));
  ASSERT_EQ(sampled.top.size(), 4u);
  for (const TokenLogprob& entry : sampled.top)
    EXPECT_NEAR(entry.logprob, 2 * logits[static_cast<size_t>(entry.token)] - log_sum, 1e-5);
}

TEST(LogprobsTest, AtTemperatureZeroOnlyTheLargestIsLikely) {
  const std::vector<float> logits = {1, 3, 2, 0};
  Sampler sampler({.temperature = 0, .logprobs = 2, .logprobs_after_temperature = true}, 4);
  const Sampled sampled = sampler.Sample(logits, 0);
  EXPECT_EQ(sampled.token, 1);
  EXPECT_EQ(sampled.logprob, 0);
  EXPECT_EQ(sampled.top[0].logprob, 0);
  EXPECT_EQ(sampled.top[1].token, 2);
  EXPECT_EQ(sampled.top[1].logprob, -9999);
}

TEST(SamplerTest, AsManyLogprobsAsAskedForAndThere) {
  const Row logits = {1, 3, 3, 2};
  const auto top = [&](int64_t n) {
    Sampler sampler({.logprobs = n}, 4);
    Tokens tokens;
    for (const TokenLogprob& entry : sampler.Sample(logits, 0).top) tokens.push_back(entry.token);
    return tokens;
  };
  EXPECT_EQ(top(0), (Tokens{}));
  EXPECT_EQ(top(3), (Tokens{1, 2, 3}));
  EXPECT_EQ(top(100), (Tokens{1, 2, 3, 0}));
}

TEST(ParamsTest, ValuesOutsideTheirRangeAreNamed) {
  const auto message = [](const Params& params) {
    const auto checked = CheckParams(params, 10);
    return checked.ok() ? "" : checked.error().message;
  };
  EXPECT_EQ(message({}), "");
  EXPECT_EQ(message({.temperature = -1}), "temperature: expected a number >= 0, found -1.000000");
  EXPECT_NE(message({.temperature = kNan}), "");
  EXPECT_NE(message({.top_k = -1}), "");
  EXPECT_NE(message({.top_p = 0}), "");
  EXPECT_NE(message({.top_p = 1.5}), "");
  EXPECT_NE(message({.min_p = -0.1}), "");
  EXPECT_NE(message({.repetition_penalty = 0}), "");
  EXPECT_NE(message({.presence_penalty = kInf}), "");
  EXPECT_NE(message({.frequency_penalty = kNan}), "");
  EXPECT_NE(message({.logprobs = -1}), "");
  EXPECT_EQ(message({.logit_bias = {{10, 1.0f}}}),
            "logit_bias: expected token ids below 10, found 10");
  EXPECT_NE(message({.logit_bias = {{1, kInf}}}), "");
}

}  // namespace
}  // namespace fathom::sampling
