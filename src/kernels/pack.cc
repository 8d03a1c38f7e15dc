#include "kernels/pack.h"

#include <algorithm>
#include <cstring>

#include "numerics/blocks.h"
#include "numerics/formats.h"

namespace fathom::kernels {
namespace {

using numerics::kActivationBlock;
using tensor::Format;

static_assert(kActivationBlock == kBlock);

// Values between packed rows: 11 cache lines. Rows whose distance is a power of two would meet in
// the same few sets of the first-level cache, where products read several rows side by side.
constexpr int64_t kStagger = 352;

// One row as BF16 bits in pair order; with `quantize` each block passes through E4M3 first
// (model.md 6.3), whose values times their power-of-two scale BF16 holds exactly.
void PackRow(const float* x, int64_t n, bool quantize, Format format, uint16_t* out) {
  const PairOrder& order = PairOrderOf(format);
  const int64_t padded = PackedWidth(format, n);
  for (int64_t begin = 0; begin < padded; begin += kStretch) {
    float stretch[kStretch] = {};
    const int64_t width = std::min<int64_t>(kStretch, n - begin);
    std::memcpy(stretch, x + begin, static_cast<size_t>(width) * sizeof(float));
    if (quantize) numerics::SimulateE4M3({stretch, static_cast<size_t>(width)}, kActivationBlock);
    const int64_t places = std::min(kStretch, padded - begin);
    for (int64_t i = 0; i < places; ++i)
      out[begin + i] = numerics::ToBF16(stretch[order.k[i]]).bits;
  }
}

}  // namespace

PackedInput PackInput(MatrixView<const float> x_TK, Format format, Activation activation,
                      Workspace::Slot slot, const Context& ctx) {
  const int64_t rows = x_TK.rows;
  const auto pointer_slot = static_cast<Workspace::Slot>(slot + 1);
  const bool as_f32 =
      activation == Activation::kF32 || ctx.mode == numerics::Mode::kPure || format == Format::kF32;
  if (as_f32) {
    const int64_t padded = (x_TK.cols + 127) / 128 * 128;
    float* packed = ctx.workspace.Get<float>(slot, rows * padded);
    const float** pointers = ctx.workspace.Get<const float*>(pointer_slot, rows);
    ForRows(ctx, rows, padded, [&](int64_t t) {
      float* out = packed + t * padded;
      pointers[t] = out;
      std::copy_n(x_TK.row(t), x_TK.cols, out);
      std::fill(out + x_TK.cols, out + padded, 0.0f);
    });
    return {nullptr, pointers};
  }
  const bool quantize =
      activation == Activation::kQuantized && (format == Format::kFp8 || format == Format::kFp4);
  const int64_t padded = PackedWidth(format, x_TK.cols), stride = padded + kStagger;
  uint16_t* packed = ctx.workspace.Get<uint16_t>(slot, rows * stride);
  const uint16_t** pointers = ctx.workspace.Get<const uint16_t*>(pointer_slot, rows);
  // A quantised value costs several times a copied one.
  ForRows(ctx, rows, padded * 8, [&](int64_t t) {
    pointers[t] = packed + t * stride;
    PackRow(x_TK.row(t), x_TK.cols, quantize, format, packed + t * stride);
  });
  return {pointers, nullptr};
}

}  // namespace fathom::kernels
