// Pieces of files, handed out in order to a few threads, while the calling one waits and tells how
// far they are.
#include "checkpoint/load.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/topology.h"

namespace fathom::checkpoint {
namespace {

// Reading threads at most: enough requests at a time for a fast disk, and copying is then bounded
// by the memory.
constexpr int kReadersMax = 8;
constexpr std::chrono::milliseconds kProgressInterval(100);

// Part of the memory available that a copy leaves to everything else: states of sequences, working
// memory, the file cache that the copy is read through.
constexpr int64_t kLeftFreeBytes = int64_t{256} << 20;

double GigaBytes(int64_t bytes) { return static_cast<double>(bytes) / 1e9; }

bool IsCopy(LoadMode mode) { return mode == LoadMode::kCopy || mode == LoadMode::kLock; }

const char* NameOf(LoadMode mode) { return mode == LoadMode::kLock ? "load lock" : "load copy"; }

// The limit on locked memory, raised as far as this process may raise it.
rlim_t LockLimitBytes() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 0;
  if (limit.rlim_cur != limit.rlim_max) {
    const rlimit raised{limit.rlim_max, limit.rlim_max};
    if (::setrlimit(RLIMIT_MEMLOCK, &raised) == 0) return raised.rlim_cur;
  }
  return limit.rlim_cur;
}

Result<void> MakePrivate(std::span<MappedFile* const> files, LoadMode mode, int64_t total_bytes) {
  const bool is_locked = mode == LoadMode::kLock;
  const rlim_t limit = is_locked ? LockLimitBytes() : RLIM_INFINITY;
  for (MappedFile* file : files) {
    auto made =
        file->MakePrivate(is_locked ? MappedFile::Pages::kLocked : MappedFile::Pages::kPageable);
    if (made.ok()) continue;
    // Privileged processes may exceed the limit, so it is looked at only when locking failed.
    if (limit == RLIM_INFINITY || limit >= static_cast<rlim_t>(total_bytes)) return made;
    return Error{fmt::format(
        "{}: needs {:.2f} GB of locked memory, found a limit of {:.2f} GB (RLIMIT_MEMLOCK; see "
        "ulimit -l)",
        NameOf(mode), GigaBytes(total_bytes), static_cast<double>(limit) / 1e9)};
  }
  return {};
}

class Readers {
 public:
  Readers(std::span<MappedFile* const> files, LoadMode mode) : files_(files), mode_(mode) {
    for (size_t file = 0; file < files.size(); ++file)
      for (int64_t piece = 0; piece < files[file]->pieces(); ++piece)
        pieces_.emplace_back(file, piece);
  }

  Result<void> Run(const std::function<void(int64_t)>& progress) {
    const Machine machine = ThisMachine();
    interleaves_ = machine.nodes > 1;
    const auto count = std::min<int64_t>(
        {kReadersMax, std::max<int64_t>(std::ssize(machine.cores), 2), std::ssize(pieces_)});
    running_ = static_cast<int>(count);
    std::vector<std::thread> threads;
    for (int64_t i = 0; i < count; ++i) threads.emplace_back([this] { Read(); });
    {
      std::unique_lock lock(mutex_);
      while (!ended_.wait_for(lock, kProgressInterval, [this] { return running_ == 0; }))
        if (progress) progress(done_bytes_.load(std::memory_order_relaxed));
    }
    for (std::thread& thread : threads) thread.join();
    if (error_) return *std::move(error_);
    return {};
  }

 private:
  void Read() {
    // Who touches a page first, or reads it into the file cache, decides on which node it lies.
    if (interleaves_) InterleaveThisThread();
    Result<void> status;
    for (;;) {
      const size_t next = next_.fetch_add(1, std::memory_order_relaxed);
      if (next >= pieces_.size() || failed_.load(std::memory_order_relaxed)) break;
      const auto [file, piece] = pieces_[next];
      status = ReadPiece(*files_[file], piece);
      if (!status.ok()) break;
      done_bytes_.fetch_add(files_[file]->piece_bytes(piece), std::memory_order_relaxed);
    }
    if (!status.ok()) failed_.store(true, std::memory_order_relaxed);
    const std::lock_guard lock(mutex_);
    if (!status.ok() && !error_) error_ = std::move(status).error();
    if (--running_ == 0) ended_.notify_one();
  }

  Result<void> ReadPiece(MappedFile& file, int64_t piece) const {
    if (IsCopy(mode_)) return file.Fill(piece);
    if (!file.IsResident(piece)) file.ReadAhead(piece);
    return {};
  }

  const std::span<MappedFile* const> files_;
  const LoadMode mode_;
  bool interleaves_ = false;
  std::vector<std::pair<size_t, int64_t>> pieces_;  // file and piece, in the order of the disk
  std::atomic<size_t> next_{0};
  std::atomic<int64_t> done_bytes_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;  // of what follows
  std::condition_variable ended_;
  int running_ = 0;
  std::optional<Error> error_;
};

}  // namespace

Result<void> CheckMemory(LoadMode mode, int64_t bytes, int64_t available_bytes) {
  if (!IsCopy(mode) || bytes <= available_bytes - kLeftFreeBytes) return {};
  return Error{fmt::format(
      "{}: needs {:.2f} GB of memory and {:.2f} GB beside it, found {:.2f} GB available",
      NameOf(mode), GigaBytes(bytes), GigaBytes(kLeftFreeBytes), GigaBytes(available_bytes))};
}

Result<void> BringIn(std::span<MappedFile* const> files, const LoadOptions& options) {
  const LoadMode mode = options.mode;
  if (mode == LoadMode::kLazy) return {};
  int64_t total_bytes = 0;
  for (const MappedFile* file : files) total_bytes += static_cast<int64_t>(file->bytes().size());
  const int64_t available_bytes = AvailableMemoryBytes();
  FATHOM_TRY_VOID(CheckMemory(mode, total_bytes, available_bytes));
  if (mode == LoadMode::kMap && total_bytes > available_bytes) {
    Log(LogLevel::kWarning,
        fmt::format("{:.1f} GB of weights and {:.1f} GB of memory: they are read from the disk "
                    "again and again",
                    GigaBytes(total_bytes), GigaBytes(available_bytes)));
    return {};
  }
  if (IsCopy(mode)) FATHOM_TRY_VOID(MakePrivate(files, mode, total_bytes));
  Readers readers(files, mode);
  FATHOM_TRY_VOID(readers.Run([&](int64_t done) {
    if (options.progress) options.progress(done, total_bytes);
  }));
  if (IsCopy(mode))
    for (MappedFile* file : files) file->MakeReadOnly();
  if (options.progress) options.progress(total_bytes, total_bytes);
  return {};
}

}  // namespace fathom::checkpoint
