#include "measure/mapped_pages.h"

#include <fmt/format.h>

#include <charconv>

namespace fathom::measure {
namespace {

// The number of kilobytes behind `name`, or 0 in another line.
int64_t BytesOf(std::string_view line, std::string_view name) {
  if (!line.starts_with(name)) return 0;
  line.remove_prefix(name.size());
  while (line.starts_with(' ')) line.remove_prefix(1);
  int64_t kilobytes = 0;
  const auto end = std::from_chars(line.data(), line.data() + line.size(), kilobytes);
  const bool is_sound = end.ec == std::errc() && kilobytes >= 0 && kilobytes < INT64_MAX >> 20;
  return is_sound ? kilobytes << 10 : 0;
}

// A mapping begins with its addresses, its other lines with a name and a colon.
bool BeginsMapping(std::string_view line) {
  const std::string_view word = line.substr(0, line.find(' '));
  return word.find('-') != std::string_view::npos && !word.ends_with(':');
}

}  // namespace

MappedPages MappedPagesOf(std::string_view smaps, std::string_view suffix) {
  MappedPages pages;
  bool counts = false;
  while (!smaps.empty()) {
    const size_t end = smaps.find('\n');
    const std::string_view line = smaps.substr(0, end);
    smaps.remove_prefix(end == std::string_view::npos ? smaps.size() : end + 1);
    if (BeginsMapping(line)) {
      counts = line.ends_with(suffix);
    } else if (counts) {
      pages.bytes += BytesOf(line, "Rss:");
      pages.large_bytes += BytesOf(line, "FilePmdMapped:");
    }
  }
  return pages;
}

std::string NoteOnMappedPages(const MappedPages& pages) {
  // Few bytes say nothing of speed.
  if (pages.bytes < int64_t{1} << 30 || pages.large_bytes >= pages.bytes / 2) return "";
  return fmt::format(
      "{:.1f} of {:.1f} GB of mapped weights lie in large pages: small ones slow down what is "
      "measured here, in a virtual machine by a multiple; --load copy has large ones",
      static_cast<double>(pages.large_bytes) * 1e-9, static_cast<double>(pages.bytes) * 1e-9);
}

}  // namespace fathom::measure
