#include "model/sequence.h"

#include <algorithm>
#include <cstring>

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

void CompressorState::CopyFrom(const CompressorState& other, int64_t length) {
  if (ratio == 0) return;
  FATHOM_CHECK(ratio == other.ratio && dim == other.dim && width == other.width);
  // Token p lies in row p mod ratio of the open block.
  const int64_t open = length % ratio * width;
  std::copy_n(other.open_value.data(), open, open_value.data());
  std::copy_n(other.open_score.data(), open, open_score.data());
  if (length < ratio) return;
  std::copy_n(other.previous_value.data(), previous_value.size(), previous_value.data());
  std::copy_n(other.previous_score.data(), previous_score.size(), previous_score.data());
}

void RowStore::CopyRows(const RowStore& other, int64_t count) {
  if (count == 0) return;
  FATHOM_CHECK(layout_ == other.layout_);
  const int64_t bytes = count * layout_.bytes();
  FATHOM_CHECK(bytes <= memory_.bytes() && bytes <= other.memory_.bytes());
  std::memcpy(memory_.data(), other.memory_.data(), static_cast<size_t>(bytes));
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

void LayerState::CopyFrom(const LayerState& other, int64_t length, int64_t window_rows) {
  FATHOM_CHECK_EQ(ratio, other.ratio);
  window.CopyRows(other.window, std::min(length, window_rows));
  if (ratio == 0) return;
  compressed.CopyRows(other.compressed, length / ratio);
  compressor.CopyFrom(other.compressor, length);
  if (KindOfRatio(ratio) != LayerKind::kCsa) return;
  index_keys.CopyRows(other.index_keys, length / ratio);
  index_compressor.CopyFrom(other.index_compressor, length);
}

namespace {

int64_t CompressorBytes(int64_t ratio, int64_t dim) {
  // Values and scores of the open block; ratio 4 pools two halves, and keeps one of the block
  // before.
  return 2 * ratio * dim * (KindOfRatio(ratio) == LayerKind::kCsa ? 3 : 1) *
         static_cast<int64_t>(sizeof(float));
}

// What MakeLayerState allocates.
int64_t LayerBytes(const Config& config, int64_t ratio, int64_t capacity, Mode mode) {
  const int64_t latent = LatentLayout(config, mode).bytes();
  int64_t bytes = config.sliding_window * latent;
  if (ratio == 0) return bytes;
  bytes += capacity / ratio * latent + CompressorBytes(ratio, config.head_dim);
  if (KindOfRatio(ratio) == LayerKind::kCsa)
    bytes += capacity / ratio * IndexLayout(config, mode).bytes() +
             CompressorBytes(ratio, config.index_head_dim);
  return bytes;
}

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
    : capacity_(capacity), mode_(mode), window_(config.sliding_window) {
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

int64_t Sequence::BytesFor(const Config& config, int64_t capacity, Mode mode) {
  int64_t bytes = config.num_nextn_predict_layers * LayerBytes(config, 0, capacity, mode);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    bytes += LayerBytes(config, config.ratio(i), capacity, mode);
  return bytes;
}

void Sequence::CopyFrom(const Sequence& other) {
  FATHOM_CHECK_EQ(length_, int64_t{0});
  FATHOM_CHECK(mode_ == other.mode_ && window_ == other.window_);
  FATHOM_CHECK(layers_.size() == other.layers_.size() && mtp_.size() == other.mtp_.size());
  FATHOM_CHECK_LE(other.length_, capacity_);
  length_ = other.length_;
  for (size_t i = 0; i < layers_.size(); ++i)
    layers_[i].CopyFrom(other.layers_[i], length_, window_);
  for (size_t i = 0; i < mtp_.size(); ++i) mtp_[i].CopyFrom(other.mtp_[i], length_, window_);
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
