// The forward pass: tokens of one or several sequences in, logits out. One code path for every
// model of the architecture, driven by Config; per-token results do not depend on how a prompt is
// cut into passes, on what else is in the batch, or on the number of threads. Ref: model.md
// section 8.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/types.h"
#include "kernels/context.h"
#include "kernels/hyper_connection.h"
#include "kernels/rotate.h"
#include "model/config.h"
#include "model/sequence.h"
#include "model/weights.h"
#include "tensor/buffer.h"

namespace fathom::model {

using tensor::MatrixView;

// Which of an item's tokens want logits.
enum class LogitRows { kNone, kLast, kAll };

// Tokens appended to one sequence in a pass. A sequence appears at most once in a batch.
struct BatchItem {
  Sequence* sequence = nullptr;
  std::span<const TokenId> tokens;  // at least one, each in [0, vocab_size)
  LogitRows want = LogitRows::kLast;
  // For comparison with recordings only: attention slots kept for the window (kernels::RowList).
  // The reference keeps min(prompt length, W) of them while it reads a prompt; 0 means W, which
  // makes results independent of the prompt's length.
  int64_t window_slots = 0;
};

struct Limits {
  int64_t batch_tokens_max = 512;  // tokens of all items of one pass
};

// Watches intermediate results; for verification. Rows are those of the batch, in order.
// Layer num_hidden_layers + i is MTP block i.
class Tap {
 public:
  virtual ~Tap() = default;
  // "attn_in" [T, D], "attn.q" [T, H*C], "attn.o" [T, H*C] (before the inverse rotation),
  // "attn.out" [T, D], "after_attn" [T, S*D], "ffn_in" [T, D], "ffn.out" [T, D], "out" [T, S*D].
  virtual void OnTensor(int64_t layer, std::string_view name, MatrixView<const float> rows) = 0;
  // Compressed rows that row t of the batch attends to in a CSA layer, best first.
  virtual void OnPicks(int64_t layer, int64_t t, std::span<const int32_t> picks) = 0;
};

class Executor {
 public:
  // Keeps references to all four. Everything a pass needs is sized here or on the first pass of a
  // shape; a decode step allocates nothing.
  Executor(const Config& config, const Weights& weights, Limits limits,
           const kernels::Context& context);
  ~Executor();

  const Config& config() const { return config_; }
  const Limits& limits() const { return limits_; }
  void set_tap(Tap* tap) { tap_ = tap; }

  // Appends each item's tokens to its sequence (room must be left: Sequence::capacity). Logits rows
  // come in item order: [number of wanted rows, V] float32; see LogitRowCount.
  void Forward(std::span<const BatchItem> batch, MatrixView<float> logits);
  static int64_t LogitRowCount(std::span<const BatchItem> batch);

  // The streams [T, S * D] that left the last layer in the latest Forward: input of the MTP block.
  MatrixView<const float> streams() const { return last_streams_; }

  // One run of MTP block 0: row i stands at positions first_position + i of the sequence, joins
  // streams row i with the embedding of next_tokens[i] (the token at the following position) and
  // predicts the token after that. Rows of a sequence come in order, without gaps. logits: [tokens,
  // V].
  struct MtpItem {
    Sequence* sequence = nullptr;
    int64_t first_position = 0;
    std::span<const TokenId> next_tokens;
    MatrixView<const float> streams;
  };
  void ForwardMtp(const MtpItem& item, MatrixView<float> logits);

  // Parts, for layer-wise verification. Each works on the batch as Forward would, on streams or
  // inputs that are given, and does not advance the sequences. `layer` as for Tap.
  void RunLayer(int64_t layer, std::span<const BatchItem> batch, MatrixView<float> streams_TSD);
  void RunFfn(int64_t layer, std::span<const TokenId> tokens, MatrixView<const float> ffn_in_TD,
              MatrixView<float> out_TD);
  void RunFfnSublayer(int64_t layer, std::span<const TokenId> tokens,
                      MatrixView<float> streams_TSD);
  // row [D]: the token's embedding.
  void EmbedToken(TokenId token, float* row) const;

 private:
  struct Segment;
  struct Pass;
  struct Scratch;

  // Positions start at first_position, or at each sequence's length when that is negative.
  Pass BeginPass(std::span<const BatchItem> batch, int64_t first_position);
  void Block(int64_t layer, const LayerWeights& w, const Pass& pass, MatrixView<float> streams_TSD);
  void EmbedStreams(const Pass& pass, MatrixView<float> streams_TSD);
  void AttentionSublayer(int64_t layer, const LayerWeights& w, const Pass& pass,
                         MatrixView<float> streams_TSD);
  void Attention(int64_t layer, const LayerWeights& w, const Pass& pass,
                 MatrixView<const float> x_TD, MatrixView<float> y_TD);
  void Compress(const CompressorWeights& w, const Pass& pass, int64_t ratio, bool is_index,
                int64_t layer, MatrixView<const float> x_TD);
  void PickBlocks(int64_t layer, const LayerWeights& w, const Pass& pass,
                  MatrixView<const float> x_TD, MatrixView<const float> qr_TQ);
  void AttendRows(int64_t layer, const LayerWeights& w, const Pass& pass);
  void OutputProjection(const AttentionWeights& w, const Pass& pass, MatrixView<float> y_TD);
  void Moe(const MoeWeights& w, std::span<const TokenId> tokens, MatrixView<const float> x_TD,
           MatrixView<float> y_TD);
  void Sublayer(const HyperConnectionWeights& hc, const FloatVector& norm,
                MatrixView<float> streams_TSD,
                FunctionRef<void(MatrixView<const float>, MatrixView<float>)> run);
  void FfnSublayer(int64_t layer, const LayerWeights& w, std::span<const TokenId> tokens,
                   MatrixView<float> streams_TSD);
  MatrixView<const float> WantedRows(std::span<const BatchItem> batch, const Pass& pass,
                                     int64_t count, MatrixView<const float> streams_TSD);
  void HeadLogits(MatrixView<const float> streams_RSD, const HyperConnectionWeights& hc_head,
                  const FloatVector& norm, MatrixView<float> logits);
  const LayerWeights& layer_weights(int64_t layer) const;
  LayerState& layer_state(Sequence& sequence, int64_t layer) const;
  kernels::HyperConnection Hyper(const HyperConnectionWeights& w) const;
  void Watch(int64_t layer, std::string_view name, MatrixView<const float> rows) const {
    if (tap_ != nullptr) tap_->OnTensor(layer, name, rows);
  }

  const Config& config_;
  const Weights& weights_;
  Limits limits_;
  kernels::Context ctx_;
  kernels::RopeTable window_rope_;
  kernels::RopeTable compress_rope_;
  std::unique_ptr<Scratch> scratch_;
  MatrixView<const float> last_streams_;
  Tap* tap_ = nullptr;
};

}  // namespace fathom::model
