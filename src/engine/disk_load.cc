#include "engine/disk_load.h"

#include <utility>

#include "base/check.h"

namespace fathom::engine {

cache::Prefix DiskLoad::Complete() const {
  cache::Prefix whole;
  if (loaded.tokens <= known.tokens) return whole;
  FATHOM_CHECK_EQ(std::ssize(loaded.pages) * model::kPageTokens, loaded.tokens);
  whole = loaded;
  for (size_t i = 0; i < known.pages.size(); ++i)
    if (!whole.pages[i]) whole.pages[i] = known.pages[i];
  return whole;
}

DiskLoader::DiskLoader(std::shared_ptr<cache::DiskStore> store,
                       std::shared_ptr<model::PagePool> pool, std::function<void()> on_done)
    : store_(std::move(store)), pool_(std::move(pool)), on_done_(std::move(on_done)) {
  thread_ = std::thread([this] { Run(); });
}

DiskLoader::~DiskLoader() {
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void DiskLoader::Start(std::shared_ptr<DiskLoad> load) {
  load->state = DiskLoad::State::kLoading;
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(load));
  }
  wake_.notify_one();
}

void DiskLoader::Run() {
  for (;;) {
    std::shared_ptr<DiskLoad> load;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return is_closed_ || !queue_.empty(); });
      if (is_closed_) return;
      load = std::move(queue_.front());
      queue_.pop_front();
    }
    if (load.use_count() == 1) continue;  // the request has gone
    load->loaded = store_->Load(load->key, load->prompt, load->known.tokens, *pool_);
    load->state = DiskLoad::State::kDone;
    load.reset();
    on_done_();
  }
}

}  // namespace fathom::engine
