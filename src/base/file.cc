#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"

namespace fathom {
namespace {

Error SystemError(const std::string& path, const char* action) {
  return Error{fmt::format("{}: cannot {}: {}", path, action, std::strerror(errno))};
}

// Closes the descriptor when a function returns, on every path.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

Result<int64_t> RegularFileBytes(const std::string& path, int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return SystemError(path, "stat");
  if (!S_ISREG(info.st_mode)) return Error{path + ": expected a regular file"};
  return static_cast<int64_t>(info.st_size);
}

// Address space that begins at a large page, so that whole ones can be mapped into it; null: none.
std::byte* ReserveAligned(size_t bytes) {
  constexpr size_t kLargePage = size_t{2} << 20;
  void* reserved = ::mmap(nullptr, bytes + kLargePage, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(reserved);
  const size_t before = -reinterpret_cast<uintptr_t>(begin) % kLargePage;
  if (before > 0) ::munmap(begin, before);
  // The rest goes back from the first page on that the area does not reach.
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t used = before + (bytes + page - 1) / page * page;
  if (used < bytes + kLargePage) ::munmap(begin + used, bytes + kLargePage - used);
  return begin + before;
}

}  // namespace

Result<std::string> ReadFile(const std::string& path, int64_t limit_bytes) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return SystemError(path, "open");
  std::string out;
  // Read to the end instead of trusting the size: pipes and /proc files have none.
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(file.fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError(path, "read");
    if (n == 0) return out;
    if (static_cast<int64_t>(out.size()) + n > limit_bytes)
      return Error{fmt::format("{}: expected at most {} bytes, found more", path, limit_bytes)};
    out.append(buffer, static_cast<size_t>(n));
  }
}

Result<void> WriteFile(const std::string& path, std::string_view bytes) {
  const std::string temporary = fmt::format("{}.tmp{}", path, ::getpid());
  {
    const Descriptor file{
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (file.fd < 0) return SystemError(temporary, "create");
    while (!bytes.empty()) {
      const ssize_t n = ::write(file.fd, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        Error error = SystemError(temporary, "write");
        ::unlink(temporary.c_str());
        return error;
      }
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    Error error = SystemError(path, "rename into place");
    ::unlink(temporary.c_str());
    return error;
  }
  return {};
}

bool FileExists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<MappedFile> MappedFile::Open(const std::string& path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return SystemError(path, "open");
  FATHOM_TRY(const int64_t size, RegularFileBytes(path, file.fd));
  MappedFile mapped(path, std::exchange(file.fd, -1), nullptr, static_cast<size_t>(size));
  if (size == 0) return mapped;
  std::byte* place = ReserveAligned(mapped.size_);
  if (place == nullptr) return SystemError(path, "map");
  void* data = ::mmap(place, mapped.size_, PROT_READ, MAP_SHARED | MAP_FIXED, mapped.fd_, 0);
  if (data == MAP_FAILED) {
    Error error = SystemError(path, "map");
    ::munmap(place, mapped.size_);
    return error;
  }
  mapped.data_ = place;
  // File systems that keep large pages then read and map whole ones. Best effort.
  (void)::madvise(place, mapped.size_, MADV_HUGEPAGE);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
  if (fd_ >= 0) ::close(fd_);
}

int64_t MappedFile::pieces() const {
  return (static_cast<int64_t>(size_) + kPieceBytes - 1) / kPieceBytes;
}

int64_t MappedFile::piece_bytes(int64_t piece) const {
  FATHOM_CHECK(piece >= 0 && piece < pieces(), std::to_string(piece));
  return std::min(kPieceBytes, static_cast<int64_t>(size_) - piece * kPieceBytes);
}

bool MappedFile::IsResident(int64_t piece) const {
  // mincore calls everything resident in files whose use by others is none of our business.
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return false;
  const bool may_know =
      info.st_uid == ::geteuid() || ::faccessat(AT_FDCWD, path_.c_str(), W_OK, AT_EACCESS) == 0;
  if (!may_know) return false;
  const auto bytes = static_cast<size_t>(piece_bytes(piece));
  const auto page_bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((bytes + page_bytes - 1) / page_bytes);
  if (::mincore(data_ + piece * kPieceBytes, bytes, pages.data()) != 0) return false;
  return std::all_of(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; });
}

void MappedFile::ReadAhead(int64_t piece) const {
  const auto bytes = static_cast<size_t>(piece_bytes(piece));
  const int64_t begin = piece * kPieceBytes;
  if (::madvise(data_ + begin, bytes, MADV_POPULATE_READ) == 0) return;
  // Linux before 5.14. MADV_WILLNEED is no way out: it stops after the device's read-ahead, which
  // may be 128 KB, and does not say when the bytes have come.
  std::vector<char> unused(size_t{1} << 20);
  for (size_t done = 0; done < bytes;) {
    const ssize_t n = ::pread(fd_, unused.data(), std::min(unused.size(), bytes - done),
                              static_cast<off_t>(begin) + static_cast<off_t>(done));
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

Result<void> MappedFile::MakePrivate(Pages pages) {
  if (size_ == 0) return {};
  void* data =
      ::mmap(data_, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (data == MAP_FAILED) return SystemError(path_, "get memory for a copy");
  (void)::madvise(data_, size_, MADV_HUGEPAGE);
  // Locked as they are touched: by the threads that fill them, not here by one alone.
  if (pages == Pages::kLocked && ::mlock2(data_, size_, MLOCK_ONFAULT) != 0)
    return SystemError(path_, "lock a copy in memory");
  return {};
}

Result<void> MappedFile::Fill(int64_t piece) {
  const int64_t begin = piece * kPieceBytes, end = begin + piece_bytes(piece);
  for (int64_t at = begin; at < end;) {
    const ssize_t n = ::pread(fd_, data_ + at, static_cast<size_t>(end - at), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError(path_, "read");
    if (n == 0)
      return Error{fmt::format("{}: expected {} bytes, found an end after {}", path_, size_, at)};
    at += n;
  }
  return {};
}

void MappedFile::MakeReadOnly() {
  if (data_ != nullptr) (void)::mprotect(data_, size_, PROT_READ);
}

}  // namespace fathom
