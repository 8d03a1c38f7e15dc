// Products of FP4 weights and bytes: every path gives the bits of the reference, over odd shapes,
// unaligned weights, padded strides and values of any bits. Packing is tested with the other row
// operations.
#include "kernels/int8_stretch.h"

#include <gtest/gtest.h>

#include "kernels/kernel_testing.h"
#include "kernels/paths.h"
#include "kernels/row_ops.h"
#include "numerics/flush.h"

namespace fathom::kernels {
namespace {

using tensor::Format;
using testing::Random;
using testing::SameBits;
using testing::Values;

// FP4 rows [1, rows) against `count` byte inputs with every path.
void CheckInt8(int64_t rows, int64_t cols, int64_t count, Values values, Random& random) {
  SCOPED_TRACE(fmt::format("rows {} cols {} count {} values {}", rows, cols, count,
                           static_cast<int>(values)));
  const testing::Weights w = testing::RandomWeights(Format::kFp4, rows, cols, values, random);
  const size_t stretches = static_cast<size_t>(Int8Stretches(cols));
  std::vector<std::vector<Int8Stretch>> x;
  std::vector<const Int8Stretch*> inputs;
  for (int64_t i = 0; i < count; ++i) {
    x.emplace_back(stretches);
    kReferenceRowOps.pack_int8(testing::RandomFloats(cols, values, true, random).data(), cols,
                               x.back().data());
  }
  for (const auto& input : x) inputs.push_back(input.data());
  const int64_t begin = rows > 1 ? 1 : 0, stride = rows - begin + 3;
  const auto run = [&](Path path) {
    std::vector<float> y(static_cast<size_t>(count * stride), -7.0f);
    const numerics::FlushSubnormals flush;
    OpsOf(path).dot_int8({w.view, begin, rows, count, y.data(), stride}, inputs.data());
    return y;
  };
  const std::vector<float> expected = run(Path::kReference);
  for (const Path path : testing::AvailablePaths())
    EXPECT_TRUE(SameBits(run(path), expected)) << Name(path);
}

TEST(Int8Products, HaveTheBitsOfTheReference) {
  Random random(8);
  for (const Values values : {Values::kOrdinary, Values::kWild, Values::kTiny, Values::kFar}) {
    for (const int64_t cols : {2, 30, 32, 34, 96, 126, 160, 480, 512, 514, 1000, 1184, 2560})
      for (const int64_t count : {1, 2, 3, 4, 5, 7, 8, 9, 17})
        CheckInt8(3 + count % 3, cols, count, values, random);
  }
  for (const int64_t cols : {2048, 3072, 4096, 7168})
    CheckInt8(5, cols, 4, Values::kOrdinary, random);
}

#if defined(FATHOM_EMULATED) || defined(FATHOM_SANITIZED)
constexpr Values kManyInputValues[] = {Values::kOrdinary, Values::kFarScales};
#else
constexpr Values kManyInputValues[] = {Values::kOrdinary, Values::kFar, Values::kFarScales,
                                       Values::kTiny, Values::kWild};
#endif

// Rows around panels, inputs beyond those that are decoded for in registers, and scales that are
// multiplied by adding exponents or not.
TEST(Int8Products, OfManyInputs) {
  Random random(9);
  for (const Values values : kManyInputValues) {
    for (const int64_t rows : {2, 18, 65, 70, 131}) CheckInt8(rows, 608, 30, values, random);
    CheckInt8(21, 5216, 19, values, random);
    CheckInt8(35, 544, 131, values, random);
  }
  CheckInt8(2, 66048, 18, Values::kOrdinary, random);  // too long for a panel
}

// Every code alone against one, at every place.
TEST(Int8Products, EveryCodeTimesOne) {
  const std::vector<uint8_t> scales(16, 128);  // 2
  for (int64_t k = 0; k < kStretch; ++k) {
    std::vector<float> one(kStretch, 0.0f);
    one[static_cast<size_t>(k)] = 1.0f;
    Int8Stretch x;
    kReferenceRowOps.pack_int8(one.data(), kStretch, &x);
    const Int8Stretch* inputs[1] = {&x};
    for (int code = 0; code < 16; ++code) {
      std::vector<std::byte> row(kStretch / 2, std::byte{0x77});
      std::byte& pair = row[static_cast<size_t>(k / 2)];
      pair = static_cast<std::byte>(k % 2 == 0 ? 0x70 | code : code << 4 | 7);
      const tensor::QuantView w{Format::kFp4, row.data(), scales.data(), 1, kStretch, 0};
      for (const Path path : testing::AvailablePaths()) {
        float y = -1;
        OpsOf(path).dot_int8({w, 0, 1, 1, &y, 1}, inputs);
        ASSERT_EQ(y, 2 * numerics::E2M1ToFloat(static_cast<uint8_t>(code)))
            << Name(path) << " code " << code << " at " << k;
      }
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
