#include "kernels/linear.h"

#include "kernels/pack.h"
#include "kernels/paths.h"

namespace fathom::kernels {
namespace {

using tensor::Format;

constexpr PairOrder MakePairOrder(Format format) {
  PairOrder order{};
  for (int position = 0; position < 128; ++position) {
    const int step = position / 32, word = position % 32;
    int k = 0;
    if (format == Format::kFp4) {
      // 64 packed bytes in one register: word w holds inputs 4w .. 4w + 3, the step selects one of
      // them.
      k = 4 * word + step;
    } else if (format == Format::kFp8) {
      // 64 bytes in one register, unpacked to words from the low or high half of each 16-byte
      // group.
      k = 64 * (step / 2) + 16 * (word / 8) + 8 * (step % 2) + word % 8;
    } else {
      k = position;
    }
    order.k[position] = static_cast<int16_t>(k);
  }
  return order;
}

constexpr PairOrder kNatural = MakePairOrder(Format::kBF16);
constexpr PairOrder kFp8Order = MakePairOrder(Format::kFp8);
constexpr PairOrder kFp4Order = MakePairOrder(Format::kFp4);

// Bytes of weights handed out at a time: large enough for long sequential reads, small enough to
// keep threads even. Ref: kernels.md rule 1.
constexpr int64_t kChunkBytes = 64 << 10;

void RoundRows(float* y, int64_t stride, int64_t count, int64_t width) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t o = 0; o < width; ++o)
      y[i * stride + o] = numerics::RoundToBF16(y[i * stride + o]);
}

}  // namespace

const PairOrder& PairOrderOf(Format format) {
  if (format == Format::kFp4) return kFp4Order;
  if (format == Format::kFp8) return kFp8Order;
  return kNatural;
}

int64_t RowsPerChunk(const QuantView& w) {
  return std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(1, w.row_bytes()));
}

void Linear(MatrixView<const float> x_TK, const QuantView& w, Activation activation, Output output,
            MatrixView<float> y_TO, const Context& ctx) {
  FATHOM_CHECK_EQ(x_TK.cols, w.cols);
  FATHOM_CHECK_EQ(y_TO.cols, w.rows);
  FATHOM_CHECK_EQ(y_TO.rows, x_TK.rows);
  if (x_TK.rows == 0) return;
  const PackedInput x = PackInput(x_TK, w.format, activation, Workspace::kPackedInput, ctx);
  const bool round = output == Output::kBF16 && ctx.mode == numerics::Mode::kOfficial;
  ParallelFor(ctx, w.rows, RowsPerChunk(w), [&](int64_t begin, int64_t end, int) {
    float* y = y_TO.data + begin;
    x.Dot({w, begin, end, x_TK.rows, y, y_TO.stride}, ctx);
    if (round) RoundRows(y, y_TO.stride, x_TK.rows, end - begin);
  });
}

}  // namespace fathom::kernels
