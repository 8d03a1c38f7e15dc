#include "model/sequence.h"

namespace fathom::model {

CompressorState MakeCompressorState(int64_t ratio, int64_t dim) {
  CompressorState state;
  const bool overlaps = KindOfRatio(ratio) == LayerKind::kCsa;
  state.rows = overlaps ? 2 * ratio : ratio;
  state.width = overlaps ? 2 * dim : dim;
  state.value = tensor::Buffer<float>(state.rows * state.width);
  state.score = tensor::Buffer<float>(state.rows * state.width);
  return state;
}

namespace {

LayerState MakeLayerState(const Config& config, int64_t ratio, int64_t capacity) {
  LayerState state;
  state.ratio = ratio;
  state.window = tensor::Buffer<float>(config.sliding_window * config.head_dim);
  if (ratio == 0) return state;
  const int64_t blocks = capacity / ratio;
  state.compressed = tensor::Buffer<float>(blocks * config.head_dim);
  state.compressor = MakeCompressorState(ratio, config.head_dim);
  if (KindOfRatio(ratio) == LayerKind::kCsa) {
    state.index_keys = tensor::Buffer<float>(blocks * config.index_head_dim);
    state.index_compressor = MakeCompressorState(ratio, config.index_head_dim);
  }
  return state;
}

void Clear(LayerState& state) {
  for (tensor::Buffer<float>* buffer :
       {&state.window, &state.compressed, &state.index_keys, &state.compressor.value,
        &state.compressor.score, &state.index_compressor.value, &state.index_compressor.score})
    buffer->Clear();
}

}  // namespace

Sequence::Sequence(const Config& config, int64_t capacity) : capacity_(capacity) {
  FATHOM_CHECK_GE(capacity, int64_t{0});
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers_.push_back(MakeLayerState(config, config.ratio(i), capacity));
  for (int64_t i = 0; i < config.num_nextn_predict_layers; ++i)
    mtp_.push_back(MakeLayerState(config, 0, capacity));
}

void Sequence::Reset() {
  length_ = 0;
  for (LayerState& state : layers_) Clear(state);
  for (LayerState& state : mtp_) Clear(state);
}

void Sequence::Advance(int64_t tokens) {
  FATHOM_CHECK_LE(length_ + tokens, capacity_);
  length_ += tokens;
}

}  // namespace fathom::model
