// The state of one sequence: per layer a ring with the window's rows, the compressed rows, the
// index keys, and the compressor inputs of the blocks that are still open. In official mode rows
// are kept in the formats they were rounded to (kernels/cache_row.h). Append-only but for the
// rings; sized once for a capacity, untouched pages cost nothing. Ref: model.md 9.1.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cache_row.h"
#include "model/config.h"
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

struct LayerState {
  int64_t ratio = 0;
  RowStore window;      // [W], position p in row p mod W
  RowStore compressed;  // [capacity / ratio]
  RowStore index_keys;  // [capacity / ratio]; ratio 4
  CompressorState compressor;
  CompressorState index_compressor;

  int64_t bytes() const;
  void Clear();
  void CopyFrom(const LayerState& other, int64_t length, int64_t window);
};

class Sequence {
 public:
  // Room for `capacity` tokens that pass through executors of that mode.
  Sequence(const Config& config, int64_t capacity, numerics::Mode mode);

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }
  numerics::Mode mode() const { return mode_; }
  // What is allocated, touched or not; and what a sequence would allocate.
  int64_t bytes() const;
  static int64_t BytesFor(const Config& config, int64_t capacity, numerics::Mode mode);
  // Back to the empty state, with the pages given back.
  void Reset();
  // The state of `other`, of the same model and mode, whose tokens must fit: of each part only what
  // its tokens have written, so that pages stay untouched where they are in `other`. This one must
  // be empty.
  void CopyFrom(const Sequence& other);

  LayerState& layer(int64_t i) { return layers_[static_cast<size_t>(i)]; }
  // State of MTP block i; its positions are the main model's.
  LayerState& mtp(int64_t i) { return mtp_[static_cast<size_t>(i)]; }

  // For the executor: `tokens` more have passed through every layer.
  void Advance(int64_t tokens);

 private:
  int64_t capacity_;
  numerics::Mode mode_;
  int64_t window_;
  int64_t length_ = 0;
  std::vector<LayerState> layers_;
  std::vector<LayerState> mtp_;
};

}  // namespace fathom::model
