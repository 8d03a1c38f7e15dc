// The number formats: every code, golden codes, ties, nearest by brute force, and rounding without
// bias.
#include "numerics/formats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

namespace fathom::numerics {
namespace {

float FromBits(uint32_t bits) { return std::bit_cast<float>(bits); }
uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

// E4M3 by its definition: sign, 4 bits of exponent with bias 7, 3 bits of fraction.
float E4M3ByDefinition(int code) {
  const int exponent = code >> 3 & 15, fraction = code & 7;
  if ((code & 0x7f) == 0x7f) return NAN;
  const double value =
      exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return static_cast<float>(code & 0x80 ? -value : value);
}

TEST(E4M3, EveryCodeHasItsValueAndComesBack) {
  for (int code = 0; code < 256; ++code) {
    const float value = E4M3ToFloat(static_cast<uint8_t>(code));
    if ((code & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_EQ(std::signbit(value), code == 0xff);
    } else {
      EXPECT_EQ(Bits(value), Bits(E4M3ByDefinition(code))) << "code " << code;
    }
    EXPECT_EQ(FloatToE4M3(value), code);
  }
}

TEST(E4M3, GoldenCodes) {
  const std::pair<float, int> golden[] = {
      {0.0f, 0x00},    {1.0f, 0x38},      {-1.0f, 0xb8},      {448.0f, 0x7e},
      {500.0f, 0x7e},  {0x1p-9f, 0x01},   {0x1p-10f, 0x00},   {1.5f * 0x1p-10f, 0x01},
      {17.0f, 0x58},   {18.0f, 0x59},     {19.0f, 0x5a},      {-0.3f, 0xaa},
      {300.0f, 0x79},  {240.0f, 0x77},    {1.0625f, 0x38},    {1.1875f, 0x3a},
      {-0.0f, 0x80},   {HUGE_VALF, 0x7e}, {-HUGE_VALF, 0xfe}, {0.0146484375f, 0x08},
      {-500.0f, 0xfe}, {0x1p-149f, 0x00}, {-0x1p-140f, 0x80},
  };
  for (const auto& [value, code] : golden) EXPECT_EQ(FloatToE4M3(value), code) << value;
  EXPECT_EQ(FloatToE4M3(NAN) & 0x7f, 0x7f);
}

TEST(E2M1, EveryCodeHasItsValueAndComesBack) {
  const float magnitudes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (int code = 0; code < 16; ++code) {
    const float expected = code < 8 ? magnitudes[code] : -magnitudes[code - 8];
    const float value = E2M1ToFloat(static_cast<uint8_t>(code));
    EXPECT_EQ(Bits(value), Bits(expected));
    EXPECT_EQ(FloatToE2M1(value), code);
    EXPECT_EQ(Bits(E2M1ToFloat(static_cast<uint8_t>(code | 0xf0))), Bits(expected));
  }
}

TEST(E2M1, GoldenCodes) {
  const std::pair<float, int> golden[] = {
      {0.25f, 0}, {0.75f, 2}, {1.25f, 2},  {1.75f, 4}, {2.49f, 4},  {2.5f, 4},        {3.5f, 6},
      {5.0f, 6},  {5.01f, 7}, {-0.25f, 8}, {-0.1f, 8}, {100.0f, 7}, {-HUGE_VALF, 15},
  };
  for (const auto& [value, code] : golden) EXPECT_EQ(FloatToE2M1(value), code) << value;
  EXPECT_EQ(FloatToE2M1(NAN) & 7, 7);
}

TEST(E8M0, EveryCodeIsItsPowerOfTwo) {
  for (int code = 0; code < 255; ++code)
    EXPECT_EQ(E8M0ToFloat(static_cast<uint8_t>(code)),
              static_cast<float>(std::ldexp(1.0, code - 127)));
  EXPECT_TRUE(std::isnan(E8M0ToFloat(255)));
}

TEST(E8M0, CeilPow2IsTheSmallestPowerNotBelow) {
  for (int code = 1; code < 254; ++code) {
    const float power = E8M0ToFloat(static_cast<uint8_t>(code));
    EXPECT_EQ(CeilPow2(power), code);
    EXPECT_EQ(CeilPow2(std::nextafter(power, HUGE_VALF)), code + 1);
    EXPECT_EQ(CeilPow2(power * 1.999f), code + 1);
  }
}

TEST(BF16, EveryCodeComesBack) {
  for (uint32_t code = 0; code < 0x10000u; ++code) {
    const float value = ToFloat(BF16{static_cast<uint16_t>(code)});
    // A signalling NaN comes back quiet.
    const uint32_t expected = std::isnan(value) ? code | 0x40u : code;
    ASSERT_EQ(ToBF16(value).bits, expected);
  }
}

TEST(BF16, RoundsToNearestEven) {
  EXPECT_EQ(Bits(RoundToBF16(FromBits(0x3f808000u))), 0x3f800000u);  // tie, even below
  EXPECT_EQ(Bits(RoundToBF16(FromBits(0x3f818000u))), 0x3f820000u);  // tie, even above
  EXPECT_EQ(Bits(RoundToBF16(FromBits(0x3f808001u))), 0x3f810000u);
  EXPECT_EQ(Bits(RoundToBF16(FromBits(0x3f807fffu))), 0x3f800000u);
  EXPECT_EQ(Bits(RoundToBF16(FromBits(0x7f7fffffu))), 0x7f800000u);  // overflow
  EXPECT_EQ(Bits(RoundToBF16(FromBits(0xff7fffffu))), 0xff800000u);
  EXPECT_EQ(Bits(RoundToBF16(FromBits(0x00008001u))), 0x00010000u);  // subnormal
  EXPECT_EQ(Bits(RoundToBF16(-0.0f)), 0x80000000u);
  EXPECT_TRUE(std::isnan(RoundToBF16(FromBits(0x7f800001u))));
  EXPECT_TRUE(std::isnan(RoundToBF16(FromBits(0x7fffffffu))));
}

// The rounded value must be nearest among all finite values, and on a tie its code must be even;
// past the largest value it saturates.
void ExpectNearest(const std::vector<float>& magnitudes, float value, float rounded, int code) {
  const double a = std::fabs(static_cast<double>(value));
  const double distance = std::fabs(a - std::fabs(static_cast<double>(rounded)));
  EXPECT_EQ(std::signbit(value), std::signbit(rounded));
  for (size_t other = 0; other < magnitudes.size(); ++other) {
    const double d = std::fabs(a - static_cast<double>(magnitudes[other]));
    ASSERT_LE(distance, d) << value << " rounded to " << rounded;
    if (d == distance && static_cast<int>(other) != code) {
      ASSERT_EQ(code % 2, 0) << value;
    }
  }
}

template <typename F>
void ForRandomMagnitudes(float low, float high, F body) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> exponent(std::log2(low), std::log2(high));
  for (int i = 0; i < 20000; ++i) {
    const float value = static_cast<float>(std::exp2(exponent(random)));
    body(i % 2 == 0 ? value : -value);
  }
}

TEST(E4M3, RoundsToTheNearest) {
  std::vector<float> magnitudes;
  for (int code = 0; code < 0x7f; ++code) magnitudes.push_back(E4M3ByDefinition(code));
  const auto check = [&](float value) {
    const uint8_t code = FloatToE4M3(value);
    ExpectNearest(magnitudes, value, E4M3ToFloat(code), code & 0x7f);
  };
  ForRandomMagnitudes(0x1p-13f, 1000.0f, check);
  for (size_t i = 0; i + 1 < magnitudes.size(); ++i) {
    const float middle = (magnitudes[i] + magnitudes[i + 1]) / 2;  // exact
    for (const float value :
         {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, HUGE_VALF)}) {
      check(value);
      check(-value);
    }
  }
}

TEST(E2M1, RoundsToTheNearest) {
  const std::vector<float> magnitudes = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  const auto check = [&](float value) {
    const uint8_t code = FloatToE2M1(value);
    ExpectNearest(magnitudes, value, E2M1ToFloat(code), code & 7);
  };
  ForRandomMagnitudes(0x1p-6f, 10.0f, check);
  for (size_t i = 0; i + 1 < magnitudes.size(); ++i) {
    const float middle = (magnitudes[i] + magnitudes[i + 1]) / 2;
    for (const float value :
         {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, HUGE_VALF)}) {
      check(value);
      check(-value);
    }
  }
}

