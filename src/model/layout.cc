// The tensor list of a configuration. The order is that of the module definitions of
// inference/model.py, which is how the published files were written; nobody may rely on it when
// reading. Reading and checking files is weights.cc.
#include "model/layout.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "numerics/blocks.h"

namespace fathom::model {
namespace {

using tensor::DType;
using tensor::Format;

// Collects slots under a common name prefix.
class SlotList {
 public:
  SlotList(std::vector<Slot>& slots, std::string prefix, int64_t shard)
      : slots_(slots), prefix_(std::move(prefix)), shard_(shard) {}

  SlotList Under(std::string_view name) const {
    return {slots_, prefix_ + std::string(name), shard_};
  }

  void F32Vector(std::string_view name, std::vector<int64_t> shape) {
    Add(name, SlotKind::kVector, std::move(shape), DType::kF32);
  }
  void Norm(std::string_view name, int64_t size) {
    Add(std::string(name) + ".weight", SlotKind::kVector, {size}, DType::kBF16);
  }
  void Matrix(std::string_view name, int64_t rows, int64_t cols) {
    Add(std::string(name) + ".weight", SlotKind::kMatrix, {rows, cols}, DType::kBF16);
  }
  void F32Matrix(std::string_view name, int64_t rows, int64_t cols) {
    Add(name, SlotKind::kMatrix, {rows, cols}, DType::kF32);
  }
  void Dense(std::string_view name, int64_t rows, int64_t cols) {
    Add(name, SlotKind::kDense, {rows, cols}, DType::kBF16);
  }
  void Expert(std::string_view name, int64_t rows, int64_t cols) {
    Add(name, SlotKind::kExpert, {rows, cols}, DType::kBF16);
  }
  void Table(std::string_view name, int64_t rows, int64_t cols, int64_t entries_end) {
    Add(name, SlotKind::kTable, {rows, cols}, DType::kI64);
    slots_.back().entries_end = entries_end;
  }

 private:
  void Add(std::string_view name, SlotKind kind, std::vector<int64_t> shape, DType dtype) {
    slots_.push_back({prefix_ + std::string(name), kind, std::move(shape), dtype, shard_, 0});
  }

