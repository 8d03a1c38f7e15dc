// What tells one model's state from another's on disk (ModelFingerprint of disk_store.h).
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/file.h"
#include "cache/disk_format.h"
#include "cache/disk_store.h"

namespace fathom::cache {
namespace {

// Smaller files are read whole.
constexpr int64_t kWholeBytes = int64_t{64} << 20;
// Of larger ones, so many pieces at even distances: two checkpoints of one architecture agree in
// all names and sizes, and training changes numbers everywhere.
constexpr int64_t kSamples = 64;
constexpr int64_t kSampleBytes = 4096;
// The header's length field is foreign data.
constexpr int64_t kHeaderBytesMax = int64_t{1} << 28;

// Not a MappedFile: there each sample would bring in the large page around it.
class File {
 public:
  explicit File(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  // -1: not to be had.
  int64_t bytes() const {
    struct stat status = {};
    return fd_ >= 0 && ::fstat(fd_, &status) == 0 ? status.st_size : -1;
  }
  bool Add(Hasher& hasher, int64_t offset, int64_t bytes) const {
    std::vector<std::byte> piece;
    while (bytes > 0) {
      piece.resize(static_cast<size_t>(std::min<int64_t>(bytes, 1 << 20)));
      const ssize_t read = ::pread(fd_, piece.data(), piece.size(), offset);
      if (read < 0 && errno == EINTR) continue;
      if (read <= 0) return false;
      hasher.Add(std::span<const std::byte>(piece).first(static_cast<size_t>(read)));
      offset += read;
      bytes -= read;
    }
    return true;
  }
  bool Read(std::span<std::byte> bytes) const {
    return ::pread(fd_, bytes.data(), bytes.size(), 0) == std::ssize(bytes);
  }

 private:
  int fd_;
};

bool AddLargeFile(Hasher& hasher, const File& file, int64_t bytes) {
  int64_t header_bytes = 0;
  if (!file.Read(std::as_writable_bytes(std::span(&header_bytes, 1)))) return false;
  header_bytes = std::clamp<int64_t>(header_bytes, 0, std::min(kHeaderBytesMax, bytes - 8)) + 8;
  if (!file.Add(hasher, 0, header_bytes)) return false;
  const int64_t distance = (bytes - header_bytes) / kSamples;
  for (int64_t i = 0; i < kSamples; ++i) {
    const int64_t offset = header_bytes + i * distance;
    if (!file.Add(hasher, offset, std::min(kSampleBytes, bytes - offset))) return false;
  }
  return true;
}

Result<void> AddFile(Hasher& hasher, const std::string& path) {
  const File file(path);
  const int64_t bytes = file.bytes();
  hasher.Add(bytes);
  const bool is_read = bytes >= 0 && (bytes <= kWholeBytes ? file.Add(hasher, 0, bytes)
                                                           : AddLargeFile(hasher, file, bytes));
  if (!is_read) return Error{fmt::format("{}: cannot be read", path)};
  return {};
}

}  // namespace

Result<uint64_t> ModelFingerprint(const std::string& model_dir, kernels::Path path,
                                  numerics::Mode mode) {
  Hasher hasher;
  hasher.Add(int64_t{kDiskFormatVersion});
  FATHOM_TRY(const std::string config, ReadFile(model_dir + "/config.json"));
  hasher.Add(std::ssize(config));
  hasher.Add(config);
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(model_dir, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".safetensors") names.push_back(it->path().filename().string());
  }
  if (error) return Error{fmt::format("{}: {}", model_dir, error.message())};
  if (names.empty()) return Error{fmt::format("{}: expected *.safetensors files", model_dir)};
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    hasher.Add(name);
    FATHOM_TRY_VOID(AddFile(hasher, model_dir + "/" + name));
  }
  // The numbers grow with every change to the order in which lanes or tiles add.
  hasher.Add(kernels::IsTiled(path) ? "tiles 2" : "lanes 2");
  if (mode == numerics::Mode::kFast) hasher.Add("bytes 1");
  return hasher.Value();
}

}  // namespace fathom::cache
