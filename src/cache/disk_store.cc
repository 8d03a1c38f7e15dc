// The store behind its door: one mutex over the index and the queue, one thread that writes, no
// file touched with the mutex held. Whoever reads opens the segment anew, so that a segment can be
// deleted at any time.
#include "cache/disk_store.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>

#include "base/log.h"
#include "cache/disk_index.h"
#include "cache/disk_segment.h"
#include "cache/disk_writer.h"

namespace fathom::cache {
namespace {

// How long the end of the process may wait for the disk.
constexpr std::chrono::seconds kDrainTime(5);

// A prefix's pages as the index names them.
struct Step {
  Hash128 parent, chain;
  std::span<const TokenId> ids;
  int64_t tokens = 0;
};

std::vector<Step> Steps(uint64_t fingerprint, std::string_view key, std::span<const TokenId> tokens,
                        int64_t pages) {
  std::vector<Step> steps;
  steps.reserve(static_cast<size_t>(pages));
  Hash128 chain = ChainStart(fingerprint, key);
  for (int64_t page = 0; page < pages; ++page) {
    const auto ids = tokens.subspan(static_cast<size_t>(page * model::kPageTokens),
                                    static_cast<size_t>(model::kPageTokens));
    const Hash128 next = ChainNext(chain, ids);
    steps.push_back({chain, next, ids, (page + 1) * model::kPageTokens});
    chain = next;
  }
  return steps;
}

// What a reader expects of a record, and a writer fills in.
RecordHeader HeaderOf(const DiskOptions& options, uint64_t key_hash, const Step& step,
                      RecordKind kind) {
  RecordHeader header;
  header.payload_bytes = kind == RecordKind::kPage ? options.page_bytes : options.tail_bytes;
  header.fingerprint = options.fingerprint;
  header.key_hash = key_hash;
  header.chain = step.chain;
  header.parent = step.parent;
  header.tokens = step.tokens;
  header.kind = kind;
  std::copy(step.ids.begin(), step.ids.end(), header.ids.begin());
  return header;
}

struct Job {
  RecordHeader header;
  model::PageRef page;
  Tail tail;

  int64_t bytes() const { return RecordBytes(header.payload_bytes); }
  RecordKey key() const { return {header.chain, header.kind}; }
  std::span<const std::byte> payload() const {
    if (header.kind == RecordKind::kTail) return *tail;
    return {page ? page.data() : nullptr, static_cast<size_t>(header.payload_bytes)};
  }
};

class Store final : public DiskStore {
 public:
  explicit Store(const DiskOptions& options) : options_(options) {}
  ~Store() override;
  Result<void> Start();

  void Write(std::string_view key, std::span<const TokenId> tokens,
             std::span<const model::PageRef> pages, Tail tail) override;
  Prefix Load(std::string_view key, std::span<const TokenId> tokens, int64_t known_tokens,
              model::PagePool& pool) override;
  void Flush() override;
  DiskStats stats() const override;

 private:
  // The files that one Load has open.
  using Files = std::vector<std::pair<int64_t, SegmentFile>>;
  // Where the records of a prefix are.
  struct Found {
    std::vector<Place> pages;                     // from the beginning on, without a gap
    std::vector<std::pair<size_t, Place>> tails;  // with the number of their pages, ascending
  };

  std::string PathOf(int64_t segment) const { return options_.dir + "/" + SegmentName(segment); }
  void ScanSegment(int64_t segment);
  void OpenForWriting();

  bool Queue(Job job);
  void RunWriter();
  Result<void> WriteOne(Job& job);
  // Deletes segments until `bytes` more fit.
  Result<void> MakeRoom(int64_t bytes);
  void StopWriting(const std::string& why);

