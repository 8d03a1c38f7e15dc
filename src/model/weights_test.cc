#include "model/weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/folder_testing.h"
#include "model/layout.h"

namespace fathom::model {
namespace {

using checkpoint::Checkpoint;
using tensor::DType;
using tensor::Format;

std::string GoldenDir(const std::string& name) {
  return FATHOM_SOURCE_DIR "/testdata/golden/" + name;
}

// A checkpoint to be altered and written.
struct Draft {
  struct Tensor {
    DType dtype;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };
  Config config;
  std::map<std::string, Tensor> tensors;

  static Draft OfGolden(const std::string& name) {
    Draft draft{LoadConfig(GoldenDir(name)).value(), {}};
    const Checkpoint golden = Checkpoint::Open(GoldenDir(name)).value();
    for (const auto& [tensor_name, view] : golden.tensors())
      draft.tensors[tensor_name] = {view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}};
    return draft;
  }
  // Zeros everywhere, but valid routing tables.
  static Draft OfConfig(const Config& config) {
    Draft draft{config, {}};
    for (const OfficialTensor& tensor : OfficialTensors(config, FormatsOf(config)))
      draft.Put(tensor.decl.name, tensor.decl.dtype, tensor.decl.shape);
    for (auto& [name, tensor] : draft.tensors) {
      if (tensor.dtype != DType::kI64) continue;
      for (int64_t i = 0; i < tensor.shape[0] * tensor.shape[1]; ++i)
        draft.SetEntry(name, i, i % tensor.shape[1]);
    }
    return draft;
  }

  void Put(const std::string& name, DType dtype, std::vector<int64_t> shape) {
    const int64_t bytes = checkpoint::TensorBytes({name, dtype, shape});
    tensors[name] = {dtype, std::move(shape), std::vector<std::byte>(static_cast<size_t>(bytes))};
  }
  void SetEntry(const std::string& table, int64_t index, int64_t value) {
    std::memcpy(tensors.at(table).bytes.data() + index * 8, &value, 8);
  }
  // BF16 to F32.
  void Widen(const std::string& name) {
    Tensor& tensor = tensors.at(name);
    ASSERT_EQ(tensor.dtype, DType::kBF16);
    std::vector<std::byte> wide(tensor.bytes.size() * 2);
    for (size_t i = 0; i < tensor.bytes.size(); ++i) wide[i / 2 * 4 + 2 + i % 2] = tensor.bytes[i];
    tensor.dtype = DType::kF32;
    tensor.bytes = std::move(wide);
  }

  Checkpoint Write() const {
    std::vector<checkpoint::TensorDecl> decls;
    for (const auto& [name, tensor] : tensors) decls.push_back({name, tensor.dtype, tensor.shape});
    const TempFolder temp;
    const std::string& folder = temp.path();
    auto writer = checkpoint::CheckpointWriter::Create(folder, {decls});
    for (const auto& [name, tensor] : tensors)
      EXPECT_TRUE(writer.value().Append(tensor.bytes).ok());
    EXPECT_TRUE(writer.value().Finish().ok());
    return Checkpoint::Open(folder).value();
  }

  void ExpectBinds() const {
    const Checkpoint opened = Write();
    const auto weights = BindWeights(config, opened);
    EXPECT_TRUE(weights.ok()) << weights.error().message;
  }
  // The report has exactly these complaints, in any order, and the counts in its first line.
  void ExpectComplaints(std::vector<std::string> complaints, const std::string& counts) const {
    const Checkpoint opened = Write();
    const auto weights = BindWeights(config, opened);
    ASSERT_FALSE(weights.ok());
    const std::string& message = weights.error().message;
    EXPECT_TRUE(message.starts_with(
        opened.path() + ": expected the tensors of its configuration, found " + counts + "\n"))
        << message;
    EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), std::ssize(complaints)) << message;
    for (const std::string& complaint : complaints)
      EXPECT_NE((message + "\n").find("\n  " + complaint + "\n"), message.npos)
          << complaint << "\nnot in\n"
          << message;
  }
};

