// Which tensors a checkpoint of a given configuration has: names, shapes, the formats each may be
// stored in, and how the published files order and shard them. One list serves both directions: the
// binder checks files against it, and writers take their headers from it. Ref: model.md 4.1, 4.2,
// 6.7.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "model/config.h"
#include "tensor/view.h"

namespace fathom::model {

// What the `mtp.*` tensors are, if any.
enum class SpeculativeHead { kNone, kMtp, kDspark };
// kDspark when the configuration has DSpark keys, else kMtp when it has MTP blocks.
SpeculativeHead HeadOf(const Config& config);

// How a slot may be stored.
enum class SlotKind {
  kVector,  // BF16 or F32, widened to float when bound
  kMatrix,  // BF16 or F32
  kDense,   // linear: BF16, or FP8 with scales
  kExpert,  // linear: BF16, or FP8 or FP4 with scales
  kTable,   // I64, row by row
};

// One place of the model. kDense and kExpert are up to two tensors, `name`.weight and `name`.scale;
// the others are one tensor of exactly this name.
struct Slot {
  std::string name;
  SlotKind kind;
  std::vector<int64_t> shape;  // of the values; kDense and kExpert: [outputs, inputs]
  tensor::DType dtype;      // as published; kDense and kExpert: as published without quantisation
  int64_t shard;            // published file it stands in, from 1
  int64_t entries_end = 0;  // kTable: entries lie in [0, entries_end), distinct in a row
};

// Every slot, in file order. kDspark requires config.dspark.
std::vector<Slot> Slots(const Config& config, SpeculativeHead head);

// How linears are stored.
struct LinearFormats {
  tensor::Format dense = tensor::Format::kBF16;    // kBF16 or kFp8
  tensor::Format experts = tensor::Format::kBF16;  // kBF16, kFp8 or kFp4
};
// From has_quantization_config and expert_dtype; a quantised configuration that names no expert
// dtype means FP4, as in the first release.
LinearFormats FormatsOf(const Config& config);

// Stored shapes of a linear [rows, cols]; FP4 requires even `cols`.
std::vector<int64_t> WeightShape(tensor::Format format, int64_t rows, int64_t cols);
std::vector<int64_t> ScaleShape(tensor::Format format, int64_t rows, int64_t cols);

struct OfficialTensor {
  checkpoint::TensorDecl decl;
  int64_t shard;  // from 1
};
// The tensors of a checkpoint of `config`, in file order (so shard numbers never fall).
// FP4 requires even hidden_size and moe_intermediate_size.
std::vector<OfficialTensor> OfficialTensors(const Config& config, const LinearFormats& formats);

// Shards of that checkpoint: embedding, one per layer, head group, one per MTP or DSpark block.
int64_t ShardCount(const Config& config);

}  // namespace fathom::model
