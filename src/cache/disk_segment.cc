#include "cache/disk_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "base/check.h"

namespace fathom::cache {

std::string SegmentName(int64_t number) { return fmt::format("{:08}{}", number, kSegmentSuffix); }

std::optional<int64_t> SegmentNumber(std::string_view name) {
  if (!name.ends_with(kSegmentSuffix)) return std::nullopt;
  const std::string_view digits = name.substr(0, name.size() - kSegmentSuffix.size());
  int64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, number);
  // Room above, so that the next number never overflows.
  if (error != std::errc() || stop != end || number < 0 || number >= (int64_t{1} << 60)) {
    return std::nullopt;
  }
  if (SegmentName(number) != name) return std::nullopt;
  return number;
}

Result<std::vector<int64_t>> ListSegments(const std::string& dir) {
  DIR* const folder = ::opendir(dir.c_str());
  if (folder == nullptr) {
    return Error{fmt::format("{}: expected a readable folder, found: {}", dir, ::strerror(errno))};
  }
  std::vector<int64_t> numbers;
  while (const dirent* entry = ::readdir(folder)) {
    if (const auto number = SegmentNumber(entry->d_name)) numbers.push_back(*number);
  }
  ::closedir(folder);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Result<SegmentFile> SegmentFile::Open(const std::string& path) {
  // Not blocking, for a pipe with a segment's name.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return Error{fmt::format("{}: {}", path, ::strerror(errno))};
  struct stat status = {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    return Error{fmt::format("{}: expected a regular file", path)};
  }
  return SegmentFile(fd, status.st_size,
                     static_cast<double>(status.st_mtim.tv_sec) +
                         static_cast<double>(status.st_mtim.tv_nsec) * 1e-9);
}

SegmentFile::SegmentFile(SegmentFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), bytes_(other.bytes_), changed_s_(other.changed_s_) {}

SegmentFile& SegmentFile::operator=(SegmentFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  bytes_ = other.bytes_;
  changed_s_ = other.changed_s_;
  return *this;
}

SegmentFile::~SegmentFile() {
  if (fd_ >= 0) ::close(fd_);
}

void SegmentFile::MarkUsed() const { (void)::futimens(fd_, nullptr); }

bool SegmentFile::ReadAt(int64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t read = ::pread(fd_, bytes.data(), bytes.size(), offset);
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(read));
    offset += read;
  }
  return true;
}

int64_t SegmentFile::FindMagic(int64_t offset) const {
  constexpr int64_t kPiece = int64_t{1} << 18;
  std::vector<std::byte> piece;
  for (; offset < bytes_; offset += kPiece) {
    piece.resize(static_cast<size_t>(std::min(kPiece, bytes_ - offset)));
    if (!ReadAt(offset, piece)) continue;
    for (int64_t at = 0; at < std::ssize(piece); at += kRecordAlignment) {
      if (HasMagic(std::span(piece).subspan(static_cast<size_t>(at)))) return offset + at;
    }
  }
  return bytes_;
}

void SegmentFile::Scan(FunctionRef<void(int64_t, const RecordHeader&)> on_record,
                       FunctionRef<void(const Damage&)> on_damage) const {
  int64_t offset = 0;
  while (offset < bytes_) {
    HeaderBytes bytes;
    HeaderOrProblem found;
    if (bytes_ - offset < kRecordHeaderBytes) {
      found.problem = "a header that ends with the file";
    } else if (!ReadAt(offset, bytes)) {
      found.problem = "a header that cannot be read";
    } else {
      found = ParseHeader(bytes);
    }
    if (found.header.has_value()) {
      const int64_t record_bytes = RecordBytes(found.header->payload_bytes);
      if (record_bytes <= bytes_ - offset) {
        on_record(offset, *found.header);
        offset += record_bytes;
        continue;
      }
      found.problem = "a record that runs past the end of the file";
    }
    const int64_t next = FindMagic(offset + kRecordAlignment);
    on_damage({offset, next - offset, std::move(found.problem)});
    offset = next;
  }
}

std::optional<RecordHeader> SegmentFile::ReadHeader(int64_t offset) const {
  HeaderBytes bytes;
  if (!ReadAt(offset, bytes)) return std::nullopt;
  return ParseHeader(bytes).header;
}

bool SegmentFile::ReadPayload(int64_t offset, const RecordHeader& header,
                              std::span<std::byte> payload) const {
  FATHOM_CHECK_EQ(std::ssize(payload), header.payload_bytes);
  return ReadAt(offset + kRecordHeaderBytes, payload) &&
         Checksum(payload) == header.payload_checksum;
}

bool SegmentFile::CheckPayload(int64_t offset, const RecordHeader& header) const {
  constexpr int64_t kPiece = int64_t{1} << 20;
  Hasher hasher;
  std::vector<std::byte> piece;
  for (int64_t done = 0; done < header.payload_bytes; done += kPiece) {
    piece.resize(static_cast<size_t>(std::min(kPiece, header.payload_bytes - done)));
    if (!ReadAt(offset + kRecordHeaderBytes + done, piece)) return false;
    hasher.Add(piece);
  }
  return hasher.Value() == header.payload_checksum;
}

}  // namespace fathom::cache
