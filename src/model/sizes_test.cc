// The published sizes, to the digits of the facts. Ref: model.md 4.1, 11.1-11.3.
#include "model/sizes.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/sequence.h"

namespace fathom::model {
namespace {

constexpr int64_t kMillion = 1048576;

// `digits` after the decimal point.
double Rounded(double value, int digits) {
  const double unit = std::pow(10.0, digits);
  return std::round(value * unit) / unit;
}
double Billions(int64_t n) { return Rounded(static_cast<double>(n) / 1e9, 3); }
double Percent(double ratio, int digits) { return Rounded(100 * ratio, digits); }

TEST(Sizes, ParametersOfTheReleases) {
  const ParameterCount flash = CountParameters(FlashPreset(), OfficialSizes(FlashPreset()));
  EXPECT_EQ(Billions(flash.total), 284.332);
  EXPECT_EQ(Billions(flash.active), 13.270);
  EXPECT_EQ(Billions(flash.mtp), 6.610);
  EXPECT_EQ(Billions(flash.total + flash.mtp), 290.942);
  const ParameterCount pro = CountParameters(ProPreset(), OfficialSizes(ProPreset()));
  EXPECT_EQ(Billions(pro.total), 1572.997);
  EXPECT_EQ(Billions(pro.active), 48.852);
  EXPECT_EQ(Billions(pro.mtp), 25.840);
  EXPECT_EQ(Billions(pro.total + pro.mtp), 1598.837);
}

TEST(Sizes, FilesOfTheReleases) {
  const TensorSizes flash = OfficialSizes(FlashPreset());
  EXPECT_EQ(flash.tensors, 69187);
  EXPECT_EQ(flash.bytes, 159609485896);
  const TensorSizes pro = OfficialSizes(ProPreset());
  EXPECT_EQ(pro.tensors, 145116);
  EXPECT_EQ(pro.bytes, 864704792696);
  // Gigabytes as the facts print them.
  const auto gigabytes = [](const TensorSizes& sizes, tensor::DType dtype, int digits) {
    return Rounded(static_cast<double>(sizes.bytes_by_dtype.at(dtype)) / 1e9, digits);
  };
  using tensor::DType;
  EXPECT_EQ(gigabytes(flash, DType::kI8, 2), 141.73);
  EXPECT_EQ(gigabytes(flash, DType::kF8E8M0, 2), 8.86);
  EXPECT_EQ(gigabytes(flash, DType::kF8E4M3, 2), 6.02);
  EXPECT_EQ(gigabytes(flash, DType::kBF16, 2), 2.83);
  EXPECT_EQ(gigabytes(flash, DType::kF32, 3), 0.145);
  EXPECT_EQ(gigabytes(flash, DType::kI64, 3), 0.019);
  EXPECT_EQ(gigabytes(pro, DType::kI8, 1), 786.4);
  EXPECT_EQ(gigabytes(pro, DType::kF8E8M0, 2), 49.15);
  EXPECT_EQ(gigabytes(pro, DType::kF8E4M3, 2), 23.17);
  EXPECT_EQ(gigabytes(pro, DType::kBF16, 2), 5.63);
  EXPECT_EQ(gigabytes(pro, DType::kF32, 2), 0.35);
  EXPECT_EQ(gigabytes(pro, DType::kI64, 3), 0.019);
}

TEST(Sizes, PartsAndLayersAddUp) {
  for (const Config& config : {FlashPreset(), ProPreset(), NanoPreset()}) {
    const TensorSizes sizes = OfficialSizes(config);
    int64_t part_bytes = 0;
    for (const PartSize& part : sizes.parts) part_bytes += part.bytes;
    EXPECT_EQ(part_bytes, sizes.bytes);
    int64_t dtype_bytes = 0;
    for (const auto& [dtype, bytes] : sizes.bytes_by_dtype) dtype_bytes += bytes;
    EXPECT_EQ(dtype_bytes, sizes.bytes);
  }
  // Ref: model.md 11.1, per-layer terms of Flash.
  const TensorSizes flash = OfficialSizes(FlashPreset());
  EXPECT_EQ(flash.part(Part::kAttention).parameters, 43 * int64_t{106956352});
  EXPECT_EQ(flash.part(Part::kRoutedExperts).parameters, 43 * 256 * int64_t{25165824});
  EXPECT_EQ(flash.part(Part::kSharedExperts).parameters, 43 * int64_t{25165824});
  EXPECT_EQ(flash.part(Part::kNorms).parameters, (43 * 2 + 1) * 4096);
  EXPECT_EQ(flash.part(Part::kHyperConnections).parameters,
            43 * 2 * (24 * 16384 + 24 + 3) + 4 * 16384 + 4 + 1);
  EXPECT_EQ(flash.part(Part::kGate).parameters, 43 * 256 * 4096 + 40 * 256);
  EXPECT_EQ(OfficialSizes(ProPreset()).part(Part::kAttention).parameters, 61 * int64_t{299894912});
}

TEST(Sizes, KvBytes) {
  const KvBytes flash = KvBytesAt(FlashPreset(), kMillion);
  EXPECT_EQ(Rounded(flash.per_token, 2), 3514.25);
  EXPECT_EQ(flash.window, 3214336);
  EXPECT_EQ(Billions(flash.total), 3.688);
  const KvBytes pro = KvBytesAt(ProPreset(), kMillion);
  EXPECT_EQ(Rounded(pro.per_token, 2), 5031.44);
  EXPECT_EQ(pro.window, 4559872);
  EXPECT_EQ(Billions(pro.total), 5.280);
  const KvBytes v32 = V32KvBytesAt(kMillion);
  EXPECT_EQ(v32.per_token, 48068);
  EXPECT_EQ(Rounded(static_cast<double>(v32.total) / 1e9, 2), 50.40);
  EXPECT_EQ(Percent(static_cast<double>(flash.total) / static_cast<double>(v32.total), 2), 7.32);
  EXPECT_EQ(Percent(static_cast<double>(pro.total) / static_cast<double>(v32.total), 2), 10.48);
}

TEST(Sizes, KvBytesOfShortContexts) {
  const Config flash = FlashPreset();
  EXPECT_EQ(KvBytesAt(flash, 0).total, 0);
  EXPECT_EQ(KvBytesAt(flash, 3).total, 43 * 3 * 584);
  EXPECT_EQ(KvBytesAt(flash, 4).total, 43 * 4 * 584 + 21 * (584 + 68));
  EXPECT_EQ(KvBytesAt(flash, 127).total, 43 * 127 * 584 + 21 * 31 * (584 + 68));
  EXPECT_EQ(KvBytesAt(flash, 128).total, 3214336 + 21 * 32 * (584 + 68) + 20 * 584);
}

// Ref: model.md 11.3, first table.
TEST(Sizes, FlopsByClass) {
  const auto giga = [](double flops) { return Rounded(flops / 1e9, 2); };
  const Flops flash = FlopsPerToken(FlashPreset(), FormatsOf(FlashPreset()), kMillion);
  EXPECT_EQ(giga(flash.fp8), 11.71);
  EXPECT_EQ(giga(flash.fp4_weight), 12.99);
  EXPECT_EQ(giga(flash.bf16), 1.16);
  EXPECT_EQ(giga(flash.fp32), 0.68);
  EXPECT_EQ(giga(flash.attention), 23.61);
  EXPECT_EQ(giga(flash.index_fp4), 90.19);
  EXPECT_EQ(Rounded(flash.Sum() / 1e9, 1), 140.3);
  EXPECT_EQ(Rounded(flash.Fp8Equivalents() / 1e9, 1), 122.0);
  const Flops pro = FlopsPerToken(ProPreset(), FormatsOf(ProPreset()), kMillion);
  EXPECT_EQ(giga(pro.fp8), 45.40);
  EXPECT_EQ(giga(pro.fp4_weight), 48.36);
  EXPECT_EQ(giga(pro.bf16), 2.22);
  EXPECT_EQ(giga(pro.fp32), 1.72);
  EXPECT_EQ(giga(pro.attention), 76.67);
  EXPECT_EQ(giga(pro.index_fp4), 128.85);
  EXPECT_EQ(Rounded(pro.Sum() / 1e9, 1), 303.2);
  EXPECT_EQ(Rounded(pro.Fp8Equivalents() / 1e9, 1), 322.9);
  const Flops v32 = V32FlopsPerToken(kMillion);
  EXPECT_EQ(giga(v32.fp8), 72.83);
  EXPECT_EQ(giga(v32.bf16), 2.12);
  EXPECT_EQ(giga(v32.attention), 34.80);
  EXPECT_EQ(giga(v32.index_fp8), 1047.97);
  EXPECT_EQ(Rounded(v32.Sum() / 1e9, 1), 1157.7);
  EXPECT_EQ(Rounded(v32.Fp8Equivalents() / 1e9, 1), 1194.6);
}

// Ref: model.md 11.3, second table; the last row holds the published 10 % and 27 %.
TEST(Sizes, FlopsBesideV32) {
  struct Row {
    int64_t context;
    int digits;
    double flash;
    double pro;
  };
  for (const Row& row : {Row{4096, 1, 22.8, 83.6}, Row{32768, 1, 20.5, 73.3},
                         Row{131072, 1, 16.2, 54.0}, Row{524288, 1, 11.6, 33.4},
                         Row{1000000, 2, 10.29, 27.37}, Row{kMillion, 2, 10.22, 27.03}}) {
    const double v32 = V32FlopsPerToken(row.context).Fp8Equivalents();
    const auto percent = [&](const Config& config) {
      const Flops flops = FlopsPerToken(config, FormatsOf(config), row.context);
      return Percent(flops.Fp8Equivalents() / v32, row.digits);
    };
    EXPECT_EQ(percent(FlashPreset()), row.flash) << row.context;
    EXPECT_EQ(percent(ProPreset()), row.pro) << row.context;
  }
}

TEST(Sizes, UnquantisedModelsCountAsBf16) {
  const LinearFormats bf16;
  const Flops flops = FlopsPerToken(FlashPreset(), bf16, kMillion);
  const Flops quantised = FlopsPerToken(FlashPreset(), FormatsOf(FlashPreset()), kMillion);
  EXPECT_EQ(flops.fp8, 0);
  EXPECT_EQ(flops.fp4_weight, 0);
  EXPECT_DOUBLE_EQ(flops.Sum(), quantised.Sum());
}

}  // namespace
}  // namespace fathom::model
