// The safetensors reader. A header is foreign text: it is parsed strictly, and every number in it
// is checked against the file before a view is made. Writing is safetensors_writer.cc.
#include "checkpoint/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/json.h"

namespace fathom::checkpoint {
namespace {

using tensor::DType;
using tensor::RawView;

constexpr int64_t kLengthBytes = 8;

// At most this much of a foreign text appears in a message.
constexpr size_t kQuotedBytesMax = 120;

std::string Clip(std::string text) {
  if (text.size() <= kQuotedBytesMax) return text;
  size_t end = kQuotedBytesMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

// A non-negative integer in plain digits, or nothing.
std::optional<int64_t> ParseCount(const Json& json) {
  if (!json.is_number()) return std::nullopt;
  const std::string& text = json.number().text;
  int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size() || text[0] == '-')
    return std::nullopt;
  return value;
}

Result<DType> ParseDTypeOf(const Json& entry) {
  const Json* name = entry.Find("dtype");
  if (name == nullptr) return Error{"missing \"dtype\""};
  if (!name->is_string())
    return Error{fmt::format("dtype: expected a string, found {}", name->KindName())};
  const std::optional<DType> dtype = tensor::ParseDType(name->string());
  if (!dtype) return Error{fmt::format("unknown dtype \"{}\"", Quoted(name->string()))};
  return *dtype;
}

// An array of at most `count_max` non-negative integers.
Result<std::vector<int64_t>> ParseCounts(const Json& entry, std::string_view name,
                                         int64_t count_max) {
  const Json* array = entry.Find(name);
  if (array == nullptr) return Error{fmt::format("missing \"{}\"", name)};
  if (!array->is_array())
    return Error{fmt::format("{}: expected an array, found {}", name, array->KindName())};
  if (std::ssize(array->array()) > count_max) {
    return Error{fmt::format("{}: expected at most {} entries, found {}", name, count_max,
                             array->array().size())};
  }
  std::vector<int64_t> counts;
  for (const Json& item : array->array()) {
    const std::optional<int64_t> count = ParseCount(item);
    if (!count) {
      return Error{fmt::format("{}: expected non-negative 64-bit integers, found {}", name,
                               item.is_number() ? Clip(item.number().text) : item.KindName())};
    }
    counts.push_back(*count);
  }
  return counts;
}

// Bytes of a tensor. Empty dimensions count as one here: no product of a prefix may overflow
// either, so that whoever multiplies a shape in any order is safe.
Result<int64_t> BytesOf(DType dtype, const std::vector<int64_t>& shape) {
  int64_t bytes = tensor::ElementBytes(dtype);
  bool is_empty = false;
  for (const int64_t size : shape) {
    is_empty |= size == 0;
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes))
      return Error{fmt::format("shape [{}] is too large", fmt::join(shape, ","))};
  }
  return is_empty ? 0 : bytes;
}

Result<RawView> ParseTensor(const Json& entry, std::span<const std::byte> data) {
  if (!entry.is_object())
    return Error{fmt::format("expected an object, found {}", entry.KindName())};
  RawView view;
  FATHOM_TRY(view.dtype, ParseDTypeOf(entry));
  FATHOM_TRY(view.shape, ParseCounts(entry, "shape", kRankMax));
  FATHOM_TRY(const std::vector<int64_t> offsets, ParseCounts(entry, "data_offsets", 2));
  if (offsets.size() != 2) {
    return Error{
        fmt::format("data_offsets: expected begin and end, found {} numbers", offsets.size())};
  }
  const int64_t begin = offsets[0];
  const int64_t end = offsets[1];
  if (begin > end) return Error{fmt::format("data_offsets: begin {} is after end {}", begin, end)};
  if (end > std::ssize(data)) {
    return Error{fmt::format("data_offsets: end {} is past the {} bytes of data in the file", end,
                             data.size())};
  }
  FATHOM_TRY(const int64_t bytes, BytesOf(view.dtype, view.shape));
  if (end - begin != bytes) {
    return Error{fmt::format("{} [{}] has {} bytes, but data_offsets give it {}",
                             tensor::Name(view.dtype), fmt::join(view.shape, ","), bytes,
                             end - begin)};
  }
  view.bytes = data.subspan(static_cast<size_t>(begin), static_cast<size_t>(bytes));
  return view;
}