float FloatAt(const Checkpoint& opened, const std::string& name, size_t index) {
  float value;
  std::memcpy(&value, opened.Find(name)->bytes.data() + index * 4, 4);
  return value;
}

TEST(BindWeights, GoldenModelsBind) {
  for (const char* name : {"bf16-tiny", "fp8-fp4-tiny", "longctx-tiny", "flash-shape"}) {
    const auto loaded = LoadedModel::Load(GoldenDir(name));
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const Config& config = loaded.value().config();
    const Weights& weights = loaded.value().weights();
    ASSERT_EQ(std::ssize(weights.layers), config.num_hidden_layers);
    EXPECT_TRUE(weights.mtp.has_value());
    EXPECT_FALSE(weights.dspark.has_value());
    for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
      const LayerWeights& layer = weights.layers[static_cast<size_t>(i)];
      EXPECT_EQ(layer.ratio, config.ratio(i));
      EXPECT_EQ(layer.attn.compressor.has_value(), config.ratio(i) != 0);
      EXPECT_EQ(layer.attn.indexer.has_value(), config.ratio(i) == 4);
      EXPECT_EQ(layer.ffn.gate.tid2eid != nullptr, i < config.num_hash_layers);
      EXPECT_EQ(layer.ffn.gate.bias.empty(), i < config.num_hash_layers);
      EXPECT_EQ(std::ssize(layer.ffn.experts), config.n_routed_experts);
    }
  }
}

TEST(BindWeights, ViewsShowTheBytesOfTheirTensors) {
  auto loaded = LoadedModel::Load(GoldenDir("flash-shape"));
  ASSERT_TRUE(loaded.ok());
  const LoadedModel model = std::move(loaded).value();
  const Checkpoint& opened = model.checkpoint();
  const LayerWeights& layer = model.weights().layers[1];
  const auto expect_linear = [&](const QuantView& view, const std::string& name, Format format) {
    EXPECT_EQ(view.format, format) << name;
    EXPECT_EQ(view.data, opened.Find(name + ".weight")->bytes.data()) << name;
    EXPECT_EQ(reinterpret_cast<const std::byte*>(view.scale),
              opened.Find(name + ".scale")->bytes.data())
        << name;
    EXPECT_EQ(view.bytes(), std::ssize(opened.Find(name + ".weight")->bytes) +
                                std::ssize(opened.Find(name + ".scale")->bytes));
  };
  expect_linear(layer.attn.wq_b, "layers.1.attn.wq_b", Format::kFp8);
  expect_linear(layer.attn.wo_a, "layers.1.attn.wo_a", Format::kFp8);
  expect_linear(layer.attn.indexer->wq_b, "layers.1.attn.indexer.wq_b", Format::kFp8);
  expect_linear(layer.ffn.experts[3].w2, "layers.1.ffn.experts.3.w2", Format::kFp4);
  expect_linear(layer.ffn.shared_experts.w1, "layers.1.ffn.shared_experts.w1", Format::kFp8);
  expect_linear(model.weights().mtp->h_proj, "mtp.0.h_proj", Format::kFp8);
  EXPECT_EQ(layer.attn.wq_b.rows, 4096);
  EXPECT_EQ(layer.attn.wq_b.cols, 128);
  EXPECT_EQ(layer.ffn.experts[3].w2.cols, 128);  // values, not packed bytes
  EXPECT_EQ(layer.hc_attn.fn.format, Format::kF32);
  EXPECT_EQ(layer.hc_attn.fn.data, opened.Find("layers.1.hc_attn_fn")->bytes.data());
  EXPECT_EQ(layer.attn.compressor->ape.size(), 4u * 1024);
  EXPECT_EQ(layer.attn.compressor->ape[1025],
            FloatAt(opened, "layers.1.attn.compressor.ape", 1025));
  EXPECT_EQ(layer.ffn.gate.bias[7], FloatAt(opened, "layers.1.ffn.gate.bias", 7));
  EXPECT_EQ(model.weights().layers[0].ffn.gate.tid2eid,
            opened.Find("layers.0.ffn.gate.tid2eid")->bytes.data());
}

