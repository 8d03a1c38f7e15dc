#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/folder_testing.h"

namespace fathom {
namespace {

class MappedFileTest : public testing::Test {
 protected:
  // A file of these bytes.
  std::string NewFile(const std::string& bytes) const {
    std::string path = folder_ / "file";
    EXPECT_TRUE(WriteFile(path, bytes).ok());
    return path;
  }

 private:
  const TempFolder folder_;
};

// More than one piece, no multiple of a page, and no two pages alike.
std::string Pattern() {
  std::string bytes(static_cast<size_t>(MappedFile::kPieceBytes) + 12345, '\0');
  uint32_t state = 1;
  for (char& byte : bytes) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

std::string_view Text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST_F(MappedFileTest, ReadAheadMakesResident) {
  const std::string bytes = Pattern(), path = NewFile(bytes);
  const auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_EQ(file.value().pieces(), 2);
  EXPECT_EQ(file.value().piece_bytes(0), MappedFile::kPieceBytes);
  EXPECT_EQ(file.value().piece_bytes(1), 12345);
  for (const int64_t piece : {0, 1}) {
    file.value().ReadAhead(piece);
    EXPECT_TRUE(file.value().IsResident(piece));
  }
  EXPECT_EQ(Text(file.value()), bytes);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.value().bytes().data()) % (2 << 20), 0u);
}

TEST_F(MappedFileTest, ACopyHasTheSameBytesAtTheSameAddress) {
  const std::string bytes = Pattern(), path = NewFile(bytes);
  for (const auto pages : {MappedFile::Pages::kPageable, MappedFile::Pages::kLocked}) {
    auto opened = MappedFile::Open(path);
    ASSERT_TRUE(opened.ok());
    MappedFile file = std::move(opened).value();
    const std::byte* address = file.bytes().data();
    const auto made = file.MakePrivate(pages);
    if (!made.ok() && pages == MappedFile::Pages::kLocked) {
      EXPECT_NE(made.error().message.find("cannot lock"), std::string::npos);
      continue;  // the limit on locked memory may be small here
    }
    ASSERT_TRUE(made.ok()) << made.error().message;
    for (const int64_t piece : {1, 0}) ASSERT_TRUE(file.Fill(piece).ok());
    file.MakeReadOnly();
    EXPECT_EQ(file.bytes().data(), address);
    EXPECT_EQ(Text(file), bytes);
    // It no longer depends on the file.
    const MappedFile moved = std::move(file);
    ASSERT_EQ(::truncate(path.c_str(), 0), 0);
    EXPECT_EQ(Text(moved), bytes);
    ASSERT_TRUE(WriteFile(path, bytes).ok());
  }
}

TEST_F(MappedFileTest, AFileCutShortIsAnError) {
  const std::string path = NewFile(std::string(10000, 'x'));
  auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file.value().MakePrivate(MappedFile::Pages::kPageable).ok());
  ASSERT_EQ(::truncate(path.c_str(), 5000), 0);
  const auto filled = file.value().Fill(0);
  ASSERT_FALSE(filled.ok());
  EXPECT_EQ(filled.error().message, path + ": expected 10000 bytes, found an end after 5000");
}

TEST_F(MappedFileTest, NothingIsAFileToo) {
  const std::string path = NewFile("");
  auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file.value().pieces(), 0);
  EXPECT_TRUE(file.value().MakePrivate(MappedFile::Pages::kLocked).ok());
  file.value().MakeReadOnly();
  EXPECT_TRUE(file.value().bytes().empty());
}

}  // namespace
}  // namespace fathom
