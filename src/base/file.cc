#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

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
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return SystemError(path, "open");
  FATHOM_TRY(const int64_t size, RegularFileBytes(path, file.fd));
  if (size == 0) return MappedFile(path, nullptr, 0);
  void* data = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, file.fd, 0);
  if (data == MAP_FAILED) return SystemError(path, "map");
  return MappedFile(path, static_cast<const std::byte*>(data), static_cast<size_t>(size));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace fathom