// Compares what was bound with the tensor of the expected name.
class NameCheck {
 public:
  explicit NameCheck(const Checkpoint& opened) : opened_(opened) {}

  void Matrix(const QuantView& view, const std::string& name) const {
    const tensor::RawView* raw = opened_.Find(name + ".weight");
    if (raw == nullptr) raw = opened_.Find(name);
    ASSERT_NE(raw, nullptr) << name;
    EXPECT_EQ(view.data, raw->bytes.data()) << name;
  }
  void Vector(const FloatVector& vector, const std::string& name) const {
    const tensor::RawView* raw = opened_.Find(name + ".weight");
    if (raw == nullptr) raw = opened_.Find(name);
    ASSERT_NE(raw, nullptr) << name;
    ASSERT_EQ(std::ssize(vector), raw->elements()) << name;
    const size_t width = raw->dtype == DType::kF32 ? 4 : 2;
    for (size_t i = 0; i < vector.size(); ++i) {
      uint32_t bits = 0;  // BF16 is the upper half
      std::memcpy(reinterpret_cast<std::byte*>(&bits) + 4 - width, &raw->bytes[i * width], width);
      ASSERT_EQ(std::bit_cast<uint32_t>(vector[i]), bits) << name << " at " << i;
    }
  }
  void HyperConnection(const HyperConnectionWeights& hc, const std::string& name) const {
    Matrix(hc.fn, name + "_fn");
    Vector(hc.base, name + "_base");
    Vector(hc.scale, name + "_scale");
  }
  void Compressor(const CompressorWeights& compressor, const std::string& prefix) const {
    Matrix(compressor.wkv, prefix + "wkv");
    Matrix(compressor.wgate, prefix + "wgate");
    Vector(compressor.ape, prefix + "ape");
    Vector(compressor.norm, prefix + "norm");
  }
  void Expert(const ExpertWeights& expert, const std::string& prefix) const {
    Matrix(expert.w1, prefix + "w1");
    Matrix(expert.w2, prefix + "w2");
    Matrix(expert.w3, prefix + "w3");
  }
  void Block(const LayerWeights& layer, const std::string& prefix) const {
    Vector(layer.attn_norm, prefix + "attn_norm");
    Vector(layer.ffn_norm, prefix + "ffn_norm");
    HyperConnection(layer.hc_attn, prefix + "hc_attn");
    HyperConnection(layer.hc_ffn, prefix + "hc_ffn");
    const AttentionWeights& attn = layer.attn;
    Vector(attn.attn_sink, prefix + "attn.attn_sink");
    Matrix(attn.wq_a, prefix + "attn.wq_a");
    Vector(attn.q_norm, prefix + "attn.q_norm");
    Matrix(attn.wq_b, prefix + "attn.wq_b");
    Matrix(attn.wkv, prefix + "attn.wkv");
    Vector(attn.kv_norm, prefix + "attn.kv_norm");
    Matrix(attn.wo_a, prefix + "attn.wo_a");
    Matrix(attn.wo_b, prefix + "attn.wo_b");
    if (attn.compressor) Compressor(*attn.compressor, prefix + "attn.compressor.");
    if (attn.indexer) {
      Matrix(attn.indexer->wq_b, prefix + "attn.indexer.wq_b");
      Matrix(attn.indexer->weights_proj, prefix + "attn.indexer.weights_proj");
      Compressor(attn.indexer->compressor, prefix + "attn.indexer.compressor.");
    }
    Matrix(layer.ffn.gate.weight, prefix + "ffn.gate");
    if (!layer.ffn.gate.bias.empty()) Vector(layer.ffn.gate.bias, prefix + "ffn.gate.bias");
    for (size_t e = 0; e < layer.ffn.experts.size(); ++e)
      Expert(layer.ffn.experts[e], prefix + "ffn.experts." + std::to_string(e) + ".");
    Expert(layer.ffn.shared_experts, prefix + "ffn.shared_experts.");
  }

