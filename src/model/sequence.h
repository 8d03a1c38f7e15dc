// The state of one sequence: per layer a ring with the window's rows, the compressed rows, the
// index keys, and the compressor inputs of the blocks that are still open. Append-only but for the
// rings; sized once for a capacity, untouched pages cost nothing. Ref: model.md 9.1.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "tensor/buffer.h"

namespace fathom::model {

// Compressor inputs (value u and score g, ape added) of the most recent tokens, token p in row
// p mod rows(). Ratio 4 keeps two blocks, because a block pools its predecessor's first halves too.
struct CompressorState {
  int64_t rows = 0;
  int64_t width = 0;            // cf * d
  tensor::Buffer<float> value;  // [rows, width]
  tensor::Buffer<float> score;
};

// Empty, for rows of `dim` values.
CompressorState MakeCompressorState(int64_t ratio, int64_t dim);

struct LayerState {
  int64_t ratio = 0;
  tensor::Buffer<float> window;      // [W, C], position p in row p mod W
  tensor::Buffer<float> compressed;  // [capacity / ratio, C]
  tensor::Buffer<float> index_keys;  // [capacity / ratio, CI]; ratio 4
  CompressorState compressor;
  CompressorState index_compressor;
};

class Sequence {
 public:
  // Room for `capacity` tokens. The rows are kept as float32; what they hold in official mode fits
  // the trained FP8 and FP4 formats exactly.
  Sequence(const Config& config, int64_t capacity);

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }
  // Back to the empty state, with the pages given back.
  void Reset();

  LayerState& layer(int64_t i) { return layers_[static_cast<size_t>(i)]; }
  // State of MTP block i; its positions are the main model's.
  LayerState& mtp(int64_t i) { return mtp_[static_cast<size_t>(i)]; }

  // For the executor: `tokens` more have passed through every layer.
  void Advance(int64_t tokens);

 private:
  int64_t capacity_;
  int64_t length_ = 0;
  std::vector<LayerState> layers_;
  std::vector<LayerState> mtp_;
};

}  // namespace fathom::model
