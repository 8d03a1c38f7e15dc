// Synthetic checkpoints: they load, their numbers have the intended spread, and they do not depend
// on anything but the seed.
#include "model/synth.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>

#include "base/file.h"
#include "base/folder_testing.h"
#include "model/layout.h"
#include "model/sizes.h"
#include "model/weights.h"
#include "numerics/formats.h"

namespace fathom::model {
namespace {

namespace fs = std::filesystem;
using checkpoint::Checkpoint;

class Synth : public testing::Test {
 protected:
  // Writes a checkpoint and returns its folder.
  std::string Write(const Config& config, uint64_t seed, const char* name, int threads = 1) {
    const std::string dir = root_ / name;
    const Result<void> prepared = PrepareFolder(dir, ExistingFolder::kRefuse);
    EXPECT_TRUE(prepared.ok()) << prepared.error().message;
    ThreadPool pool(threads);
    int64_t last_done = 0;
    const auto written =
        WriteSyntheticCheckpoint(config, seed, dir, pool, [&](int64_t done, int64_t total) {
          EXPECT_LE(done, total);
          EXPECT_GT(done, last_done);
          last_done = done;
        });
    EXPECT_TRUE(written.ok()) << written.error().message;
    EXPECT_EQ(last_done, written.value().bytes);
    EXPECT_EQ(written.value().bytes, OfficialSizes(config).bytes);
    EXPECT_EQ(written.value().tensors, OfficialSizes(config).tensors);
    return dir;
  }

