// Block quantisers and the Hadamard rotation: the golden scales of model.md 17, short blocks, bias,
// and the matrix itself.
#include "numerics/blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "numerics/formats.h"

namespace fathom::numerics {
namespace {

std::vector<float> RandomValues(size_t n, float size) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, size);
  std::vector<float> x(n);
  for (float& value : x) value = normal(random);
  return x;
}

TEST(E4M3Scale, GoldenScales) {
  const std::pair<float, int> golden[] = {
      {3.0f, 120},   {448.0f, 127}, {450.0f, 128}, {1e-5f, 105}, {0.0f, 105},
      {0.875f, 118}, {1.75f, 119},  {7.0f, 121},   {2.0f, 120},  {0.87890625f, 119}};
  for (const auto& [amax, code] : golden) {
    const std::vector<float> block = {0.0f, -amax, amax / 2};
    EXPECT_EQ(E4M3Scale(block), code) << amax;
  }
}

TEST(E2M1Scale, GoldenScales) {
  const std::pair<float, int> golden[] = {{6.0f, 127}, {6.03125f, 128},  {0.0f, 1},
                                          {3.0f, 126}, {1.0f, 125},      {0.75f, 124},
                                          {1.5f, 125}, {1.5078125f, 126}};
  for (const auto& [amax, code] : golden) {
    const std::vector<float> block = {amax / 2, -amax, 0.0f};
    EXPECT_EQ(E2M1Scale(block), code) << amax;
  }
}

TEST(QuantizeE4M3, CodesAndScalesStandForTheSimulatedValues) {
  for (const size_t n : {1u, 63u, 64u, 65u, 128u, 200u}) {
    const std::vector<float> x = RandomValues(n, 10.0f);
    std::vector<float> simulated = x;
    SimulateE4M3(simulated, 64);
    std::vector<uint8_t> codes(n), scales((n + 63) / 64);
    QuantizeE4M3(x, 64, codes, scales);
    for (size_t i = 0; i < n; ++i) {
      const float scale = E8M0ToFloat(scales[i / 64]);
      EXPECT_EQ(E4M3ToFloat(codes[i]) * scale, simulated[i]);
      EXPECT_EQ(RoundToBF16(simulated[i]), simulated[i]);
      // Half a step of three fraction bits, or half of the smallest step.
      EXPECT_LE(std::fabs(simulated[i] - x[i]),
                std::max(std::fabs(x[i]) * 0x1p-4f, scale * 0x1p-10f));
      EXPECT_LE(std::fabs(x[i]) / scale, kE4M3Max);
    }
  }
}

TEST(QuantizeE2M1, CodesAndScalesStandForTheSimulatedValues) {
  for (const size_t n : {1u, 31u, 32u, 33u, 128u}) {
    const std::vector<float> x = RandomValues(n, 0.1f);
    std::vector<float> simulated = x;
    SimulateE2M1(simulated);
    std::vector<uint8_t> codes(n), scales((n + 31) / 32);
    QuantizeE2M1(x, codes, scales);
    for (size_t i = 0; i < n; ++i) {
      const float scale = E8M0ToFloat(scales[i / 32]);
      EXPECT_EQ(E2M1ToFloat(codes[i]) * scale, simulated[i]);
      EXPECT_EQ(RoundToBF16(simulated[i]), simulated[i]);
      EXPECT_LE(std::fabs(x[i]) / scale, kE2M1Max);
      EXPECT_LE(std::fabs(simulated[i] - x[i]), std::max(std::fabs(x[i]) * 0.25f, scale * 0.25f));
    }
  }
}

TEST(Quantize, SimulationIsItsOwnFixedPoint) {
  std::vector<float> x = RandomValues(256, 3.0f);
  SimulateE4M3(x, 128);
  std::vector<float> again = x;
  SimulateE4M3(again, 128);
  EXPECT_EQ(again, x);
}

// The signed errors of many random values average to nothing: below four standard errors.
TEST(Quantize, RoundingHasNoBias) {
  for (const bool fp4 : {false, true}) {
    const std::vector<float> x = RandomValues(1 << 16, 1.0f);
    std::vector<float> y = x;
    if (fp4) {
      SimulateE2M1(y);
    } else {
      SimulateE4M3(y, 128);
    }
    double sum = 0, squares = 0;
    int64_t up = 0, down = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double error = static_cast<double>(y[i]) - static_cast<double>(x[i]);
      sum += error;
      squares += error * error;
      up += error > 0;
      down += error < 0;
    }
    const double n = static_cast<double>(x.size());
    EXPECT_LE(std::fabs(sum), 4 * std::sqrt(squares));
    EXPECT_LE(std::fabs(static_cast<double>(up - down)), 4 * std::sqrt(n));
    EXPECT_GT(up, 1 << 13);
  }
}

