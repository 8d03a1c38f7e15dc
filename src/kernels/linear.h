// Matrix products with checkpoint weights: y[t, o] = sum over k of w[o, k] * x[t, k].
//
// Summation order of one output element, for every number of rows, chunking, thread count and path:
//
// * BF16 products (official mode): inputs are cut into blocks of 128 (the last one padded with
// zeros).
//   Within a block 16 lanes each add 8 products, in 4 steps of one pair: p[l] = 0, then for step s
//   = 0..3 p[l] += w[odd] * x[odd]; p[l] += w[even] * x[even], each a fused multiply-add. Which k
//   stands at (step, lane, odd/even) depends on the weight format (PairOrder below: the order in
//   which the vector decoder of that format delivers values). Then acc[l] += p[l] * scale of the
//   lane's weights. At the end 16 lanes fold to 8, 4, 2, 1: acc[l] += acc[l + half].
// * float32 products (pure mode, and Activation::kF32): acc[j][l] with j = 0..3, l = 0..15 adds
//   w[k] * x[k] for k = 64 i + 16 j + l, i ascending, each product rounded; then
//   (acc[0] + acc[1]) + (acc[2] + acc[3]) per lane, and the same fold.
//
// Both orders keep 16 lanes along the input, so one row at a time and many rows at a time give the
// same bits. Ref: kernels.md rule 7; model.md 6.5-6.7.
#pragma once

#include "kernels/context.h"
#include "tensor/view.h"

namespace fathom::kernels {

using tensor::MatrixView;
using tensor::QuantView;

// How the input enters the product in official mode. In pure mode it always enters as float32.
enum class Activation {
  kQuantized,  // FP8 per 128 in front of FP8 and FP4 weights (model.md 6.3), else as BF16
  kBF16,       // as BF16, whatever the weight: wo_a, head, gate, compressor, weights_proj
  kF32,        // float32 in both modes, with an F32 weight: hyper-connection matrices
};

enum class Output {
  kBF16,  // rounded once to BF16 (official mode)
  kF32,   // not rounded
};

// x [T, K], w [O, K], y [T, O]. Values of x with Activation::kBF16 must already be BF16 values in
// official mode (a CHECK in debug builds). T = 0 is allowed. y must not alias x.
void Linear(MatrixView<const float> x_TK, const QuantView& w, Activation activation, Output output,
            MatrixView<float> y_TO, const Context& ctx);

// Place of the pair elements of a 128-block: packed position 32 * step + 2 * lane + (0 even, 1 odd)
// holds input kPairOrder[position]. Used by every path and by the packing of activations.
struct PairOrder {
  int16_t k[128];
};
const PairOrder& PairOrderOf(tensor::Format format);

}  // namespace fathom::kernels
