// One segment file of the disk tier for reading: its name, the records in it, their payloads.
// Everything in a file may be damage; what is handed out has been checked. Which of the records are
// wanted is for disk_store.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/result.h"
#include "cache/disk_format.h"

namespace fathom::cache {

inline constexpr std::string_view kSegmentSuffix = ".fathom-cache";
// 7 -> "00000007.fathom-cache", and back; nothing for other names.
std::string SegmentName(int64_t number);
std::optional<int64_t> SegmentNumber(std::string_view name);
// The numbers of the segments in a folder, ascending. Errors: a folder that cannot be read.
Result<std::vector<int64_t>> ListSegments(const std::string& dir);

// Seconds since 1970.
double NowSeconds();

// A stretch of a file that holds no sound record.
struct Damage {
  int64_t offset = 0, bytes = 0;
  std::string what;
};

class SegmentFile {
 public:
  static Result<SegmentFile> Open(const std::string& path);
  SegmentFile(SegmentFile&& other) noexcept;
  SegmentFile& operator=(SegmentFile&& other) noexcept;
  ~SegmentFile();

  int64_t bytes() const { return bytes_; }
  double changed_s() const { return changed_s_; }

  // Calls `on_record` with each record whose header is sound and whose payload lies in the file,
  // `on_damage` with what is between them. Payloads are not read.
  void Scan(FunctionRef<void(int64_t offset, const RecordHeader& header)> on_record,
            FunctionRef<void(const Damage&)> on_damage) const;
  // The header at that offset; nothing when it is not sound.
  std::optional<RecordHeader> ReadHeader(int64_t offset) const;
  // The payload of the record at `offset` into `payload`, whose size must be its own. False: it
  // cannot be read, or its checksum is wrong.
  bool ReadPayload(int64_t offset, const RecordHeader& header, std::span<std::byte> payload) const;
  // Whether the payload is as it was written, in small pieces.
  bool CheckPayload(int64_t offset, const RecordHeader& header) const;
  // Sets the time of the last change to now, as far as the system lets us.
  void MarkUsed() const;

 private:
  SegmentFile(int fd, int64_t bytes, double changed_s)
      : fd_(fd), bytes_(bytes), changed_s_(changed_s) {}
  bool ReadAt(int64_t offset, std::span<std::byte> bytes) const;
  // The first multiple of the alignment from `offset` on with a magic, or the end of the file.
  int64_t FindMagic(int64_t offset) const;

  int fd_ = -1;
  int64_t bytes_ = 0;
  double changed_s_ = 0;
};

}  // namespace fathom::cache