TEST(QuantizeInt8, GoldenBlocks) {
  const float inf = std::numeric_limits<float>::infinity();
  const struct {
    std::vector<float> x;
    float scale;
    std::vector<int8_t> codes;
  } golden[] = {
      {{1, -1, 0.5f, 0}, 0x1p-6f, {64, -64, 32, 0}},
      // Ties go to even, and the largest code is 127 on either side.
      {{1, 0.0078125f, 0.0234375f, -0.0390625f}, 0x1p-6f, {64, 0, 2, -2}},
      {{0x1.fffffep0f, -0x1.fffffep0f, 0x1.fap0f}, 0x1p-6f, {127, -127, 126}},
      {{3, 448}, 0x1p2f, {1, 112}},
      {{0, -0.0f}, 0x1p-106f, {0, 0}},
      {{0x1p-100f, 0x1p-126f}, 0x1p-106f, {64, 0}},
      {{0x1p-110f, 0x1p-149f}, 0x1p-106f, {0, 0}},
      {{std::numeric_limits<float>::max(), 0x1p127f}, 0x1p121f, {127, 64}},
  };
  for (const auto& block : golden) {
    std::vector<int8_t> codes(block.x.size(), 99);
    EXPECT_EQ(QuantizeInt8(block.x, codes), block.scale);
    EXPECT_EQ(codes, block.codes);
  }
  for (const float bad : {inf, -inf, std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<int8_t> codes(2, 99);
    EXPECT_TRUE(std::isnan(QuantizeInt8(std::vector<float>{1, bad}, codes)));
    EXPECT_EQ(codes, (std::vector<int8_t>{0, 0}));
  }
}

// Half a step, which is a 64th of a power of two not above the largest value; a whole one where
// that value itself would be 128.
TEST(QuantizeInt8, ErrorsAreHalfAStep) {
  for (const float size : {0.01f, 1.0f, 300.0f}) {
    const std::vector<float> x = RandomValues(32, size);
    std::vector<int8_t> codes(32);
    const float scale = QuantizeInt8(x, codes);
    float largest = 0;
    for (const float value : x) largest = std::max(largest, std::fabs(value));
    EXPECT_LE(scale * 64, largest);
    EXPECT_GT(scale * 128, largest);
    for (size_t i = 0; i < 32; ++i)
      EXPECT_LE(std::fabs(x[i] - codes[i] * scale),
                std::fabs(x[i]) > 127.5f * scale ? scale : 0.5f * scale);
  }
}

TEST(Hadamard, GoldenUnitVector) {
  std::vector<float> x(128, 0.0f);
  x[5] = 1;
  Hadamard(x);
  const int signs[16] = {1, -1, 1, -1, -1, 1, -1, 1, 1, -1, 1, -1, -1, 1, -1, 1};
  for (size_t i = 0; i < 128; ++i) {
    EXPECT_EQ(x[i], static_cast<float>(signs[i % 16]) * 0.088388346f);
    EXPECT_EQ(std::fabs(RoundToBF16(x[i])), 0.08837890625f);
  }
}

// Entry (i, j) is (-1)^popcount(i & j) / sqrt(n); log2(n) additions and one product round.
TEST(Hadamard, IsTheSylvesterMatrix) {
  for (const size_t n : {1u, 2u, 4u, 32u, 128u}) {
    const std::vector<float> x = RandomValues(n, 1.0f);
    std::vector<float> y = x;
    Hadamard(y);
    for (size_t i = 0; i < n; ++i) {
      double sum = 0, magnitude = 0;
      for (size_t j = 0; j < n; ++j) {
        sum += (std::popcount(i & j) % 2 == 0 ? 1.0 : -1.0) * static_cast<double>(x[j]);
        magnitude += std::fabs(static_cast<double>(x[j]));
      }
      const double root = std::sqrt(static_cast<double>(n));
      EXPECT_LE(std::fabs(static_cast<double>(y[i]) - sum / root), 10 * 0x1p-24 * magnitude / root);
    }
  }
}

}  // namespace
}  // namespace fathom::numerics
