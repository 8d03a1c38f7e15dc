#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/folder_testing.h"

namespace fathom::checkpoint {
namespace {

using tensor::DType;

// One I8 tensor of one byte per name.
void WriteShard(const std::string& path, const std::vector<std::string>& names) {
  std::vector<TensorDecl> decls;
  for (const std::string& name : names) decls.push_back({name, DType::kI8, {1}});
  auto writer = SafetensorsWriter::Create(path, decls);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer.value().Append(std::vector<std::byte>(names.size())).ok());
  ASSERT_TRUE(writer.value().Finish().ok());
}

void WriteIndex(const std::string& folder, const std::string& text) {
  ASSERT_TRUE(WriteFile(folder + "/model.safetensors.index.json", text).ok());
}

void ExpectRefused(const std::string& path, const std::string& reason) {
  const auto opened = Checkpoint::Open(path);
  ASSERT_FALSE(opened.ok()) << "expected: " << reason;
  const std::string& message = opened.error().message;
  EXPECT_NE(message.find(reason), message.npos) << message;
  EXPECT_NE(message.find(path), message.npos) << message;
  EXPECT_EQ(message.find('\n'), message.npos) << message;
}

TEST(OfficialName, RenamesWholeComponentsOnly) {
  const std::pair<const char*, const char*> kNames[] = {
      {"model.embed_tokens.weight", "embed.weight"},
      {"lm_head.weight", "head.weight"},
      {"model.norm.weight", "norm.weight"},
      {"model.hc_head_fn", "hc_head_fn"},
      {"model.layers.0.input_layernorm.weight", "layers.0.attn_norm.weight"},
      {"model.layers.0.post_attention_layernorm.weight", "layers.0.ffn_norm.weight"},
      {"model.layers.0.self_attn.q_a_proj.weight_scale_inv", "layers.0.attn.wq_a.scale"},
      {"model.layers.0.self_attn.q_a_layernorm.weight", "layers.0.attn.q_norm.weight"},
      {"model.layers.0.self_attn.q_b_proj.weight", "layers.0.attn.wq_b.weight"},
      {"model.layers.0.self_attn.kv_a_layernorm.weight", "layers.0.attn.kv_norm.weight"},
      {"model.layers.3.mlp.gate.e_score_correction_bias", "layers.3.ffn.gate.bias"},
      {"model.layers.3.mlp.experts.7.gate_proj.weight", "layers.3.ffn.experts.7.w1.weight"},
      {"model.layers.3.mlp.experts.7.down_proj.weight", "layers.3.ffn.experts.7.w2.weight"},
      {"model.layers.3.mlp.shared_experts.up_proj.weight", "layers.3.ffn.shared_experts.w3.weight"},
      // Official names stay, also those that contain a generic one.
      {"mtp.2.markov_head.markov_w1.weight", "mtp.2.markov_head.markov_w1.weight"},
      {"layers.0.attn.wq_a.scale", "layers.0.attn.wq_a.scale"},
      {"my_mlp.gate_proj_2.lm_heads", "my_mlp.gate_proj_2.lm_heads"},
      {"models.norm", "models.norm"},
      {"", ""},
      {"a..b.", "a..b."},
  };
  for (const auto& [generic, official] : kNames) {
    EXPECT_EQ(OfficialName(generic), official);
    EXPECT_EQ(OfficialName(official), official);
  }
}

TEST(Checkpoint, WriterMakesShardsAndIndexThatOpen) {
  const TempFolder temp;
  const std::string& folder = temp.path();
  const std::vector<std::vector<TensorDecl>> shards = {
      {{"embed.weight", DType::kI8, {4}}, {"none", DType::kF32, {0}}},
      {},
      {{"empty", DType::kF32, {0, 3}}},
      {{"head.weight", DType::kBF16, {1, 2}}, {"norm.weight", DType::kI8, {3}}}};
  std::vector<std::byte> data(4 + 4 + 3);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i + 1);
  auto writer = CheckpointWriter::Create(folder, shards);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  const std::span<const std::byte> all(data);
  ASSERT_TRUE(writer.value().Append(all.first(6)).ok());  // across a file boundary
  ASSERT_TRUE(writer.value().Append(all.subspan(6)).ok());
  ASSERT_TRUE(writer.value().Finish().ok());

  const auto opened = Checkpoint::Open(folder);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(opened.value().tensors().size(), 5u);
  EXPECT_EQ(opened.value().files().size(), 3u);  // the shard without tensors is in no index
  EXPECT_EQ(opened.value().Find("absent"), nullptr);
  ASSERT_NE(opened.value().Find("norm.weight"), nullptr);
  EXPECT_EQ(opened.value().Find("norm.weight")->bytes[2], std::byte{11});
  EXPECT_EQ(opened.value().Find("head.weight")->bytes[0], std::byte{5});
  EXPECT_TRUE(FileExists(folder + "/model-00004-of-00004.safetensors"));
}

