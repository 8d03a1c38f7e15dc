#include "model/sequence.h"

#include <algorithm>
#include <bit>
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
  return window.bytes() + compressor.bytes() + index_compressor.bytes();
}

void LayerState::Clear() {
  window.Clear();
  compressor.Clear();
  index_compressor.Clear();
}

void LayerState::CopyFrom(const LayerState& other, int64_t length, int64_t window_rows) {
  FATHOM_CHECK_EQ(ratio, other.ratio);
  window.CopyRows(other.window, std::min(length, window_rows));
  if (ratio == 0) return;
  compressor.CopyFrom(other.compressor, length);
  if (KindOfRatio(ratio) == LayerKind::kCsa)
    index_compressor.CopyFrom(other.index_compressor, length);
}

namespace {

int64_t PagesFor(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

LayerState MakeLayerState(const Config& config, int64_t ratio, Mode mode) {
  LayerState state;
  state.ratio = ratio;
  state.window = RowStore(config.sliding_window, LatentLayout(config, mode));
  if (ratio == 0) return state;
  state.compressor = MakeCompressorState(ratio, config.head_dim);
  if (KindOfRatio(ratio) == LayerKind::kCsa)
    state.index_compressor = MakeCompressorState(ratio, config.index_head_dim);
  return state;
}

int64_t LayerBytes(const Config& config, int64_t ratio, Mode mode) {
  const auto compressor = [&](int64_t dim) {
    // Values and scores of the open block; ratio 4 pools two halves, and keeps one of the block
    // before.
    return 2 * ratio * dim * (KindOfRatio(ratio) == LayerKind::kCsa ? 3 : 1) *
           static_cast<int64_t>(sizeof(float));
  };
  int64_t bytes = config.sliding_window * LatentLayout(config, mode).bytes();
  if (ratio != 0) bytes += compressor(config.head_dim);
  if (KindOfRatio(ratio) == LayerKind::kCsa) bytes += compressor(config.index_head_dim);
  return bytes;
}

// Calls visit(bytes at, count) for each stretch that a tail consists of, in order.
template <typename Visit>
void ForTail(LayerState& state, const Visit& visit) {
  visit(reinterpret_cast<std::byte*>(state.window.mutable_rows().data), state.window.bytes());
  for (CompressorState* compressor : {&state.compressor, &state.index_compressor})
    for (tensor::Buffer<float>* half : {&compressor->previous_value, &compressor->previous_score})
      if (half->size() > 0) visit(reinterpret_cast<std::byte*>(half->data()), half->size() * 4);
}

}  // namespace

Sequence::Sequence(const Config& config, int64_t capacity, Mode mode,
                   std::shared_ptr<PagePool> pool)
    : Sequence(std::make_shared<Model>(config, MakePageLayout(config, mode)), capacity, mode,
               std::move(pool)) {
  tail_ = MakeTail();
}

Sequence::Sequence(std::shared_ptr<const Model> model, int64_t capacity, Mode mode,
                   std::shared_ptr<PagePool> pool)
    : model_(std::move(model)), capacity_(capacity), mode_(mode), pool_(std::move(pool)) {
  FATHOM_CHECK_GE(capacity, int64_t{0});
  const PageLayout& layout = model_->second;
  if (pool_ == nullptr) pool_ = PagePool::Make(layout.bytes);
  FATHOM_CHECK_EQ(pool_->page_bytes(), layout.bytes);
  const auto pages = static_cast<size_t>(PagesFor(capacity));
  pages_.reserve(pages);
  table_ = std::make_unique_for_overwrite<std::byte*[]>(pages);
}

std::shared_ptr<Sequence::Tail> Sequence::MakeTail() const {
  const Config& config = model_->first;
  auto tail = std::make_shared<Tail>();
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    tail->layers.push_back(MakeLayerState(config, config.ratio(i), mode_));
  for (int64_t i = 0; i < config.num_nextn_predict_layers; ++i)
    tail->mtp.push_back(MakeLayerState(config, 0, mode_));
  return tail;
}

int64_t Sequence::bytes() const {
  int64_t bytes = std::ssize(pages_) * pool_->page_bytes();
  for (const LayerState& state : tail_->layers) bytes += state.bytes();
  for (const LayerState& state : tail_->mtp) bytes += state.bytes();
  return bytes;
}

int64_t Sequence::BytesFor(const Config& config, int64_t capacity, Mode mode) {
  int64_t bytes = PagesFor(capacity) * MakePageLayout(config, mode).bytes +
                  config.num_nextn_predict_layers * LayerBytes(config, 0, mode);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    bytes += LayerBytes(config, config.ratio(i), mode);
  return bytes;
}

std::unique_ptr<Sequence> Sequence::Fork(int64_t capacity) const {
  FATHOM_CHECK_LE(length_, capacity);
  auto fork = std::unique_ptr<Sequence>(new Sequence(model_, capacity, mode_, pool_));
  for (int64_t i = 0; i < PagesFor(length_); ++i) fork->SetPage(i, pages_[static_cast<size_t>(i)]);
  fork->length_ = length_;
  fork->tail_ = tail_;
  return fork;
}

void Sequence::Reset() {
  length_ = 0;
  pages_.clear();
  if (tail_.use_count() > 1) {
    tail_ = MakeTail();
    return;
  }
  for (LayerState& state : tail_->layers) state.Clear();
  for (LayerState& state : tail_->mtp) state.Clear();
  tail_->has_mtp = false;
}

kernels::MutableCacheRows Sequence::Rows(const PageLayout::Part& part) const {
  return {nullptr, part.layout, table_.get(), part.offset,
          std::countr_zero(static_cast<uint64_t>(std::max<int64_t>(1, part.rows)))};
}

kernels::MutableCacheRows Sequence::compressed(int64_t layer) const {
  return Rows(model_->second.compressed[static_cast<size_t>(layer)]);
}

kernels::MutableCacheRows Sequence::index_keys(int64_t layer) const {
  return Rows(model_->second.index_keys[static_cast<size_t>(layer)]);
}

void Sequence::SetPage(int64_t i, PageRef page) {
  table_[static_cast<size_t>(i)] = page.data();
  if (i == std::ssize(pages_)) {
    pages_.push_back(std::move(page));
  } else {
    pages_[static_cast<size_t>(i)] = std::move(page);
  }
}

void Sequence::PrepareWrite(int64_t begin, int64_t end) {
  FATHOM_CHECK_LE(end, capacity_);
  if (tail_.use_count() > 1) {
    const std::shared_ptr<Tail> own = MakeTail();
    const int64_t window = model_->first.sliding_window;
    for (size_t i = 0; i < own->layers.size(); ++i)
      own->layers[i].CopyFrom(tail_->layers[i], length_, window);
    for (size_t i = 0; i < own->mtp.size() && tail_->has_mtp; ++i)
      own->mtp[i].CopyFrom(tail_->mtp[i], length_, window);
    own->has_mtp = tail_->has_mtp;
    tail_ = own;
  }
  for (int64_t i = std::min(begin / kPageTokens, std::ssize(pages_)); i < PagesFor(end); ++i) {
    if (i < std::ssize(pages_)) {
      if (pages_[static_cast<size_t>(i)].is_only()) continue;
      PageRef own = pool_->New();
      if (pool_->page_bytes() > 0)
        std::memcpy(own.data(), pages_[static_cast<size_t>(i)].data(),
                    static_cast<size_t>(pool_->page_bytes()));
      SetPage(i, std::move(own));
    } else {
      SetPage(i, pool_->New());
    }
  }
}

void Sequence::Advance(int64_t tokens) {
  FATHOM_CHECK_LE(length_ + tokens, capacity_);
  length_ += tokens;
}

int64_t Sequence::TailBytes(const Config& config, Mode mode) {
  int64_t bytes = 0;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    bytes += config.sliding_window * LatentLayout(config, mode).bytes();
    if (KindOfRatio(config.ratio(i)) != LayerKind::kCsa) continue;
    bytes += 2 * config.ratio(i) * (config.head_dim + config.index_head_dim) *
             static_cast<int64_t>(sizeof(float));
  }
  return bytes;
}

