#include "kernels/pack.h"

#include <algorithm>

#include "kernels/int8_stretch.h"
#include "kernels/row_ops.h"

namespace fathom::kernels {

using tensor::Format;

// Values between packed rows: 11 cache lines. Rows whose distance is a power of two would meet in
// the same few sets of the first-level cache, where products read several rows side by side.
constexpr int64_t kStagger = 352;

namespace {

bool IsQuantized(Format format, Activation activation) {
  return activation == Activation::kQuantized && (format == Format::kFp8 || format == Format::kFp4);
}

bool EntersAsF32(Format format, Activation activation, const Context& ctx) {
  return activation == Activation::kF32 || ctx.mode == numerics::Mode::kPure ||
         format == Format::kF32;
}

PackedInput PackF32(MatrixView<const float> x_TK, Workspace::Slot slot, const Context& ctx) {
  const int64_t rows = x_TK.rows, padded = (x_TK.cols + 127) / 128 * 128;
  const auto pointer_slot = static_cast<Workspace::Slot>(slot + 1);
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

bool EntersAsInt8(Format format, Activation activation, const Context& ctx) {
  return ctx.mode == numerics::Mode::kFast && format == Format::kFp4 &&
         activation == Activation::kQuantized;
}

PackedInput PackInt8(MatrixView<const float> x_TK, Workspace::Slot slot, const Context& ctx) {
  const int64_t rows = x_TK.rows, stretches = Int8Stretches(x_TK.cols);
  // One more between rows, whose distance then is no power of two.
  Int8Stretch* packed = ctx.workspace.Get<Int8Stretch>(slot, rows * (stretches + 1));
  const Int8Stretch** pointers =
      ctx.workspace.Get<const Int8Stretch*>(static_cast<Workspace::Slot>(slot + 1), rows);
  const RowOps& ops = RowOpsOf(ctx.path);
  ForRows(ctx, rows, x_TK.cols * 8 / ops.speed, [&](int64_t t) {
    Int8Stretch* out = packed + t * (stretches + 1);
    pointers[t] = out;
    ops.pack_int8(x_TK.row(t), x_TK.cols, out);
  });
  return {.int8 = pointers};
}

int64_t StretchesOf(int64_t width) { return (width + kStretch - 1) / kStretch; }

// Stretch b of the 16 rows from `first` on, of `rows` in all.
void FillTile(const uint16_t* const* x, int64_t first, int64_t rows, int64_t b, int64_t width,
              uint32_t* memory, const Context& ctx) {
  const int64_t place = b * InputTiles::For(rows) + first / InputTiles::kRows;
  const int64_t steps = (std::min((b + 1) * kStretch, width) - b * kStretch) / 32;
  OpsOf(ctx.path).to_tiles(x, std::clamp<int64_t>(rows - first, 0, InputTiles::kRows), b * kStretch,
                           steps, memory + place * InputTiles::kWords);
}

// Many tiles: each thread packs 16 rows and arranges them while they are in its cache.
void PackTileByTile(MatrixView<const float> x_TK, Format format, bool quantize,
                    Workspace::Slot slot, uint32_t* memory, const Context& ctx) {
  const int64_t padded = PackedWidth(format, x_TK.cols), stride = padded + kStagger;
  uint16_t* packed =
      ctx.workspace.Get<uint16_t>(slot, ctx.pool.threads() * InputTiles::kRows * stride);
  const RowOps& ops = RowOpsOf(ctx.path);
  ParallelFor(ctx, InputTiles::For(x_TK.rows), 1, [&](int64_t tile, int64_t, int thread) {
    const uint16_t* rows[InputTiles::kRows];
    const int64_t first = tile * InputTiles::kRows;
    for (int64_t i = 0; i < InputTiles::kRows && first + i < x_TK.rows; ++i) {
      uint16_t* out = packed + (thread * InputTiles::kRows + i) * stride;
      ops.pack({x_TK.row(first + i), x_TK.cols, format, quantize, out});
      rows[i] = out;
    }
    for (int64_t b = 0; b < StretchesOf(padded); ++b)
      FillTile(rows, first, x_TK.rows, b, padded, memory, ctx);
  });
}

}  // namespace

PackedInput PackRows(MatrixView<const float> x_TK, Format format, Activation activation,
                     Workspace::Slot slot, const Context& ctx) {
  if (EntersAsF32(format, activation, ctx)) return PackF32(x_TK, slot, ctx);
  if (EntersAsInt8(format, activation, ctx)) return PackInt8(x_TK, slot, ctx);
  const int64_t rows = x_TK.rows;
  const int64_t padded = PackedWidth(format, x_TK.cols), stride = padded + kStagger;
  const bool quantize = IsQuantized(format, activation);
  uint16_t* packed = ctx.workspace.Get<uint16_t>(slot, rows * stride);
  const uint16_t** pointers =
      ctx.workspace.Get<const uint16_t*>(static_cast<Workspace::Slot>(slot + 1), rows);
  const RowOps& ops = RowOpsOf(ctx.path);
  // A quantised value costs several times a copied one.
  ForRows(ctx, rows, padded * 8 / ops.speed, [&](int64_t t) {
    pointers[t] = packed + t * stride;
    ops.pack({x_TK.row(t), x_TK.cols, format, quantize, packed + t * stride});
  });
  return {pointers, nullptr};
}

PackedInput PackInput(MatrixView<const float> x_TK, Format format, Activation activation,
                      Workspace::Slot slot, const Context& ctx) {
  const bool in_tiles = OpsOf(ctx.path).to_tiles != nullptr && x_TK.rows > 1 &&
                        !EntersAsF32(format, activation, ctx) &&
                        !EntersAsInt8(format, activation, ctx);
  if (!in_tiles) return PackRows(x_TK, format, activation, slot, ctx);
  const int64_t padded = PackedWidth(format, x_TK.cols), tiles = InputTiles::For(x_TK.rows);
  uint32_t* memory = ctx.workspace.Get<uint32_t>(static_cast<Workspace::Slot>(slot + 2),
                                                 TileWords(x_TK.rows, padded));
  if (tiles >= 2 * ctx.pool.threads()) {
    PackTileByTile(x_TK, format, IsQuantized(format, activation), slot, memory, ctx);
  } else {
    const PackedInput rows = PackRows(x_TK, format, activation, slot, ctx);
    ParallelFor(ctx, tiles * StretchesOf(padded), 1, [&](int64_t item, int64_t, int) {
      const int64_t first = item % tiles * InputTiles::kRows;
      FillTile(rows.bf16 + first, first, x_TK.rows, item / tiles, padded, memory, ctx);
    });
  }
  return {nullptr, nullptr, {memory, tiles}};
}

int64_t TileWords(int64_t rows, int64_t width) {
  return StretchesOf(width) * InputTiles::For(rows) * InputTiles::kWords;
}

InputTiles FillTiles(const uint16_t* const* rows, int64_t count, int64_t width, uint32_t* memory,
                     const Context& ctx) {
  const int64_t tiles = InputTiles::For(count);
  for (int64_t b = 0; b < StretchesOf(width); ++b)
    for (int64_t first = 0; first < tiles * InputTiles::kRows; first += InputTiles::kRows)
      FillTile(rows + first, first, count, b, width, memory, ctx);
  return {memory, tiles};
}

}  // namespace fathom::kernels