 private:
  const Checkpoint& opened_;
};

TEST(BindWeights, EveryWeightCarriesItsCheckpointName) {
  for (const char* name : {"bf16-tiny", "fp8-fp4-tiny"}) {
    const LoadedModel model = LoadedModel::Load(GoldenDir(name)).value();
    const Weights& weights = model.weights();
    const NameCheck check(model.checkpoint());
    check.Matrix(weights.embed, "embed");
    check.Matrix(weights.head, "head");
    check.Vector(weights.norm, "norm");
    check.HyperConnection(weights.hc_head, "hc_head");
    for (size_t i = 0; i < weights.layers.size(); ++i)
      check.Block(weights.layers[i], "layers." + std::to_string(i) + ".");
    check.Block(weights.mtp->block, "mtp.0.");
    check.Matrix(weights.mtp->e_proj, "mtp.0.e_proj");
    check.Matrix(weights.mtp->h_proj, "mtp.0.h_proj");
    check.Vector(weights.mtp->enorm, "mtp.0.enorm");
    check.Vector(weights.mtp->hnorm, "mtp.0.hnorm");
    check.Vector(weights.mtp->norm, "mtp.0.norm");
    check.HyperConnection(weights.mtp->hc_head, "mtp.0.hc_head");
  }
}

TEST(BindWeights, WidensBf16VectorsExactly) {
  Draft draft = Draft::OfGolden("bf16-tiny");
  const Checkpoint narrow = Checkpoint::Open(GoldenDir("bf16-tiny")).value();
  const FloatVector expected = BindWeights(draft.config, narrow).value().layers[1].attn.q_norm;
  draft.Widen("layers.1.attn.q_norm.weight");
  draft.Widen("embed.weight");
  draft.Widen("layers.1.attn.compressor.wkv.weight");
  const Checkpoint wide = draft.Write();
  const auto weights = BindWeights(draft.config, wide);
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  EXPECT_EQ(weights.value().layers[1].attn.q_norm, expected);
  EXPECT_EQ(expected[5], FloatAt(wide, "layers.1.attn.q_norm.weight", 5));
  EXPECT_EQ(weights.value().embed.format, Format::kF32);
  EXPECT_EQ(weights.value().layers[1].attn.compressor->wkv.format, Format::kF32);
}

TEST(BindWeights, OneReportNamesEverythingWrong) {
  Draft draft = Draft::OfGolden("bf16-tiny");
  draft.tensors.erase("layers.0.attn.wq_a.weight");
  draft.tensors.erase("mtp.0.norm.weight");
  draft.Put("layers.3.attn.wq_b.weight", DType::kBF16, {384, 47});
  draft.Put("layers.2.attn.compressor.ape", DType::kF32, {128 * 96});
  draft.Put("norm.weight", DType::kF16, {96});
  draft.Put("layers.1.ffn.gate.tid2eid", DType::kI32, {256, 3});
  draft.Put("layers.0.attn.compressor.ape", DType::kF32, {4, 192});
  draft.Put("evil\nname", DType::kU8, {});
  draft.ExpectComplaints(
      {"layers.0.attn.wq_a.weight: missing", "mtp.0.norm.weight: missing",
       "layers.3.attn.wq_b.weight: expected [384,48], found [384,47]",
       "layers.2.attn.compressor.ape: expected [128,96], found [12288]",
       "norm.weight: expected BF16 or F32, found F16",
       "layers.1.ffn.gate.tid2eid: expected I64, found I32",
       "layers.0.attn.compressor.ape: surplus, F32 [4,192]", "evil\\nname: surplus, U8 []"},
      "2 missing, 2 surplus, 4 unfit");
}