Result<std::map<std::string, std::string>> ParseMetadata(const Json& json) {
  if (!json.is_object()) return Error{fmt::format("expected an object, found {}", json.KindName())};
  std::map<std::string, std::string> metadata;
  for (const auto& [name, value] : json.object()) {
    if (!value.is_string()) {
      return Error{fmt::format("{}: expected a string, found {}", Quoted(name), value.KindName())};
    }
    metadata.emplace(name, value.string());
  }
  return metadata;
}

Result<void> CheckOverlaps(const TensorMap& tensors) {
  std::vector<const TensorMap::value_type*> by_place;
  for (const auto& tensor : tensors)
    if (!tensor.second.bytes.empty()) by_place.push_back(&tensor);
  std::sort(by_place.begin(), by_place.end(), [](const auto* a, const auto* b) {
    return a->second.bytes.data() < b->second.bytes.data();
  });
  for (size_t i = 1; i < by_place.size(); ++i) {
    const auto& [before_name, before] = *by_place[i - 1];
    const auto& [name, view] = *by_place[i];
    if (before.bytes.data() + before.bytes.size() > view.bytes.data())
      return Error{fmt::format("{} overlaps {}", Quoted(name), Quoted(before_name))};
  }
  return {};
}

// The header's text; `data` becomes what follows it.
Result<std::string_view> SplitHeader(std::span<const std::byte> file,
                                     std::span<const std::byte>& data) {
  if (std::ssize(file) < kLengthBytes) {
    return Error{fmt::format("expected an {}-byte header length, found a file of {} bytes",
                             kLengthBytes, file.size())};
  }
  uint64_t header_bytes = 0;
  for (int64_t i = kLengthBytes - 1; i >= 0; --i)
    header_bytes = header_bytes << 8 | static_cast<uint64_t>(file[static_cast<size_t>(i)]);
  const std::span<const std::byte> rest = file.subspan(kLengthBytes);
  if (header_bytes > rest.size()) {
    return Error{fmt::format("header of {} bytes runs past the end of the file ({} bytes)",
                             header_bytes, file.size())};
  }
  if (header_bytes > static_cast<uint64_t>(kHeaderBytesMax)) {
    return Error{fmt::format("expected a header of at most {} bytes, found {}", kHeaderBytesMax,
                             header_bytes)};
  }
  data = rest.subspan(header_bytes);
  return std::string_view(reinterpret_cast<const char*>(rest.data()), header_bytes);
}

}  // namespace

std::string Quoted(std::string_view name) {
  std::string out;
  AppendJsonEscaped(out, name);
  return Clip(std::move(out));
}

Result<SafetensorsContent> ParseSafetensors(std::span<const std::byte> file) {
  std::span<const std::byte> data;
  FATHOM_TRY(const std::string_view text, SplitHeader(file, data));
  auto header = ParseJson(text, RepeatedNames::kRefuse);
  if (!header.ok()) return std::move(header).error().In("header");
  if (!header.value().is_object())
    return Error{fmt::format("header: expected an object, found {}", header.value().KindName())};
  SafetensorsContent content;
  for (const auto& [name, entry] : header.value().object()) {
    if (name == "__metadata__") {
      auto metadata = ParseMetadata(entry);
      if (!metadata.ok()) return std::move(metadata).error().In("__metadata__");
      content.metadata = std::move(metadata).value();
      continue;
    }
    auto view = ParseTensor(entry, data);
    if (!view.ok()) return std::move(view).error().In(Quoted(name));
    content.tensors.emplace(name, std::move(view).value());
  }
  FATHOM_TRY_VOID(CheckOverlaps(content.tensors));
  return content;
}

Result<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  FATHOM_TRY(MappedFile file, MappedFile::Open(path));
  auto content = ParseSafetensors(file.bytes());
  if (!content.ok()) return std::move(content).error().In(path);
  return SafetensorsFile(std::move(file), std::move(content).value());
}

}  // namespace fathom::checkpoint