  std::vector<Slot>& slots_;
  std::string prefix_;
  int64_t shard_;
};

void AddCompressor(const Config& c, int64_t ratio, int64_t dim, SlotList list) {
  const int64_t width = KindOfRatio(ratio) == LayerKind::kCsa ? 2 * dim : dim;
  list.F32Vector("ape", {ratio, width});
  list.Matrix("wkv", width, c.hidden_size);
  list.Matrix("wgate", width, c.hidden_size);
  list.Norm("norm", dim);
}

void AddAttention(const Config& c, int64_t ratio, SlotList list) {
  list.F32Vector("attn_sink", {c.num_attention_heads});
  list.Dense("wq_a", c.q_lora_rank, c.hidden_size);
  list.Norm("q_norm", c.q_lora_rank);
  list.Dense("wq_b", c.num_attention_heads * c.head_dim, c.q_lora_rank);
  list.Dense("wkv", c.head_dim, c.hidden_size);
  list.Norm("kv_norm", c.head_dim);
  list.Dense("wo_a", c.o_groups * c.o_lora_rank, c.num_attention_heads * c.head_dim / c.o_groups);
  list.Dense("wo_b", c.hidden_size, c.o_groups * c.o_lora_rank);
  const LayerKind kind = KindOfRatio(ratio);
  if (kind == LayerKind::kWindow) return;
  AddCompressor(c, ratio, c.head_dim, list.Under("compressor."));
  if (kind != LayerKind::kCsa) return;
  SlotList indexer = list.Under("indexer.");
  indexer.Dense("wq_b", c.index_n_heads * c.index_head_dim, c.q_lora_rank);
  indexer.Matrix("weights_proj", c.index_n_heads, c.hidden_size);
  AddCompressor(c, ratio, c.index_head_dim, indexer.Under("compressor."));
}

void AddMoe(const Config& c, bool is_hashed, SlotList list) {
  list.Matrix("gate", c.n_routed_experts, c.hidden_size);
  if (is_hashed) {
    list.Table("gate.tid2eid", c.vocab_size, c.num_experts_per_tok, c.n_routed_experts);
  } else {
    list.F32Vector("gate.bias", {c.n_routed_experts});
  }
  for (int64_t e = 0; e < c.n_routed_experts; ++e) {
    SlotList expert = list.Under(fmt::format("experts.{}.", e));
    expert.Expert("w1", c.moe_intermediate_size, c.hidden_size);
    expert.Expert("w2", c.hidden_size, c.moe_intermediate_size);
    expert.Expert("w3", c.moe_intermediate_size, c.hidden_size);
  }
  if (c.n_shared_experts == 0) return;
  const int64_t shared_width = c.n_shared_experts * c.moe_intermediate_size;
  SlotList shared = list.Under("shared_experts.");
  shared.Dense("w1", shared_width, c.hidden_size);
  shared.Dense("w2", c.hidden_size, shared_width);
  shared.Dense("w3", shared_width, c.hidden_size);
}

void AddHcHead(const Config& c, SlotList list) {
  list.F32Matrix("hc_head_fn", c.hc_mult, c.hc_mult * c.hidden_size);
  list.F32Vector("hc_head_base", {c.hc_mult});
  list.F32Vector("hc_head_scale", {1});
}

void AddBlock(const Config& c, int64_t ratio, bool is_hashed, SlotList list) {
  // Weights into the sublayer, weights out of it, and the S x S mixing matrix. Ref: model.md 8.3.
  const int64_t mix = (2 + c.hc_mult) * c.hc_mult;
  for (const char* name : {"hc_attn_fn", "hc_ffn_fn"})
    list.F32Matrix(name, mix, c.hc_mult * c.hidden_size);
  for (const char* name : {"hc_attn_base", "hc_ffn_base"}) list.F32Vector(name, {mix});
  for (const char* name : {"hc_attn_scale", "hc_ffn_scale"}) list.F32Vector(name, {3});
  AddAttention(c, ratio, list.Under("attn."));
  AddMoe(c, is_hashed, list.Under("ffn."));
  list.Norm("attn_norm", c.hidden_size);
  list.Norm("ffn_norm", c.hidden_size);
}

void AddMtp(const Config& c, SlotList list) {
  AddBlock(c, 0, /*is_hashed=*/false, list);
  AddHcHead(c, list);
  list.Dense("e_proj", c.hidden_size, c.hidden_size);
  list.Dense("h_proj", c.hidden_size, c.hidden_size);
  list.Norm("enorm", c.hidden_size);
  list.Norm("hnorm", c.hidden_size);
  list.Norm("norm", c.hidden_size);
}

// Stages are whole blocks; the first also projects the captured streams, the last also has the
// output side. Ref: model.md 10.2.
void AddDsparkStage(const Config& c, int64_t stage, SlotList list) {
  AddBlock(c, 0, /*is_hashed=*/false, list);
  if (stage == 0) {
    list.Dense("main_proj", c.hidden_size, std::ssize(c.dspark->target_layer_ids) * c.hidden_size);
    list.Norm("main_norm", c.hidden_size);
  }
  if (stage + 1 < c.dspark->stages) return;
  list.Norm("norm", c.hidden_size);
  AddHcHead(c, list);
  list.Matrix("markov_head.markov_w1", c.vocab_size, c.dspark->markov_rank);
  list.Matrix("markov_head.markov_w2", c.vocab_size, c.dspark->markov_rank);
  list.Matrix("confidence_head.proj", 1, c.hidden_size + c.dspark->markov_rank);
}

int64_t HeadBlocks(const Config& config, SpeculativeHead head) {
  switch (head) {
    case SpeculativeHead::kNone:
      return 0;
    case SpeculativeHead::kMtp:
      return config.num_nextn_predict_layers;
    case SpeculativeHead::kDspark:
      FATHOM_CHECK(config.dspark.has_value());
      return config.dspark->stages;
  }
  return 0;
}

}  // namespace

SpeculativeHead HeadOf(const Config& config) {
  if (config.dspark.has_value()) return SpeculativeHead::kDspark;
  return config.num_nextn_predict_layers > 0 ? SpeculativeHead::kMtp : SpeculativeHead::kNone;
}

std::vector<Slot> Slots(const Config& config, SpeculativeHead head) {
  std::vector<Slot> slots;
  const int64_t layers = config.num_hidden_layers;
  SlotList(slots, "", 1).Matrix("embed", config.vocab_size, config.hidden_size);
  for (int64_t i = 0; i < layers; ++i) {
    AddBlock(config, config.ratio(i), /*is_hashed=*/i < config.num_hash_layers,
             SlotList(slots, fmt::format("layers.{}.", i), 2 + i));
  }
  SlotList top(slots, "", layers + 2);
  top.Norm("norm", config.hidden_size);
  top.Matrix("head", config.vocab_size, config.hidden_size);
  AddHcHead(config, top);
  for (int64_t i = 0; i < HeadBlocks(config, head); ++i) {
    SlotList list(slots, fmt::format("mtp.{}.", i), layers + 3 + i);
    if (head == SpeculativeHead::kMtp) {
      AddMtp(config, list);
    } else {
      AddDsparkStage(config, i, list);
    }
  }
  return slots;
}

LinearFormats FormatsOf(const Config& config) {
  LinearFormats formats;
  if (config.has_quantization_config) formats = {Format::kFp8, Format::kFp4};
  if (config.expert_dtype == "fp4") formats.experts = Format::kFp4;
  if (config.expert_dtype == "fp8") formats.experts = Format::kFp8;
  if (config.expert_dtype == "bf16") formats.experts = Format::kBF16;
  return formats;
}

std::vector<int64_t> WeightShape(Format format, int64_t rows, int64_t cols) {
  if (format != Format::kFp4) return {rows, cols};
  FATHOM_CHECK_EQ(cols % 2, 0);
  return {rows, cols / 2};
}

std::vector<int64_t> ScaleShape(Format format, int64_t rows, int64_t cols) {
  FATHOM_CHECK(format == Format::kFp8 || format == Format::kFp4);
  if (format == Format::kFp4) return {rows, numerics::BlockCount(cols, tensor::kFp4Block)};
  return {numerics::BlockCount(rows, tensor::kFp8Block),
          numerics::BlockCount(cols, tensor::kFp8Block)};
}

std::vector<OfficialTensor> OfficialTensors(const Config& config, const LinearFormats& formats) {
  std::vector<OfficialTensor> tensors;
  for (Slot& slot : Slots(config, HeadOf(config))) {
    if (slot.kind != SlotKind::kDense && slot.kind != SlotKind::kExpert) {
      tensors.push_back({{std::move(slot.name), slot.dtype, std::move(slot.shape)}, slot.shard});
      continue;
    }
    const Format format = slot.kind == SlotKind::kDense ? formats.dense : formats.experts;
    const bool is_scaled = format == Format::kFp8 || format == Format::kFp4;
    const DType dtype = format == Format::kFp8   ? DType::kF8E4M3
                        : format == Format::kFp4 ? DType::kI8
                                                 : DType::kBF16;
    const int64_t rows = slot.shape[0];
    const int64_t cols = slot.shape[1];
    tensors.push_back(
        {{slot.name + ".weight", dtype, WeightShape(format, rows, cols)}, slot.shard});
    if (is_scaled) {
      tensors.push_back(
          {{slot.name + ".scale", DType::kF8E8M0, ScaleShape(format, rows, cols)}, slot.shard});
    }
  }
  return tensors;
}

int64_t ShardCount(const Config& config) {
  return config.num_hidden_layers + 2 + HeadBlocks(config, HeadOf(config));
}

}  // namespace fathom::model
