// Inside of the room: in what pages the files lie that this process has mapped. What was written a
// moment ago is in the file cache in small pieces, and translating their addresses costs a
// virtual machine much of its speed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fathom::measure {

struct MappedPages {
  int64_t bytes = 0;        // touched
  int64_t large_bytes = 0;  // of these, in large pages
};

// Of all mappings of files whose names end with `suffix`, from the text of Linux's /proc/PID/smaps.
// Lines of another form count for nothing.
MappedPages MappedPagesOf(std::string_view smaps, std::string_view suffix);

// A line about this process's checkpoint for whoever reads speeds; empty where half of it or more
// lies in large pages, where it is no mapping, and where the system does not tell.
std::string NoteOnMappedPages(const MappedPages& pages);

}  // namespace fathom::measure
