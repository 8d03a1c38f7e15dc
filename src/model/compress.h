// Inside of the room and of its verification: the compressor. Every `ratio` tokens become one row,
// pooled over the tokens' own values with weights they compute themselves; at ratio 4 a row also
// pools its predecessor's tokens. Blocks that a pass leaves open wait in a CompressorState. Ref:
// inference/model.py, Compressor.forward; model.md 8.8, 9.3.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/compressor.h"
#include "kernels/rotate.h"
#include "model/sequence.h"
#include "model/weights.h"
#include "tensor/view.h"

namespace fathom::model {

using tensor::MatrixView;

// One compressor with its constants. References live as long as the call.
struct Compressor {
  const CompressorWeights& weights;
  int64_t ratio = 0;
  kernels::RowKind kind = kernels::RowKind::kLatent;
  int64_t rotary_dims = 0;
  float rms_norm_eps = 0;
  const kernels::RopeTable& rope;
};

// The rows [first_row, first_row + count) of a pass, which are the tokens from `position` on of one
// sequence.
struct CompressorRun {
  CompressorState* state = nullptr;
  kernels::MutableCacheRows out;  // compressed rows of the sequence, by block
  float* pooled = nullptr;  // the rows before their norm, block b at b * d; for verification, may
                            // be null
  int64_t first_row = 0;
  int64_t count = 0;
  int64_t position = 0;
};

// One compressed row to be made: block `block` of run `run`.
struct BlockJob {
  int32_t run = 0;
  int64_t block = 0;
};

// value, score: [rows of the pass, cf * d]. jobs: room for one entry per row.
struct CompressorScratch {
  MatrixView<float> value;
  MatrixView<float> score;
  std::vector<BlockJob>& jobs;
};

// Values and scores of the pass's tokens, then every block whose last token is among them; the most
// recent tokens enter the states.
void Compress(const Compressor& compressor, std::span<const CompressorRun> runs,
              MatrixView<const float> x_TD, const CompressorScratch& scratch,
              const kernels::Context& ctx);

// Rounds a normalised and rotated row for its cache and stores it (kernels::EncodeRow). `row` is
// working memory afterwards.
void StoreRow(std::span<float> row, kernels::RowKind kind, const kernels::RowLayout& layout,
              std::byte* out, numerics::Mode mode);

}  // namespace fathom::model
