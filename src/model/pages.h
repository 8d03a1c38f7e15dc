// Where compressed rows and index keys lie: in pages of 128 tokens' worth, each with the entries of
// every layer, so that sequences with a common beginning share its pages. 128 is the least common
// multiple of the compression ratios: at its multiples no block is open. A page is written by the
// one sequence that holds its last token; a page that is full, or that several refer to, is never
// written again. Ref: model.md 9.4.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/cache_row.h"
#include "model/config.h"
#include "numerics/mode.h"

namespace fathom::model {

inline constexpr int64_t kPageTokens = 128;

// A page's inside.
struct PageLayout {
  struct Part {
    int64_t offset = 0;  // of the first row in the page, a multiple of 8
    kernels::RowLayout layout;
    int64_t rows = 0;  // in a page; 0: the layer keeps none
  };
  std::vector<Part> compressed;  // by layer
  std::vector<Part> index_keys;
  int64_t bytes = 0;  // a multiple of 64; 0 when no layer keeps any
};
PageLayout MakePageLayout(const Config& config, numerics::Mode mode);

class PagePool;

// A counted reference to a page. Copies refer to the same page; the last one gives it back.
// References may be copied and dropped from any thread.
class PageRef {
 public:
  PageRef() = default;
  PageRef(const PageRef& other);
  PageRef(PageRef&& other) noexcept;
  PageRef& operator=(PageRef other) noexcept;
  ~PageRef();

  explicit operator bool() const { return page_ != nullptr; }
  std::byte* data() const;
  // Nobody else refers to it.
  bool is_only() const;
  bool operator==(const PageRef& other) const { return page_ == other.page_; }

 private:
  friend class PagePool;
  struct Page;
  explicit PageRef(Page* page) : page_(page) {}
  Page* page_ = nullptr;
};

// Memory for pages of one size, in large pieces. Thread-safe. Lives as long as its pages.
class PagePool : public std::enable_shared_from_this<PagePool> {
 public:
  static std::shared_ptr<PagePool> Make(int64_t page_bytes);
  ~PagePool();

  // A page with undefined content.
  PageRef New();
  int64_t page_bytes() const { return page_bytes_; }
  // Pages that somebody refers to, and what they take.
  int64_t pages_in_use() const;
  int64_t bytes_in_use() const { return pages_in_use() * page_bytes_; }

 private:
  friend class PageRef;
  struct Slab;
  struct State;
  explicit PagePool(int64_t page_bytes);
  void GiveBack(PageRef::Page* page);
  int64_t page_bytes_;
  std::unique_ptr<State> state_;
};

}  // namespace fathom::model