  Found Find(const std::vector<Step>& steps, int64_t known_pages) const;
  Prefix LoadFound(const std::vector<Step>& steps, uint64_t key_hash, const Found& found,
                   size_t known_pages, model::PagePool& pool);
  const SegmentFile* FileOf(int64_t segment, Files& files);
  // Whether the record is the expected one; its payload then lies in `payload` (nullptr: unread).
  bool Read(const RecordHeader& expected, const Place& place, std::span<std::byte>* payload,
            Files& files);
  void CountUse(const Files& files);

  const DiskOptions options_;
  std::unique_ptr<DiskWriter> writer_;  // for the thread that writes, once it runs
  std::thread thread_;                  // started by the first record

  mutable std::mutex mutex_;
  std::condition_variable work_, idle_;
  DiskIndex index_;
  DiskStats stats_;
  std::deque<Job> queue_;
  int64_t queue_bytes_ = 0;
  std::unordered_set<RecordKey, RecordKeyHash> queued_;            // the one being written included
  std::optional<std::chrono::steady_clock::time_point> deadline_;  // set when the end has come
};

Result<void> Store::Start() {
  std::error_code error;
  if (std::filesystem::create_directories(options_.dir, error)) {
    // Prompts are private.
    (void)::chmod(options_.dir.c_str(), 0700);
  }
  if (!std::filesystem::is_directory(options_.dir, error)) {
    return Error{fmt::format("{}: expected a folder, or a place to make one", options_.dir)};
  }
  // Before the scan: what another server writes meanwhile is no damage of ours.
  OpenForWriting();
  return {};
}

void Store::OpenForWriting() {
  Result<FolderLock> lock = FolderLock::Take(options_.dir);
  const auto segments = ListSegments(options_.dir);
  if (!segments.ok()) {
    Log(LogLevel::kWarning, "cache: " + segments.error().message);
    return;
  }
  for (const int64_t segment : segments.value()) ScanSegment(segment);
  if (!lock.ok()) {
    Log(LogLevel::kWarning, fmt::format("cache: {}: used for reading only", lock.error().message));
    return;
  }
  const int64_t next = segments.value().empty() ? 1 : segments.value().back() + 1;
  // Several segments even in a small store, because only whole ones make room.
  const int64_t segment_bytes =
      std::max<int64_t>(1, std::min(options_.segment_bytes, options_.bytes_max / 8));
  writer_ = std::make_unique<DiskWriter>(
      DiskWriter::Options{options_.dir, segment_bytes, options_.fsync, next},
      std::move(lock).value());
  stats_.is_writable = true;
  if (const auto room = MakeRoom(0); !room.ok()) StopWriting(room.error().message);
}

void Store::ScanSegment(int64_t segment) {
  const auto file = SegmentFile::Open(PathOf(segment));
  if (!file.ok()) {
    Log(LogLevel::kWarning, fmt::format("cache: {}; skipped", file.error().message));
    ++stats_.skipped;
    return;
  }
  index_.AddSegment(segment, file.value().bytes(), file.value().changed_s());
  int64_t foreign = 0, damaged = 0;
  std::string first_damage;
  file.value().Scan(
      [&](int64_t offset, const RecordHeader& header) {
        const int64_t bytes =
            header.kind == RecordKind::kPage ? options_.page_bytes : options_.tail_bytes;
        if (header.fingerprint != options_.fingerprint || header.payload_bytes != bytes) {
          ++foreign;
          return;
        }
        index_.Add({header.chain, header.kind}, {segment, offset});
      },
      [&](const Damage& damage) {
        if (damaged++ == 0) first_damage = fmt::format("{}: {}", damage.offset, damage.what);
      });
  stats_.skipped += foreign + damaged;
  if (damaged > 0) {
    Log(LogLevel::kWarning,
        fmt::format("cache: {}: {} damaged stretch{} skipped, the first at {}", PathOf(segment),
                    damaged, damaged == 1 ? "" : "es", first_damage));
  }
  if (foreign > 0) {
    Log(LogLevel::kWarning, fmt::format("cache: {}: {} record{} of another model skipped",
                                        PathOf(segment), foreign, foreign == 1 ? "" : "s"));
  }
}

Store::~Store() {
  {
    const std::lock_guard lock(mutex_);
    deadline_ = std::chrono::steady_clock::now() + kDrainTime;
  }
  work_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (writer_ == nullptr) return;
  if (const auto closed = writer_->Close(); !closed.ok()) {
    Log(LogLevel::kWarning, "cache: " + closed.error().message);
  }
}

// Writing.

void Store::Write(std::string_view key, std::span<const TokenId> tokens,
                  std::span<const model::PageRef> pages, Tail tail) {
  const int64_t count = std::ssize(tokens) / model::kPageTokens;
  if (count == 0 || tail == nullptr || std::ssize(*tail) != options_.tail_bytes) return;
  FATHOM_CHECK_EQ(std::ssize(pages), count);
  const std::vector<Step> steps = Steps(options_.fingerprint, key, tokens, count);
  const uint64_t key_hash = HashKey(key);
  const double now_s = NowSeconds();
  int64_t touched = -1;
  const std::lock_guard lock(mutex_);
  if (!stats_.is_writable) return;
  const auto is_there = [&](const RecordKey& wanted) {
    if (queued_.contains(wanted)) return true;
    const Place* const place = index_.Find(wanted);
    if (place == nullptr) return false;
    if (place->segment != touched) {
      index_.Touch(place->segment, DiskIndex::Use::kWrittenAgain, now_s);
      touched = place->segment;
    }
    return true;
  };
  for (int64_t page = 0; page < count; ++page) {
    const Step& step = steps[static_cast<size_t>(page)];
    if (is_there({step.chain, RecordKind::kPage})) continue;
    const model::PageRef& data = pages[static_cast<size_t>(page)];
    if (!data && options_.page_bytes > 0) return;  // what follows could not be used
    if (!Queue({HeaderOf(options_, key_hash, step, RecordKind::kPage), data, nullptr})) return;
  }
  const Step& last = steps.back();
  if (is_there({last.chain, RecordKind::kTail})) return;
  Queue({HeaderOf(options_, key_hash, last, RecordKind::kTail), {}, std::move(tail)});
}

// With the mutex held.
bool Store::Queue(Job job) {
  if (queue_bytes_ + job.bytes() > options_.queue_bytes_max) return false;
  if (!thread_.joinable()) thread_ = std::thread([this] { RunWriter(); });
  queue_bytes_ += job.bytes();
  queued_.insert(job.key());
  queue_.push_back(std::move(job));
  work_.notify_one();
  return true;
}

void Store::RunWriter() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return !queue_.empty() || deadline_.has_value(); });
    if (queue_.empty()) return;
    if (deadline_.has_value() && std::chrono::steady_clock::now() > *deadline_) {
      lock.unlock();
      StopWriting(fmt::format("{}: too slow to finish what is queued", options_.dir));
      lock.lock();
      continue;
    }
    Job job = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    const Result<void> done = WriteOne(job);
    if (!done.ok()) StopWriting(done.error().message);
    const RecordKey key = job.key();
    const int64_t bytes = job.bytes();
    job = {};  // lets go of the page
    lock.lock();
    queued_.erase(key);
    queue_bytes_ -= bytes;
    if (queue_.empty()) idle_.notify_all();
  }
}

