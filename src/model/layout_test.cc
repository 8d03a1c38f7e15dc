#include "model/layout.h"

#include <gtest/gtest.h>

#include <map>

#include "checkpoint/checkpoint.h"

namespace fathom::model {
namespace {

using tensor::Format;

struct Sum {
  int64_t tensors = 0;
  int64_t bytes = 0;
};

Sum Total(const std::vector<OfficialTensor>& tensors) {
  Sum sum;
  for (const OfficialTensor& tensor : tensors) {
    ++sum.tensors;
    sum.bytes += checkpoint::TensorBytes(tensor.decl);
  }
  return sum;
}

int64_t CountUnder(const std::vector<OfficialTensor>& tensors, const std::string& prefix) {
  int64_t count = 0;
  for (const OfficialTensor& tensor : tensors) count += tensor.decl.name.starts_with(prefix);
  return count;
}

Config WithDspark(Config config, int64_t markov_rank, std::vector<int64_t> targets) {
  config.dspark = DsparkConfig{.block_size = 5,
                               .noise_token_id = 128799,
                               .target_layer_ids = std::move(targets),
                               .markov_rank = markov_rank,
                               .stages = 3};
  return config;
}

// Counts and bytes: model.md 4.1.
TEST(Layout, FlashHasThePublishedTensors) {
  const Config config = FlashPreset();
  const auto tensors = OfficialTensors(config, FormatsOf(config));
  EXPECT_EQ(CountUnder(tensors, "layers.0."), 1565);
  EXPECT_EQ(CountUnder(tensors, "layers.2."), 1576);
  EXPECT_EQ(CountUnder(tensors, "layers.3."), 1569);
  EXPECT_EQ(CountUnder(tensors, "mtp.0."), 1575);
  EXPECT_EQ(Total(tensors).tensors, 69'187);
  EXPECT_EQ(Total(tensors).bytes, 159'609'485'896);
  EXPECT_EQ(ShardCount(config), 46);
}

TEST(Layout, ProHasThePublishedTensors) {
  const Config config = ProPreset();
  const auto tensors = OfficialTensors(config, FormatsOf(config));
  EXPECT_EQ(Total(tensors).tensors, 145'116);
  EXPECT_EQ(Total(tensors).bytes, 864'704'792'696);
  EXPECT_EQ(ShardCount(config), 64);
}

TEST(Layout, DsparkVariantsHaveTheComputedTensors) {
  const Config flash = WithDspark(FlashPreset(), 256, {40, 41, 42});
  EXPECT_EQ(Total(OfficialTensors(flash, FormatsOf(flash))).tensors, 72'317);
  EXPECT_EQ(Total(OfficialTensors(flash, FormatsOf(flash))).bytes, 166'878'536'440);
  EXPECT_EQ(ShardCount(flash), 48);
  const Config pro = WithDspark(ProPreset(), 512, {58, 59, 60});
  EXPECT_EQ(Total(OfficialTensors(pro, FormatsOf(pro))).tensors, 149'782);
  EXPECT_EQ(Total(OfficialTensors(pro, FormatsOf(pro))).bytes, 892'727'580'904);
}

TEST(Layout, FlashHasThePublishedBytesOfEachDtype) {
  const Config config = FlashPreset();
  std::map<tensor::DType, double> gigabytes;
  for (const OfficialTensor& tensor : OfficialTensors(config, FormatsOf(config)))
    gigabytes[tensor.decl.dtype] +=
        static_cast<double>(checkpoint::TensorBytes(tensor.decl)) * 1e-9;
  // The published figures have two or three digits after the point.
  EXPECT_NEAR(gigabytes[tensor::DType::kI8], 141.73, 0.005);
  EXPECT_NEAR(gigabytes[tensor::DType::kF8E8M0], 8.86, 0.005);
  EXPECT_NEAR(gigabytes[tensor::DType::kF8E4M3], 6.02, 0.005);
  EXPECT_NEAR(gigabytes[tensor::DType::kBF16], 2.83, 0.005);
  EXPECT_NEAR(gigabytes[tensor::DType::kF32], 0.145, 0.0005);
  EXPECT_NEAR(gigabytes[tensor::DType::kI64], 0.019, 0.0011);
}

TEST(Layout, ShardsFollowThePublishedOrder) {
  const Config config = FlashPreset();
  int64_t shard = 1;
  for (const OfficialTensor& tensor : OfficialTensors(config, FormatsOf(config))) {
    EXPECT_GE(tensor.shard, shard);
    shard = tensor.shard;
    const std::string& name = tensor.decl.name;
    int64_t expected = 45;
    if (name == "embed.weight") expected = 1;
    if (name.starts_with("layers.")) expected = 2 + std::stoll(name.substr(7));
    if (name.starts_with("mtp.0.")) expected = 46;
    EXPECT_EQ(tensor.shard, expected) << name;
  }
}

TEST(Layout, ExpertFormatsDecideTheirTensors) {
  const Config config = NanoPreset();
  std::map<std::string, checkpoint::TensorDecl> by_name;
  for (const OfficialTensor& tensor :
       OfficialTensors(config, {.dense = Format::kBF16, .experts = Format::kFp8}))
    by_name.emplace(tensor.decl.name, tensor.decl);
  EXPECT_EQ(by_name.at("layers.0.ffn.experts.0.w1.weight").dtype, tensor::DType::kF8E4M3);
  EXPECT_TRUE(by_name.contains("layers.0.ffn.experts.0.w1.scale"));
  EXPECT_EQ(by_name.at("layers.0.attn.wq_a.weight").dtype, tensor::DType::kBF16);
  EXPECT_FALSE(by_name.contains("layers.0.attn.wq_a.scale"));
  EXPECT_EQ(WeightShape(Format::kFp4, 3, 66), (std::vector<int64_t>{3, 33}));
  EXPECT_EQ(ScaleShape(Format::kFp4, 3, 66), (std::vector<int64_t>{3, 3}));
  EXPECT_EQ(ScaleShape(Format::kFp8, 129, 128), (std::vector<int64_t>{2, 1}));
}

// The golden checkpoints were written by other software: names, dtypes and shapes must agree.
TEST(Layout, GoldenCheckpointsHaveExactlyTheseTensors) {
  for (const char* name : {"bf16-tiny", "fp8-fp4-tiny", "longctx-tiny", "flash-shape"}) {
    const std::string dir = std::string(FATHOM_SOURCE_DIR "/testdata/golden/") + name;
    const auto config = LoadConfig(dir);
    ASSERT_TRUE(config.ok()) << config.error().message;
    const auto opened = checkpoint::Checkpoint::Open(dir);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    const auto tensors = OfficialTensors(config.value(), FormatsOf(config.value()));
    EXPECT_EQ(tensors.size(), opened.value().tensors().size());
    for (const OfficialTensor& tensor : tensors) {
      const tensor::RawView* found = opened.value().Find(tensor.decl.name);
      ASSERT_NE(found, nullptr) << tensor.decl.name;
      EXPECT_EQ(found->dtype, tensor.decl.dtype) << tensor.decl.name;
      EXPECT_EQ(found->shape, tensor.decl.shape) << tensor.decl.name;
    }
  }
}

}  // namespace
}  // namespace fathom::model
