#include "cache/disk_index.h"

#include <algorithm>

namespace fathom::cache {

void DiskIndex::AddSegment(int64_t segment, int64_t bytes, double used_s) {
  segments_[segment] = {bytes, used_s, 0, {}};
  bytes_ += bytes;
}

void DiskIndex::Add(const RecordKey& key, const Place& place) {
  places_[key] = place;
  segments_.at(place.segment).keys.push_back(key);
}

void DiskIndex::Resize(int64_t segment, int64_t bytes) {
  Segment& grown = segments_.at(segment);
  bytes_ += bytes - grown.bytes;
  grown.bytes = bytes;
}

const Place* DiskIndex::Find(const RecordKey& key) const {
  const auto it = places_.find(key);
  return it == places_.end() ? nullptr : &it->second;
}

void DiskIndex::Remove(const RecordKey& key, const Place& place) {
  const auto it = places_.find(key);
  if (it != places_.end() && it->second == place) places_.erase(it);
}

void DiskIndex::RemoveSegment(int64_t segment) {
  const auto it = segments_.find(segment);
  if (it == segments_.end()) return;
  for (const RecordKey& key : it->second.keys) {
    const auto place = places_.find(key);
    if (place != places_.end() && place->second.segment == segment) places_.erase(place);
  }
  bytes_ -= it->second.bytes;
  segments_.erase(it);
}

void DiskIndex::Touch(int64_t segment, Use use, double now_s) {
  const auto it = segments_.find(segment);
  if (it == segments_.end()) return;
  it->second.used_s = std::max(it->second.used_s, now_s);
  if (use == Use::kRead) ++it->second.hits;
}

std::optional<int64_t> DiskIndex::LeastValuable(double now_s, int64_t open) const {
  std::optional<int64_t> least;
  double largest = -1;
  for (const auto& [number, segment] : segments_) {
    if (number == open && segments_.size() > 1) continue;
    // A clock that was set back makes nothing younger than new. Of equal ones the oldest goes.
    const double age_s = std::max(0.0, now_s - segment.used_s);
    const double worthless = age_s / static_cast<double>(1 + segment.hits);
    if (worthless > largest) {
      largest = worthless;
      least = number;
    }
  }
  return least;
}

}  // namespace fathom::cache
