// A checkpoint's tensors, bound by name to the places where the forward pass reads them. Matrices
// are views into the mapped files in their official formats; vectors and small tables (norms,
// biases, sinks, ape), a few hundred kilobytes in all, are widened to float here, which is exact.
// Names are the checkpoint's: layers.3.attn.wq_a.weight is weights.layers[3].attn.wq_a. Ref:
// model.md 4.2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "kernels/experts.h"
#include "model/config.h"
#include "tensor/view.h"

namespace fathom::model {

using tensor::QuantView;
using FloatVector = std::vector<float>;
using checkpoint::LoadMode;
using checkpoint::LoadOptions;

// fn [(2 + S) * S, S * D] (hc_head: [S, S * D]) F32; base one per row of fn; scale 3 (hc_head: 1).
struct HyperConnectionWeights {
  QuantView fn;
  FloatVector base;
  FloatVector scale;
};

// Ratio 4: cf = 2 halves, else 1. d is head_dim, or index_head_dim inside the indexer.
struct CompressorWeights {
  QuantView wkv;     // [cf * d, D]
  QuantView wgate;   // [cf * d, D]
  FloatVector ape;   // [ratio, cf * d]
  FloatVector norm;  // [d]
};

struct IndexerWeights {
  QuantView wq_b;          // [index_n_heads * index_head_dim, Q]
  QuantView weights_proj;  // [index_n_heads, D]
  CompressorWeights compressor;
};

struct AttentionWeights {
  FloatVector attn_sink;                        // [H]
  QuantView wq_a;                               // [Q, D]
  FloatVector q_norm;                           // [Q]
  QuantView wq_b;                               // [H * C, Q]
  QuantView wkv;                                // [C, D]
  FloatVector kv_norm;                          // [C]
  QuantView wo_a;                               // [G * O, H * C / G]
  QuantView wo_b;                               // [D, G * O]
  std::optional<CompressorWeights> compressor;  // ratio != 0
  std::optional<IndexerWeights> indexer;        // ratio 4
};

// w1 (gate), w3 (up): [F, D]; w2 (down): [D, F].
using ExpertWeights = kernels::ExpertView;

struct GateWeights {
  QuantView weight;  // [E, D]
  FloatVector bias;  // [E]; scored layers
  const std::byte* tid2eid =
      nullptr;  // I64 [V, A], unaligned; hash layers. Entries are checked: in [0, E), distinct.
};

struct MoeWeights {
  GateWeights gate;
  std::vector<ExpertWeights> experts;  // E
  ExpertWeights shared_experts;        // width n_shared_experts * F
};

struct LayerWeights {
  int64_t ratio = 0;
  FloatVector attn_norm;  // [D]
  FloatVector ffn_norm;   // [D]
  HyperConnectionWeights hc_attn;
  HyperConnectionWeights hc_ffn;
  AttentionWeights attn;
  MoeWeights ffn;
};

// mtp.0 of V4-Flash and V4-Pro: a ratio-0 block with its own input projections and output norm.
struct MtpWeights {
  LayerWeights block;
  QuantView e_proj;   // [D, D]
  QuantView h_proj;   // [D, D]
  FloatVector enorm;  // [D]
  FloatVector hnorm;  // [D]
  FloatVector norm;   // [D]
  HyperConnectionWeights hc_head;
};

// mtp.0..2 of the 0731 and 0813 checkpoints: bound and checked, not computed with yet.
struct DsparkWeights {
  std::vector<LayerWeights> stages;
  QuantView main_proj;    // [D, 3D]
  FloatVector main_norm;  // [D]
  FloatVector norm;       // [D]
  HyperConnectionWeights hc_head;
  QuantView markov_w1;   // [V, r]
  QuantView markov_w2;   // [V, r]
  QuantView confidence;  // [1, D + r]
};

struct Weights {
  QuantView embed;   // [V, D]
  QuantView head;    // [V, D]
  FloatVector norm;  // [D]
  HyperConnectionWeights hc_head;
  std::vector<LayerWeights> layers;
  std::optional<MtpWeights> mtp;
  std::optional<DsparkWeights> dspark;
};

// Binds every tensor of `opened` to its slot; which slots there are and how each may be stored is
// layout.h. Every linear's format is decided by its own dtype and shape, and what `mtp.*` is by its
// names: without such tensors mtp and dspark stay empty. Of several MTP blocks all are checked and
// the first is bound. Ignored: mtp.N.embed.* and mtp.N.head.*, copies of the shared ones.
// All complaints (missing, surplus, wrong dtype, shape or table entry, one line each, the first 20
// and a count of the rest) come in one error. Views point into `opened`.
Result<Weights> BindWeights(const Config& config, const checkpoint::Checkpoint& opened);

// A checkpoint folder, opened: config.json and the tensors. Views first, owner last to die.
class LoadedModel {
 public:
  static Result<LoadedModel> Load(const std::string& dir, const LoadOptions& load = {});

  const Config& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  const checkpoint::Checkpoint& checkpoint() const { return checkpoint_; }

 private:
  LoadedModel(Config config, checkpoint::Checkpoint checkpoint, Weights weights)
      : config_(std::move(config)),
        checkpoint_(std::move(checkpoint)),
        weights_(std::move(weights)) {}

  Config config_;
  checkpoint::Checkpoint checkpoint_;
  Weights weights_;
};

}  // namespace fathom::model
