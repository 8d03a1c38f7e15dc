// Weights, one value at a time: the plain reading of the stored formats. Ref: model.md 4.3, 4.4.
#pragma once

#include <cstring>

#include "kernels/linear.h"
#include "numerics/formats.h"
#include "tensor/view.h"

namespace fathom::kernels::reference {

// The stored code's own value at (o, k), without its scale.
inline float CodeValue(const tensor::QuantView& w, int64_t o, int64_t k) {
  const std::byte* row = w.row(o);
  switch (w.format) {
    case tensor::Format::kF32: {
      float value;
      std::memcpy(&value, row + 4 * k, 4);
      return value;
    }
    case tensor::Format::kBF16: {
      numerics::BF16 value;
      std::memcpy(&value, row + 2 * k, 2);
      return numerics::ToFloat(value);
    }
    case tensor::Format::kFp8:
      return numerics::E4M3ToFloat(std::to_integer<uint8_t>(row[k]));
    case tensor::Format::kFp4: {
      const uint8_t pair = std::to_integer<uint8_t>(row[k / 2]);
      return numerics::E2M1ToFloat(k % 2 == 0 ? pair & 15u : pair >> 4);
    }
  }
  return 0;
}

// The scale of (o, k); 1 where the format has none.
inline float ScaleValue(const tensor::QuantView& w, int64_t o, int64_t k) {
  if (w.format == tensor::Format::kFp8)
    return numerics::E8M0ToFloat(
        w.scale[(w.row_offset + o) / tensor::kFp8Block * w.scale_cols() + k / tensor::kFp8Block]);
  if (w.format == tensor::Format::kFp4)
    return numerics::E8M0ToFloat(w.scale[o * w.scale_cols() + k / tensor::kFp4Block]);
  return 1;
}

// Row o as floats, w.cols of them.
inline void DecodeRow(const tensor::QuantView& w, int64_t o, float* out) {
  for (int64_t k = 0; k < w.cols; ++k) out[k] = CodeValue(w, o, k) * ScaleValue(w, o, k);
}

// Row o in pair order as it enters a BF16 product, zeros past the end: FP8 codes with their scales,
// FP4 codes without, and for each stretch the scale of each of the 16 lanes (1 but for FP4). Call
// with subnormals flushed: a scaled FP8 value below the range of BF16 is zero.
inline void DecodePairs(const tensor::QuantView& w, int64_t o, float* codes, float* scales) {
  const PairOrder& order = PairOrderOf(w.format);
  const int64_t padded = PackedWidth(w.format, w.cols);
  for (int64_t begin = 0; begin < padded; begin += kStretch, scales += 16) {
    for (int64_t i = 0; i < kStretch && begin + i < padded; ++i) {
      const int64_t k = begin + order.k[i];
      float value = k < w.cols ? CodeValue(w, o, k) : 0.0f;
      if (w.format == tensor::Format::kFp8 && k < w.cols) value *= ScaleValue(w, o, k);
      codes[begin + i] = value;
    }
    for (int64_t l = 0; l < 16; ++l) {
      const int64_t k = begin + order.k[2 * l];
      scales[l] = 1;
      if (w.format == tensor::Format::kFp4) scales[l] = k < w.cols ? ScaleValue(w, o, k) : 0.0f;
    }
  }
}

}  // namespace fathom::kernels::reference