// Over an evenly filled binade as many values go up as down, ties included: every pair of codes
// meets one tie upward and the next one downward.
void ExpectNoBias(const std::function<float(float)>& round, float low, float high, int steps) {
  int64_t up = 0, down = 0;
  double error = 0, size = 0;
  for (int i = 0; i < steps; ++i) {
    const float value = low + (high - low) * static_cast<float>(i) / static_cast<float>(steps);
    const float rounded = round(value);
    up += rounded > value;
    down += rounded < value;
    error += static_cast<double>(rounded) - static_cast<double>(value);
    size += std::fabs(static_cast<double>(rounded) - static_cast<double>(value));
  }
  EXPECT_GT(up, steps / 4);
  EXPECT_EQ(up, down);
  EXPECT_LE(std::fabs(error), 1e-6 * size);
}

TEST(Formats, RoundingHasNoBias) {
  // Steps are powers of two finer than the spacing, so the values and their ties are exact.
  ExpectNoBias([](float x) { return RoundToBF16(x); }, 1.0f, 2.0f, 1 << 13);
  ExpectNoBias([](float x) { return E4M3ToFloat(FloatToE4M3(x)); }, 1.0f, 2.0f, 1 << 10);
  ExpectNoBias([](float x) { return E4M3ToFloat(FloatToE4M3(x)); }, 0.0f, 0x1p-6f, 1 << 10);
  ExpectNoBias([](float x) { return E2M1ToFloat(FloatToE2M1(x)); }, 0.0f, 2.0f, 1 << 10);
  ExpectNoBias([](float x) { return E2M1ToFloat(FloatToE2M1(x)); }, 2.0f, 4.0f, 1 << 10);
}

}  // namespace
}  // namespace fathom::numerics
