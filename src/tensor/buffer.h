// Owners of working memory. A Buffer is zero pages from the kernel: untouched parts cost nothing,
// so state can be sized for the longest context at start-up.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/view.h"

namespace fathom::tensor {

// `count` elements of T, zero-filled, 64-byte aligned (page aligned in fact).
class RawBuffer {
 public:
  RawBuffer() = default;
  explicit RawBuffer(int64_t bytes);
  RawBuffer(RawBuffer&& other) noexcept;
  RawBuffer& operator=(RawBuffer&& other) noexcept;
  ~RawBuffer();

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // Gives the pages back: everything reads zero again.
  void Clear();
  // For large memory that is read at random, or touched for the first time where that should be
  // quick: what lies past the first few megabytes takes large pages where the system has them, so
  // that a touched byte may cost 2 MB there.
  void UseLargePages();

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count) : raw_(count * static_cast<int64_t>(sizeof(T))), count_(count) {}

  T* data() const { return reinterpret_cast<T*>(raw_.data()); }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) const {
    FATHOM_DCHECK(i >= 0 && i < count_);
    return data()[i];
  }
  // The first rows * cols elements as a matrix.
  MatrixView<T> matrix(int64_t rows, int64_t cols) const {
    FATHOM_CHECK_LE(rows * cols, count_);
    return {data(), rows, cols};
  }
  void Clear() { raw_.Clear(); }
  void UseLargePages() { raw_.UseLargePages(); }

 private:
  RawBuffer raw_;
  int64_t count_ = 0;
};

}  // namespace fathom::tensor
