// Every path gives the bits of the reference, operation by operation, over odd shapes, unaligned
// weights, padded strides, and values of any bits.
#include "kernels/paths.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/cpu/avx512.h"
#include "kernels/kernel_testing.h"
#include "kernels/pack.h"
#include "kernels/reference/dot.h"
#include "numerics/blocks.h"
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
  std::erase_if(paths, [](Path path) { return path == ReferenceOf(path); });
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
    for (int64_t k = 0; k < padded && !as_f32; ++k)
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
  const auto run = [&](Path path, decltype(PathOps::dot_bf16) dot = nullptr) {
    std::vector<float> y(static_cast<size_t>(shape.count * stride), -7.0f);
    const DotTask task{w.view, begin, shape.rows, shape.count, y.data(), stride};
    const numerics::FlushSubnormals flush;
    if (dot != nullptr) {
      dot(task, bf16_rows.data());
    } else if (as_f32) {
      OpsOf(path).dot_f32(task, f32_rows.data());
    } else if (OpsOf(path).to_tiles != nullptr && shape.count > 1) {
      ThreadPool pool(1);
      Workspace workspace;
      const tensor::Buffer<uint32_t> words(TileWords(shape.count, padded));
      OpsOf(path).dot_tiles(task, FillTiles(bf16_rows.data(), shape.count, padded, words.data(),
                                            {pool, workspace, path, numerics::Mode::kOfficial}));
    } else {
      OpsOf(path).dot_bf16(task, bf16_rows.data());
    }
    return y;
  };
  const std::vector<float> expected = run(Path::kReference), tiled = run(Path::kTileReference);
  for (const Path path : VectorPaths())
    EXPECT_TRUE(SameBits(run(path), IsTiled(path) ? tiled : expected)) << Name(path);
#if defined(__x86_64__)
  if (as_f32 || !IsAvailable(Path::kAvx512)) return;
  // Which size of panels the path takes is the machine's choice.
  const auto small = [](const DotTask& some, const uint16_t* const* x) {
    cpu::DotBF16Avx512With(some, x, true);
  };
  const auto large = [](const DotTask& some, const uint16_t* const* x) {
    cpu::DotBF16Avx512With(some, x, false);
  };
  EXPECT_TRUE(SameBits(run(Path::kAvx512, small), expected)) << "small panels";
  EXPECT_TRUE(SameBits(run(Path::kAvx512, large), expected)) << "large panels";
#endif
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

// What is kept from row to row for few inputs changes with the row of scales, and has an end.
TEST(Paths, FewInputsUnderSeveralRowsOfScales) {
  Random random(6);
  for (const int64_t count : {1, 2, 3, 5}) {
    for (const Values values : {Values::kOrdinary, Values::kWild})
      CheckDot({Format::kFp8, 270, 640, count}, false, values, random);
    CheckDot({Format::kFp8, 3, 33000, count}, false, Values::kOrdinary, random);
  }
}

// Rows around the panels of either size, and inputs around their tiles.
TEST(Paths, ProductsAroundPanels) {
  Random random(3);
  for (const Format format : {Format::kBF16, Format::kFp8, Format::kFp4}) {
    for (const int64_t count : {17, 54, 65})
      for (const int64_t rows : {33, 65, 130})
        CheckDot({format, rows, 1184, count}, false, Values::kOrdinary, random);
    CheckDot({format, 66, 4224, 55}, false, Values::kOrdinary, random);
  }
}

// Panels hold FP4 weights scaled or not, as inputs and scales allow.
TEST(Paths, ProductsOfFp4UnderScalesOfAnySize) {
  Random random(7);
  for (const Values values : {Values::kFar, Values::kFarScales, Values::kTiny, Values::kWild})
    for (const int64_t cols : {96, 512, 1184, 2048})
      CheckDot({Format::kFp4, 70, cols, 53}, false, values, random);
}

