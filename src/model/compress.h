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
  float* out = nullptr;     // compressed rows of the sequence: block b at b * d
  float* pooled = nullptr;  // likewise the rows before their norm; for verification, may be null
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

// The cache's rounding of a normalised and rotated row (kernels/compressor.h).
void RoundCacheRow(std::span<float> row, int64_t rotary_dims, kernels::RowKind kind,
                   numerics::Mode mode);

}  // namespace fathom::model