TEST(BindWeights, LongReportsAreCut) {
  Draft draft = Draft::OfGolden("bf16-tiny");
  std::erase_if(draft.tensors, [](const auto& t) { return t.first.starts_with("layers.2."); });
  for (int i = 0; i < 9; ++i) draft.Put("extra." + std::to_string(i), DType::kI8, {1});
  const Checkpoint opened = draft.Write();
  const auto weights = BindWeights(draft.config, opened);
  ASSERT_FALSE(weights.ok());
  const std::string& message = weights.error().message;
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 21) << message;
  EXPECT_NE(message.find("found 49 missing, 9 surplus, 0 unfit\n"), message.npos) << message;
  EXPECT_NE(message.find("\n  layers.2.hc_attn_fn: missing\n"), message.npos) << message;
  EXPECT_NE(message.find("\n  extra.4: surplus, I8 [1]\n"), message.npos) << message;
  EXPECT_TRUE(message.ends_with("\n  and 38 more")) << message;
}

TEST(BindWeights, RoutingTablesAreCheckedRowByRow) {
  const std::string table = "layers.0.ffn.gate.tid2eid";
  const Draft golden = Draft::OfGolden("bf16-tiny");  // 8 experts, 3 a token
  const struct {
    int64_t values[3];
    const char* found;
  } kRows[] = {{{1, 2, 8}, "[1,2,8]"},
               {{-1, 2, 3}, "[-1,2,3]"},
               {{1, 2, 1}, "[1,2,1]"},
               {{5, 5, 0}, "[5,5,0]"},
               {{int64_t{1} << 32, 2, 3}, "[4294967296,2,3]"}};
  for (const auto& row : kRows) {
    Draft draft = golden;
    for (int64_t a = 0; a < 3; ++a) draft.SetEntry(table, 255 * 3 + a, row.values[a]);
    draft.ExpectComplaints(
        {table + ": row 255: expected distinct experts in [0,8), found " + row.found},
        "0 missing, 0 surplus, 1 unfit");
  }
}

TEST(BindWeights, LinearsDecideTheirFormatByThemselves) {
  Draft draft = Draft::OfGolden("flash-shape");
  const std::string expert = "layers.1.ffn.experts.2.";
  // One expert matrix of each kind; scales and packed values may be spelled U8.
  draft.Put(expert + "w1.weight", DType::kBF16, {128, 128});
  draft.tensors.erase(expert + "w1.scale");
  draft.Put(expert + "w2.weight", DType::kF8E4M3, {128, 128});
  draft.Put(expert + "w2.scale", DType::kU8, {1, 1});
  draft.tensors.at(expert + "w3.weight").dtype = DType::kU8;
  draft.Put("layers.1.attn.wo_a.weight", DType::kBF16, {128, 512});
  draft.tensors.erase("layers.1.attn.wo_a.scale");
  const Checkpoint opened = draft.Write();
  const auto weights = BindWeights(draft.config, opened);
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  const LayerWeights& layer = weights.value().layers[1];
  EXPECT_EQ(layer.ffn.experts[2].w1.format, Format::kBF16);
  EXPECT_EQ(layer.ffn.experts[2].w1.scale, nullptr);
  EXPECT_EQ(layer.ffn.experts[2].w2.format, Format::kFp8);
  EXPECT_EQ(layer.ffn.experts[2].w3.format, Format::kFp4);
  EXPECT_EQ(layer.attn.wo_a.format, Format::kBF16);
}

