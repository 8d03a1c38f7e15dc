// Element types as safetensors spells them. There is none for FP4: published files store it packed,
// as I8 with half the columns (model.md 4.2); what a weight matrix holds is tensor::Format
// (view.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fathom::tensor {

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
