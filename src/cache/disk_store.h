// Remembered prefixes on disk, so that a restart or a long break costs a read and not a prompt.
// Append-only segment files of records; each record has its length, a checksum, the fingerprint of
// the model, the format's version, and its token ids. Losing anything here loses a saving, never an
// answer: every record is checked when it is read, and what does not fit is skipped with a line in
// the log. The format is docs/formats/cache.md.
//
// Writing happens on the store's own thread. Everything may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "cache/prefix_tree.h"
#include "kernels/context.h"
#include "model/pages.h"

namespace fathom::cache {

struct DiskOptions {
  std::string dir;                           // made when it is not there
  int64_t bytes_max = int64_t{64} << 30;     // of all segments together
  int64_t segment_bytes = int64_t{1} << 30;  // a segment is closed when it grows beyond that
  uint64_t fingerprint = 0;                  // of config and weights; see ModelFingerprint
  int64_t page_bytes = 0;
  int64_t tail_bytes = 0;
  int64_t queue_bytes_max = int64_t{1} << 30;  // waiting for the disk; what is beyond is dropped
  bool fsync = false;  // after each record; otherwise when a segment is closed and at the end
};

// Of the config's text and of the weight files: their sizes, their headers and their content, of
// which large files give samples. Another model, or the same one converted or trained differently,
// has another; and so have the two families of paths, which differ in the last bits
// (kernels/context.h), and fast mode. Errors: files that cannot be read.
Result<uint64_t> ModelFingerprint(const std::string& model_dir, kernels::Path path,
                                  numerics::Mode mode);

struct DiskStats {
  int64_t records = 0, bytes = 0;
  int64_t hits = 0, misses = 0, writes = 0;
  int64_t skipped = 0;  // damaged or foreign records found so far
  bool is_writable = false;
};

class DiskStore {
 public:
  // Scans the segments. A folder that cannot be written, or that another process writes, is used
  // for reading only, with a line in the log. Errors: a path that is no folder and cannot become
  // one.
  static Result<std::unique_ptr<DiskStore>> Open(const DiskOptions& options);
  // Writes what is queued, for as long as a few seconds.
  virtual ~DiskStore() = default;

  // Queues what of the prefix is not on disk yet. Never blocks: when the queue is full, it is
  // dropped.
  virtual void Write(std::string_view key, std::span<const TokenId> tokens,
                     std::span<const model::PageRef> pages, Tail tail) = 0;
  // The longest prefix of `tokens` on disk that is longer than `known_tokens` and leaves a token to
  // read, its pages beyond `known_tokens` loaded into new pages of the pool (pages before it are
  // null), its tail checked. tokens == 0 when there is none.
  virtual Prefix Load(std::string_view key, std::span<const TokenId> tokens, int64_t known_tokens,
                      model::PagePool& pool) = 0;
  // Waits until everything queued so far is written or given up.
  virtual void Flush() = 0;
  virtual DiskStats stats() const = 0;
};

// For the operator (fathom cache ...): works on a folder without a model.
struct DiskEntry {
  std::string segment;
  int64_t offset = 0, bytes = 0;
  uint64_t fingerprint = 0;
  bool is_tail = false;
  int64_t tokens = 0;  // length of the prefix it ends
  uint64_t key_hash = 0;
  int64_t age_s = 0;
};
struct DiskReport {
  std::vector<DiskEntry> entries;       // sound ones
  std::vector<std::string> complaints;  // one line for each damaged or foreign stretch
  int64_t bytes = 0;
};
enum class Inspection { kHeaders, kPayloads };  // payloads: reads everything
Result<DiskReport> InspectStore(const std::string& dir, Inspection inspection);
// Removes segments, those first that were longest of no use, until no more than `bytes_max` are
// left. The bytes that were removed. Errors: a server has the folder open for writing.
Result<int64_t> PruneStore(const std::string& dir, int64_t bytes_max);

}  // namespace fathom::cache
