// The one who writes a folder of segments: holds its lock, appends records, closes segments. Which
// records, and when, is for disk_store.h. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "cache/disk_format.h"
#include "cache/disk_index.h"

namespace fathom::cache {

inline constexpr const char* kLockName = "lock";

// Holds `dir`/lock for itself as long as it lives; the system lets go of it when the process ends.
class FolderLock {
 public:
  // Errors: another process holds it, or the folder cannot be written.
  static Result<FolderLock> Take(const std::string& dir);
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

class DiskWriter {
 public:
  struct Options {
    std::string dir;
    int64_t segment_bytes = 0;  // a segment that would grow beyond that is closed first
    bool fsync = false;         // after each record
    int64_t next_segment = 0;   // numbers from here on are free
  };
  DiskWriter(Options options, FolderLock lock);
  ~DiskWriter();

  // The segment that a record of so many bytes will go to, which begins it if need be. Errors: the
  // system's.
  struct Target {
    int64_t segment = 0;
    bool is_new = false;
  };
  Result<Target> Prepare(int64_t record_bytes);
  // Appends to the prepared segment. After an error the segment ends where it did before, as far as
  // the system lets us, and nothing more may be appended.
  Result<Place> Append(const RecordHeader& header, std::span<const std::byte> payload);
  // The segment that is being written, -1 without one.
  int64_t open_segment() const { return fd_ >= 0 ? segment_ : -1; }
  // Brings the open segment to the disk and ends it.
  Result<void> Close();
  // Deletes a segment, the open one included.
  Result<void> Delete(int64_t segment);

 private:
  Result<void> Write(std::span<const std::byte> bytes, int64_t offset);
  Error SystemError(const char* what) const;

  const Options options_;
  const FolderLock lock_;
  int64_t next_segment_ = 0;
  int64_t segment_ = -1;  // the open one
  int fd_ = -1;
  int64_t at_ = 0;
};

}  // namespace fathom::cache
