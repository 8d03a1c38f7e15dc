// For the tests of this room: seeded inputs of every format, ordinary and wild, and the comparison
// of results bit for bit. No kernel lives here.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/context.h"
#include "kernels/linear.h"
#include "numerics/formats.h"
#include "tensor/view.h"

namespace fathom::kernels::testing {

class Random : public SplitMix64 {
 public:
  using SplitMix64::SplitMix64;
  int64_t Below(int64_t n) { return static_cast<int64_t>(Bits() % static_cast<uint64_t>(n)); }
  // In [-1, 1).
  float Signed() { return static_cast<float>(Below(1 << 24)) * 0x1p-23f - 1.0f; }
  float SignedBF16() { return numerics::RoundToBF16(Signed()); }
};

enum class Values {
  kOrdinary,   // what checkpoints hold
  kWild,       // any bits: NaN, infinities, subnormals, overflowing products
  kTiny,       // exponents down to the subnormals: most products underflow, some barely
  kFar,        // values and scales of 2^-40 to 2^40: products far from each other, all normal
  kFarScales,  // ordinary values under scales of any bits
};

// A float of any bits, but half of the time an ordinary one, so that not every sum is NaN.
inline float WildFloat(Random& random) {
  if (random.Below(64) != 0) return random.Signed();
  return std::bit_cast<float>(static_cast<uint32_t>(random.Bits()));
}

inline float TinyFloat(Random& random) {
  const uint32_t exponent = static_cast<uint32_t>(random.Below(73));  // 2^-55 and below
  return std::bit_cast<float>((static_cast<uint32_t>(random.Bits()) & 0x807fffffu) |
                              (exponent << 23));
}

// Of 2^-40 to 2^41.
inline float FarFloat(Random& random) {
  const uint32_t exponent = static_cast<uint32_t>(127 - 40 + random.Below(81));
  return std::bit_cast<float>((static_cast<uint32_t>(random.Bits()) & 0x807fffffu) |
                              (exponent << 23));
}

inline float RandomFloat(Values values, Random& random) {
  if (values == Values::kWild) return WildFloat(random);
  if (values == Values::kFar) return FarFloat(random);
  return values == Values::kTiny ? TinyFloat(random) : random.Signed();
}

inline uint8_t RandomScale(Values values, Random& random) {
  if (values == Values::kWild || values == Values::kFarScales)
    return static_cast<uint8_t>(random.Bits());
  return static_cast<uint8_t>(values == Values::kFar ? 127 - 40 + random.Below(81)
                                                     : 118 + random.Below(12));
}

inline std::vector<float> RandomFloats(int64_t n, Values values, bool bf16, Random& random) {
  std::vector<float> x(static_cast<size_t>(n));
  const uint32_t mask = bf16 ? 0xffff0000u : 0xffffffffu;
  for (float& v : x)
    v = std::bit_cast<float>(std::bit_cast<uint32_t>(RandomFloat(values, random)) & mask);
  return x;
}

// A weight matrix whose bytes start at an odd address and end with the allocation, so that the
// address sanitizer sees every read past them.
struct Weights {
  tensor::QuantView view;
  std::vector<std::byte> memory;
  std::vector<uint8_t> scales;
};

inline Weights RandomWeights(tensor::Format format, int64_t rows, int64_t cols, Values values,
                             Random& random, int64_t row_offset = 0) {
  Weights w;
  w.view = {format, nullptr, nullptr, rows, cols, format == tensor::Format::kFp8 ? row_offset : 0};
  const int64_t bytes = rows * w.view.row_bytes();
  w.memory.resize(static_cast<size_t>(bytes) + 1);
  std::byte* data = w.memory.data() + 1;
  for (int64_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(random.Bits() & 0xff);
  const bool is_wild = values == Values::kWild;
  if (format == tensor::Format::kF32 || format == tensor::Format::kBF16) {
    for (int64_t i = 0; i < rows * cols; ++i) {
      const float value = RandomFloat(values, random);
      const uint32_t bits = std::bit_cast<uint32_t>(value);
      const uint16_t half = static_cast<uint16_t>(bits >> 16);
      if (format == tensor::Format::kF32) std::memcpy(data + 4 * i, &bits, 4);
      if (format == tensor::Format::kBF16) std::memcpy(data + 2 * i, &half, 2);
    }
  }
  if (format == tensor::Format::kFp8 && !is_wild)
    for (int64_t i = 0; i < bytes; ++i)
      if ((data[i] & std::byte{0x7f}) == std::byte{0x7f}) data[i] = std::byte{0x3a};
  const int64_t scale_bytes = w.view.bytes() - bytes;
  for (int64_t i = 0; i < scale_bytes; ++i) w.scales.push_back(RandomScale(values, random));
  w.view.data = data;
  w.view.scale = w.scales.data();
  return w;
}

inline std::vector<Path> AvailablePaths() {
  std::vector<Path> paths;
  for (const Path path : kAllPaths)
    if (IsAvailable(path)) paths.push_back(path);
  return paths;
}

// Equal bits; any NaN equals any NaN, because which of two NaN operands an instruction passes on
// depends on their order.
inline bool SameBits(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

inline ::testing::AssertionResult SameBits(const std::vector<float>& a,
                                           const std::vector<float>& b) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < a.size(); ++i)
    if (!SameBits(a[i], b[i]))
      return ::testing::AssertionFailure()
             << "element " << i << " of " << a.size() << ": " << a[i] << " against " << b[i];
  return ::testing::AssertionSuccess();
}

// gamma_n of the error bound of a sum of n terms, u = 2^-24. Ref: Higham, Accuracy and Stability,
// sec. 3.1.
inline double Gamma(int64_t n) {
  const double nu = static_cast<double>(n) * 0x1p-24;
  return nu / (1 - nu);
}

// A context that owns what it names.
struct TestContext {
  TestContext(int threads, Path path, numerics::Mode mode = numerics::Mode::kOfficial)
      : pool(threads), ctx{pool, workspace, path, mode} {}
  ThreadPool pool;
  Workspace workspace;
  Context ctx;
};

}  // namespace fathom::kernels::testing
