// Matrix products through their door: many rows at once are each row alone, on every path and with
// every number of threads; and the sums lie within a derived distance of the exact ones.
#include "kernels/linear.h"

#include <gtest/gtest.h>

#include "kernels/kernel_testing.h"
#include "kernels/reference/decode.h"
#include "numerics/blocks.h"

namespace fathom::kernels {
namespace {

using numerics::Mode;
using tensor::Format;
using testing::Random;
using testing::SameBits;
using testing::TestContext;
using testing::Values;

constexpr Format kFormats[] = {Format::kF32, Format::kBF16, Format::kFp8, Format::kFp4};

// x [T, K] with rows padded to a longer stride.
struct Input {
  std::vector<float> memory;
  MatrixView<const float> view;
};
Input RandomInput(int64_t rows, int64_t cols, Random& random) {
  Input x;
  const int64_t stride = cols + 5;
  x.memory = testing::RandomFloats(rows * stride, Values::kOrdinary, true, random);
  x.view = {x.memory.data(), rows, cols, stride};
  return x;
}

std::vector<float> Multiply(MatrixView<const float> x, const QuantView& w, Activation activation,
                            Output output, const Context& ctx) {
  const int64_t stride = w.rows + 2;
  std::vector<float> y(static_cast<size_t>(x.rows * stride), -7.0f);
  Linear(x, w, activation, output, {y.data(), x.rows, w.rows, stride}, ctx);
  return y;
}

#if defined(FATHOM_SANITIZED) || defined(FATHOM_EMULATED)
constexpr int64_t kCounts[] = {2, 5, 9, 20};
#else
constexpr int64_t kCounts[] = {2, 4, 5, 6, 7, 8, 9, 16, 20, 35, 49};
#endif

// Fast mode is official mode but for FP4 weights.
std::vector<Mode> ModesOf(Format format) {
  if (format == Format::kFp4) return {Mode::kOfficial, Mode::kPure, Mode::kFast};
  return {Mode::kOfficial, Mode::kPure};
}

TEST(Linear, ManyRowsAtOnceAreEachRowAlone) {
  Random random(1);
  for (const Format format : kFormats) {
    const Activation activation =
        format == Format::kF32 ? Activation::kF32 : Activation::kQuantized;
    // Panels of fewer rows for longer ones (21 of 5,200 inputs), and rows too long for any.
    for (const auto& [rows, cols] :
         {std::pair<int64_t, int64_t>{36, 1184}, {257, 96}, {1, 128}, {23, 5200}, {1, 65664}}) {
      const testing::Weights w =
          testing::RandomWeights(format, rows, cols, Values::kOrdinary, random);
      for (const int64_t count : kCounts) {
        if (rows * cols > 50000 && count > 7) continue;  // the plain twin takes long
        const Input x = RandomInput(count, cols, random);
        for (const Mode mode : ModesOf(format)) {
          std::vector<float> of_family[2];
          for (const Path path : testing::AvailablePaths()) {
            std::vector<float>& expected = of_family[IsTiled(path) ? 1 : 0];
            if (expected.empty()) {
              TestContext plain(1, ReferenceOf(path), mode);
              expected = Multiply(x.view, w.view, activation, Output::kBF16, plain.ctx);
            }
            for (const int threads : {1, 2}) {
              if (threads == 1 && path == ReferenceOf(path)) continue;  // what is expected
              TestContext test(threads, path, mode);
              EXPECT_TRUE(
                  SameBits(Multiply(x.view, w.view, activation, Output::kBF16, test.ctx), expected))
                  << Name(path) << " threads " << threads << " rows " << count;
              std::vector<float> alone;
              for (int64_t t = 0; t < count; ++t) {
                const std::vector<float> y =
                    Multiply(x.view.rows_from(t, 1), w.view, activation, Output::kBF16, test.ctx);
                alone.insert(alone.end(), y.begin(), y.end());
              }
              EXPECT_TRUE(SameBits(alone, expected)) << Name(path) << " threads " << threads;
            }
          }
        }
      }
    }
  }
}

// More inputs and rows of weights than a chunk of work has, and than any kernel takes at a time.
// The plain paths would take minutes, and have no sizes of their own.
TEST(Linear, LargeProductsAreEachRowAlone) {
  Random random(6);
  constexpr int64_t kRows = 600, kCols = 608, kCount = 450;
  const Input x = RandomInput(kCount, kCols, random);
  for (const Format format : {Format::kBF16, Format::kFp8, Format::kFp4}) {
    const testing::Weights w =
        testing::RandomWeights(format, kRows, kCols, Values::kOrdinary, random);
    for (const Path path : testing::AvailablePaths()) {
      if (path == ReferenceOf(path)) continue;
      for (const auto& [threads, mode] :
           {std::pair{1, Mode::kOfficial}, {2, Mode::kOfficial}, {2, Mode::kFast}}) {
        if (mode == Mode::kFast && format != Format::kFp4) continue;
        TestContext test(threads, path, mode);
        const auto multiply = [&](int64_t first, int64_t count) {
          return Multiply(x.view.rows_from(first, count), w.view, Activation::kQuantized,
                          Output::kBF16, test.ctx);
        };
        const std::vector<float> all = multiply(0, kCount);
        for (const int64_t t : {0, 15, 16, 31, 223, 224, 383, 384, 449}) {
          const std::vector<float> alone = multiply(t, 1);
          const auto mine = all.begin() + t * std::ssize(alone);
          EXPECT_TRUE(SameBits({mine, mine + std::ssize(alone)}, alone))
              << Name(path) << " threads " << threads << " input " << t;
        }
      }
    }
  }
}

TEST(Linear, NoRowsAreAllowed) {
  Random random(2);
  const testing::Weights w =
      testing::RandomWeights(Format::kFp8, 4, 128, Values::kOrdinary, random);
  for (const Path path : testing::AvailablePaths()) {
    TestContext test(1, path);
    EXPECT_TRUE(Multiply({nullptr, 0, 128}, w.view, Activation::kQuantized, Output::kBF16, test.ctx)
                    .empty());
  }
}

TEST(Linear, RowsOfASliceKeepTheirScales) {
  Random random(3);
  const testing::Weights w =
      testing::RandomWeights(Format::kFp8, 300, 256, Values::kOrdinary, random);
  // Paths take several rows at a time, which a slice from an odd row on lays across blocks of
  // scales.
  constexpr int64_t kRows = 180;
  for (const int64_t count : {1, 2, 4, 9}) {
    const Input x = RandomInput(count, 256, random);
    for (const Path path : testing::AvailablePaths()) {
      TestContext test(1, path);
      const std::vector<float> whole =
          Multiply(x.view, w.view, Activation::kQuantized, Output::kF32, test.ctx);
      for (const int64_t begin : {100, 101}) {
        const std::vector<float> slice = Multiply(x.view, w.view.SliceRows(begin, kRows),
                                                  Activation::kQuantized, Output::kF32, test.ctx);
        for (int64_t t = 0; t < count; ++t)
          for (int64_t o = 0; o < kRows; ++o)
            ASSERT_TRUE(SameBits(slice[static_cast<size_t>(t * (kRows + 2) + o)],
                                 whole[static_cast<size_t>(t * 302 + begin + o)]))
                << Name(path) << " inputs " << count << " slice from " << begin << " row " << o;
      }
    }
  }
}

// The values that fast mode multiplies.
void SimulateInt8(std::vector<float>& x) {
  for (size_t k = 0; k < x.size(); k += 32) {
    const std::span<float> block(x.data() + k, std::min<size_t>(32, x.size() - k));
    std::vector<int8_t> codes(block.size());
    const float scale = numerics::QuantizeInt8(block, codes);
    for (size_t i = 0; i < block.size(); ++i) block[i] = scale * static_cast<float>(codes[i]);
  }
}

// A sum of K products in any order errs by at most gamma_K * sum |w x|; the product of a block with
// its scale and the float32 weight add one rounding each.
TEST(Linear, SumsLieWithinTheDerivedBound) {
  Random random(4);
  for (const Format format : kFormats) {
    for (const Mode mode : ModesOf(format)) {
      const int64_t rows = 9, cols = 1184;
      const testing::Weights w =
          testing::RandomWeights(format, rows, cols, Values::kOrdinary, random);
      const Input x = RandomInput(3, cols, random);
      const bool quantize =
          mode == Mode::kOfficial && (format == Format::kFp8 || format == Format::kFp4);
      for (const Path path : testing::AvailablePaths()) {
        TestContext test(1, path, mode);
        const Activation activation =
            format == Format::kF32 ? Activation::kF32 : Activation::kQuantized;
        const std::vector<float> y = Multiply(x.view, w.view, activation, Output::kF32, test.ctx);
        for (int64_t t = 0; t < 3; ++t) {
          std::vector<float> input(x.view.row(t), x.view.row(t) + cols);
          if (quantize) numerics::SimulateE4M3(input, numerics::kActivationBlock);
          if (mode == Mode::kFast) SimulateInt8(input);
          for (int64_t o = 0; o < rows; ++o) {
            double sum = 0, magnitude = 0;
            for (int64_t k = 0; k < cols; ++k) {
              const double term = static_cast<double>(input[static_cast<size_t>(k)]) *
                                  static_cast<double>(reference::CodeValue(w.view, o, k)) *
                                  static_cast<double>(reference::ScaleValue(w.view, o, k));
              sum += term;
              magnitude += std::fabs(term);
            }
            const double found = y[static_cast<size_t>(t * (rows + 2) + o)];
            EXPECT_LE(std::fabs(found - sum), testing::Gamma(cols + 2) * magnitude)
                << Name(path) << " format " << static_cast<int>(format);
          }
        }
      }
    }
  }
}

// What asks for BF16 inputs gets them in fast mode, too, and so do FP8 weights FP8 ones.
TEST(Linear, FastModeIsOfficialModeButForQuantizedInputsOfFp4) {
  Random random(8);
  for (const Format format : kFormats) {
    const testing::Weights w = testing::RandomWeights(format, 20, 160, Values::kOrdinary, random);
    for (const Activation activation : {Activation::kQuantized, Activation::kBF16}) {
      const Input x = RandomInput(3, 160, random);
      TestContext official(1, BestPath(), Mode::kOfficial), fast(1, BestPath(), Mode::kFast);
      const Activation mine = format == Format::kF32 ? Activation::kF32 : activation;
      const bool are_same = SameBits(Multiply(x.view, w.view, mine, Output::kBF16, fast.ctx),
                                     Multiply(x.view, w.view, mine, Output::kBF16, official.ctx));
      EXPECT_EQ(are_same, format != Format::kFp4 || activation == Activation::kBF16);
    }
  }
}

TEST(Linear, OutputsAreRoundedOnceInOfficialModeOnly) {
  Random random(5);
  const testing::Weights w =
      testing::RandomWeights(Format::kBF16, 40, 128, Values::kOrdinary, random);
  const Input x = RandomInput(1, 128, random);
  TestContext official(1, BestPath()), pure(1, BestPath(), Mode::kPure);
  const std::vector<float> exact =
      Multiply(x.view, w.view, Activation::kBF16, Output::kF32, official.ctx);
  const std::vector<float> rounded =
      Multiply(x.view, w.view, Activation::kBF16, Output::kBF16, official.ctx);
  const std::vector<float> in_pure =
      Multiply(x.view, w.view, Activation::kBF16, Output::kBF16, pure.ctx);
  int64_t changed = 0, pure_fine = 0;
  for (size_t o = 0; o < 40; ++o) {
    EXPECT_EQ(rounded[o], numerics::RoundToBF16(exact[o]));
    changed += rounded[o] != exact[o];
    pure_fine += numerics::RoundToBF16(in_pure[o]) != in_pure[o];
  }
  EXPECT_GT(changed, 0);
  EXPECT_GT(pure_fine, 0);
}

TEST(Linear, PairOrdersArePermutationsThatKeepLanesUnderOneScale) {
  for (const Format format : kFormats) {
    const PairOrder& order = PairOrderOf(format);
    std::vector<bool> seen(kStretch, false);
    for (const int16_t k : order.k) seen[static_cast<size_t>(k)] = true;
    EXPECT_EQ(std::count(seen.begin(), seen.end(), true), kStretch);
    for (int i = 0; i < kStretch; ++i) {
      // A lane of an FP4 stretch keeps one scale over all steps; the blocks of the others are
      // apart.
      if (format == Format::kFp4)
        EXPECT_EQ(order.k[i] / 32, order.k[i % 32 / 2 * 2] / 32) << "position " << i;
      else
        EXPECT_EQ(order.k[i] / kBlock, i / kBlock) << "position " << i;
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
