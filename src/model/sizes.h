// What a model costs: parameters, bytes, cache and arithmetic per token, beside DeepSeek-V3.2's,
// from which the published efficiency claims are ratios. Nothing here runs a model. Ref: model.md
// section 11.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/config.h"
#include "model/layout.h"
#include "tensor/dtype.h"

namespace fathom::model {

// Where the tensors of a checkpoint belong.
enum class Part {
  kEmbedding,
  kHead,
  kAttention,    // projections, sinks, and the norms inside
  kCompression,  // compressors and indexers
  kRoutedExperts,
  kSharedExperts,
  kGate,
  kHyperConnections,
  kNorms,
  kSpeculative,  // everything under mtp.*
};
inline constexpr int kParts = 10;
// "embedding", "routed experts", ...
const char* Name(Part part);

struct PartSize {
  int64_t parameters = 0;  // scales and the tid2eid tables are bytes, not parameters
  int64_t bytes = 0;
};

struct TensorSizes {
  std::array<PartSize, kParts> parts;
  std::map<tensor::DType, int64_t> bytes_by_dtype;  // packed FP4 is I8
  std::vector<int64_t> layer_parameters;            // of the main layers
  std::vector<int64_t> layer_bytes;
  int64_t tensors = 0;
  int64_t bytes = 0;

  const PartSize& part(Part p) const { return parts[static_cast<size_t>(p)]; }
};

// Of the published checkpoint of a configuration, and of the tensors that are there.
TensorSizes OfficialSizes(const Config& config);
TensorSizes SizesOf(const Config& config, const checkpoint::Checkpoint& checkpoint);

struct ParameterCount {
  int64_t total = 0;   // without the speculative head
  int64_t active = 0;  // per token: num_experts_per_tok routed experts; head but not embedding
  int64_t mtp = 0;     // the speculative head
};
ParameterCount CountParameters(const Config& config, const TensorSizes& sizes);

// Cache of one sequence in the trained formats: FP8 rows with BF16 rotary dimensions, FP4 index
// keys.
struct KvBytes {
  double per_token = 0;  // limit for long contexts
  int64_t window = 0;    // fixed part, once the windows are full
  int64_t total = 0;     // at the context asked for
};
KvBytes KvBytesAt(const Config& config, int64_t context);
KvBytes V32KvBytesAt(int64_t context);

// Floating-point operations to generate one token, a multiply-add as two, by number format. The
// speculative head is not counted.
struct Flops {
  double fp8 = 0;         // dense linears
  double fp4_weight = 0;  // routed experts
  double bf16 = 0;        // gate, indexer weights, output head; linears of unquantised models
  double fp32 = 0;        // compressors, hyper-connections
  double attention = 0;   // BF16
  double index_fp4 = 0;
  double index_fp8 = 0;  // V3.2's indexer

  double Sum() const { return fp8 + fp4_weight + bf16 + fp32 + attention + index_fp4 + index_fp8; }
  // In equivalents of FP8 operations, the unit of the published claims: BF16 and attention 2, fp32
  // 4, FP4 keys 0.5.
  double Fp8Equivalents() const {
    return fp8 + fp4_weight + 2 * bf16 + 4 * fp32 + 2 * attention + 0.5 * index_fp4 + index_fp8;
  }
};
Flops FlopsPerToken(const Config& config, const LinearFormats& formats, int64_t context);
Flops V32FlopsPerToken(int64_t context);

}  // namespace fathom::model