Result<void> Store::WriteOne(Job& job) {
  const int64_t bytes = job.bytes();
  if (bytes > options_.bytes_max) {
    return Error{fmt::format("{}: records of {} bytes do not fit into {}", options_.dir, bytes,
                             options_.bytes_max)};
  }
  FATHOM_TRY_VOID(MakeRoom(bytes));
  FATHOM_TRY(const DiskWriter::Target target, writer_->Prepare(bytes));
  const double now_s = NowSeconds();
  if (target.is_new) {
    const std::lock_guard lock(mutex_);
    index_.AddSegment(target.segment, 0, now_s);
  }
  job.header.payload_checksum = Checksum(job.payload());
  job.header.written_s = static_cast<int64_t>(now_s);
  FATHOM_TRY(const Place place, writer_->Append(job.header, job.payload()));
  std::unique_lock lock(mutex_);
  if (!index_.HasSegment(place.segment)) {
    // Somebody deleted the file under us, and a reader noticed: go on with a new one.
    lock.unlock();
    return writer_->Delete(place.segment);
  }
  index_.Resize(place.segment, place.offset + bytes);
  index_.Add(job.key(), place);
  index_.Touch(place.segment, DiskIndex::Use::kWrittenAgain, now_s);
  ++stats_.writes;
  return {};
}