TEST(Checkpoint, OpensOneFileByFolderOrPath) {
  const TempFolder temp;
  const std::string& folder = temp.path();
  auto writer = CheckpointWriter::Create(folder, {{{"norm.weight", DType::kI8, {1}}}});
  ASSERT_TRUE(writer.ok());
  const std::byte one{7};
  ASSERT_TRUE(writer.value().Append({&one, 1}).ok());
  ASSERT_TRUE(writer.value().Finish().ok());
  EXPECT_FALSE(FileExists(folder + "/model.safetensors.index.json"));
  for (const std::string& path : {folder, folder + "/model.safetensors"}) {
    auto opened = Checkpoint::Open(path);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    const Checkpoint moved = std::move(opened).value();  // views survive a move
    EXPECT_EQ(moved.Find("norm.weight")->bytes[0], one);
    EXPECT_EQ(moved.path(), path);
  }
}

TEST(Checkpoint, RenamesGenericNamesAndRefusesClashes) {
  const TempFolder temp;
  const std::string& folder = temp.path();
  WriteShard(folder + "/model.safetensors", {"model.layers.0.mlp.gate.weight", "lm_head.weight"});
  const auto opened = Checkpoint::Open(folder);
  ASSERT_TRUE(opened.ok());
  EXPECT_NE(opened.value().Find("layers.0.ffn.gate.weight"), nullptr);
  EXPECT_NE(opened.value().Find("head.weight"), nullptr);
  WriteShard(folder + "/model.safetensors", {"lm_head.weight", "head.weight"});
  ExpectRefused(folder, "lm_head.weight names the same tensor as head.weight");
}

TEST(Checkpoint, ReadsBareShardsOnlyWhenComplete) {
  const TempFolder temp;
  const std::string& folder = temp.path();
  ExpectRefused(folder, "found none");
  ExpectRefused(folder + "/absent", "cannot open");
  WriteShard(folder + "/model-00002-of-00002.safetensors", {"b"});
  WriteShard(folder + "/other.safetensors", {"c"});
  ExpectRefused(folder, "expected 2 shards as model-00002-of-00002.safetensors says, found 1");
  WriteShard(folder + "/model-00001-of-00002.safetensors", {"a"});
  const auto opened = Checkpoint::Open(folder);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(opened.value().tensors().size(), 2u);
  WriteShard(folder + "/model-00001-of-00002.safetensors", {"b"});
  ExpectRefused(folder, "b names the same tensor as b");
}

TEST(Checkpoint, IndexAndShardsMustAgree) {
  const TempFolder temp;
  const std::string& folder = temp.path();
  WriteShard(folder + "/one.safetensors", {"a", "b"});
  WriteShard(folder + "/two.safetensors", {"c"});
  const auto weight_map = [&](const std::string& members) {
    WriteIndex(folder, R"({"metadata":{"total_size":3},"weight_map":{)" + members + "}}");
  };
  weight_map(R"("a":"one.safetensors","b":"one.safetensors","c":"two.safetensors")");
  EXPECT_TRUE(Checkpoint::Open(folder).ok());
  weight_map(R"("a":"one.safetensors","b":"one.safetensors","c":"three.safetensors")");
  ExpectRefused(folder, "three.safetensors: cannot open");
  weight_map(R"("a":"one.safetensors","c":"two.safetensors")");
  ExpectRefused(folder, "b of one.safetensors is not listed");
  weight_map(R"("a":"one.safetensors","b":"one.safetensors","c":"two.safetensors",
                "d":"two.safetensors","e":"one.safetensors")");
  ExpectRefused(folder, "d is not in two.safetensors (and 1 more)");
  weight_map(R"("a":"one.safetensors","b":"two.safetensors","c":"two.safetensors")");
  ExpectRefused(folder, "b is not in two.safetensors (and 1 more)");
}

TEST(Checkpoint, RefusesHostileIndexes) {
  const TempFolder outside;
  const std::string folder = outside / "inside";
  std::filesystem::create_directory(folder);
  WriteShard(folder + "/one.safetensors", {"a"});
  WriteShard(folder + "/../outside.safetensors", {"a"});
  const std::pair<std::string, const char*> kIndexes[] = {
      {"", "not valid JSON"},
      {"[]", "missing key \"weight_map\""},
      {R"({"weight_map":[]})", "weight_map: expected an object, found array"},
      {R"({"weight_map":{"a":1}})", "a: expected a file name, found number"},
      {R"({"weight_map":{"a":"one.safetensors","a":"one.safetensors"}})", "repeated name"},
      {R"({"weight_map":{"a":"../outside.safetensors"}})", "expected a file in the same folder"},
      {R"({"weight_map":{"a":")" + folder + R"(/one.safetensors"}})", "in the same folder"},
      {R"({"weight_map":{"a":"x/one.safetensors"}})", "in the same folder"},
      {R"({"weight_map":{"a":""}})", "in the same folder"},
      {R"({"weight_map":{"a":".."}})", "in the same folder"},
      {"{\"weight_map\":{\"a\":\"one.safetensors\\u0000x\"}}", "in the same folder"},
  };
  for (const auto& [text, reason] : kIndexes) {
    WriteIndex(folder, text);
    ExpectRefused(folder, reason);
  }
}

TEST(Checkpoint, OpensTheGoldenShards) {
  const auto opened = Checkpoint::Open(FATHOM_SOURCE_DIR "/testdata/golden/longctx-tiny");
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(opened.value().files().size(), 2u);
  int64_t bytes = 0;
  for (const auto& [name, view] : opened.value().tensors()) bytes += std::ssize(view.bytes);
  EXPECT_EQ(bytes, 2105392);  // metadata.total_size of its index
}

}  // namespace
}  // namespace fathom::checkpoint
