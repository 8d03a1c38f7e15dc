// Counting. Parameters and bytes come from tensor lists, so that presets and opened checkpoints are
// counted by the same lines; cache and arithmetic follow from the configuration alone. Ref:
// model.md 11.1-11.3.
#include "model/sizes.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "numerics/blocks.h"

namespace fathom::model {
namespace {

using tensor::DType;

// DeepSeek-V3.2, the yardstick of the published claims. Ref: model.md 11.2, 11.3, from its
// config.json and its cache layout.
struct V32 {
  static constexpr int64_t kLayers = 61;
  static constexpr int64_t kHidden = 7168;
  static constexpr int64_t kHeads = 128;
  static constexpr int64_t kQueryRank = 1536;
  static constexpr int64_t kKvRank = 512;
  static constexpr int64_t kRope = 64;
  static constexpr int64_t kNope = 128;
  static constexpr int64_t kValue = 128;
  static constexpr int64_t kIndexHeads = 64;
  static constexpr int64_t kIndexDim = 128;
  static constexpr int64_t kIndexTopk = 2048;
  static constexpr int64_t kDenseLayers = 3;
  static constexpr int64_t kDenseWidth = 18432;
  static constexpr int64_t kExperts = 256;
  static constexpr int64_t kActiveExperts = 8 + 1;  // routed and shared
  static constexpr int64_t kExpertWidth = 2048;
  static constexpr int64_t kVocabulary = 129280;
  // 512 FP8 with 4 float scales and 64 BF16; index key 128 FP8 with a float scale.
  static constexpr int64_t kKvRowBytes = 512 + 4 * 4 + 64 * 2;
  static constexpr int64_t kIndexRowBytes = 128 + 4;
};

double ToDouble(int64_t n) { return static_cast<double>(n); }

// FP8 values with a scale byte for each 64, BF16 rotary dimensions, padded to 8 bytes: 584 for a
// head of 512.
int64_t KvRowBytes(const Config& c) {
  const int64_t fp8 = c.head_dim - c.qk_rope_head_dim;
  const int64_t bytes =
      fp8 + numerics::BlockCount(fp8, numerics::kKvBlock) + 2 * c.qk_rope_head_dim;
  return numerics::BlockCount(bytes, 8) * 8;
}

// Packed FP4 with a scale byte for each 32.
int64_t IndexRowBytes(const Config& c) {
  return numerics::BlockCount(c.index_head_dim, 2) +
         numerics::BlockCount(c.index_head_dim, numerics::kIndexBlock);
}

bool Contains(std::string_view text, std::string_view piece) {
  return text.find(piece) != text.npos;
}

Part PartOf(std::string_view name) {
  if (name.starts_with("mtp.")) return Part::kSpeculative;
  if (name.starts_with("embed.")) return Part::kEmbedding;
  if (name.starts_with("head.")) return Part::kHead;
  if (Contains(name, "hc_")) return Part::kHyperConnections;
  if (Contains(name, ".attn.compressor.") || Contains(name, ".attn.indexer."))
    return Part::kCompression;
  if (Contains(name, ".attn.")) return Part::kAttention;
  if (Contains(name, ".ffn.experts.")) return Part::kRoutedExperts;
  if (Contains(name, ".ffn.shared_experts.")) return Part::kSharedExperts;
  if (Contains(name, ".ffn.gate.")) return Part::kGate;
  return Part::kNorms;
}

// I8 is two packed FP4 values; scales belong to their weights; the hash tables are no parameters.
int64_t ParametersOf(DType dtype, int64_t elements) {
  if (dtype == DType::kI8) return 2 * elements;
  return dtype == DType::kF8E8M0 || dtype == DType::kI64 ? 0 : elements;
}

// The i of "layers.<i>.", or -1.
int64_t LayerOf(std::string_view name) {
  constexpr std::string_view kPrefix = "layers.";
  if (!name.starts_with(kPrefix)) return -1;
  int64_t layer = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

class Counter {
 public:
  explicit Counter(const Config& config) {
    sizes_.layer_parameters.resize(static_cast<size_t>(config.num_hidden_layers));
    sizes_.layer_bytes.resize(static_cast<size_t>(config.num_hidden_layers));
  }
  void Add(std::string_view name, DType dtype, int64_t elements) {
    const int64_t parameters = ParametersOf(dtype, elements);
    const int64_t bytes = elements * tensor::ElementBytes(dtype);
    PartSize& part = sizes_.parts[static_cast<size_t>(PartOf(name))];
    part.parameters += parameters;
    part.bytes += bytes;
    sizes_.bytes_by_dtype[dtype] += bytes;
    sizes_.bytes += bytes;
    ++sizes_.tensors;
    const int64_t layer = LayerOf(name);
    if (layer < 0 || layer >= std::ssize(sizes_.layer_bytes)) return;
    sizes_.layer_parameters[static_cast<size_t>(layer)] += parameters;
    sizes_.layer_bytes[static_cast<size_t>(layer)] += bytes;
  }
  TensorSizes Take() && { return std::move(sizes_); }

 private:
  TensorSizes sizes_;
};

}  // namespace

const char* Name(Part part) {
  switch (part) {
    case Part::kEmbedding:
      return "embedding";
    case Part::kHead:
      return "output head";
    case Part::kAttention:
      return "attention";
    case Part::kCompression:
      return "compressors and indexers";
    case Part::kRoutedExperts:
      return "routed experts";
    case Part::kSharedExperts:
      return "shared experts";
    case Part::kGate:
      return "gates";
    case Part::kHyperConnections:
      return "hyper-connections";
    case Part::kNorms:
      return "norms";
    case Part::kSpeculative:
      return "speculative head";
  }
  return "?";
}

TensorSizes OfficialSizes(const Config& config) {
  Counter counter(config);
  for (const OfficialTensor& tensor : OfficialTensors(config, FormatsOf(config))) {
    int64_t elements = 1;
    for (const int64_t size : tensor.decl.shape) elements *= size;
    counter.Add(tensor.decl.name, tensor.decl.dtype, elements);
  }
  return std::move(counter).Take();
}

TensorSizes SizesOf(const Config& config, const checkpoint::Checkpoint& checkpoint) {
  Counter counter(config);
  for (const auto& [name, view] : checkpoint.tensors())
    counter.Add(name, view.dtype, view.elements());
  return std::move(counter).Take();
}

ParameterCount CountParameters(const Config& config, const TensorSizes& sizes) {
  ParameterCount count;
  for (const PartSize& part : sizes.parts) count.total += part.parameters;
  count.mtp = sizes.part(Part::kSpeculative).parameters;
  count.total -= count.mtp;
  // Per expert first: the product of a large model's parameters and experts could overflow.
  const int64_t expert = sizes.part(Part::kRoutedExperts).parameters / config.n_routed_experts;
  count.active = count.total - sizes.part(Part::kEmbedding).parameters -
                 expert * (config.n_routed_experts - config.num_experts_per_tok);
  return count;
}

KvBytes KvBytesAt(const Config& config, int64_t context) {
  const int64_t row = KvRowBytes(config);
  KvBytes kv;
  kv.window = config.num_hidden_layers * config.sliding_window * row;
  kv.total = config.num_hidden_layers * std::min(context, config.sliding_window) * row;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const int64_t ratio = config.ratio(i);
    if (ratio == 0) continue;
    const int64_t bytes = config.kind(i) == LayerKind::kCsa ? row + IndexRowBytes(config) : row;
    kv.per_token += ToDouble(bytes) / ToDouble(ratio);
    kv.total += context / ratio * bytes;
  }
  return kv;
}

KvBytes V32KvBytesAt(int64_t context) {
  constexpr int64_t kPerToken = V32::kLayers * (V32::kKvRowBytes + V32::kIndexRowBytes);
  return {static_cast<double>(kPerToken), 0, kPerToken * context};
}

Flops FlopsPerToken(const Config& config, const LinearFormats& formats, int64_t context) {
  const double hidden = ToDouble(config.hidden_size);
  const double rank = ToDouble(config.q_lora_rank);
  const double heads = ToDouble(config.num_attention_heads);
  const double head = ToDouble(config.head_dim);
  const double out = ToDouble(config.o_lora_rank);
  const double streams = ToDouble(config.hc_mult);
  const double index_heads = ToDouble(config.index_n_heads);
  const double index_dim = ToDouble(config.index_head_dim);
  const double expert = 3 * hidden * ToDouble(config.moe_intermediate_size);
  Flops flops;
  double& dense = formats.dense == tensor::Format::kFp8 ? flops.fp8 : flops.bf16;
  double& experts = formats.experts == tensor::Format::kFp4   ? flops.fp4_weight
                    : formats.experts == tensor::Format::kFp8 ? flops.fp8
                                                              : flops.bf16;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const LayerKind kind = config.kind(i);
    dense += 2 * (hidden * rank + rank * head * heads + hidden * head + head * heads * out +
                  ToDouble(config.o_groups) * out * hidden);
    dense += 2 * expert * ToDouble(config.n_shared_experts);
    experts += 2 * expert * ToDouble(config.num_experts_per_tok);
    flops.bf16 += 2 * hidden * ToDouble(config.n_routed_experts);
    flops.fp32 += 2 * 2 * (2 + streams) * streams * streams * hidden;
    int64_t rows = std::min(context, config.sliding_window);
    if (kind != LayerKind::kWindow) {
      const int64_t blocks = context / config.ratio(i);
      const double width = kind == LayerKind::kCsa ? 2 * head : head;
      flops.fp32 += 2 * 2 * hidden * width;
      rows += kind == LayerKind::kCsa ? std::min(config.index_topk, blocks) : blocks;
      if (kind == LayerKind::kCsa) {
        dense += 2 * rank * index_heads * index_dim;
        flops.bf16 += 2 * index_heads * hidden;
        flops.fp32 += 2 * 2 * hidden * 2 * index_dim;
        flops.index_fp4 += 2 * index_heads * index_dim * ToDouble(blocks);
      }
    }
    flops.attention += 2 * ToDouble(rows) * heads * 2 * head;
  }
  flops.bf16 += 2 * ToDouble(config.vocab_size) * hidden;
  flops.fp32 += 2 * streams * streams * hidden;
  return flops;
}

