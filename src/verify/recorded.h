// The tensors of one recorded file, widened to float or int64 and checked for their shape.
// Remembers which ones were asked for, so that a table nobody reads can be reported.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "checkpoint/safetensors.h"
#include "tensor/view.h"

namespace fathom::verify {

using tensor::MatrixView;

template <typename T>
struct Table {
  std::vector<int64_t> shape;  // at least one dimension
  std::vector<T> values;

  int64_t rows() const { return shape[0]; }
  // Values per row: the product of the other dimensions.
  int64_t cols() const { return shape[0] == 0 ? 0 : std::ssize(values) / shape[0]; }
  MatrixView<const T> view() const { return {values.data(), rows(), cols()}; }
  MatrixView<T> view() { return {values.data(), rows(), cols()}; }
};
using FloatTable = Table<float>;
using IntTable = Table<int64_t>;

// Zeros.
FloatTable MakeTable(int64_t rows, int64_t cols);

// A dimension that may be anything.
inline constexpr int64_t kAny = -1;

class Recorded {
 public:
  static Result<Recorded> Open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  bool Has(std::string_view name) const;
  // All of `names` are there.
  bool HasAll(std::initializer_list<std::string> names) const;

  // F32 and BF16, widened. `shape` is what is expected; fails with one line otherwise.
  Result<FloatTable> Floats(std::string_view name, std::vector<int64_t> shape);
  // I32, I64, U8, F8_E8M0 and F8_E4M3 codes.
  Result<IntTable> Ints(std::string_view name, std::vector<int64_t> shape);
  // The stored bytes.
  Result<tensor::RawView> Raw(std::string_view name, tensor::DType dtype,
                              std::vector<int64_t> shape);

  const checkpoint::TensorMap& tensors() const { return file_.tensors(); }
  // Names that no call above has asked for.
  std::vector<std::string> Unread() const;

 private:
  explicit Recorded(checkpoint::SafetensorsFile file) : file_(std::move(file)) {}
  Result<tensor::RawView> Find(std::string_view name, const std::vector<int64_t>& shape);

  checkpoint::SafetensorsFile file_;
  std::set<std::string, std::less<>> read_;
};

// A [n] list of token ids, each in [0, vocab).
Result<std::vector<TokenId>> ReadTokens(Recorded& recorded, std::string_view name, int64_t vocab);
// A [n] list of positions, ascending, each in [0, end).
Result<std::vector<int64_t>> ReadPositions(Recorded& recorded, std::string_view name, int64_t end);

}  // namespace fathom::verify
