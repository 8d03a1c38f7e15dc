// Every path gives the bits of the reference, operation by operation, over odd shapes, unaligned
// weights, padded strides, and values of any bits.
#include "kernels/paths.h"

#include <gtest/gtest.h>

#include "kernels/kernel_testing.h"
#include "kernels/reference/dot.h"
#include "numerics/flush.h"
#include "numerics/functions.h"

namespace fathom::kernels {
namespace {

using tensor::Format;
using testing::Random;
using testing::SameBits;
using testing::Values;

std::vector<Path> VectorPaths() {
  std::vector<Path> paths = testing::AvailablePaths();
  paths.erase(paths.begin());
  return paths;
}

struct Shape {
  Format format;
  int64_t rows;
  int64_t cols;
  int64_t count;
};

// Rows [1, rows) of a weight against `count` inputs with every path; the strides leave room that
// must stay untouched.
void CheckDot(const Shape& shape, bool as_f32, Values values, Random& random) {
  SCOPED_TRACE(fmt::format("format {} rows {} cols {} count {} f32 {} values {}",
                           static_cast<int>(shape.format), shape.rows, shape.cols, shape.count,
                           as_f32, static_cast<int>(values)));
  const testing::Weights w =
      testing::RandomWeights(shape.format, shape.rows, shape.cols, values, random, 121);
  const int64_t padded =
      as_f32 ? (shape.cols + 127) / 128 * 128 : PackedWidth(shape.format, shape.cols);
  const PairOrder& order = PairOrderOf(shape.format);
  std::vector<std::vector<float>> x_f32;
  std::vector<std::vector<uint16_t>> x_bf16;
  std::vector<const float*> f32_rows;
  std::vector<const uint16_t*> bf16_rows;
  for (int64_t i = 0; i < shape.count; ++i) {
    std::vector<float> x = testing::RandomFloats(shape.cols, values, !as_f32, random);
    x.resize(static_cast<size_t>(padded), 0.0f);
    std::vector<uint16_t> packed;
    for (int64_t k = 0; k < padded; ++k)
      packed.push_back(static_cast<uint16_t>(
          std::bit_cast<uint32_t>(
              x[static_cast<size_t>(k / kStretch * kStretch + order.k[k % kStretch])]) >>
          16));
    x_f32.push_back(std::move(x));
    x_bf16.push_back(std::move(packed));
  }
  for (const auto& x : x_f32) f32_rows.push_back(x.data());
  for (const auto& x : x_bf16) bf16_rows.push_back(x.data());
  const int64_t begin = shape.rows > 1 ? 1 : 0, stride = shape.rows - begin + 3;
  const auto run = [&](Path path) {
    std::vector<float> y(static_cast<size_t>(shape.count * stride), -7.0f);
    const DotTask task{w.view, begin, shape.rows, shape.count, y.data(), stride};
    const numerics::FlushSubnormals flush;
    if (as_f32) {
      OpsOf(path).dot_f32(task, f32_rows.data());
    } else {
      OpsOf(path).dot_bf16(task, bf16_rows.data());
    }
    return y;
  };
  const std::vector<float> expected = run(Path::kReference);
  for (const Path path : VectorPaths()) EXPECT_TRUE(SameBits(run(path), expected)) << Name(path);
}

void CheckDots(bool as_f32, std::initializer_list<Format> formats, Values values) {
  Random random(1);
  for (const Format format : formats) {
    for (const int64_t cols : {2, 32, 48, 62, 64, 66, 72, 96, 126, 128, 130, 160, 256, 384, 512,
                               514, 1000, 1184, 4224}) {
      // Counts around the sizes of the register tiles; rows around those of the panels.
      for (const int64_t count : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33, 130})
        CheckDot({format, 3 + count % 3, cols, count}, as_f32, values, random);
      CheckDot({format, 20, cols, 7}, as_f32, values, random);
      CheckDot({format, 1, cols, 1}, as_f32, values, random);
    }
  }
}

TEST(Paths, BF16ProductsHaveTheBitsOfTheReference) {
  CheckDots(false, {Format::kBF16, Format::kFp8, Format::kFp4}, Values::kOrdinary);
}

TEST(Paths, BF16ProductsOfAnyBitsHaveTheBitsOfTheReference) {
  CheckDots(false, {Format::kBF16, Format::kFp8, Format::kFp4}, Values::kWild);
}

TEST(Paths, UnderflowingBF16ProductsHaveTheBitsOfTheReference) {
  CheckDots(false, {Format::kBF16, Format::kFp8, Format::kFp4}, Values::kTiny);
}

TEST(Paths, F32ProductsHaveTheBitsOfTheReference) {
  CheckDots(true, {Format::kF32, Format::kBF16, Format::kFp8, Format::kFp4}, Values::kOrdinary);
}

TEST(Paths, F32ProductsOfAnyBitsHaveTheBitsOfTheReference) {
  CheckDots(true, {Format::kF32, Format::kBF16, Format::kFp8, Format::kFp4}, Values::kWild);
  CheckDots(true, {Format::kF32, Format::kBF16, Format::kFp8, Format::kFp4}, Values::kTiny);
}

// Some output rows at the input widths of V4-Flash and V4-Pro. Ref: model.md 4.2.
TEST(Paths, ProductsAtTheWidthsOfTheModels) {
  Random random(2);
  for (const int64_t count : {1, 4, 7}) {
    for (const int64_t cols : {1024, 1536, 2048, 3072, 4096, 7168, 8192, 16384})
      CheckDot({Format::kFp8, 5, cols, count}, false, Values::kOrdinary, random);
    for (const int64_t cols : {2048, 3072, 4096, 7168})
      CheckDot({Format::kFp4, 5, cols, count}, false, Values::kOrdinary, random);
    for (const int64_t cols : {4096, 7168})
      CheckDot({Format::kBF16, 5, cols, count}, false, Values::kOrdinary, random);
    for (const int64_t cols : {16384, 28672})
      CheckDot({Format::kF32, 4, cols, count}, true, Values::kOrdinary, random);
  }
}

// Every code of a format alone against one: the decoders by themselves, subnormal codes included.
TEST(Paths, EveryCodeIsDecodedExactly) {
  std::vector<uint16_t> one(kStretch, 0);
  std::vector<float> one_f32(128, 0.0f);
  for (const Format format : {Format::kFp8, Format::kFp4}) {
    const int codes = format == Format::kFp8 ? 256 : 16;
    for (int k = 0; k < 128; ++k) {
      std::fill(one.begin(), one.end(), uint16_t{0});
      std::fill(one_f32.begin(), one_f32.end(), 0.0f);
      one_f32[static_cast<size_t>(k)] = 1.0f;
      for (size_t i = 0; i < kStretch; ++i)
        if (PairOrderOf(format).k[i] == k) one[i] = 0x3f80;
      for (int code = 0; code < codes; ++code) {
        std::vector<std::byte> row(format == Format::kFp8 ? 128 : 64);
        if (format == Format::kFp8) {
          row[static_cast<size_t>(k)] = static_cast<std::byte>(code);
        } else {
          row[static_cast<size_t>(k / 2)] = static_cast<std::byte>(k % 2 == 0 ? code : code << 4);
        }
        const std::vector<uint8_t> scales(4, 128);  // 2
        const tensor::QuantView w{format, row.data(), scales.data(), 1, 128, 0};
        const float value = format == Format::kFp8
                                ? numerics::E4M3ToFloat(static_cast<uint8_t>(code))
                                : numerics::E2M1ToFloat(static_cast<uint8_t>(code));
        for (const Path path : testing::AvailablePaths()) {
          float y[2] = {-1, -1};
          const uint16_t* bf16_rows[1] = {one.data()};
          const float* f32_rows[1] = {one_f32.data()};
          const numerics::FlushSubnormals flush;
          OpsOf(path).dot_bf16({w, 0, 1, 1, y, 1}, bf16_rows);
          OpsOf(path).dot_f32({w, 0, 1, 1, y + 1, 1}, f32_rows);
          for (const float result : y) {
            if (std::isnan(value)) {
              ASSERT_TRUE(std::isnan(result)) << Name(path) << " code " << code;
            } else {
              ASSERT_EQ(result, 2 * value) << Name(path) << " code " << code << " at " << k;
            }
          }
        }
      }
    }
  }
}

struct AttentionShape {
  int64_t heads;
  int64_t head_begin;
  int64_t head_end;
  int64_t dim;
  int64_t count;
};

void CheckAttention(const AttentionShape& shape, bool round, Values values, Random& random) {
  SCOPED_TRACE(fmt::format("heads {}..{} of {} dim {} rows {} round {} values {}", shape.head_begin,
                           shape.head_end, shape.heads, shape.dim, shape.count, round,
                           static_cast<int>(values)));
  // Pure mode takes any floats.
  const auto floats = [&](int64_t n, Values v) {
    return testing::RandomFloats(n, v, round, random);
  };
  std::vector<float> q = floats(shape.heads * shape.dim, Values::kOrdinary);
  for (float& value : q) value *= 4;
  const std::vector<float> sink = floats(shape.heads, Values::kOrdinary);
  // Separate allocations that end with the row, one float off any alignment.
  std::vector<std::vector<float>> memory;
  std::vector<const float*> rows;
  for (int64_t j = 0; j < shape.count; ++j)
    memory.push_back(
        floats(shape.dim + 1, j % 5 == 3 || values == Values::kTiny ? values : Values::kOrdinary));
  for (const auto& row : memory) rows.push_back(row.data() + 1);
  const auto run = [&](Path path) {
    std::vector<float> o(q.size(), -7.0f);
    std::vector<float> scratch(
        static_cast<size_t>(AttentionScratchFloats(shape.head_end - shape.head_begin, shape.dim)));
    const numerics::FlushSubnormals flush;
    OpsOf(path).attend({q.data(), rows.data(), shape.count, sink.data(), 0.25f, shape.head_begin,
                        shape.head_end, shape.dim, round, o.data(), scratch.data()});
    return o;
  };
  const std::vector<float> expected = run(Path::kReference);
  for (const Path path : VectorPaths()) EXPECT_TRUE(SameBits(run(path), expected)) << Name(path);
}

TEST(Paths, AttentionHasTheBitsOfTheReference) {
  Random random(3);
  for (const bool round : {true, false}) {
    for (const Values values : {Values::kOrdinary, Values::kWild, Values::kTiny}) {
      for (const int64_t dim : {2, 8, 16, 30, 34, 64, 66})
        for (const int64_t count : {1, 2, 3, 63, 64, 65, 130})
          for (const int64_t heads : {1, 3, 16, 20})
            CheckAttention({heads, 0, heads, dim, count}, round, values, random);
      CheckAttention({50, 16, 41, 64, 70}, round, values, random);
      for (const int64_t heads : {32, 48, 64, 96})
        CheckAttention({heads, 0, heads, 64, 131}, round, values, random);
    }
  }
}

TEST(Paths, AttentionAtTheShapesOfTheModels) {
  Random random(4);
  for (const int64_t count : {1, 63, 64, 65, 130})
    CheckAttention({64, 0, 64, 512, count}, true, Values::kOrdinary, random);
  CheckAttention({64, 0, 64, 512, 640}, true, Values::kOrdinary, random);
  CheckAttention({128, 0, 128, 512, 130}, true, Values::kOrdinary, random);
  CheckAttention({128, 64, 128, 512, 640}, false, Values::kOrdinary, random);
}

TEST(Paths, IndexScoresHaveTheBitsOfTheReference) {
  Random random(5);
  for (const bool round : {true, false}) {
    for (const Values values : {Values::kOrdinary, Values::kWild, Values::kTiny}) {
      for (const int64_t heads : {1, 5, 16, 24, 64}) {
        for (const int64_t dim : {2, 32, 34, 128}) {
          const std::vector<float> q = testing::RandomFloats(heads * dim, values, round, random);
          const std::vector<float> weights = testing::RandomFloats(heads, values, round, random);
          for (const int64_t count : {1, 7, 16, 17, 51}) {
            const std::vector<float> keys =
                testing::RandomFloats((count + 2) * dim, values, round, random);
            const auto run = [&](Path path) {
              std::vector<float> scores(static_cast<size_t>(count) + 1, -7.0f);
              std::vector<float> scratch(static_cast<size_t>(IndexScratchFloats(heads, dim)));
              const numerics::FlushSubnormals flush;
              OpsOf(path).index_scores({q.data(), weights.data(), heads, dim, keys.data(), 2,
                                        count + 2, round, scores.data(), scratch.data()});
              return scores;
            };
            const std::vector<float> expected = run(Path::kReference);
            for (const Path path : VectorPaths())
              EXPECT_TRUE(SameBits(run(path), expected))
                  << Name(path) << " heads " << heads << " dim " << dim << " keys " << count;
          }
        }
      }
    }
  }
}

// One row and no others turns attention into the exponential: P = 1, output = row / (1 +
// exp(sink - score)). Sinks over the whole range compare the vector exponential with
// numerics::Exp.
TEST(Paths, VectorExponentialIsTheScalarOne) {
  Random random(6);
  std::vector<float> sink;
  for (int i = 0; i < 4096; ++i) sink.push_back(static_cast<float>(i) * (200.0f / 4096) - 110.0f);
  for (const float edge : {-87.0f, 88.72283f, 0.0f, -0.0f, 1e-30f, HUGE_VALF, -HUGE_VALF, NAN})
    for (const float next :
         {std::nextafter(edge, -HUGE_VALF), edge, std::nextafter(edge, HUGE_VALF)})
      sink.push_back(next);
  const int64_t heads = std::ssize(sink);
  const std::vector<float> q(static_cast<size_t>(heads) * 2, 0.0f);
  const float row[2] = {1.0f, 1.5f};
  const float* rows[1] = {row};
  for (const Path path : testing::AvailablePaths()) {
    std::vector<float> o(q.size());
    std::vector<float> scratch(static_cast<size_t>(AttentionScratchFloats(heads, 2)));
    const numerics::FlushSubnormals flush;
    OpsOf(path).attend(
        {q.data(), rows, 1, sink.data(), 1.0f, 0, heads, 2, false, o.data(), scratch.data()});
    for (int64_t h = 0; h < heads; ++h) {
      const float denominator = 1.0f + numerics::Exp(sink[static_cast<size_t>(h)]);
      for (int64_t c = 0; c < 2; ++c)
        ASSERT_TRUE(SameBits(o[static_cast<size_t>(2 * h + c)], row[c] / denominator))
            << Name(path) << " sink " << sink[static_cast<size_t>(h)];
    }
  }
}

TEST(Paths, NamesAreParsedBack) {
  for (const Path path : kAllPaths)
    EXPECT_EQ(ParsePath(Name(path)), path);
  EXPECT_EQ(ParsePath("sse"), std::nullopt);
  EXPECT_TRUE(IsAvailable(BestPath()));
}

}  // namespace
}  // namespace fathom::kernels
