// The house rules against the repository itself. Every violation is printed as file:line: reason.
// What the rules are is in rules.h; that each of them fires is shown in rules_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/house/rules.h"

namespace fathom::house {
namespace {

// Everything the house allows itself against its own rules: file, part of the violation, reason.
const std::vector<Exception>& SizeExceptions() {
  static const std::vector<Exception> list = {};
  return list;
}

bool IsText(const std::filesystem::path& path) {
  static const std::vector<std::string> kinds = {".cc",    ".h",  ".md", ".txt",
                                                 ".cmake", ".sh", ".py"};
  const std::string kind = path.extension().string();
  return kind.empty() || std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

// The text of data stays unread: it is large, and no rule looks inside.
std::string ReadText(const std::filesystem::path& path, const std::string& name) {
  const bool data = name.starts_with("testdata/") || name.starts_with("models/") ||
                    name.starts_with("fuzz/corpus/");
  if (!IsText(path) || (data && path.extension() != ".md")) return "";
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file.good()) << name;
  return text.str();
}

const Tree& Repository() {
  static const Tree tree = [] {
    Tree files;
    const std::filesystem::path root = FATHOM_SOURCE_DIR;
    for (const char* part :
         {"src", "tests", "fuzz", "bench", "tools", "docs", "cmake", "testdata", "models", ".ci"}) {
      if (!std::filesystem::exists(root / part)) continue;
      for (const auto& entry : std::filesystem::recursive_directory_iterator(root / part)) {
        const std::string name = std::filesystem::relative(entry.path(), root).generic_string();
        if (entry.is_regular_file()) files[name] = ReadText(entry.path(), name);
      }
    }
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
      const std::string name = entry.path().filename().string();
      if (entry.is_regular_file()) files[name] = ReadText(entry.path(), name);
    }
    return files;
  }();
  return tree;
}

const std::vector<Room>& Rooms() {
  static const std::vector<Room> rooms = ParseRooms(Repository().at("cmake/rooms.cmake"));
  return rooms;
}

void ExpectNone(const Violations& violations) {
  std::string told;
  for (const Violation& violation : violations) {
    told.append("\n").append(violation.file);
    if (violation.line > 0) told.append(":").append(std::to_string(violation.line));
    told.append(": ").append(violation.what);
  }
  EXPECT_TRUE(violations.empty()) << violations.size() << " violations" << told;
}

TEST(HouseTest, TheRepositoryWasFound) {
  EXPECT_GE(Rooms().size(), 12u);
  EXPECT_TRUE(Repository().contains("src/base/result.h"));
  EXPECT_TRUE(Repository().contains("README.md"));
}

TEST(HouseTest, RoomsStandOnLowerFloors) { ExpectNone(CheckRooms(Rooms(), Repository())); }

TEST(HouseTest, IncludesPointDownward) { ExpectNone(CheckIncludes(Rooms(), Repository())); }

TEST(HouseTest, EverySourceIsBuilt) { ExpectNone(CheckTargets(Repository())); }

TEST(HouseTest, SizesAreWithinLimits) {
  ExpectNone(Excuse(CheckSizes(Repository()), SizeExceptions()));
}

TEST(HouseTest, WordsAreClean) { ExpectNone(CheckWords(Repository())); }

TEST(HouseTest, TestdataIsRead) { ExpectNone(CheckTestdata(Repository())); }

}  // namespace
}  // namespace fathom::house