Flops V32FlopsPerToken(int64_t context) {
  constexpr double kLayers = V32::kLayers;
  // Queries, latent and rotary key, the two absorbed halves of kv_b, output.
  constexpr double kAttention = double{V32::kHidden} * V32::kQueryRank +
                                double{V32::kQueryRank} * V32::kHeads * (V32::kNope + V32::kRope) +
                                double{V32::kHidden} * (V32::kKvRank + V32::kRope) +
                                double{V32::kHeads} * V32::kKvRank * (V32::kNope + V32::kValue) +
                                double{V32::kHeads} * V32::kValue * V32::kHidden;
  constexpr double kIndexer = double{V32::kQueryRank} * V32::kIndexHeads * V32::kIndexDim +
                              double{V32::kHidden} * V32::kIndexDim;
  constexpr double kFeedForward =
      3.0 * V32::kHidden *
      (double{V32::kDenseLayers} * V32::kDenseWidth +
       double{V32::kLayers - V32::kDenseLayers} * V32::kActiveExperts * V32::kExpertWidth);
  Flops flops;
  flops.fp8 = 2 * (kLayers * (kAttention + kIndexer) + kFeedForward);
  flops.bf16 = 2.0 * V32::kHidden *
               (double{V32::kVocabulary} + (kLayers - V32::kDenseLayers) * V32::kExperts +
                kLayers * V32::kIndexHeads);
  const double rows = ToDouble(std::min(V32::kIndexTopk, context));
  flops.attention = 2 * kLayers * rows * V32::kHeads * (2 * V32::kKvRank + V32::kRope);
  flops.index_fp8 = 2 * kLayers * V32::kIndexHeads * V32::kIndexDim * ToDouble(context);
  return flops;
}

}  // namespace fathom::model
