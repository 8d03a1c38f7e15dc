#include "kernels/linear.h"

#include <algorithm>

#include "kernels/pack.h"
#include "kernels/paths.h"
#include "kernels/row_ops.h"
#include "kernels/trace.h"

namespace fathom::kernels {
namespace {

using tensor::Format;

constexpr PairOrder MakePairOrder(Format format) {
  PairOrder order{};
  for (int position = 0; position < kStretch; ++position) {
    const int step = position / 32, word = position % 32, lane = word / 2, odd = word % 2;
    const int block = position / 128, block_step = step % 4;
    int k = position;
    if (format == Format::kFp4) {
      // The four 64-byte blocks r of a stretch, their 32-bit words transposed within groups of four
      // (g counts the groups): lane 4 g + r holds the 32 inputs of one scale. Step 4 q + u takes
      // nibble u of the two 16-bit halves of word q.
      const int g = lane / 4, r = lane % 4, q = step / 4, u = step % 4;
      k = 128 * r + 32 * g + 8 * q + u + 4 * odd;
    } else if (format == Format::kFp8) {
      // 64 bytes in one register, unpacked to words from the low or high half of each 16-byte
      // group.
      k = 128 * block + 64 * (block_step / 2) + 16 * (word / 8) + 8 * (block_step % 2) + word % 8;
    }
    order.k[position] = static_cast<int16_t>(k);
  }
  return order;
}

constexpr PairOrder kNatural = MakePairOrder(Format::kBF16);
constexpr PairOrder kFp8Order = MakePairOrder(Format::kFp8);
constexpr PairOrder kFp4Order = MakePairOrder(Format::kFp4);

Operation ProductOf(Format format) {
  switch (format) {
    case Format::kF32:
      return Operation::kProductF32;
    case Format::kBF16:
      return Operation::kProductBF16;
    case Format::kFp8:
      return Operation::kProductFp8;
    case Format::kFp4:
      return Operation::kProductFp4;
  }
  return Operation::kProductF32;
}

// Bytes of weights handed out at a time: so many at first that it matters little how a thread waits
// for the first of them and fetches beyond the last, and so few in the end that threads stay even.
// Ref: kernels.md rule 1.
constexpr int64_t kChunkBytes = 64 << 10;
constexpr int64_t kChunkBytesMost = 1 << 20;
// Rows that the widest path decodes together, or half of those, and how many times as many a chunk
// has at most: a longer chunk waits less often for its first weights.
constexpr int64_t kPanelRows = 32;
constexpr int64_t kPanelsPerChunk = 8;
// The same for tiles, of which two are multiplied side by side.
constexpr int64_t kTileRows = 16;
constexpr int64_t kTileRowsPerChunk = 512;
// The most bytes handed out at a time for one input on tiles, whose rows are fetched ahead side by
// side: the first of a chunk are waited for.
constexpr int64_t kTileChunkBytes = 256 << 10;

}  // namespace

const PairOrder& PairOrderOf(Format format) {
  if (format == Format::kFp4) return kFp4Order;
  if (format == Format::kFp8) return kFp8Order;
  return kNatural;
}

int64_t PackedWidth(Format format, int64_t cols) {
  const int64_t whole = format == Format::kFp4 ? kStretch : kBlock;
  return (cols + whole - 1) / whole * whole;
}

int64_t InputsPerChunk(int64_t inputs) {
  const int64_t groups =
      std::max<int64_t>(1, (inputs + kInputsPerChunkMax - 1) / kInputsPerChunkMax);
  const int64_t each = (inputs + groups - 1) / groups;
  return groups == 1 ? each : InputTiles::For(each) * InputTiles::kRows;
}

Grain ChunkGrain(const Context& ctx, int64_t inputs) {
  const bool is_long = ctx.path == Path::kAmx || inputs >= kManyInputs;
  return {1, is_long ? 1 : kChunkBytesMost / kChunkBytes};
}

int64_t RowsPerChunk(const QuantView& w, int64_t inputs, int64_t groups, const Context& ctx) {
  const int64_t rows = std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(1, w.row_bytes()));
  if (ctx.path == Path::kAmx) {
    if (inputs == 1) {
      const int64_t tiles = w.rows / (4 * kTileRows * ctx.pool.threads());
      const int64_t least = (rows + kTileRows - 1) / kTileRows;
      return kTileRows * std::clamp(tiles, least, least * (kTileChunkBytes / kChunkBytes));
    }
    // Four chunks or more for each thread, of whole tiles.
    const int64_t chunks = (4 * ctx.pool.threads() + groups - 1) / groups;
    const int64_t tiles = (w.rows + chunks * kTileRows - 1) / (chunks * kTileRows);
    return kTileRows * (inputs <= 2 * InputTiles::kRows ? tiles : (tiles + 1) / 2 * 2);
  }
  if (inputs < kManyInputs) return rows;
  const int64_t panels = w.rows / (4 * kPanelRows * ctx.pool.threads());
  return std::max(rows, kPanelRows * std::clamp<int64_t>(panels, 1, kPanelsPerChunk));
}

void Linear(MatrixView<const float> x_TK, const QuantView& w, Activation activation, Output output,
            MatrixView<float> y_TO, const Context& ctx) {
  FATHOM_CHECK_EQ(x_TK.cols, w.cols);
  FATHOM_CHECK_EQ(y_TO.cols, w.rows);
  FATHOM_CHECK_EQ(y_TO.rows, x_TK.rows);
  if (x_TK.rows == 0) return;
  const TraceSpan span(ctx.trace, ProductOf(w.format),
                       {.weight_bytes = w.bytes(), .operations = 2 * x_TK.rows * w.rows * w.cols});
  const PackedInput x = PackInput(x_TK, w.format, activation, Workspace::kPackedInput, ctx);
  const bool round = output == Output::kBF16 && numerics::Rounds(ctx.mode);
  const RowOps& ops = RowOpsOf(ctx.path);
  const int64_t inputs = InputsPerChunk(x_TK.rows), groups = (x_TK.rows + inputs - 1) / inputs;
  int64_t rows = RowsPerChunk(w, x_TK.rows, groups, ctx);
  if (x.tiles.data != nullptr) rows = std::min(rows, kTileRowsPerChunk);
  const int64_t chunks = (w.rows + rows - 1) / rows;
  // Several chunks at a time only where there is one group.
  ParallelFor(ctx, groups * chunks, ChunkGrain(ctx, x_TK.rows),
              [&](int64_t item, int64_t last, int) {
                const int64_t first = item / chunks * inputs, begin = item % chunks * rows;
                const int64_t count = std::min(inputs, x_TK.rows - first);
                const int64_t end = std::min(begin + (last - item) * rows, w.rows);
                float* y = y_TO.row(first) + begin;
                // The chunks in between are with the other threads.
                const int64_t next = begin + ctx.pool.threads() * rows;
                const std::byte* ahead = next < w.rows ? w.data + next * w.row_bytes() : nullptr;
                x.From(first).Dot({w, begin, end, count, y, y_TO.stride, ahead}, ctx);
                if (!round) return;
                for (int64_t t = 0; t < count; ++t) ops.round_row(y + t * y_TO.stride, end - begin);
              });
}

}  // namespace fathom::kernels
