// One safetensors file, mapped: header parsed here (the published files use dtypes that common
// parsers refuse), every range checked against the file before anybody can read it. Knows no model.
// Format: 8-byte little-endian header length, JSON header (name -> dtype, shape, data_offsets
// relative to the end of the header, optional __metadata__), raw little-endian data. Ref:
// model.md 4.1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "tensor/view.h"

namespace fathom::checkpoint {

// Upper limit of a header, which bounds the memory that a hostile one can cost. V4-Pro with its
// 145,116 tensors in one file would need 17 MB.
inline constexpr int64_t kHeaderBytesMax = int64_t{64} << 20;

// Tensor name to its bytes, ordered by name. Views point into the bytes given to ParseSafetensors.
using TensorMap = std::map<std::string, tensor::RawView, std::less<>>;

struct SafetensorsContent {
  TensorMap tensors;
  std::map<std::string, std::string> metadata;  // __metadata__
};

// A foreign tensor name, escaped and cut so that it fits into one line of a message.
std::string Quoted(std::string_view name);

// Dimensions of a tensor. Published checkpoints use two at most.
inline constexpr int64_t kRankMax = 8;

// Accepts exactly: offsets inside the data section, length == product of shape * element size, no
// two tensors overlapping, no unknown dtype, unique names. Holes between tensors, empty tensors and
// scalars are fine. Errors name the tensor and the reason.
Result<SafetensorsContent> ParseSafetensors(std::span<const std::byte> file);

class SafetensorsFile {
 public:
  static Result<SafetensorsFile> Open(const std::string& path);
  const std::string& path() const { return file_.path(); }
  const TensorMap& tensors() const { return content_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return content_.metadata; }
  int64_t file_bytes() const { return static_cast<int64_t>(file_.bytes().size()); }
  // To bring the bytes in (load.h): the views stay valid, because the addresses stay.
  MappedFile& file() { return file_; }

 private:
  SafetensorsFile(MappedFile file, SafetensorsContent content)
      : file_(std::move(file)), content_(std::move(content)) {}
  MappedFile file_;
  SafetensorsContent content_;
};

// Writes a safetensors file tensor by tensor, so that a file larger than memory can be produced.
// Shapes are declared first (the header comes first in the file), data is appended in the declared
// order, in any number of pieces. The file appears under its name only on Finish; a writer
// destroyed before leaves nothing behind.
struct TensorDecl {
  std::string name;
  tensor::DType dtype;
  std::vector<int64_t> shape;
};
// Of the data. Shapes must be non-negative and their product representable, as those of a Config.
int64_t TensorBytes(const TensorDecl& decl);

class SafetensorsWriter {
 public:
  static Result<SafetensorsWriter> Create(const std::string& path, std::vector<TensorDecl> tensors,
                                          const std::map<std::string, std::string>& metadata = {});
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) = delete;
  ~SafetensorsWriter();

  // The next bytes of the file's data section. Fails when the disk does; more than declared is a
  // CHECK.
  Result<void> Append(std::span<const std::byte> bytes);
  // Every declared byte must have been appended. A large file is on the disk then, and no longer in
  // the system's file cache.
  Result<void> Finish();

 private:
  struct State;
  explicit SafetensorsWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;  // null once finished
};

}  // namespace fathom::checkpoint
