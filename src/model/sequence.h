// The state of one sequence: per layer a ring with the window's rows, the compressed rows, the
// index keys, and the compressor inputs of the blocks that are still open. In official mode rows
// are kept in the formats they were rounded to (kernels/cache_row.h). Compressed rows and index
// keys are append-only and lie in pages (pages.h), which sequences with a common beginning share;
// the rest is rewritten all the time and is small. Ref: model.md 9.1, 9.4.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cache_row.h"
#include "model/config.h"
#include "model/pages.h"
#include "numerics/mode.h"
#include "tensor/buffer.h"

namespace fathom::model {

// How the rows of a sequence are kept: latent rows (window and compressed), and index keys.
kernels::RowLayout LatentLayout(const Config& config, numerics::Mode mode);
kernels::RowLayout IndexLayout(const Config& config, numerics::Mode mode);

// Compressor inputs (value u and score g, ape added) that later blocks need: those of the open
// block, token p in row p mod ratio, and at ratio 4 the halves of the block before that its
// successor pools. Ref: model.md 9.1.
struct CompressorState {
  int64_t ratio = 0;
  int64_t dim = 0;                   // of the rows to be made
  int64_t width = 0;                 // of the open rows: both halves at ratio 4
  tensor::Buffer<float> open_value;  // [ratio, width]
  tensor::Buffer<float> open_score;
  tensor::Buffer<float> previous_value;  // [ratio, dim]; ratio 4
  tensor::Buffer<float> previous_score;

  int64_t bytes() const;
  void Clear();
  // What `other` holds after `length` tokens; of the same ratio and dim.
  void CopyFrom(const CompressorState& other, int64_t length);
};

// Empty, for rows of `dim` values.
CompressorState MakeCompressorState(int64_t ratio, int64_t dim);

// Owner of rows of one layout.
class RowStore {
 public:
  RowStore() = default;
  RowStore(int64_t count, const kernels::RowLayout& layout)
      : layout_(layout), memory_(count * layout.bytes()) {
    memory_.UseLargePages();
  }

  kernels::CacheRows rows() const { return {memory_.data(), layout_}; }
  kernels::MutableCacheRows mutable_rows() { return {memory_.data(), layout_}; }
  const std::byte* row(int64_t i) const { return rows().row(i); }
  int64_t bytes() const { return memory_.bytes(); }
  void Clear() { memory_.Clear(); }
  // The first `count` rows, of the same layout.
  void CopyRows(const RowStore& other, int64_t count);

 private:
  kernels::RowLayout layout_;
  tensor::RawBuffer memory_;
};

// What one layer rewrites as the sequence grows.
struct LayerState {
  int64_t ratio = 0;
  RowStore window;  // [W], position p in row p mod W
  CompressorState compressor;
  CompressorState index_compressor;

  int64_t bytes() const;
  void Clear();
  void CopyFrom(const LayerState& other, int64_t length, int64_t window);
};

class Sequence {
 public:
  // Room for `capacity` tokens that pass through executors of that mode. Pages come from `pool`,
  // whose pages must have the size of MakePageLayout; without one the sequence has a pool of its
  // own.
  Sequence(const Config& config, int64_t capacity, numerics::Mode mode,
           std::shared_ptr<PagePool> pool = nullptr);

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }
  numerics::Mode mode() const { return mode_; }
  // What it holds now, pages that others hold as well included; and what one that has grown to its
  // capacity holds.
  int64_t bytes() const;
  static int64_t BytesFor(const Config& config, int64_t capacity, numerics::Mode mode);
  // Back to the empty state, with the memory given back.
  void Reset();

  // Another sequence in the same state. Costs no copy of rows: pages are shared, and so is what is
  // rewritten until either goes on. `capacity` must hold what is there.
  std::unique_ptr<Sequence> Fork(int64_t capacity) const;

  // The compressed rows of a layer by block, and its index keys. Valid until the sequence ends, for
  // rows that PrepareWrite has made room for.
  kernels::MutableCacheRows compressed(int64_t layer) const;
  kernels::MutableCacheRows index_keys(int64_t layer) const;
  LayerState& layer(int64_t i) { return tail_->layers[static_cast<size_t>(i)]; }
  // State of MTP block i; its positions are the main model's.
  LayerState& mtp(int64_t i) {
    tail_->has_mtp = true;
    return tail_->mtp[static_cast<size_t>(i)];
  }

  // Before positions [begin, end) are written: makes the pages for them, and copies what is shared
  // and about to be written.
  void PrepareWrite(int64_t begin, int64_t end);
  // For the executor: `tokens` more have passed through every layer.
  void Advance(int64_t tokens);

  // The pages of the tokens there are, the last one possibly in part.
  std::span<const PageRef> pages() const { return pages_; }
  // Beside the full pages, all that a sequence whose length is a multiple of kPageTokens needs to
  // go on: the windows, and the halves of blocks that the next block at ratio 4 pools. No MTP
  // state.
  static int64_t TailBytes(const Config& config, numerics::Mode mode);
  std::vector<std::byte> SaveTail() const;
  // Into an empty sequence: the state after `length` tokens, of the same model and mode. The pages
  // are shared. False, and no change, when the tail's size is not TailBytes.
  bool Restore(int64_t length, std::span<const PageRef> pages, std::span<const std::byte> tail);

 private:
  struct Tail {
    std::vector<LayerState> layers;
    std::vector<LayerState> mtp;
    bool has_mtp = false;
  };
  using Model = std::pair<Config, PageLayout>;

  Sequence(std::shared_ptr<const Model> model, int64_t capacity, numerics::Mode mode,
           std::shared_ptr<PagePool> pool);
  std::shared_ptr<Tail> MakeTail() const;
  void SetPage(int64_t i, PageRef page);
  kernels::MutableCacheRows Rows(const PageLayout::Part& part) const;

  std::shared_ptr<const Model> model_;  // shared among forks
  int64_t capacity_;
  numerics::Mode mode_;
  int64_t length_ = 0;
  std::shared_ptr<PagePool> pool_;
  std::vector<PageRef> pages_;
  // Where the pages lie, for kernels: room for all of them from the start, so that it never moves.
  std::unique_ptr<std::byte*[]> table_;
  std::shared_ptr<Tail> tail_;  // shared among forks until one of them writes
};

}  // namespace fathom::model
