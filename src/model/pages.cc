// Pages lie side by side in slabs. A slab that nobody uses any more goes back to the system as long
// as another one has room, so that a page that is taken and given back in turns costs no mapping.
#include "model/pages.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "model/layout.h"
#include "model/sequence.h"
#include "tensor/buffer.h"

namespace fathom::model {
namespace {

constexpr int64_t kSlabBytes = int64_t{32} << 20;

int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

struct PageRef::Page {
  std::byte* data = nullptr;
  std::atomic<int64_t> references{0};
  PagePool* pool = nullptr;
  PagePool::Slab* slab = nullptr;
};

struct PagePool::Slab {
  tensor::RawBuffer memory;
  std::unique_ptr<PageRef::Page[]> pages;
  int64_t count = 0;
  std::vector<PageRef::Page*> free;  // those that nobody refers to
};

struct PagePool::State {
  std::mutex mutex;
  std::vector<std::unique_ptr<Slab>> slabs;
  int64_t in_use = 0;
  std::shared_ptr<PagePool> self;  // while pages are in use, which need the pool
};

// Whole blocks of every ratio that a configuration may have, which divides the largest.
static_assert(kPageTokens % kCompressRatioMax == 0);

PageLayout MakePageLayout(const Config& config, numerics::Mode mode) {
  PageLayout layout;
  const auto add = [&](std::vector<PageLayout::Part>& parts, int64_t rows,
                       const kernels::RowLayout& row) {
    parts.push_back({layout.bytes, row, rows});
    layout.bytes = RoundUp(layout.bytes + rows * row.bytes(), 8);
  };
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const int64_t ratio = config.ratio(i);
    const LayerKind kind = KindOfRatio(ratio);
    add(layout.compressed, kind == LayerKind::kWindow ? 0 : kPageTokens / ratio,
        LatentLayout(config, mode));
    add(layout.index_keys, kind == LayerKind::kCsa ? kPageTokens / ratio : 0,
        IndexLayout(config, mode));
  }
  layout.bytes = RoundUp(layout.bytes, 64);
  return layout;
}

PageRef::PageRef(const PageRef& other) : page_(other.page_) {
  if (page_ != nullptr) page_->references.fetch_add(1, std::memory_order_relaxed);
}

PageRef::PageRef(PageRef&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}

PageRef& PageRef::operator=(PageRef other) noexcept {
  std::swap(page_, other.page_);
  return *this;
}

PageRef::~PageRef() {
  if (page_ == nullptr || page_->references.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  page_->pool->GiveBack(page_);
}

std::byte* PageRef::data() const { return page_ == nullptr ? nullptr : page_->data; }

bool PageRef::is_only() const {
  return page_ != nullptr && page_->references.load(std::memory_order_acquire) == 1;
}

std::shared_ptr<PagePool> PagePool::Make(int64_t page_bytes) {
  return std::shared_ptr<PagePool>(new PagePool(page_bytes));
}

PagePool::PagePool(int64_t page_bytes)
    : page_bytes_(page_bytes), state_(std::make_unique<State>()) {}

PagePool::~PagePool() = default;

PageRef PagePool::New() {
  const std::lock_guard lock(state_->mutex);
  auto& slabs = state_->slabs;
  auto with_room = std::find_if(slabs.begin(), slabs.end(),
                                [](const auto& slab) { return !slab->free.empty(); });
  if (with_room == slabs.end()) {
    auto slab = std::make_unique<Slab>();
    slab->count = std::max<int64_t>(1, kSlabBytes / std::max<int64_t>(1, page_bytes_));
    slab->count = std::min<int64_t>(slab->count, 1024);
    slab->memory = tensor::RawBuffer(slab->count * page_bytes_);
    slab->memory.UseLargePages();
    slab->pages = std::make_unique<PageRef::Page[]>(static_cast<size_t>(slab->count));
    slab->free.reserve(static_cast<size_t>(slab->count));
    for (int64_t i = slab->count; i-- > 0;) {
      PageRef::Page& page = slab->pages[static_cast<size_t>(i)];
      page.data = slab->memory.data() + i * page_bytes_;
      page.pool = this;
      page.slab = slab.get();
      slab->free.push_back(&page);
    }
    slabs.push_back(std::move(slab));
    with_room = slabs.end() - 1;
  }
  PageRef::Page* page = (*with_room)->free.back();
  (*with_room)->free.pop_back();
  page->references.store(1, std::memory_order_relaxed);
  if (state_->in_use++ == 0) state_->self = weak_from_this().lock();
  return PageRef(page);
}

void PagePool::GiveBack(PageRef::Page* page) {
  std::shared_ptr<PagePool> last;  // dropped after the lock
  const std::lock_guard lock(state_->mutex);
  Slab* slab = page->slab;
  slab->free.push_back(page);
  if (--state_->in_use == 0) last = std::move(state_->self);
  if (std::ssize(slab->free) < slab->count) return;
  auto& slabs = state_->slabs;
  const bool others_have_room = std::any_of(slabs.begin(), slabs.end(), [&](const auto& other) {
    return other.get() != slab && !other->free.empty();
  });
  if (others_have_room)
    std::erase_if(slabs, [&](const auto& other) { return other.get() == slab; });
}

int64_t PagePool::pages_in_use() const {
  const std::lock_guard lock(state_->mutex);
  return state_->in_use;
}

}  // namespace fathom::model