Result<void> Store::MakeRoom(int64_t bytes) {
  for (;;) {
    std::optional<int64_t> victim;
    {
      const std::lock_guard lock(mutex_);
      if (index_.bytes() + bytes <= options_.bytes_max) return {};
      victim = index_.LeastValuable(NowSeconds(), writer_->open_segment());
      if (!victim.has_value()) return {};
      index_.RemoveSegment(*victim);
    }
    FATHOM_TRY_VOID(writer_->Delete(*victim));
    Log(LogLevel::kInfo, fmt::format("cache: {}: made room", PathOf(*victim)));
  }
}

void Store::StopWriting(const std::string& why) {
  std::deque<Job> dropped;  // pages go back to their pool without the mutex
  const std::lock_guard lock(mutex_);
  if (stats_.is_writable) {
    Log(LogLevel::kWarning,
        fmt::format("cache: {}; nothing more is written, reading goes on", why));
  }
  stats_.is_writable = false;
  for (const Job& job : queue_) {
    queued_.erase(job.key());
    queue_bytes_ -= job.bytes();
  }
  dropped.swap(queue_);
  idle_.notify_all();
}

void Store::Flush() {
  std::unique_lock lock(mutex_);
  // The record being written counts as queued.
  idle_.wait(lock, [&] { return queued_.empty(); });
}

// Reading.

Prefix Store::Load(std::string_view key, std::span<const TokenId> tokens, int64_t known_tokens,
                   model::PagePool& pool) {
  FATHOM_CHECK_EQ(pool.page_bytes(), options_.page_bytes);
  const int64_t known_pages = known_tokens / model::kPageTokens;
  // A token has to be left.
  const int64_t pages = (std::ssize(tokens) - 1) / model::kPageTokens;
  Prefix prefix;
  if (pages > known_pages) {
    const std::vector<Step> steps = Steps(options_.fingerprint, key, tokens, pages);
    const Found found = Find(steps, known_pages);
    prefix = LoadFound(steps, HashKey(key), found, static_cast<size_t>(known_pages), pool);
  }
  const std::lock_guard lock(mutex_);
  ++(prefix.tokens > 0 ? stats_.hits : stats_.misses);
  return prefix;
}

Store::Found Store::Find(const std::vector<Step>& steps, int64_t known_pages) const {
  Found found;
  const std::lock_guard lock(mutex_);
  for (const Step& step : steps) {
    const Place* const page = index_.Find({step.chain, RecordKind::kPage});
    if (page == nullptr) break;
    found.pages.push_back(*page);
    const Place* const tail = index_.Find({step.chain, RecordKind::kTail});
    if (tail != nullptr && std::ssize(found.pages) > known_pages) {
      found.tails.emplace_back(found.pages.size(), *tail);
    }
  }
  return found;
}

