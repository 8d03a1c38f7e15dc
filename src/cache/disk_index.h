// What the disk tier knows about its segments without reading them: where each record lies, how
// large and how useful each segment is. No files and no locks: the store calls it with its own
// mutex held.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "cache/disk_format.h"

namespace fathom::cache {

struct Place {
  int64_t segment = 0;
  int64_t offset = 0;
  bool operator==(const Place&) const = default;
};

class DiskIndex {
 public:
  // `bytes` on disk so far; `used_s` when it was of use last, in seconds since 1970.
  void AddSegment(int64_t segment, int64_t bytes, double used_s);
  // The record is of a segment that was added. It takes the place of an older one with that key.
  void Add(const RecordKey& key, const Place& place);
  // The segment has grown to `bytes`.
  void Resize(int64_t segment, int64_t bytes);
  // nullptr when there is none.
  const Place* Find(const RecordKey& key) const;
  // Forgets a record, unless another place has been noted for it since.
  void Remove(const RecordKey& key, const Place& place);
  // Forgets a segment and its records.
  void RemoveSegment(int64_t segment);

  enum class Use { kRead, kWrittenAgain };
  // The segment's records were wanted. Only reads count as hits.
  void Touch(int64_t segment, Use use, double now_s);
  // The segment that is worth least: long unused and seldom read. `open`, which is being written,
  // only when there is no other. Nothing when there is none.
  std::optional<int64_t> LeastValuable(double now_s, int64_t open) const;

  bool HasSegment(int64_t segment) const { return segments_.contains(segment); }
  int64_t bytes() const { return bytes_; }
  int64_t records() const { return static_cast<int64_t>(places_.size()); }

 private:
  struct Segment {
    int64_t bytes = 0;
    double used_s = 0;
    int64_t hits = 0;
    std::vector<RecordKey> keys;  // also of records that moved elsewhere
  };

  std::unordered_map<RecordKey, Place, RecordKeyHash> places_;
  std::map<int64_t, Segment> segments_;  // by number, which is their age
  int64_t bytes_ = 0;
};

}  // namespace fathom::cache
