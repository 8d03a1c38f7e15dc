#include "kernels/cache_row.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/compressor.h"
#include "numerics/blocks.h"
#include "numerics/formats.h"

namespace fathom::kernels {
namespace {

uint8_t* Bytes(std::byte* p) { return reinterpret_cast<uint8_t*>(p); }
const uint8_t* Bytes(const std::byte* p) { return reinterpret_cast<const uint8_t*>(p); }

void EncodeLatent(std::span<const float> row, const RowLayout& layout, std::byte* out) {
  const size_t codes = static_cast<size_t>(layout.codes());
  uint8_t* scales = Bytes(out) + layout.scale_offset();
  numerics::QuantizeE4M3(row.first(codes), numerics::kKvBlock, {Bytes(out), codes},
                         {scales, static_cast<size_t>(layout.scales())});
  for (int64_t i = 0; i < layout.rotary; ++i) {
    const numerics::BF16 value = numerics::ToBF16(row[codes + static_cast<size_t>(i)]);
    std::memcpy(out + layout.codes() + 2 * i, &value.bits, 2);
  }
  for (int64_t at = layout.scale_offset() + layout.scales(); at < layout.bytes(); ++at)
    out[at] = std::byte{0};
}

// Whether the codes in `n` bytes are zeros of either sign.
bool AreZeros(const uint8_t* codes, int64_t n) {
  return std::all_of(codes, codes + n, [](uint8_t pair) { return (pair & 0x77) == 0; });
}

void EncodeIndex(std::span<const float> row, const RowLayout& layout, std::byte* out) {
  constexpr int64_t kBlock = numerics::kIndexBlock;
  uint8_t* packed = Bytes(out);
  uint8_t* scales = packed + layout.scale_offset();
  const auto block_bytes = [&](int64_t b) { return std::min(kBlock, layout.dim - b * kBlock) / 2; };
  uint8_t smallest = 255;
  for (int64_t b = 0; b < layout.scales(); ++b) {
    uint8_t codes[kBlock];
    const size_t n = static_cast<size_t>(2 * block_bytes(b));
    numerics::QuantizeE2M1(row.subspan(static_cast<size_t>(b * kBlock), n), {codes, n},
                           {scales + b, 1});
    uint8_t* bytes = packed + b * kBlock / 2;
    for (int64_t i = 0; i < block_bytes(b); ++i)
      bytes[i] = static_cast<uint8_t>(codes[2 * i] | codes[2 * i + 1] << 4);
    if (!AreZeros(bytes, block_bytes(b))) smallest = std::min(smallest, scales[b]);
  }
  // A block of zeros may have any scale. It gets the smallest of the others, so that the spread of
  // a row's scales, which decides how it can be scored, is that of its values.
  for (int64_t b = 0; b < layout.scales(); ++b)
    if (AreZeros(packed + b * kBlock / 2, block_bytes(b)))
      scales[b] = smallest == 255 ? 127 : smallest;
}

}  // namespace

RowLayout LayoutOf(RowKind kind, int64_t dim, int64_t rotary, numerics::Mode mode) {
  if (mode == numerics::Mode::kPure) return {RowFormat::kF32, dim, 0};
  if (kind == RowKind::kLatent) return {RowFormat::kLatent, dim, rotary};
  return {RowFormat::kIndex, dim, 0};
}

void EncodeRow(std::span<float> row, RowKind kind, numerics::Mode mode, const RowLayout& layout,
               std::byte* out) {
  FATHOM_CHECK_EQ(std::ssize(row), layout.dim);
  switch (layout.format) {
    case RowFormat::kF32:
      RoundForCache(row, layout.rotary, kind, mode);
      std::memcpy(out, row.data(), row.size_bytes());
      return;
    case RowFormat::kLatent:
      EncodeLatent(row, layout, out);
      return;
    case RowFormat::kIndex:
      numerics::Hadamard(row);
      for (float& value : row) value = numerics::RoundToBF16(value);
      EncodeIndex(row, layout, out);
      return;
  }
}

void DecodeRow(const RowLayout& layout, const std::byte* row, std::span<float> values) {
  FATHOM_CHECK_EQ(std::ssize(values), layout.dim);
  if (layout.format == RowFormat::kF32) {
    std::memcpy(values.data(), row, values.size_bytes());
    return;
  }
  const uint8_t* scales = Bytes(row) + layout.scale_offset();
  if (layout.format == RowFormat::kIndex) {
    for (size_t i = 0; i < values.size(); ++i) {
      const uint8_t code = static_cast<uint8_t>(Bytes(row)[i / 2] >> (i % 2 * 4));
      values[i] = numerics::E2M1ToFloat(code) * numerics::E8M0ToFloat(scales[i / 32]);
    }
    return;
  }
  const size_t codes = static_cast<size_t>(layout.codes());
  for (size_t i = 0; i < codes; ++i)
    values[i] = numerics::E4M3ToFloat(Bytes(row)[i]) * numerics::E8M0ToFloat(scales[i / 64]);
  for (size_t i = codes; i < values.size(); ++i) {
    numerics::BF16 value;
    std::memcpy(&value.bits, row + codes + 2 * (i - codes), 2);
    values[i] = numerics::ToFloat(value);
  }
}

}  // namespace fathom::kernels
