#include "model/sequence.h"

#include "model/mistake.h"

namespace fathom::model {

using kernels::RowKind;
using kernels::RowLayout;
using numerics::Mode;

RowLayout LatentLayout(const Config& config, Mode mode) {
  // Rows that a mistake left unrounded fit no narrower format.
  if (Has(Mistake::kNoActivationRounding) || Has(Mistake::kKvNotRounded)) mode = Mode::kPure;
  return kernels::LayoutOf(RowKind::kLatent, config.head_dim, config.qk_rope_head_dim, mode);
}

RowLayout IndexLayout(const Config& config, Mode mode) {
  if (Has(Mistake::kNoActivationRounding)) mode = Mode::kPure;
  return kernels::LayoutOf(RowKind::kIndex, config.index_head_dim, 0, mode);
}

CompressorState MakeCompressorState(int64_t ratio, int64_t dim) {
  const bool overlaps = KindOfRatio(ratio) == LayerKind::kCsa;
  CompressorState state;
  state.ratio = ratio;
  state.dim = dim;
  state.width = overlaps ? 2 * dim : dim;
  state.open_value = tensor::Buffer<float>(ratio * state.width);
  state.open_score = tensor::Buffer<float>(ratio * state.width);
  if (!overlaps) return state;
  state.previous_value = tensor::Buffer<float>(ratio * dim);
  state.previous_score = tensor::Buffer<float>(ratio * dim);
  return state;
}

int64_t CompressorState::bytes() const {
  return 4 *
         (open_value.size() + open_score.size() + previous_value.size() + previous_score.size());
}

void CompressorState::Clear() {
  for (tensor::Buffer<float>* buffer : {&open_value, &open_score, &previous_value, &previous_score})
    buffer->Clear();
}

int64_t LayerState::bytes() const {
  return window.bytes() + compressed.bytes() + index_keys.bytes() + compressor.bytes() +
         index_compressor.bytes();
}

void LayerState::Clear() {
  for (RowStore* store : {&window, &compressed, &index_keys}) store->Clear();
  compressor.Clear();
  index_compressor.Clear();
}

namespace {

LayerState MakeLayerState(const Config& config, int64_t ratio, int64_t capacity, Mode mode) {
  const RowLayout latent = LatentLayout(config, mode);
  LayerState state;
  state.ratio = ratio;
  state.window = RowStore(config.sliding_window, latent);
  if (ratio == 0) return state;
  const int64_t blocks = capacity / ratio;
  state.compressed = RowStore(blocks, latent);
  state.compressor = MakeCompressorState(ratio, config.head_dim);
  if (KindOfRatio(ratio) == LayerKind::kCsa) {
    state.index_keys = RowStore(blocks, IndexLayout(config, mode));
    state.index_compressor = MakeCompressorState(ratio, config.index_head_dim);
  }
  return state;
}

}  // namespace

Sequence::Sequence(const Config& config, int64_t capacity, Mode mode)
    : capacity_(capacity), mode_(mode) {
  FATHOM_CHECK_GE(capacity, int64_t{0});
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers_.push_back(MakeLayerState(config, config.ratio(i), capacity, mode));
  for (int64_t i = 0; i < config.num_nextn_predict_layers; ++i)
    mtp_.push_back(MakeLayerState(config, 0, capacity, mode));
}

int64_t Sequence::bytes() const {
  int64_t bytes = 0;
  for (const LayerState& state : layers_) bytes += state.bytes();
  for (const LayerState& state : mtp_) bytes += state.bytes();
  return bytes;
}

void Sequence::Reset() {
  length_ = 0;
  for (LayerState& state : layers_) state.Clear();
  for (LayerState& state : mtp_) state.Clear();
}

void Sequence::Advance(int64_t tokens) {
  FATHOM_CHECK_LE(length_ + tokens, capacity_);
  length_ += tokens;
}

}  // namespace fathom::model