TEST(BindWeights, LinearsRefuseOtherFormats) {
  Draft draft = Draft::OfGolden("flash-shape");
  const std::string expert = "layers.1.ffn.experts.2.";
  draft.tensors.erase(expert + "w1.scale");
  draft.Put(expert + "w2.scale", DType::kF32, {128, 4});
  draft.Put(expert + "w3.weight", DType::kF32, {128, 128});
  draft.Put("layers.1.ffn.shared_experts.w1.weight", DType::kI8, {128, 64});
  draft.Put("layers.1.attn.wkv.scale", DType::kF8E8M0, {4, 2});
  draft.Put("layers.1.attn.wo_b.weight", DType::kBF16, {128, 128});  // and still a scale
  draft.Put("mtp.0.ffn.experts.0.w1.weight", DType::kI8, {128, 128});
  draft.Put("head.weight", DType::kF8E4M3, {256, 128});
  draft.ExpectComplaints(
      {expert + "w1.scale: missing", expert + "w2.scale: expected F8_E8M0, found F32",
       expert + "w3.weight: expected I8 (packed FP4), F8_E4M3 or BF16, found F32",
       "layers.1.ffn.shared_experts.w1.weight: expected F8_E4M3 or BF16, found I8",
       "layers.1.attn.wkv.scale: expected [4,1], found [4,2]",
       "layers.1.attn.wo_b.scale: surplus, F8_E8M0 [1,1]",
       "mtp.0.ffn.experts.0.w1.weight: expected [128,64], found [128,128]",
       "head.weight: expected BF16 or F32, found F8_E4M3"},
      "1 missing, 1 surplus, 6 unfit");
}

TEST(BindWeights, MtpIsOptionalAndItsSharedCopiesAreIgnored) {
  Draft draft = Draft::OfGolden("bf16-tiny");
  draft.Put("mtp.0.embed.weight", DType::kBF16, {256, 96});
  draft.Put("mtp.0.head.weight", DType::kBF16, {256, 96});
  draft.ExpectBinds();
  std::erase_if(draft.tensors, [](const auto& t) {
    return t.first.starts_with("mtp.") && !t.first.ends_with("embed.weight");
  });
  const Checkpoint opened = draft.Write();
  const auto weights = BindWeights(draft.config, opened);
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  EXPECT_FALSE(weights.value().mtp.has_value());
}

TEST(BindWeights, MtpTensorsThatTheConfigurationDeniesAreSurplus) {
  Draft draft = Draft::OfGolden("bf16-tiny");
  draft.config.num_nextn_predict_layers = 0;
  const Checkpoint opened = draft.Write();
  const auto weights = BindWeights(draft.config, opened);
  ASSERT_FALSE(weights.ok());
  EXPECT_NE(weights.error().message.find("0 missing, 53 surplus, 0 unfit"), std::string::npos)
      << weights.error().message;
}

TEST(BindWeights, DsparkBinds) {
  Config config = LoadConfig(GoldenDir("fp8-fp4-tiny")).value();
  config.dspark = DsparkConfig{.block_size = 5,
                               .noise_token_id = 3,
                               .target_layer_ids = {1, 2, 3},
                               .markov_rank = 16,
                               .stages = 3};
  Draft draft = Draft::OfConfig(config);
  {
    const Checkpoint opened = draft.Write();
    const auto weights = BindWeights(config, opened);
    ASSERT_TRUE(weights.ok()) << weights.error().message;
    EXPECT_FALSE(weights.value().mtp.has_value());
    ASSERT_TRUE(weights.value().dspark.has_value());
    const DsparkWeights& dspark = *weights.value().dspark;
    EXPECT_EQ(dspark.stages.size(), 3u);
    EXPECT_EQ(dspark.main_proj.cols, 3 * config.hidden_size);
    EXPECT_EQ(dspark.main_norm.size(), static_cast<size_t>(config.hidden_size));
    EXPECT_EQ(dspark.markov_w1.rows, config.vocab_size);
    EXPECT_EQ(dspark.confidence.cols, config.hidden_size + 16);
    EXPECT_EQ(dspark.hc_head.base.size(), 4u);
    const NameCheck check(opened);
    for (int stage = 0; stage < 3; ++stage)
      check.Block(dspark.stages[static_cast<size_t>(stage)], "mtp." + std::to_string(stage) + ".");
    check.Matrix(dspark.main_proj, "mtp.0.main_proj");
    check.Vector(dspark.main_norm, "mtp.0.main_norm");
    check.Vector(dspark.norm, "mtp.2.norm");
    check.HyperConnection(dspark.hc_head, "mtp.2.hc_head");
    check.Matrix(dspark.markov_w1, "mtp.2.markov_head.markov_w1");
    check.Matrix(dspark.markov_w2, "mtp.2.markov_head.markov_w2");
    check.Matrix(dspark.confidence, "mtp.2.confidence_head.proj");
  }
  Draft broken = draft;
  broken.tensors.erase("mtp.2.markov_head.markov_w1.weight");
  broken.Put("mtp.1.e_proj.weight", DType::kBF16, {1});
  broken.ExpectComplaints(
      {"mtp.2.markov_head.markov_w1.weight: missing", "mtp.1.e_proj.weight: surplus, BF16 [1]"},
      "1 missing, 1 surplus, 0 unfit");
  draft.config.dspark.reset();
  const Checkpoint opened = draft.Write();
  const auto weights = BindWeights(draft.config, opened);
  ASSERT_FALSE(weights.ok());
  EXPECT_NE(weights.error().message.find("mtp.0.main_proj.weight: expected dspark_* keys"),
            std::string::npos);
}

