// Inside of the room: activations brought into the form in which a product reads them, once per
// input and weight format: BF16 in the lane order of the weight format (quantised to FP8 values
// where the product wants that), bytes for FP4 weights in fast mode (int8_stretch.h), or plain
// float32, padded with zeros to whole blocks of 128.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/linear.h"
#include "kernels/paths.h"

namespace fathom::kernels {

struct PackedInput {
  // One of the four is set: pointers to the packed rows,
  const uint16_t* const* bf16 = nullptr;
  const float* const* f32 = nullptr;
  InputTiles tiles = {};                     // the tiles that the path multiplies,
  const Int8Stretch* const* int8 = nullptr;  // or pointers to rows of bytes, in fast mode

  // Without the first rows; of tiles, pairs of which stay together, a multiple of 32.
  PackedInput From(int64_t row) const {
    if (tiles.data != nullptr)
      return {nullptr,
              nullptr,
              {tiles.data + row / InputTiles::kRows * InputTiles::kWords, tiles.stride}};
    if (int8 != nullptr) return {.int8 = int8 + row};
    return bf16 != nullptr ? PackedInput{bf16 + row, nullptr} : PackedInput{nullptr, f32 + row};
  }
  // task.count rows from the first on.
  void Dot(const DotTask& task, const Context& ctx) const {
    if (tiles.data != nullptr) {
      OpsOf(ctx.path).dot_tiles(task, tiles);
    } else if (int8 != nullptr) {
      OpsOf(ctx.path).dot_int8(task, int8);
    } else if (bf16 != nullptr) {
      OpsOf(ctx.path).dot_bf16(task, bf16);
    } else {
      OpsOf(ctx.path).dot_f32(task, f32);
    }
  }
};

// Packs the rows of x for products with weights of `format`, in the form in which the path takes so
// many. `slot` and the two after it hold the data, pointers and tiles until the slot is used again.
PackedInput PackInput(MatrixView<const float> x_TK, tensor::Format format, Activation activation,
                      Workspace::Slot slot, const Context& ctx);
// The same, but never in tiles.
PackedInput PackRows(MatrixView<const float> x_TK, tensor::Format format, Activation activation,
                     Workspace::Slot slot, const Context& ctx);

// Words for the tiles of `rows` packed rows of `width` values.
int64_t TileWords(int64_t rows, int64_t width);
// Fills them.
InputTiles FillTiles(const uint16_t* const* rows, int64_t count, int64_t width, uint32_t* memory,
                     const Context& ctx);

// From so many inputs on a chunk of work has more output rows.
inline constexpr int64_t kManyInputs = 9;

// Inputs that a chunk of work takes of `inputs` > 0: no more than stay in a shared cache while all
// rows pass over them, and in all chunks but the last the same number, whole pairs of tiles.
inline constexpr int64_t kInputsPerChunkMax = 384;
int64_t InputsPerChunk(int64_t inputs);

// Output rows of w that make a chunk of work for `inputs` input rows, where there are chunks for so
// many groups of inputs.
int64_t RowsPerChunk(const QuantView& w, int64_t inputs, int64_t groups, const Context& ctx);
// How many of them are handed out together: more than one only for few inputs, whose chunks are
// short.
Grain ChunkGrain(const Context& ctx, int64_t inputs);

}  // namespace fathom::kernels
