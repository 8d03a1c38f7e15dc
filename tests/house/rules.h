// The rules of the house, as functions over a tree of files in memory, so that each can be shown a
// small bad tree and seen to fire (rules_test.cc). house_test.cc feeds them the real one.
// ARCHITECTURE.md tells the rules in prose.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::house {

// Path from the root of the repository to the file's text; the text of data files may be left out.
using Tree = std::map<std::string, std::string>;

struct Violation {
  std::string file;
  int line = 0;  // 0: the file as a whole
  std::string what;
};
using Violations = std::vector<Violation>;

// An outside library a room may include; `file` is empty, or the one file that may.
struct Package {
  std::string file;
  std::string name;
};

struct Room {
  std::string name;
  int floor = 0;
  std::vector<std::string> includes;
  std::vector<Package> packages;
};

// Something the rules forbid and the house allows, and why.
struct Exception {
  std::string file;
  std::string what;  // part of the violation's text, such as a function's name
  std::string reason;
};

// The fathom_room(...) calls of cmake/rooms.cmake.
std::vector<Room> ParseRooms(std::string_view cmake);

// The table itself: only lower rooms are listed, and src/ has exactly the rooms of the table.
Violations CheckRooms(const std::vector<Room>& rooms, const Tree& tree);
// Every #include: rooms, closed folders, outside headers.
Violations CheckIncludes(const std::vector<Room>& rooms, const Tree& tree);
// Every source lies where a target picks it up, and every test file holds a test.
Violations CheckTargets(const Tree& tree);
// Lines, functions, files and door headers within their limits.
Violations CheckSizes(const Tree& tree);
// Unfinished work without an issue, and paths of somebody's machine.
Violations CheckWords(const Tree& tree);
// Every file of testdata/ is named, itself or its folder, by a test.
Violations CheckTestdata(const Tree& tree);

// Without the violations that an exception covers. An exception that covers none is itself one.
Violations Excuse(Violations violations, const std::vector<Exception>& exceptions);

}  // namespace fathom::house
