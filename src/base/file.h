// Files: whole small ones, and large ones mapped read-only or copied into memory. Paths appear in
// every error message.
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

// A whole file, read-only in memory. At first it is a mapping: bytes come in from the disk when
// they are touched, and the file must not shrink (a read past a new end is a bus error, as for
// every program that maps files). Movable; views into it live as long as it does.
//
// Large files are worked on in pieces, by several threads if need be: different pieces at once, but
// only one thread each.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  static constexpr int64_t kPieceBytes = int64_t{32} << 20;
  int64_t pieces() const;
  int64_t piece_bytes(int64_t piece) const;

  // Whether the system holds the piece in memory already. False also where it does not tell, which
  // is so for files that the process neither owns nor may write. Touches nothing.
  bool IsResident(int64_t piece) const;
  // Reads the piece into the system's file cache, in large pages where it can, and maps it; returns
  // when it is there. Best effort: what goes wrong shows when the bytes are touched.
  void ReadAhead(int64_t piece) const;

  enum class Pages { kPageable, kLocked };
  // Puts empty memory (large pages) in place of the mapping, at the same address. Every piece must
  // then be filled from the file before the bytes are read, and MakeReadOnly ends that. Errors: the
  // system has no such memory, or does not let us lock it.
  Result<void> MakePrivate(Pages pages);
  Result<void> Fill(int64_t piece);
  void MakeReadOnly();

 private:
  MappedFile(std::string path, int fd, std::byte* data, size_t size)
      : path_(std::move(path)), fd_(fd), data_(data), size_(size) {}

  std::string path_;
  int fd_ = -1;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace fathom
