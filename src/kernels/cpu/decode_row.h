// Cache rows (cache_row.h) as floats, over vectors of 16 lanes; V as in attention.h. No function
// here exists outside the file that includes it.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cache_row.h"
#include "kernels/cpu/tables.h"
#include "tensor/view.h"

namespace fathom::kernels::cpu {

template <typename V>
struct RowDecoder {
  using Format = tensor::Format;

  // out [layout.dim]. Rows of floats are copied.
  static void Decode(const RowLayout& layout, const std::byte* row, float* out) {
    switch (layout.format) {
      case RowFormat::kF32:
        std::memcpy(out, row, static_cast<size_t>(4 * layout.dim));
        return;
      case RowFormat::kLatent:
        Scaled<Format::kFp8, 64>(row, row + layout.scale_offset(), layout.codes(), out);
        Plain(row + layout.codes(), layout.rotary, out + layout.codes());
        return;
      case RowFormat::kIndex:
        Scaled<Format::kFp4, 32>(row, row + layout.scale_offset(), layout.dim, out);
        return;
    }
  }

 private:
  static constexpr int64_t kLanes = 16;

  // 16 codes at a time; all lie under one scale.
  template <Format kFormat, int64_t kBlock>
  static void Scaled(const std::byte* codes, const std::byte* scales, int64_t n, float* out) {
    constexpr int64_t kBytes = kFormat == Format::kFp8 ? kLanes : kLanes / 2;
    for (int64_t k = 0; k < n; k += kLanes) {
      const int64_t lanes = n - k < kLanes ? n - k : kLanes;
      std::byte tail[kBytes] = {};
      const std::byte* from = codes + k * kBytes / kLanes;
      if (lanes < kLanes) {
        std::memcpy(tail, from, static_cast<size_t>((lanes * kBytes + kLanes - 1) / kLanes));
        from = tail;
      }
      float scale;
      std::memcpy(&scale, &kScaleTable.bits[std::to_integer<uint8_t>(scales[k / kBlock])], 4);
      V::Store(out + k, V::Mul(V::template Decode<kFormat>(from), V::Set(scale)), lanes);
    }
  }

  static void Plain(const std::byte* values, int64_t n, float* out) {
    for (int64_t k = 0; k < n; k += kLanes) {
      const int64_t lanes = n - k < kLanes ? n - k : kLanes;
      std::byte tail[2 * kLanes] = {};
      const std::byte* from = values + 2 * k;
      if (lanes < kLanes) {
        std::memcpy(tail, from, static_cast<size_t>(2 * lanes));
        from = tail;
      }
      V::Store(out + k, V::template Decode<Format::kBF16>(from), lanes);
    }
  }
};

}  // namespace fathom::kernels::cpu