Prefix Store::LoadFound(const std::vector<Step>& steps, uint64_t key_hash, const Found& found,
                        size_t known_pages, model::PagePool& pool) {
  Files files;
  std::vector<model::PageRef> pages;  // checked and, beyond the known ones, loaded
  size_t pages_end = found.pages.size();
  // From the longest prefix to shorter ones, until one is sound.
  for (auto it = found.tails.rbegin(); it != found.tails.rend(); ++it) {
    const auto& [count, tail_place] = *it;
    if (count > pages_end) continue;
    auto tail = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(options_.tail_bytes));
    std::span<std::byte> tail_bytes(*tail);
    if (!Read(HeaderOf(options_, key_hash, steps[count - 1], RecordKind::kTail), tail_place,
              &tail_bytes, files)) {
      continue;
    }
    while (pages.size() < count && pages.size() < pages_end) {
      const size_t page = pages.size();
      const RecordHeader expected = HeaderOf(options_, key_hash, steps[page], RecordKind::kPage);
      const bool is_known = page < known_pages;
      model::PageRef loaded = is_known ? model::PageRef() : pool.New();
      std::span<std::byte> payload;
      if (!is_known) payload = {loaded.data(), static_cast<size_t>(options_.page_bytes)};
      if (!Read(expected, found.pages[page], is_known ? nullptr : &payload, files)) {
        pages_end = page;
        break;
      }
      pages.push_back(std::move(loaded));
    }
    if (pages.size() < count) continue;
    pages.resize(count);
    CountUse(files);
    return {
        static_cast<int64_t>(count) * model::kPageTokens, std::move(pages), std::move(tail), {}};
  }
  return {};
}

const SegmentFile* Store::FileOf(int64_t segment, Files& files) {
  for (const auto& [number, file] : files) {
    if (number == segment) return &file;
  }
  auto opened = SegmentFile::Open(PathOf(segment));
  if (opened.ok()) {
    files.emplace_back(segment, std::move(opened).value());
    return &files.back().second;
  }
  const std::lock_guard lock(mutex_);
  // The writer may have deleted it since it was found: then nobody misses it.
  if (!index_.HasSegment(segment)) return nullptr;
  Log(LogLevel::kWarning, fmt::format("cache: {}; skipped", opened.error().message));
  ++stats_.skipped;
  // What is wrong may pass, except when somebody else has deleted the file.
  if (::access(PathOf(segment).c_str(), F_OK) != 0) index_.RemoveSegment(segment);
  return nullptr;
}

bool Store::Read(const RecordHeader& expected, const Place& place, std::span<std::byte>* payload,
                 Files& files) {
  const SegmentFile* const file = FileOf(place.segment, files);
  if (file == nullptr) return false;
  std::optional<RecordHeader> header = file->ReadHeader(place.offset);
  if (header.has_value()) {
    RecordHeader wanted = expected;
    wanted.payload_checksum = header->payload_checksum;
    wanted.written_s = header->written_s;
    if (*header == wanted &&
        (payload == nullptr || file->ReadPayload(place.offset, *header, *payload))) {
      return true;
    }
  }
  Log(LogLevel::kWarning,
      fmt::format("cache: {}: damaged record at {} skipped", PathOf(place.segment), place.offset));
  const std::lock_guard lock(mutex_);
  ++stats_.skipped;
  index_.Remove({expected.chain, expected.kind}, place);
  return false;
}

void Store::CountUse(const Files& files) {
  const double now_s = NowSeconds();
  bool is_writable = false;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [segment, file] : files) {
      index_.Touch(segment, DiskIndex::Use::kRead, now_s);
    }
    is_writable = stats_.is_writable;
  }
  // The file's own time carries the use over a restart.
  if (!is_writable) return;
  for (const auto& [segment, file] : files) file.MarkUsed();
}

DiskStats Store::stats() const {
  const std::lock_guard lock(mutex_);
  DiskStats stats = stats_;
  stats.records = index_.records();
  stats.bytes = index_.bytes();
  return stats;
}

}  // namespace

Result<std::unique_ptr<DiskStore>> DiskStore::Open(const DiskOptions& options) {
  auto store = std::make_unique<Store>(options);
  FATHOM_TRY_VOID(store->Start());
  return std::unique_ptr<DiskStore>(std::move(store));
}

}  // namespace fathom::cache
