// Files: whole small ones, and large ones mapped read-only. Paths appear in every error message.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fathom {

// The whole file as bytes. `limit_bytes` guards against being handed something huge by mistake.
Result<std::string> ReadFile(const std::string& path, int64_t limit_bytes = int64_t{1} << 31);

// Writes through a temporary file beside `path` and renames it, so that a reader sees all or
// nothing.
Result<void> WriteFile(const std::string& path, std::string_view bytes);

bool FileExists(const std::string& path);

// A read-only mapping of a whole file. Movable; views into it live as long as it does. The file
// must not shrink while mapped (a read past a new end is a bus error, as for every program that
// maps files).
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  MappedFile(std::string path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace fathom