std::vector<std::byte> Sequence::SaveTail() const {
  FATHOM_CHECK_EQ(length_ % kPageTokens, int64_t{0});
  std::vector<std::byte> bytes;
  bytes.reserve(static_cast<size_t>(TailBytes(model_->first, mode_)));
  for (LayerState& state : tail_->layers)
    ForTail(state,
            [&](const std::byte* at, int64_t count) { bytes.insert(bytes.end(), at, at + count); });
  return bytes;
}

bool Sequence::Restore(int64_t length, std::span<const PageRef> pages,
                       std::span<const std::byte> tail) {
  FATHOM_CHECK_EQ(length_, int64_t{0});
  FATHOM_CHECK(length % kPageTokens == 0 && length <= capacity_);
  FATHOM_CHECK_EQ(std::ssize(pages), length / kPageTokens);
  if (std::ssize(tail) != TailBytes(model_->first, mode_)) return false;
  if (tail_.use_count() > 1) tail_ = MakeTail();
  pages_.clear();
  for (int64_t i = 0; i < std::ssize(pages); ++i) SetPage(i, pages[static_cast<size_t>(i)]);
  for (LayerState& state : tail_->layers)
    ForTail(state, [&](std::byte* at, int64_t count) {
      std::memcpy(at, tail.data(), static_cast<size_t>(count));
      tail = tail.subspan(static_cast<size_t>(count));
    });
  length_ = length;
  return true;
}

}  // namespace fathom::model
