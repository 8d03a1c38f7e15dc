// Inside of the room: the executor's working memory and the layout of one pass. Sized from Config
// and Limits; pages that a model does not touch cost nothing.
#pragma once

#include <vector>

#include "kernels/indexer.h"
#include "model/compress.h"
#include "model/forward.h"

namespace fathom::model {

// A run of rows of the pass that belong to one sequence.
struct Executor::Segment {
  Sequence* sequence = nullptr;
  int64_t first_row = 0;
  int64_t count = 0;
  int64_t position = 0;  // of the first row
  int64_t window_slots = 0;
};

struct Executor::Pass {
  int64_t rows = 0;
  std::span<const Segment> segments;
  std::span<const int32_t> segment_of_row;
  std::span<const TokenId> tokens;
};

struct Executor::Scratch {
  using Floats = tensor::Buffer<float>;

  Scratch(const Config& c, const Limits& limits, numerics::Mode mode);

  // A buffer of `cols` per token, seen as the first `rows` of a matrix.
  static MatrixView<float> Rows(const Floats& buffer, int64_t rows, int64_t cols) {
    return buffer.matrix(rows, cols);
  }

  std::vector<Segment> segments;
  std::vector<int32_t> segment_of_row;
  std::vector<TokenId> tokens;
  std::vector<CompressorRun> runs;
  std::vector<BlockJob> jobs;
  std::vector<kernels::IndexQuery> queries;

  Floats streams, mtp_streams;        // S * D
  Floats sub_in, normed, sub_out;     // D
  Floats post, comb;                  // S, S * S
  Floats window_cos, window_sin;      // R / 2: layers of ratio 0
  Floats compress_cos, compress_sin;  // the others
  Floats qr, q, kv, o, z;             // Q, H * C, C, H * C, G * O
  Floats value, score;                // compressor inputs, cf * d
  Floats index_q, index_weights;      // HI * CI, HI
  tensor::RawBuffer latent;           // the pass's own latent rows, as they are cached
  tensor::RawBuffer index_queries;    // HI rows of the index keys' layout
  tensor::Buffer<int32_t> picks;      // topk
  Floats gate, routing_weights;       // E, A
  tensor::Buffer<int32_t> experts;    // A
  Floats shared_out;                  // D
  Floats mtp_e, mtp_z, mtp_h;         // D, S * D, S * D
};

}  // namespace fathom::model