TEST(BindWeights, GenericNamesBind) {
  const std::pair<std::string, std::string> kSpellings[] = {
      {".attn.", ".self_attn."},
      {".ffn.", ".mlp."},
      {".scale", ".weight_scale_inv"},
      {"gate.bias", "gate.e_score_correction_bias"},
      {".wq_a.", ".q_a_proj."},
      {".q_norm.", ".q_a_layernorm."},
      {".attn_norm.", ".input_layernorm."},
      {".ffn_norm.", ".post_attention_layernorm."},
      {".w1.", ".gate_proj."},
      {".w2.", ".down_proj."},
      {".w3.", ".up_proj."},
      {".kv_norm.", ".kv_a_layernorm."}};
  const Draft golden = Draft::OfGolden("flash-shape");
  Draft draft{golden.config, {}};
  for (const auto& [official, tensor] : golden.tensors) {
    std::string name = official;
    for (const auto& [from, to] : kSpellings)
      if (const size_t place = name.find(from); place != name.npos)
        name.replace(place, from.size(), to);
    if (name == "embed.weight") name = "embed_tokens.weight";
    name = name == "head.weight" ? "lm_head.weight" : "model." + name;
    EXPECT_NE(name, official);
    draft.tensors[name] = tensor;
  }
  draft.ExpectBinds();
}

TEST(BindWeights, SeveralMtpBlocksAreAllChecked) {
  Config config = LoadConfig(GoldenDir("bf16-tiny")).value();
  config.num_nextn_predict_layers = 2;
  config.compress_ratios.push_back(0);
  Draft draft = Draft::OfConfig(config);
  draft.ExpectBinds();
  draft.tensors.erase("mtp.1.enorm.weight");
  draft.ExpectComplaints({"mtp.1.enorm.weight: missing"}, "1 missing, 0 surplus, 0 unfit");
}

TEST(LoadedModel, TheBundledModelBinds) {
  const auto loaded = LoadedModel::Load(FATHOM_SOURCE_DIR "/models/nano");
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(loaded.value().weights().layers[0].ffn.experts[0].w1.format, Format::kFp4);
}

TEST(LoadedModel, ErrorsNameTheFile) {
  const TempFolder temp;
  const std::string& folder = temp.path();
  const auto absent = LoadedModel::Load(folder);
  ASSERT_FALSE(absent.ok());
  EXPECT_NE(absent.error().message.find(folder + "/config.json"), std::string::npos);
  std::filesystem::copy_file(GoldenDir("bf16-tiny") + "/config.json", folder + "/config.json");
  const auto empty = LoadedModel::Load(folder);
  ASSERT_FALSE(empty.ok());
  EXPECT_NE(empty.error().message.find(folder + ": expected model.safetensors"), std::string::npos)
      << empty.error().message;
}

}  // namespace
}  // namespace fathom::model
