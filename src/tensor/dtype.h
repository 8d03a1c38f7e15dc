// Element types as safetensors spells them. Widths are in bits because FP4 is stored two to a byte.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fathom::tensor {

// kFp4 never appears in a header: published files store packed FP4 as I8 with half the columns
// (model.md 4.2), and the binder renames it once it knows.
enum class DType : uint8_t {
  kF32,
  kBF16,
  kF16,
  kF64,
  kF8E4M3,
  kF8E8M0,
  kI8,
  kU8,
  kI16,
  kI32,
  kI64,
  kBool
};

// Bytes of one element.
int64_t ElementBytes(DType dtype);
// "BF16", "F8_E4M3", ...: the safetensors spelling.
std::string_view Name(DType dtype);
std::optional<DType> ParseDType(std::string_view name);

}  // namespace fathom::tensor