  const TempFolder root_;
};

// The scale of value (o, i), or 127 (which stands for 1) in formats without.
uint8_t ScaleCode(const QuantView& view, int64_t o, int64_t i) {
  if (view.format == tensor::Format::kFp8)
    return view.scale[(view.row_offset + o) / 128 * view.scale_cols() + i / 128];
  if (view.format == tensor::Format::kFp4) return view.scale[o * view.scale_cols() + i / 32];
  return 127;
}

float Value(const QuantView& view, int64_t o, int64_t i) {
  using namespace numerics;
  const std::byte* row = view.row(o);
  const float scale = E8M0ToFloat(ScaleCode(view, o, i));
  if (view.format == tensor::Format::kFp8) return E4M3ToFloat(static_cast<uint8_t>(row[i])) * scale;
  if (view.format == tensor::Format::kFp4) {
    const auto pair = static_cast<uint8_t>(row[i / 2]);
    return E2M1ToFloat(static_cast<uint8_t>(i % 2 == 0 ? pair & 15 : pair >> 4)) * scale;
  }
  float value = 0;
  if (view.format == tensor::Format::kF32) {
    std::memcpy(&value, row + 4 * i, 4);
    return value;
  }
  BF16 bits;
  std::memcpy(&bits, row + 2 * i, 2);
  return ToFloat(bits);
}

// Mean 0 and standard deviation `sigma`. Quantised weights have three scales, half of the blocks
// the middle one; under it, values spread by sigma / sqrt((1/4 + 1 + 1 + 4) / 4). Of n normal
// values the mean strays by sigma / sqrt(n) and the variance by sqrt(2 / n) of itself; 6 of these
// are allowed.
void ExpectSpread(const QuantView& view, double sigma, const std::string& name) {
  std::map<uint8_t, int64_t> counts;
  for (int64_t o = 0; o < view.rows; ++o)
    for (int64_t i = 0; i < view.cols; ++i) ++counts[ScaleCode(view, o, i)];
  const bool is_scaled = view.format == tensor::Format::kFp8 || view.format == tensor::Format::kFp4;
  ASSERT_EQ(counts.size(), is_scaled ? 3u : 1u) << name;
  const auto middle = is_scaled ? static_cast<uint8_t>(counts.begin()->first + 1) : uint8_t{127};
  const double expected = is_scaled ? sigma / 1.25 : sigma;
  const double n = static_cast<double>(counts[middle]);
  double sum = 0;
  double squares = 0;
  for (int64_t o = 0; o < view.rows; ++o) {
    for (int64_t i = 0; i < view.cols; ++i) {
      const double value = Value(view, o, i);
      ASSERT_TRUE(std::isfinite(value)) << name;
      if (ScaleCode(view, o, i) != middle) continue;
      sum += value;
      squares += value * value;
    }
  }
  EXPECT_LT(std::abs(sum / n), 6 * expected / std::sqrt(n)) << name;
  EXPECT_LT(std::abs(squares / n / (expected * expected) - 1), 6 * std::sqrt(2 / n))
      << name << ": sigma " << std::sqrt(squares / n) << ", expected " << expected;
}

TEST_F(Synth, LoadsAndHasTheIntendedSpread) {
  Config config = NanoPreset();
  config.hidden_size = 1024;  // enough FP8 blocks for a standard deviation
  config.q_lora_rank = 512;
  config.o_lora_rank = 512;
  const Result<LoadedModel> loaded = LoadedModel::Load(Write(config, 7, "model"));
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_TRUE(loaded.value().config() == config);
  const Weights& w = loaded.value().weights();
  const double unit = 1 / std::sqrt(1024.0);
  const double out = 1 / std::sqrt(8.0);  // four layers, two sublayers each
  ExpectSpread(w.embed, 1, "embed");
  ExpectSpread(w.head, 2 * unit, "head");
  ExpectSpread(w.layers[0].attn.wq_a, unit, "wq_a");
  ExpectSpread(w.layers[1].attn.wo_b, out * unit, "wo_b");
  ExpectSpread(w.layers[1].attn.compressor->wkv, unit, "compressor.wkv");
  ExpectSpread(w.layers[2].ffn.gate.weight, unit, "gate");
  ExpectSpread(w.layers[2].hc_ffn.fn, unit / 2, "hc_ffn_fn");
  ExpectSpread(w.mtp->e_proj, unit * std::sqrt(0.5), "e_proj");
  for (const ExpertWeights& expert : w.layers[3].ffn.experts) {
    ASSERT_EQ(expert.w1.format, tensor::Format::kFp4);
    ExpectSpread(expert.w1, unit, "w1");
    ExpectSpread(expert.w2, out / std::sqrt(128.0), "w2");
  }
  for (const float norm : w.layers[0].attn_norm) EXPECT_NEAR(norm, 1, 0.5);
  for (const float sink : w.layers[0].attn.attn_sink) EXPECT_LT(std::abs(sink), 1.5);
}

TEST_F(Synth, EveryFormatLoads) {
  struct Case {
    const char* dtype;
    bool is_dense_fp8;
    tensor::Format dense;
    tensor::Format experts;
  };
  using tensor::Format;
  for (const Case& c : {Case{"fp4", true, Format::kFp8, Format::kFp4},
                        Case{"fp8", true, Format::kFp8, Format::kFp8},
                        Case{"bf16", false, Format::kBF16, Format::kBF16},
                        Case{"fp4", false, Format::kBF16, Format::kFp4}}) {
    Config config = NanoPreset();
    config.expert_dtype = c.dtype;
    config.has_quantization_config = c.is_dense_fp8;
    const std::string name = fmt::format("{}_{}", c.dtype, c.is_dense_fp8);
    const Result<LoadedModel> loaded = LoadedModel::Load(Write(config, 3, name.c_str()));
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const LayerWeights& layer = loaded.value().weights().layers[1];
    EXPECT_EQ(layer.attn.wq_a.format, c.dense);
    EXPECT_EQ(layer.ffn.experts[0].w1.format, c.experts);
  }
}

// Scales as a quantiser would choose them fill the upper half of the format's range; and they
// differ, so that a mistaken one shows.
TEST_F(Synth, CodesUseTheirFormat) {
  Config config = NanoPreset();
  const Result<LoadedModel> loaded = LoadedModel::Load(Write(config, 11, "model"));
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const QuantView w1 = loaded.value().weights().layers[1].ffn.experts[2].w1;
  std::set<uint8_t> codes;
  for (int64_t i = 0; i < w1.rows * w1.row_bytes(); ++i) {
    codes.insert(static_cast<uint8_t>(w1.data[i]) & 15);
    codes.insert(static_cast<uint8_t>(w1.data[i]) >> 4);
  }
  EXPECT_EQ(codes.size(), 16u);
  std::set<uint8_t> scales(w1.scale, w1.scale + w1.rows * w1.scale_cols());
  EXPECT_EQ(scales.size(), 3u);
  EXPECT_EQ(*scales.rbegin() - *scales.begin(), 2);
}

TEST_F(Synth, HashTablesHoldDistinctExpertsOfAll) {
  Config config = NanoPreset();
  config.num_experts_per_tok = 7;  // of 8: repetitions would be the rule
  const Result<LoadedModel> loaded = LoadedModel::Load(Write(config, 5, "model"));
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;  // the binder checks rows for repetitions
  std::vector<int64_t> table(static_cast<size_t>(config.vocab_size * 7));
  std::memcpy(table.data(), loaded.value().weights().layers[0].ffn.gate.tid2eid,
              table.size() * sizeof(int64_t));
  std::vector<int64_t> uses(8);
  for (const int64_t expert : table) ++uses[static_cast<size_t>(expert)];
  // Each expert is left out of a row with probability 1/8: of 1024 rows 128 with standard
  // deviation 10.6.
  for (const int64_t n : uses) EXPECT_NEAR(static_cast<double>(n), 1024 - 128, 6 * 10.6);
}

TEST_F(Synth, SameSeedSameBytesOnAnyThreads) {
  const Config config = NanoPreset();
  const auto bytes = [](const std::string& dir) {
    return ReadFile(dir + "/model.safetensors").value();
  };
  const std::string first = bytes(Write(config, 1, "a", 1));
  EXPECT_TRUE(first == bytes(Write(config, 1, "b", 3)));
  EXPECT_FALSE(first == bytes(Write(config, 2, "c", 1)));
}

// A tensor's bytes do not depend on what else is in the model.
TEST_F(Synth, SliceHasTheSameTensors) {
  const Config config = NanoPreset();
  Config slice = config;
  slice.num_nextn_predict_layers = 0;
  slice.compress_ratios.pop_back();
  const Checkpoint whole = Checkpoint::Open(Write(config, 1, "whole")).value();
  const Checkpoint part = Checkpoint::Open(Write(slice, 1, "part")).value();
  EXPECT_LT(part.tensors().size(), whole.tensors().size());
  for (const auto& [name, view] : part.tensors()) {
    const tensor::RawView* other = whole.Find(name);
    ASSERT_NE(other, nullptr) << name;
    EXPECT_TRUE(
        std::equal(view.bytes.begin(), view.bytes.end(), other->bytes.begin(), other->bytes.end()))
        << name;
  }
}

TEST_F(Synth, RefusesAFolderInUse) {
  const std::string dir = Write(NanoPreset(), 1, "model");
  const Result<void> refused = PrepareFolder(dir, ExistingFolder::kRefuse);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message.rfind(dir + ": expected an empty folder, found ", 0), 0u)
      << refused.error().message;
  ASSERT_TRUE(WriteFile(dir + "/notes.txt", "kept").ok());
  ASSERT_TRUE(WriteFile(dir + "/model-00001-of-00002.safetensors", "stale").ok());
  ASSERT_TRUE(PrepareFolder(dir, ExistingFolder::kReplace).ok());
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(dir)) left.push_back(entry.path().filename());
  EXPECT_EQ(left, std::vector<std::string>{"notes.txt"});
  EXPECT_FALSE(PrepareFolder("/proc/no/such", ExistingFolder::kRefuse).ok());
}

}  // namespace
}  // namespace fathom::model
