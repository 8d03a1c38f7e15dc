#include "verify/recorded.h"

#include <fmt/format.h>

#include <cstring>

#include "numerics/formats.h"

namespace fathom::verify {
namespace {

using tensor::DType;

bool Matches(const std::vector<int64_t>& found, const std::vector<int64_t>& expected) {
  if (found.size() != expected.size()) return false;
  for (size_t i = 0; i < found.size(); ++i)
    if (expected[i] != kAny && expected[i] != found[i]) return false;
  return true;
}

std::string Shown(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t n : shape) {
    if (text.size() > 1) text += ",";
    text += n == kAny ? "any" : std::to_string(n);
  }
  return text + "]";
}

template <typename T>
T Load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

}  // namespace

FloatTable MakeTable(int64_t rows, int64_t cols) {
  return {{rows, cols}, std::vector<float>(static_cast<size_t>(rows * cols))};
}

Result<Recorded> Recorded::Open(const std::string& path) {
  FATHOM_TRY(checkpoint::SafetensorsFile file, checkpoint::SafetensorsFile::Open(path));
  return Recorded(std::move(file));
}

bool Recorded::Has(std::string_view name) const { return file_.tensors().contains(name); }

bool Recorded::HasAll(std::initializer_list<std::string> names) const {
  for (const std::string& name : names)
    if (!Has(name)) return false;
  return true;
}

Result<tensor::RawView> Recorded::Find(std::string_view name, const std::vector<int64_t>& shape) {
  const auto found = file_.tensors().find(name);
  if (found == file_.tensors().end())
    return Error{fmt::format("{}: tensor {} is missing", path(), name)};
  read_.emplace(name);
  if (!Matches(found->second.shape, shape))
    return Error{fmt::format("{}: {}: expected shape {}, found {}", path(), name, Shown(shape),
                             Shown(found->second.shape))};
  return found->second;
}

Result<FloatTable> Recorded::Floats(std::string_view name, std::vector<int64_t> shape) {
  FATHOM_TRY(const tensor::RawView raw, Find(name, shape));
  FloatTable table{raw.shape, std::vector<float>(static_cast<size_t>(raw.elements()))};
  for (size_t i = 0; i < table.values.size(); ++i) {
    if (raw.dtype == DType::kF32) {
      table.values[i] = Load<float>(raw.bytes.data() + 4 * i);
    } else if (raw.dtype == DType::kBF16) {
      table.values[i] = numerics::ToFloat(Load<numerics::BF16>(raw.bytes.data() + 2 * i));
    } else {
      return Error{fmt::format("{}: {}: expected F32 or BF16, found {}", path(), name,
                               tensor::Name(raw.dtype))};
    }
  }
  return table;
}

Result<IntTable> Recorded::Ints(std::string_view name, std::vector<int64_t> shape) {
  FATHOM_TRY(const tensor::RawView raw, Find(name, shape));
  IntTable table{raw.shape, std::vector<int64_t>(static_cast<size_t>(raw.elements()))};
  for (size_t i = 0; i < table.values.size(); ++i) {
    switch (raw.dtype) {
      case DType::kI32:
        table.values[i] = Load<int32_t>(raw.bytes.data() + 4 * i);
        break;
      case DType::kI64:
        table.values[i] = Load<int64_t>(raw.bytes.data() + 8 * i);
        break;
      case DType::kU8:
      case DType::kF8E8M0:
      case DType::kF8E4M3:
        table.values[i] = Load<uint8_t>(raw.bytes.data() + i);
        break;
      default:
        return Error{fmt::format("{}: {}: expected integers, found {}", path(), name,
                                 tensor::Name(raw.dtype))};
    }
  }
  return table;
}

Result<tensor::RawView> Recorded::Raw(std::string_view name, DType dtype,
                                      std::vector<int64_t> shape) {
  FATHOM_TRY(tensor::RawView raw, Find(name, shape));
  if (raw.dtype != dtype)
    return Error{fmt::format("{}: {}: expected {}, found {}", path(), name, tensor::Name(dtype),
                             tensor::Name(raw.dtype))};
  return raw;
}

std::vector<std::string> Recorded::Unread() const {
  std::vector<std::string> names;
  for (const auto& [name, raw] : file_.tensors())
    if (!read_.contains(name)) names.push_back(name);
  return names;
}

Result<std::vector<TokenId>> ReadTokens(Recorded& recorded, std::string_view name, int64_t vocab) {
  FATHOM_TRY(const IntTable table, recorded.Ints(name, {kAny}));
  std::vector<TokenId> tokens;
  for (const int64_t id : table.values) {
    if (id < 0 || id >= vocab)
      return Error{fmt::format("{}: {}: expected ids in [0, {}), found {}", recorded.path(), name,
                               vocab, id)};
    tokens.push_back(static_cast<TokenId>(id));
  }
  if (tokens.empty())
    return Error{fmt::format("{}: {}: expected at least one id", recorded.path(), name)};
  return tokens;
}

Result<std::vector<int64_t>> ReadPositions(Recorded& recorded, std::string_view name, int64_t end) {
  FATHOM_TRY(const IntTable table, recorded.Ints(name, {kAny}));
  int64_t last = -1;
  for (const int64_t p : table.values) {
    if (p <= last || p >= end)
      return Error{fmt::format("{}: {}: expected ascending positions below {}, found {} after {}",
                               recorded.path(), name, end, p, last)};
    last = p;
  }
  return table.values;
}

}  // namespace fathom::verify
