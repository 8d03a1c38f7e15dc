// The reference path: the definition of the results of the operations that have vector paths, in
// plain scalar C++. Slow on purpose in one respect only: it decodes and multiplies one value at a
// time.
#include <cmath>
#include <vector>

#include "kernels/linear.h"
#include "kernels/paths.h"
#include "kernels/reference/attention.h"
#include "kernels/reference/decode.h"
#include "kernels/reference/dot.h"
#include "kernels/reference/fma.h"
#include "numerics/formats.h"

namespace fathom::kernels {
namespace {

using numerics::BF16;
using reference::Fold16;
using tensor::Format;

// acc[16] <- the sums of `blocks` blocks of one row (linear.h): codes in pair order, scales per
// lane.
FATHOM_FMA_CLONES
void SumBlocks(const float* codes, const float* scales, const uint16_t* x, int64_t blocks,
               float* acc) {
  for (int l = 0; l < 16; ++l) acc[l] = 0;
  for (int64_t b = 0; b < blocks; ++b, codes += 128, scales += 16, x += 128) {
    float p[16] = {};
    for (int s = 0; s < 4; ++s) {
      for (int l = 0; l < 16; ++l) {
        const int even = 32 * s + 2 * l;
        p[l] = std::fma(codes[even + 1], numerics::ToFloat(BF16{x[even + 1]}), p[l]);
        p[l] = std::fma(codes[even], numerics::ToFloat(BF16{x[even]}), p[l]);
      }
    }
    for (int l = 0; l < 16; ++l) acc[l] += p[l] * scales[l];
  }
}

void DotBF16(const DotTask& task, const uint16_t* const* x) {
  const int64_t blocks = (task.w.cols + 127) / 128;
  const PairOrder& order = PairOrderOf(task.w.format);
  std::vector<float> codes(static_cast<size_t>(blocks) * 128);  // unscaled, in pair order
  std::vector<float> scales(static_cast<size_t>(blocks) * 16);  // per lane
  for (int64_t o = task.row_begin; o < task.row_end; ++o) {
    reference::DecodePairs(task.w, o, order, codes.data(), scales.data());
    for (int64_t i = 0; i < task.count; ++i) {
      float acc[16];
      SumBlocks(codes.data(), scales.data(), x[i], blocks, acc);
      task.y[i * task.y_stride + (o - task.row_begin)] = Fold16(acc);
    }
  }
}

void DotF32(const DotTask& task, const float* const* x) {
  std::vector<float> w(static_cast<size_t>(task.w.cols));
  for (int64_t o = task.row_begin; o < task.row_end; ++o) {
    reference::DecodeRow(task.w, o, w.data());
    for (int64_t i = 0; i < task.count; ++i)
      task.y[i * task.y_stride + (o - task.row_begin)] =
          reference::DotF32(w.data(), x[i], task.w.cols);
  }
}

}  // namespace

const PathOps kReferenceOps = {DotBF16, DotF32, reference::Attend, reference::IndexScores, 1};

}  // namespace fathom::kernels
