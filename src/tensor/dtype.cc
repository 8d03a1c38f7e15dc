#include "tensor/dtype.h"

#include <array>

namespace fathom::tensor {
namespace {

struct Row {
  DType dtype;
  std::string_view name;
  int64_t bytes;
};
constexpr std::array<Row, 12> kRows = {{{DType::kF32, "F32", 4},
                                        {DType::kBF16, "BF16", 2},
                                        {DType::kF16, "F16", 2},
                                        {DType::kF64, "F64", 8},
                                        {DType::kF8E4M3, "F8_E4M3", 1},
                                        {DType::kF8E8M0, "F8_E8M0", 1},
                                        {DType::kI8, "I8", 1},
                                        {DType::kU8, "U8", 1},
                                        {DType::kI16, "I16", 2},
                                        {DType::kI32, "I32", 4},
                                        {DType::kI64, "I64", 8},
                                        {DType::kBool, "BOOL", 1}}};

const Row& RowOf(DType dtype) { return kRows[static_cast<size_t>(dtype)]; }

}  // namespace

int64_t ElementBytes(DType dtype) { return RowOf(dtype).bytes; }
std::string_view Name(DType dtype) { return RowOf(dtype).name; }
std::optional<DType> ParseDType(std::string_view name) {
  for (const Row& row : kRows)
    if (row.name == name) return row.dtype;
  return std::nullopt;
}

}  // namespace fathom::tensor
