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

// Row o in blocks of 128 code values in pair order, zeros past the end, and for each block the
// scale of each of the 16 lanes (every pair of a lane lies under one scale, in every format).
inline void DecodePairs(const tensor::QuantView& w, int64_t o, const PairOrder& order, float* codes,
                        float* scales) {
  for (int64_t block = 0; block * 128 < w.cols; ++block) {
    for (int64_t i = 0; i < 128; ++i) {
      const int64_t k = block * 128 + order.k[i];
      codes[block * 128 + i] = k < w.cols ? CodeValue(w, o, k) : 0.0f;
    }
    for (int64_t l = 0; l < 16; ++l) {
      const int64_t k = block * 128 + order.k[2 * l];
      scales[block * 16 + l] = k < w.cols ? ScaleValue(w, o, k) : 0.0f;
    }
  }
}

}  // namespace fathom::kernels::reference
