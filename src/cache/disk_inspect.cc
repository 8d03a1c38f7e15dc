// Stores as the operator sees them (InspectStore and PruneStore of disk_store.h): segments and
// records of whatever model.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cache/disk_segment.h"
#include "cache/disk_store.h"
#include "cache/disk_writer.h"

namespace fathom::cache {

Result<DiskReport> InspectStore(const std::string& dir, Inspection inspection) {
  FATHOM_TRY(const std::vector<int64_t> segments, ListSegments(dir));
  DiskReport report;
  const auto now_s = static_cast<int64_t>(NowSeconds());
  for (const int64_t number : segments) {
    const std::string name = SegmentName(number);
    const auto opened = SegmentFile::Open(dir + "/" + name);
    if (!opened.ok()) {
      report.complaints.push_back(opened.error().message);
      continue;
    }
    const SegmentFile& file = opened.value();
    report.bytes += file.bytes();
    const auto complain = [&](int64_t offset, int64_t bytes, const std::string& what) {
      report.complaints.push_back(fmt::format("{}: {} at {}, {} bytes", name, what, offset, bytes));
    };
    file.Scan(
        [&](int64_t offset, const RecordHeader& header) {
          const int64_t bytes = RecordBytes(header.payload_bytes);
          if (inspection == Inspection::kPayloads && !file.CheckPayload(offset, header)) {
            complain(offset, bytes, "a payload with a wrong checksum");
            return;
          }
          report.entries.push_back({.segment = name,
                                    .offset = offset,
                                    .bytes = bytes,
                                    .fingerprint = header.fingerprint,
                                    .is_tail = header.kind == RecordKind::kTail,
                                    .tokens = header.tokens,
                                    .key_hash = header.key_hash,
                                    .age_s = std::max<int64_t>(0, now_s - header.written_s)});
        },
        [&](const Damage& damage) { complain(damage.offset, damage.bytes, damage.what); });
  }
  return report;
}

Result<int64_t> PruneStore(const std::string& dir, int64_t bytes_max) {
  FATHOM_TRY(FolderLock lock, FolderLock::Take(dir));
  FATHOM_TRY(const std::vector<int64_t> segments, ListSegments(dir));
  DiskIndex index;
  for (const int64_t number : segments) {
    const auto file = SegmentFile::Open(dir + "/" + SegmentName(number));
    if (file.ok()) index.AddSegment(number, file.value().bytes(), file.value().changed_s());
  }
  const int64_t bytes_before = index.bytes();
  DiskWriter writer({.dir = dir}, std::move(lock));
  while (index.bytes() > bytes_max) {
    const int64_t segment = index.LeastValuable(NowSeconds(), -1).value();
    FATHOM_TRY_VOID(writer.Delete(segment));
    index.RemoveSegment(segment);
  }
  return bytes_before - index.bytes();
}

}  // namespace fathom::cache
