#include "kernels/pack.h"

#include <algorithm>

#include "kernels/row_ops.h"

namespace fathom::kernels {

using tensor::Format;

// Values between packed rows: 11 cache lines. Rows whose distance is a power of two would meet in
// the same few sets of the first-level cache, where products read several rows side by side.
constexpr int64_t kStagger = 352;

PackedInput PackInput(MatrixView<const float> x_TK, Format format, Activation activation,
                      Workspace::Slot slot, const Context& ctx) {
  const int64_t rows = x_TK.rows;
  const auto pointer_slot = static_cast<Workspace::Slot>(slot + 1);
  const bool as_f32 =
      activation == Activation::kF32 || ctx.mode == numerics::Mode::kPure || format == Format::kF32;
  if (as_f32) {
    const int64_t padded = (x_TK.cols + 127) / 128 * 128;
    const float** pointers = ctx.workspace.Get<const float*>(pointer_slot, rows);
    if (padded == x_TK.cols) {
      // Already in the form in which a product reads it.
      for (int64_t t = 0; t < rows; ++t) pointers[t] = x_TK.row(t);
      return {nullptr, pointers};
    }
    float* packed = ctx.workspace.Get<float>(slot, rows * padded);
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
  const RowOps& ops = RowOpsOf(ctx.path);
  // A quantised value costs several times a copied one.
  ForRows(ctx, rows, padded * 8 / ops.speed, [&](int64_t t) {
    pointers[t] = packed + t * stride;
    ops.pack({x_TK.row(t), x_TK.cols, format, quantize, packed + t * stride});
  });
  return {pointers, nullptr};
}

}  // namespace fathom::kernels
