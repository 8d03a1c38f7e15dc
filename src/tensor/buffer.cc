#include "tensor/buffer.h"

#include <sys/mman.h>

#include <utility>

namespace fathom::tensor {

RawBuffer::RawBuffer(int64_t bytes) : bytes_(bytes) {
  FATHOM_CHECK_GE(bytes, int64_t{0});
  if (bytes == 0) return;
  void* data = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  FATHOM_CHECK(data != MAP_FAILED, "out of address space");
  data_ = static_cast<std::byte*>(data);
}

RawBuffer::RawBuffer(RawBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

RawBuffer& RawBuffer::operator=(RawBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

RawBuffer::~RawBuffer() {
  if (data_ != nullptr) ::munmap(data_, static_cast<size_t>(bytes_));
}

void RawBuffer::UseLargePages() {
  // Past this much, the last large page is a small part of what is in use.
  constexpr int64_t kSmallPages = int64_t{8} << 20;
  if (bytes_ <= kSmallPages) return;
  // Best effort: without it everything works, with more address translations.
  (void)::madvise(data_ + kSmallPages, static_cast<size_t>(bytes_ - kSmallPages), MADV_HUGEPAGE);
}

void RawBuffer::Clear() {
  if (data_ != nullptr) ::madvise(data_, static_cast<size_t>(bytes_), MADV_DONTNEED);
}

}  // namespace fathom::tensor
