// The safetensors writer: header first, then the data as it comes, into a temporary file that is
// renamed when complete. Reading is safetensors.cc.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>
#include <utility>

#include "base/json.h"
#include "checkpoint/safetensors.h"

namespace fathom::checkpoint {
namespace {

// The data section starts at a multiple of this, as in the published files.
constexpr size_t kDataAlignment = 8;
// What was just written stands in the system's file cache in small pieces, which some machines read
// several times slower than what comes from the disk (docs/performance.md): files from this size on
// leave the cache.
constexpr int64_t kLeavesCacheBytes = int64_t{64} << 20;
// Of the output stream; tensors are appended in small pieces at times.
constexpr size_t kBufferBytes = size_t{1} << 20;

std::string Header(const std::vector<TensorDecl>& tensors,
                   const std::map<std::string, std::string>& metadata) {
  Json::Object header;
  if (!metadata.empty()) {
    Json::Object entries;
    for (const auto& [name, value] : metadata) entries.emplace_back(name, value);
    header.emplace_back("__metadata__", std::move(entries));
  }
  std::set<std::string_view> names{"__metadata__"};
  int64_t offset = 0;
  for (const TensorDecl& decl : tensors) {
    FATHOM_CHECK(names.insert(decl.name).second, decl.name);
    const int64_t end = offset + TensorBytes(decl);
    Json::Array shape(decl.shape.begin(), decl.shape.end());
    header.emplace_back(decl.name,
                        Json::Object{{"dtype", tensor::Name(decl.dtype)},
                                     {"shape", std::move(shape)},
                                     {"data_offsets", Json::Array{Json(offset), Json(end)}}});
    offset = end;
  }
  std::string text = WriteJson(std::move(header));
  text.append((kDataAlignment - text.size() % kDataAlignment) % kDataAlignment, ' ');
  return text;
}

}  // namespace

int64_t TensorBytes(const TensorDecl& decl) {
  int64_t bytes = tensor::ElementBytes(decl.dtype);
  for (const int64_t size : decl.shape) {
    FATHOM_CHECK_GE(size, 0);
    FATHOM_CHECK(!__builtin_mul_overflow(bytes, size, &bytes), decl.name);
  }
  return bytes;
}

struct SafetensorsWriter::State {
  std::string path;
  std::string temporary;
  std::FILE* file = nullptr;
  int64_t data_bytes = 0;  // declared
  int64_t bytes_left = 0;  // of them

  ~State() {
    if (file == nullptr) return;
    std::fclose(file);
    ::unlink(temporary.c_str());
  }

  Error SystemError(const char* action) const {
    return Error{fmt::format("{}: cannot {}: {}", path, action, std::strerror(errno))};
  }
  Result<void> Write(const void* data, size_t bytes) {
    if (bytes > 0 && std::fwrite(data, 1, bytes, file) != bytes) return SystemError("write");
    return {};
  }
};

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

Result<SafetensorsWriter> SafetensorsWriter::Create(
    const std::string& path, std::vector<TensorDecl> tensors,
    const std::map<std::string, std::string>& metadata) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->temporary = fmt::format("{}.tmp{}", path, ::getpid());
  for (const TensorDecl& decl : tensors) state->bytes_left += TensorBytes(decl);
  state->data_bytes = state->bytes_left;
  const std::string header = Header(tensors, metadata);
  state->file = std::fopen(state->temporary.c_str(), "wbe");
  if (state->file == nullptr) return state->SystemError("create");
  std::setvbuf(state->file, nullptr, _IOFBF, kBufferBytes);
  unsigned char length[8];
  for (size_t i = 0; i < sizeof length; ++i)
    length[i] = static_cast<unsigned char>(header.size() >> 8 * i);
  FATHOM_TRY_VOID(state->Write(length, sizeof length));
  FATHOM_TRY_VOID(state->Write(header.data(), header.size()));
  return SafetensorsWriter(std::move(state));
}

Result<void> SafetensorsWriter::Append(std::span<const std::byte> bytes) {
  FATHOM_CHECK(state_ != nullptr, "after Finish");
  FATHOM_CHECK_LE(std::ssize(bytes), state_->bytes_left);
  FATHOM_TRY_VOID(state_->Write(bytes.data(), bytes.size()));
  state_->bytes_left -= std::ssize(bytes);
  return {};
}

Result<void> SafetensorsWriter::Finish() {
  FATHOM_CHECK(state_ != nullptr, "after Finish");
  FATHOM_CHECK_EQ(state_->bytes_left, 0);
  const std::unique_ptr<State> state = std::move(state_);
  if (std::fflush(state->file) != 0) return state->SystemError("write");
  if (state->data_bytes >= kLeavesCacheBytes) {
    // Only what is on the disk can leave. No harm is done where it cannot.
    if (::fdatasync(::fileno(state->file)) != 0) return state->SystemError("write");
    (void)::posix_fadvise(::fileno(state->file), 0, 0, POSIX_FADV_DONTNEED);
  }
  if (std::rename(state->temporary.c_str(), state->path.c_str()) != 0)
    return state->SystemError("rename into place");
  const bool is_closed = std::fclose(std::exchange(state->file, nullptr)) == 0;
  if (!is_closed) {
    Error error = state->SystemError("close");
    ::unlink(state->path.c_str());
    return error;
  }
  return {};
}

}  // namespace fathom::checkpoint
