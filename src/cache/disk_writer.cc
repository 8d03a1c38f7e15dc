#include "cache/disk_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "cache/disk_segment.h"

namespace fathom::cache {

Result<FolderLock> FolderLock::Take(const std::string& dir) {
  const std::string path = dir + "/" + kLockName;
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Error{fmt::format("{}: {}", path, ::strerror(errno))};
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const bool is_taken = errno == EWOULDBLOCK;
    const Error error{
        fmt::format("{}: {}", path, is_taken ? "held by another server" : ::strerror(errno))};
    ::close(fd);
    return error;
  }
  return FolderLock(fd);
}

FolderLock::FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

DiskWriter::DiskWriter(Options options, FolderLock lock)
    : options_(std::move(options)), lock_(std::move(lock)), next_segment_(options_.next_segment) {}

DiskWriter::~DiskWriter() { (void)Close(); }

Error DiskWriter::SystemError(const char* what) const {
  return {
      fmt::format("{}/{}: {}: {}", options_.dir, SegmentName(segment_), what, ::strerror(errno))};
}

Result<DiskWriter::Target> DiskWriter::Prepare(int64_t record_bytes) {
  if (fd_ >= 0 && at_ > 0 && at_ + record_bytes > options_.segment_bytes) {
    FATHOM_TRY_VOID(Close());
  }
  if (fd_ >= 0) return Target{segment_, false};
  segment_ = next_segment_++;
  at_ = 0;
  const std::string path = options_.dir + "/" + SegmentName(segment_);
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd_ < 0) return SystemError("cannot be made");
  if (options_.fsync) {
    // The name must survive as well as the bytes.
    const int folder = ::open(options_.dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
      (void)::fsync(folder);
      ::close(folder);
    }
  }
  return Target{segment_, true};
}

Result<void> DiskWriter::Write(std::span<const std::byte> bytes, int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return SystemError("cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += written;
  }
  return {};
}

Result<Place> DiskWriter::Append(const RecordHeader& header, std::span<const std::byte> payload) {
  const HeaderBytes bytes = EncodeHeader(header);
  const std::array<std::byte, kRecordAlignment> zeros{};
  const int64_t end = at_ + RecordBytes(std::ssize(payload));
  const int64_t payload_at = at_ + kRecordHeaderBytes;
  const int64_t payload_end = payload_at + std::ssize(payload);
  Result<void> done = Write(bytes, at_);
  if (done.ok()) done = Write(payload, payload_at);
  if (done.ok()) {
    done = Write(std::span(zeros).first(static_cast<size_t>(end - payload_end)), payload_end);
  }
  if (done.ok() && options_.fsync && ::fdatasync(fd_) != 0) {
    done = SystemError("cannot be brought to the disk");
  }
  if (!done.ok()) {
    // A torn record would be skipped, but so it does not even cost its place.
    [[maybe_unused]] const int ignored = ::ftruncate(fd_, at_);
    return std::move(done).error();
  }
  return Place{segment_, std::exchange(at_, end)};
}

Result<void> DiskWriter::Close() {
  if (fd_ < 0) return {};
  const bool is_safe = ::fdatasync(fd_) == 0;
  Result<void> result;
  if (!is_safe) result = SystemError("cannot be brought to the disk");
  ::close(std::exchange(fd_, -1));
  at_ = 0;
  return result;
}

Result<void> DiskWriter::Delete(int64_t segment) {
  if (segment == segment_ && fd_ >= 0) {
    ::close(std::exchange(fd_, -1));
    at_ = 0;
  }
  const std::string path = options_.dir + "/" + SegmentName(segment);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return Error{fmt::format("{}: cannot be deleted: {}", path, ::strerror(errno))};
  }
  return {};
}

}  // namespace fathom::cache
