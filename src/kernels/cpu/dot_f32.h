// The float32 product over vectors of 16 lanes, shared by the instruction sets (V is Vec256 or
// Vec512): weights of any format are decoded to float32 in natural order, scaled, and multiplied
// and added with a rounding each, in the order of linear.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cpu/tables.h"
#include "kernels/paths.h"

namespace fathom::kernels::cpu {

using tensor::Format;

// Bytes of `values` consecutive codes.
template <Format kFormat>
static constexpr int64_t CodeBytes(int64_t values) {
  if (kFormat == Format::kF32) return 4 * values;
  if (kFormat == Format::kBF16) return 2 * values;
  return kFormat == Format::kFp8 ? values : values / 2;
}

// Inputs per scale; 0 where the format has none.
template <Format kFormat>
static constexpr int64_t ScaleBlock() {
  if (kFormat == Format::kFp8) return tensor::kFp8Block;
  return kFormat == Format::kFp4 ? tensor::kFp4Block : 0;
}

// One weight row in memory.
struct WeightRow {
  const std::byte* codes = nullptr;
  const uint8_t* scale = nullptr;
};

template <Format kFormat>
static inline WeightRow RowOf(const tensor::QuantView& w, int64_t o) {
  WeightRow row{w.data + o * CodeBytes<kFormat>(w.cols), nullptr};
  if constexpr (ScaleBlock<kFormat>() != 0) {
    const int64_t scale_cols = (w.cols + ScaleBlock<kFormat>() - 1) / ScaleBlock<kFormat>();
    const int64_t scale_row = kFormat == Format::kFp8 ? (w.row_offset + o) / tensor::kFp8Block : o;
    row.scale = w.scale + scale_row * scale_cols;
  }
  return row;
}

template <typename V, Format kFormat>
struct DotF32Kernel {
  using F = typename V::F;

  static void Run(const DotTask& task, const float* const* x) {
    for (int64_t o = task.row_begin; o < task.row_end; ++o) {
      float* y = task.y + (o - task.row_begin);
      int64_t i = 0;
      for (; i + V::kDotInputs <= task.count; i += V::kDotInputs)
        Row<V::kDotInputs>(task, o, x + i, y + i * task.y_stride);
      for (; i < task.count; ++i) Row<1>(task, o, x + i, y + i * task.y_stride);
    }
  }

 private:
  // 16 scaled weights from input k on; all of them lie under one scale.
  static F Weights(const WeightRow& row, const std::byte* codes, int64_t k) {
    F w = V::template Decode<kFormat>(codes);
    if constexpr (ScaleBlock<kFormat>() != 0) {
      float scale;
      std::memcpy(&scale, &kScaleTable.bits[row.scale[k / ScaleBlock<kFormat>()]], sizeof(scale));
      w = V::Mul(w, V::Set(scale));
    }
    return w;
  }

  template <int kInputs>
  static void Row(const DotTask& task, int64_t o, const float* const* x, float* y) {
    const WeightRow row = RowOf<kFormat>(task.w, o);
    const int64_t cols = task.w.cols, whole = cols / 64 * 64;
    F acc[kInputs][4];
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) acc[i][j] = V::Zero();
    }
    for (int64_t begin = 0; begin < whole; begin += 64) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const int64_t k = begin + 16 * j;
        const F w = Weights(row, row.codes + CodeBytes<kFormat>(k), k);
#pragma GCC unroll 4
        for (int i = 0; i < kInputs; ++i)
          acc[i][j] = V::Add(acc[i][j], V::Mul(w, V::Load(x[i] + k)));
      }
    }
    // The tail is copied out, so that nothing past the row is read, and the lanes past it are left
    // alone.
    if (whole < cols) {
      alignas(64) std::byte tail[CodeBytes<kFormat>(64)] = {};
      std::memcpy(tail, row.codes + CodeBytes<kFormat>(whole),
                  static_cast<size_t>(CodeBytes<kFormat>(cols - whole)));
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const int64_t k = whole + 16 * j, lanes = Smaller16(cols - k);
        if (lanes <= 0) break;
        const F w = Weights(row, tail + CodeBytes<kFormat>(16 * j), k);
#pragma GCC unroll 4
        for (int i = 0; i < kInputs; ++i)
          acc[i][j] = V::AddFirst(acc[i][j], V::Mul(w, V::Load(x[i] + k)), lanes);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i)
      y[i * task.y_stride] =
          V::Fold(V::Add(V::Add(acc[i][0], acc[i][1]), V::Add(acc[i][2], acc[i][3])));
  }

  static int64_t Smaller16(int64_t n) { return n < 16 ? n : 16; }
};

template <typename V>
void DotF32(const DotTask& task, const float* const* x) {
  switch (task.w.format) {
    case Format::kF32:
      return DotF32Kernel<V, Format::kF32>::Run(task, x);
    case Format::kBF16:
      return DotF32Kernel<V, Format::kBF16>::Run(task, x);
    case Format::kFp8:
      return DotF32Kernel<V, Format::kFp8>::Run(task, x);
    case Format::kFp4:
      return DotF32Kernel<V, Format::kFp4>::Run(task, x);
  }
}

}  // namespace fathom::kernels::cpu