// Rows around the groups of a batch, and inputs around its tiles and the most of it.
TEST(Paths, ProductsOfBatches) {
  Random random(4);
  for (const Format format : {Format::kBF16, Format::kFp8, Format::kFp4}) {
    for (const int64_t count : {8, 10, 11, 13, 24, 25, 31, 48, 49}) {
      for (const int64_t rows : {2, 5, 17, 18, 22, 34, 40})
        CheckDot({format, rows, 640, count}, false, Values::kOrdinary, random);
    }
    for (const int64_t cols : {128, 416, 512, 1024, 1100})
      CheckDot({format, 38, cols, 15}, false, Values::kWild, random);
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

// Blocks without a code that is zero, subnormal or NaN, as nearly all of a trained model are, may
// be decoded in another way: each normal code among such, under every scale.
TEST(Paths, NormalE4M3CodesUnderEveryScale) {
  std::vector<uint16_t> one(kStretch, 0);
  const numerics::FlushSubnormals flush;
  for (const int k : {0, 31, 70, 127}) {
    std::fill(one.begin(), one.end(), uint16_t{0});
    for (size_t i = 0; i < kStretch; ++i)
      if (PairOrderOf(Format::kFp8).k[i] == k) one[i] = 0x3f80;
    const uint16_t* rows[1] = {one.data()};
    std::vector<std::byte> row(128, std::byte{0x38});
    for (int code = 0; code < 256; ++code) {
      if ((code & 0x78) == 0 || (code & 0x7f) == 0x7f) continue;
      row[static_cast<size_t>(k)] = static_cast<std::byte>(code);
      for (int scale = 0; scale < 256; ++scale) {
        const auto scale_code = static_cast<uint8_t>(scale);
        const tensor::QuantView w{Format::kFp8, row.data(), &scale_code, 1, 128, 0};
        const auto product = [&](Path path) {
          float y = -1;
          OpsOf(path).dot_bf16({w, 0, 1, 1, &y, 1}, rows);
          return std::isnan(y) ? 0x7fc00000u : std::bit_cast<uint32_t>(y);
        };
        const uint32_t expected = product(Path::kReference);
        for (const Path path : testing::AvailablePaths())
          ASSERT_EQ(product(path), expected)
              << Name(path) << " code " << code << " scale " << scale;
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
  int64_t rotary = -1;  // rows packed with so many rotary values; -1: rows of floats
  int64_t window = 0;   // as in RowList
  int64_t gap = 0;
};

// Rows as a sequence keeps them, each in an allocation of its own that ends with the row, one
// element off any alignment.
class TestRows {
 public:
  TestRows(RowKind kind, const RowLayout& layout)
      : kind_(kind), layout_(layout), offset_(layout.format == RowFormat::kF32 ? 4 : 1) {}
  void Add(std::vector<float> row) {
    auto& memory = memory_.emplace_back(static_cast<size_t>(layout_.bytes() + offset_));
    if (layout_.format == RowFormat::kF32) {
      std::memcpy(memory.data() + offset_, row.data(), row.size() * 4);
    } else {
      EncodeRow(row, kind_, numerics::Mode::kOfficial, layout_, memory.data() + offset_);
    }
    pointers_.push_back(memory.data() + offset_);
  }
  const std::byte* const* pointers() const { return pointers_.data(); }

 private:
  RowKind kind_;
  RowLayout layout_;
  int64_t offset_;
  std::vector<std::vector<std::byte>> memory_;
  std::vector<const std::byte*> pointers_;
};

void CheckAttention(const AttentionShape& shape, bool round, Values values, Random& random) {
  SCOPED_TRACE(fmt::format("heads {}..{} of {} dim {} rotary {} rows {} round {} values {}",
                           shape.head_begin, shape.head_end, shape.heads, shape.dim, shape.rotary,
                           shape.count, round, static_cast<int>(values)));
  // Pure mode takes any floats.
  const auto floats = [&](int64_t n, Values v) {
    return testing::RandomFloats(n, v, round, random);
  };
  std::vector<float> q = floats(shape.heads * shape.dim, Values::kOrdinary);
  for (float& value : q) value *= 4;
  const std::vector<float> sink = floats(shape.heads, Values::kOrdinary);
  const RowLayout layout = shape.rotary < 0
                               ? RowLayout{RowFormat::kF32, shape.dim, 0}
                               : RowLayout{RowFormat::kLatent, shape.dim, shape.rotary};
  TestRows rows(RowKind::kLatent, layout);
  for (int64_t j = 0; j < shape.count; ++j)
    rows.Add(floats(shape.dim, j % 5 == 3 || values == Values::kTiny ? values : Values::kOrdinary));
  const auto run = [&](Path path) {
    std::vector<float> o(q.size(), -7.0f);
    std::vector<float> scratch(
        static_cast<size_t>(AttentionScratchFloats(shape.head_end - shape.head_begin, shape.dim)),
        NAN);
    const numerics::FlushSubnormals flush;
    OpsOf(path).attend({q.data(), rows.pointers(), layout, shape.count, sink.data(), 0.25f,
                        shape.head_begin, shape.head_end, shape.dim, round, o.data(),
                        scratch.data(), shape.window, shape.gap});
    return o;
  };
  const std::vector<float> expected = run(Path::kReference), tiled = run(Path::kTileReference);
  for (const Path path : VectorPaths())
    EXPECT_TRUE(SameBits(run(path), IsTiled(path) ? tiled : expected)) << Name(path);
}

TEST(Paths, AttentionHasTheBitsOfTheReference) {
  Random random(3);
  for (const bool round : {true, false}) {
    for (const Values values : {Values::kOrdinary, Values::kWild, Values::kTiny}) {
      for (const int64_t dim : {2, 8, 16, 30, 34, 64, 66})
        for (const int64_t count : {1, 2, 3, 63, 64, 65, 130})
          for (const int64_t heads : {1, 3, 16, 20})
            CheckAttention({heads, 0, heads, dim, count}, round, values, random);
      for (const auto& [dim, rotary] : {std::pair<int64_t, int64_t>{2, 2},
                                        {16, 2},
                                        {66, 2},
                                        {96, 32},
                                        {130, 64},
                                        {192, 0},
                                        {224, 30}})
        for (const int64_t count : {1, 3, 64, 67})
          for (const int64_t heads : {3, 32})
            CheckAttention({heads, 0, heads, dim, count, rotary}, round, values, random);
      CheckAttention({50, 16, 41, 64, 70}, round, values, random);
      // Windows that are not full, whose blocks are cut short, and full ones.
      for (const auto& [window, gap] :
           {std::pair<int64_t, int64_t>{5, 123}, {100, 28}, {11, 26}, {70, 26}, {128, 0}})
        for (const int64_t count : {window, window + 1, window + 75, int64_t{200}})
          CheckAttention({20, 0, 20, 66, count, 2, window, gap}, round, values, random);
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
  for (const int64_t count : {1, 63, 64, 65, 130, 640})
    CheckAttention({64, 0, 64, 512, count, 64}, true, Values::kOrdinary, random);
  CheckAttention({64, 32, 64, 512, 200, 64}, true, Values::kWild, random);
  CheckAttention({128, 0, 128, 512, 130}, true, Values::kOrdinary, random);
  CheckAttention({128, 64, 128, 512, 640}, false, Values::kOrdinary, random);
}

struct IndexShape {
  int64_t queries;
  int64_t heads;
  int64_t dim;
  int64_t keys;
  RowFormat format;
};

// Rows of `values`; what blocks of 32 are scaled by spreads over 2^0 .. 2^(spread - 1).
std::vector<std::byte> IndexRows(int64_t count, const RowLayout& layout, Values values,
                                 int64_t spread, bool bf16, Random& random) {
  std::vector<std::byte> rows(static_cast<size_t>(count * layout.bytes()));
  for (int64_t i = 0; i < count; ++i) {
    std::vector<float> row = testing::RandomFloats(layout.dim, values, bf16, random);
    std::byte* out = rows.data() + i * layout.bytes();
    if (layout.format == RowFormat::kF32) {
      std::memcpy(out, row.data(), row.size() * 4);
      continue;
    }
    // EncodeRow rotates first, which is its own inverse: the blocks come out as they are made here.
    for (size_t at = 0; at < row.size(); ++at)
      row[at] = std::ldexp(row[at], static_cast<int>((static_cast<int64_t>(at) / 32 + i) % spread));
    if (random.Below(5) == 0) std::fill_n(row.begin(), std::min<size_t>(32, row.size()), 0.0f);
    numerics::Hadamard(row);
    EncodeRow(row, RowKind::kIndex, numerics::Mode::kOfficial, layout, out);
  }
  return rows;
}

void CheckIndex(const IndexShape& shape, bool round, Values values, int64_t spread,
                Random& random) {
  SCOPED_TRACE(
      fmt::format("queries {} heads {} dim {} keys {} format {} round {} values {} spread {}",
                  shape.queries, shape.heads, shape.dim, shape.keys, static_cast<int>(shape.format),
                  round, static_cast<int>(values), spread));
  const RowLayout layout{shape.format, shape.dim, 0};
  const auto q = IndexRows(shape.queries * shape.heads, layout, values, spread, round, random);
  const auto keys = IndexRows(shape.keys + 2, layout, values, spread, round, random);
  const auto weights = testing::RandomFloats(shape.queries * shape.heads, values, round, random);
  std::vector<IndexQuery> queries;
  for (int64_t i = 0; i < shape.queries; ++i)
    queries.push_back({q.data() + i * shape.heads * layout.bytes(),
                       weights.data() + i * shape.heads,
                       {keys.data(), layout},
                       shape.keys + 2,
                       nullptr});
  const int64_t stride = shape.keys + 3;
  const int64_t packed_floats = (IndexQueryFloats(shape.heads, shape.dim) + 15) / 16 * 16;
  const auto run = [&](Path path) {
    std::vector<float> scores(static_cast<size_t>(shape.queries * stride), -7.0f);
    tensor::Buffer<float> packed(shape.queries * packed_floats);
    tensor::Buffer<float> scratch(IndexScratchFloats(shape.heads, shape.dim));
    const numerics::FlushSubnormals flush;
    for (int64_t i = 0; i < shape.queries; ++i)
      OpsOf(path).index_pack(queries[static_cast<size_t>(i)], shape.heads, round,
                             packed.data() + i * packed_floats, scratch.data());
    OpsOf(path).index_scores({queries.data(),
                              packed.data(),
                              packed_floats,
                              shape.queries,
                              shape.heads,
                              {keys.data(), layout},
                              2,
                              shape.keys + 2,
                              round,
                              scores.data(),
                              stride,
                              scratch.data()});
    return scores;
  };
  const std::vector<float> expected = run(Path::kReference);
  for (const Path path : VectorPaths()) EXPECT_TRUE(SameBits(run(path), expected)) << Name(path);
}

TEST(Paths, IndexScoresHaveTheBitsOfTheReference) {
  Random random(5);
  for (const bool round : {true, false}) {
    for (const Values values : {Values::kOrdinary, Values::kWild, Values::kTiny}) {
      for (const RowFormat format : {RowFormat::kF32, RowFormat::kIndex}) {
        for (const int64_t heads : {1, 5, 16, 24, 64})
          for (const int64_t dim : {2, 32, 64, 128})
            for (const int64_t keys : {1, 7, 16, 17, 51})
              CheckIndex({keys % 3 + 1, heads, dim, keys, format}, round, values, keys % 7 + 1,
                         random);
        CheckIndex({1, 5, 256, 19, format}, round, values, 2, random);
      }
      CheckIndex({2, 5, 34, 19, RowFormat::kF32}, round, values, 1, random);
    }
  }
  for (const int64_t spread : {1, 2, 3, 4, 5, 40})
    CheckIndex({3, 64, 128, 500, RowFormat::kIndex}, true, Values::kOrdinary, spread, random);
}

TEST(Paths, CollectedIndicesAreThoseAboveTheBound) {
  Random random(7);
  for (const int64_t n : {0, 1, 15, 16, 17, 31, 32, 33, 1000}) {
    std::vector<float> scores = testing::RandomFloats(n, Values::kWild, false, random);
    for (const float bound : {0.5f, 0.0f, -2.0f, 2.0f, -HUGE_VALF}) {
      const auto run = [&](Path path) {
        std::vector<int32_t> out(static_cast<size_t>(n + 16), -1);
        const int64_t count = OpsOf(path).collect_above(scores.data(), n, bound, out.data());
        out.resize(static_cast<size_t>(count));
        return out;
      };
      std::vector<int32_t> expected;
      for (int64_t i = 0; i < n; ++i)
        if (scores[static_cast<size_t>(i)] > bound) expected.push_back(static_cast<int32_t>(i));
      for (const Path path : testing::AvailablePaths())
        EXPECT_EQ(run(path), expected) << Name(path) << " of " << n << " above " << bound;
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
  const std::byte* rows[1] = {reinterpret_cast<const std::byte*>(row)};
  for (const Path path : testing::AvailablePaths()) {
    std::vector<float> o(q.size());
    std::vector<float> scratch(static_cast<size_t>(AttentionScratchFloats(heads, 2)));
    const numerics::FlushSubnormals flush;
    OpsOf(path).attend({q.data(),
                        rows,
                        {RowFormat::kF32, 2, 0},
                        1,
                        sink.data(),
                        1.0f,
                        0,
                        heads,
                        2,
                        false,
                        o.data(),
                        scratch.data()});
    for (int64_t h = 0; h < heads; ++h) {
      const float denominator = 1.0f + numerics::Exp(sink[static_cast<size_t>(h)]);
      for (int64_t c = 0; c < 2; ++c)
        ASSERT_TRUE(SameBits(o[static_cast<size_t>(2 * h + c)], row[c] / denominator))
            << Name(path) << " sink " << sink[static_cast<size_t>(h)];
    }
  }
}

TEST(Paths, NamesAreParsedBack) {
  for (const Path path : kAllPaths) EXPECT_EQ(ParsePath(Name(path)), path);
  EXPECT_EQ(ParsePath("sse"), std::nullopt);
  EXPECT_TRUE(IsAvailable(BestPath()));
}

}  // namespace
}  // namespace fathom::kernels
