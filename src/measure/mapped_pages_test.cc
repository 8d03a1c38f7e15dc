#include "measure/mapped_pages.h"

#include <gtest/gtest.h>

namespace fathom::measure {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

TEST(MappedPagesTest, MappingsOfTheFilesAreSummed) {
  const MappedPages pages = MappedPagesOf(
      "7f0000000000-7f0040000000 r--s 00000000 fe:00 12 /models/a-b/model-00001.safetensors\n"
      "Size:            1048576 kB\n"
      "Rss:              974324 kB\n"
      "FilePmdMapped:    409600 kB\n"
      "VmFlags: rd mr me ms\n"
      "7f0040000000-7f0040100000 rw-p 00000000 00:00 0 \n"
      "Rss:                1024 kB\n"
      "FilePmdMapped:      1024 kB\n"
      "7f0050000000-7f0090000000 r--s 00000000 fe:00 13 /models/a-b/model-00002.safetensors\n"
      "Rss:                  16 kB\n"
      "FilePmdMapped:         0 kB",
      ".safetensors");
  EXPECT_EQ(pages.bytes, int64_t{974324 + 16} << 10);
  EXPECT_EQ(pages.large_bytes, int64_t{409600} << 10);
}

TEST(MappedPagesTest, OtherTextCountsForNothing) {
  for (const char* text :
       {"", "\n\n", "Rss: 7 kB", "x.safetensors\nRss: 7 kB\n",
        "1-2 x.safetensors\nRss: -7 kB\nRss:",
        "1-2 x.safetensors\nRss: 99999999999999999999 kB\nRss: 9223372036854775807 kB\n"}) {
    const MappedPages pages = MappedPagesOf(text, ".safetensors");
    EXPECT_EQ(pages.bytes, 0) << text;
    EXPECT_EQ(pages.large_bytes, 0) << text;
  }
}

TEST(MappedPagesTest, SmallPagesOfLargeFilesAreNoted) {
  EXPECT_EQ(NoteOnMappedPages({}), "");
  EXPECT_EQ(NoteOnMappedPages({kGiB / 2, 0}), "");
  EXPECT_EQ(NoteOnMappedPages({4 * kGiB, 2 * kGiB}), "");
  const std::string note = NoteOnMappedPages({4 * kGiB, kGiB});
  EXPECT_NE(note.find("1.1 of 4.3 GB of mapped weights lie in large pages"), std::string::npos)
      << note;
}

}  // namespace
}  // namespace fathom::measure
