// The rows that a sequence keeps, as bytes: latent rows (keys and values of attention) and index
// keys, in the formats the models were trained with. A row is one run of bytes, so that a gathered
// row costs as few cache lines as it can. Ref: model.md 9.1, 11.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "numerics/mode.h"

namespace fathom::kernels {

// What a row is, which decides how official mode rounds it (RoundForCache in compressor.h).
enum class RowKind {
  kLatent,  // FP8 in blocks of 64 over the non-rotary values
  kIndex,   // Hadamard rotation, then FP4 in blocks of 32 over all values
};

enum class RowFormat : uint8_t {
  kF32,     // dim floats: pure mode, and rows that no rounding has touched
  kLatent,  // dim - rotary E4M3 codes, rotary BF16 values, an E8M0 scale for each 64 codes, zeros
            // up to a multiple of 8 bytes: 584 for 512 values of which 64 are rotary
  kIndex,   // E2M1 codes, two to a byte, low nibble first, then an E8M0 scale for each 32: 68 for
            // 128 values
};

// How rows of `dim` values, an even number, lie in memory.
struct RowLayout {
  RowFormat format = RowFormat::kF32;
  int64_t dim = 0;
  int64_t rotary = 0;  // the last values of a latent row, which FP8 does not touch

  int64_t codes() const { return dim - rotary; }
  int64_t scales() const {
    return format == RowFormat::kLatent ? (codes() + 63) / 64 : (dim + 31) / 32;
  }
  // Where the scales lie.
  int64_t scale_offset() const {
    return format == RowFormat::kLatent ? codes() + 2 * rotary : dim / 2;
  }
  int64_t bytes() const {
    if (format == RowFormat::kF32) return 4 * dim;
    const int64_t end = scale_offset() + scales();
    return format == RowFormat::kLatent ? (end + 7) / 8 * 8 : end;
  }
  bool operator==(const RowLayout&) const = default;
};

// The format that holds rounded rows of that kind exactly.
RowLayout LayoutOf(RowKind kind, int64_t dim, int64_t rotary, numerics::Mode mode);

// Rows for reading: one after the other, or in pages of 2^page_shift rows, of which each begins
// `offset` bytes into its page. Kernels reach them through row() only.
struct CacheRows {
  const std::byte* data = nullptr;
  RowLayout layout;
  const std::byte* const* pages = nullptr;  // not null: instead of data
  int64_t offset = 0;
  int page_shift = 0;

  const std::byte* row(int64_t i) const {
    if (pages == nullptr) return data + i * layout.bytes();
    const int64_t in_page = i & ((int64_t{1} << page_shift) - 1);
    return pages[i >> page_shift] + offset + in_page * layout.bytes();
  }
  // The same rows in memory.
  bool IsSameAs(const CacheRows& other) const {
    return data == other.data && pages == other.pages && offset == other.offset;
  }
};

// Rows of plain floats, contiguous.
inline CacheRows FloatRows(const float* rows, int64_t dim) {
  return {reinterpret_cast<const std::byte*>(rows), {RowFormat::kF32, dim, 0}};
}

// Rows for writing, likewise.
struct MutableCacheRows {
  std::byte* data = nullptr;
  RowLayout layout;
  std::byte* const* pages = nullptr;
  int64_t offset = 0;
  int page_shift = 0;

  std::byte* row(int64_t i) const {
    return const_cast<std::byte*>(static_cast<CacheRows>(*this).row(i));  // it came without const
  }
  operator CacheRows() const {  // NOLINT: implicit, as a pointer converts
    return {data, layout, pages, offset, page_shift};
  }
};

// Rounds a normalised and rotated row as RoundForCache does and stores it. A packed format rounds
// always; kF32 as `mode` says. What DecodeRow then reads are the values that RoundForCache leaves,
// bit for bit (a NaN may change its payload). `row` is working memory afterwards.
void EncodeRow(std::span<float> row, RowKind kind, numerics::Mode mode, const RowLayout& layout,
               std::byte* out);

// The stored values. values.size() == layout.dim.
void DecodeRow(const RowLayout& layout, const std::byte* row, std::span<float> values);

}  // namespace fathom::kernels
