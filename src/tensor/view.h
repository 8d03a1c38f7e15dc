// Views: shapes over memory that somebody else owns. Passed by value, never stored beyond the
// owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "tensor/dtype.h"

namespace fathom::tensor {

// Row-major matrix with a row stride in elements.
template <typename T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  MatrixView() = default;
  MatrixView(T* data_in, int64_t rows_in, int64_t cols_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(cols_in) {}
  MatrixView(T* data_in, int64_t rows_in, int64_t cols_in, int64_t stride_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(stride_in) {}
  // A mutable view reads as a constant one.
  operator MatrixView<const T>() const { return {data, rows, cols, stride}; }  // NOLINT: implicit

  T* row(int64_t i) const {
    FATHOM_DCHECK(i >= 0 && i < rows);
    return data + i * stride;
  }
  std::span<T> row_span(int64_t i) const { return {row(i), static_cast<size_t>(cols)}; }
  MatrixView rows_from(int64_t begin, int64_t count) const {
    FATHOM_CHECK(begin >= 0 && count >= 0 && begin + count <= rows);
    return {data + begin * stride, count, cols, stride};
  }
};

// A tensor of a checkpoint: name kept by whoever looks it up; bytes are little-endian and
// unaligned.
struct RawView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;

  int64_t elements() const {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    return n;
  }
};

// How the values of a weight matrix are stored.
enum class Format : uint8_t {
  kF32,   // float
  kBF16,  // bfloat16
  kFp8,   // E4M3FN, one E8M0 scale for each 128x128 block
  kFp4,  // E2M1 packed two to a byte (low nibble first), one E8M0 scale for each 32 inputs of a row
};

// Values per scale along the input (both), and along the output (FP8 only). Ref: model.md 4.2.
inline constexpr int64_t kFp8Block = 128;
inline constexpr int64_t kFp4Block = 32;

// A weight matrix [rows = outputs, cols = inputs] as the checkpoint stores it; value(o, i) is the
// code's value times the scale of its block. Owns nothing.
struct QuantView {
  Format format = Format::kF32;
  const std::byte* data = nullptr;  // row major; kFp4: cols / 2 bytes a row
  const uint8_t* scale =
      nullptr;  // E8M0; kFp8: [ceil(rows/128), ceil(cols/128)]; kFp4: [rows, ceil(cols/32)]
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_offset = 0;  // kFp8: rows that the first one lies below the top of its scale block

  int64_t row_bytes() const {
    switch (format) {
      case Format::kF32:
        return cols * 4;
      case Format::kBF16:
        return cols * 2;
      case Format::kFp8:
        return cols;
      case Format::kFp4:
        return cols / 2;
    }
    return 0;
  }
  int64_t scale_cols() const {
    return format == Format::kFp8 ? (cols + kFp8Block - 1) / kFp8Block
                                  : (cols + kFp4Block - 1) / kFp4Block;
  }
  const std::byte* row(int64_t o) const { return data + o * row_bytes(); }
  // Bytes of values and scales together.
  int64_t bytes() const {
    int64_t n = rows * row_bytes();
    if (format == Format::kFp8) n += (row_offset + rows + kFp8Block - 1) / kFp8Block * scale_cols();
    if (format == Format::kFp4) n += rows * scale_cols();
    return n;
  }
  // Output rows [begin, begin + count).
  QuantView SliceRows(int64_t begin, int64_t count) const;
};

}  // namespace fathom::tensor
