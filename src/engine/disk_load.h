// Prefixes on their way from the disk tier to requests that wait in the line. Reading takes as long
// as the disk likes, so it has a thread of its own, and a request whose prefix is being read is
// passed over until it is there.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/types.h"
#include "cache/disk_store.h"
#include "model/pages.h"

namespace fathom::engine {

// One request's. Belongs to the engine's thread, but to the loader's while state is kLoading.
struct DiskLoad {
  enum class State { kNew, kLoading, kDone };

  DiskLoad(std::string key_, std::vector<TokenId> prompt_)
      : key(std::move(key_)), prompt(std::move(prompt_)) {}

  // What is known with what was loaded; tokens == 0 when nothing was. Once it is kDone.
  cache::Prefix Complete() const;

  const std::string key;
  const std::vector<TokenId> prompt;
  std::atomic<State> state{State::kNew};
  cache::Prefix known;   // in memory when the load began
  cache::Prefix loaded;  // longer, or nothing
  int64_t bytes = 0;     // set aside for it
};

class DiskLoader {
 public:
  // `on_done` is called on the loader's thread after each load.
  DiskLoader(std::shared_ptr<cache::DiskStore> store, std::shared_ptr<model::PagePool> pool,
             std::function<void()> on_done);
  ~DiskLoader();  // what has not begun is left undone

  // Loads whose only other owner, the request, has gone are skipped.
  void Start(std::shared_ptr<DiskLoad> load);

 private:
  void Run();

  const std::shared_ptr<cache::DiskStore> store_;  // shared with those who write
  const std::shared_ptr<model::PagePool> pool_;
  const std::function<void()> on_done_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<DiskLoad>> queue_;
  bool is_closed_ = false;
  std::thread thread_;
};

}  // namespace fathom::engine
