// Matrix products with checkpoint weights: y[t, o] = sum over k of w[o, k] * x[t, k].
//
// Summation order of one output element, for every number of rows, chunking, thread count and path:
//
// * BF16 products (official mode): inputs are cut into stretches of 512. Within a stretch 16 lanes
//   add pairs of products, step after step, from zero: p[l] += w[odd] * x[odd];
//   p[l] += w[even] * x[even], each a fused multiply-add. Which k stands at (step, lane, odd/even)
//   depends on the weight format (PairOrder below: the order in which the vector decoder of that
//   format delivers values). Then acc[l] += p[l]. At the end 16 lanes fold to 8, 4, 2, 1:
//   acc[l] += acc[l + half]. FP8 weights enter as code times scale, which BF16 holds exactly (below
//   its range: zero; above: infinity). FP4 weights enter unscaled: a lane holds inputs of one
//   scale, and acc[l] += p[l] * scale is fused. (The sums of a stretch are 16 steps long: with
//   shorter ones, tiles of many rows and inputs leave their registers so often that it costs a
//   tenth of their speed; in longer ones, a processor that multiplies one row by one input waits
//   for the sum before, because it does not look ahead to the next stretch.)
// * float32 products (pure mode, and Activation::kF32): acc[j][l] with j = 0..3, l = 0..15 adds
//   w[k] * x[k] for k = 64 i + 16 j + l, i ascending, each product rounded; then
//   (acc[0] + acc[1]) + (acc[2] + acc[3]) per lane, and the same fold.
// * BF16 products of paths with tiles (IsTiled in context.h): the same places; FP4 weights enter
//   scaled, as FP8 ones do. acc, from zero, adds the steps of 32 inputs one after the other:
//   acc += s[odd] + s[even], where s[odd] += w * x over the 16 lanes, ascending, from zero, each a
//   fused multiply-add. That is what TDPBF16PS computes (Intel SDM, volume 2).
//
// * FP4 products in fast mode, Activation::kQuantized: as int8_stretch.h says, on every path.
//
// The first two keep 16 lanes along the input; in each, one row at a time and many rows at a time
// give the same bits, and scaling costs next to nothing. Ref: kernels.md rule 7; model.md 6.5-6.7.
#pragma once

#include "kernels/context.h"
#include "tensor/view.h"

namespace fathom::kernels {

using tensor::MatrixView;
using tensor::QuantView;

// How the input enters the product in official and fast mode. In pure mode it always enters as
// float32.
enum class Activation {
  kQuantized,  // FP8 per 128 in front of FP8 and FP4 weights (model.md 6.3), else as BF16; in fast
               // mode bytes per 32 in front of FP4 weights
  kBF16,       // as BF16, whatever the weight: wo_a, head, gate, compressor, weights_proj
  kF32,        // float32 in both modes, with an F32 weight: hyper-connection matrices
};

enum class Output {
  kBF16,  // rounded once to BF16 (but in pure mode)
  kF32,   // not rounded
};

// x [T, K], w [O, K], y [T, O]. Values of x with Activation::kBF16 must already be BF16 values in
// official mode (a CHECK in debug builds). T = 0 is allowed. y must not alias x.
void Linear(MatrixView<const float> x_TK, const QuantView& w, Activation activation, Output output,
            MatrixView<float> y_TO, const Context& ctx);

// Inputs of a stretch, and of the blocks it is made of.
inline constexpr int64_t kStretch = 512;
inline constexpr int64_t kBlock = 128;

// Places of a stretch: packed position 32 * step + 2 * lane + (0 even, 1 odd) holds input
// k[position]. Except for FP4 each block has four steps of its own, so that a stretch may end with
// any block. Used by every path and by the packing of activations.
struct PairOrder {
  int16_t k[kStretch];
};
const PairOrder& PairOrderOf(tensor::Format format);
// Values of a packed input of `cols`: whole blocks, for FP4 whole stretches.
int64_t PackedWidth(tensor::Format format, int64_t cols);

}  // namespace fathom::kernels
