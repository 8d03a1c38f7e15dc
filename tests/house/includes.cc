// The table of rooms and the rules about #include: rooms look down only, through doors, and outside
// libraries stay in the rooms that are listed for them.
#include <algorithm>
#include <regex>
#include <set>
#include <sstream>

#include "tests/house/rules.h"
#include "tests/house/scan.h"

namespace fathom::house {
namespace {

struct Include {
  int line = 0;
  bool angled = false;
  std::string path;
};

std::vector<Include> FindIncludes(const std::string& text) {
  static const std::regex directive(R"(^\s*#\s*include\s*([<"])([^>"]*)[>"])");
  const std::string code = BlankComments(text);
  const auto blank = SplitLines(code);
  const auto lines = SplitLines(text);
  std::vector<Include> includes;
  for (size_t i = 0; i < lines.size(); ++i) {
    // The blanked line tells directives from those inside comments and strings.
    if (blank[i].find("include") == std::string_view::npos) continue;
    std::smatch match;
    const std::string line(lines[i]);
    if (!std::regex_search(line, match, directive)) continue;
    includes.push_back({static_cast<int>(i) + 1, match[1] == "<", match[2]});
  }
  return includes;
}

// The package that an outside header belongs to, as rooms.cmake names it; "" for the standard
// library and the operating system, "?" for a header nobody has listed.
std::string PackageOf(const std::string& header) {
  static const std::vector<std::pair<std::string, std::string>> prefixes = {
      {"fmt/", "fmt"},
      {"spdlog/", "spdlog"},
      {"nlohmann/", "nlohmann"},
      {"pcre2", "pcre2"},
      {"CLI/", "CLI11"},
      {"histedit.h", "libedit"},
      {"editline/", "libedit"},
      {"hwloc", "hwloc"},
      {"boost/", "boost"},
      {"openssl/", "openssl"},
      {"xxhash.h", "xxhash"},
      {"valijson/", "valijson"},
      {"gtest/", "gtest"},
      {"gmock/", "gtest"},
      {"benchmark/", "benchmark"},
      {"arm_neon.h", "intrinsics"},
      {"arm_sve.h", "intrinsics"},
      {"cpuid.h", "intrinsics"}};
  for (const auto& [prefix, package] : prefixes) {
    if (header.starts_with(prefix)) return package;
  }
  if (header.ends_with("intrin.h")) return "intrinsics";
  static const std::set<std::string> system = {
      "dirent.h", "dlfcn.h", "errno.h",  "fcntl.h",   "fenv.h",    "langinfo.h", "locale.h",
      "math.h",   "netdb.h", "poll.h",   "pthread.h", "pty.h",     "sched.h",    "signal.h",
      "stdint.h", "stdio.h", "stdlib.h", "string.h",  "termios.h", "time.h",     "unistd.h"};
  if (header.find_first_of("./") == std::string::npos || header.starts_with("sys/") ||
      header.starts_with("arpa/") || header.starts_with("netinet/"))
    return "";
  return system.contains(header) ? "" : "?";
}

const Room* FindRoom(const std::vector<Room>& rooms, const std::string& name) {
  const auto it =
      std::find_if(rooms.begin(), rooms.end(), [&](const Room& room) { return room.name == name; });
  return it == rooms.end() ? nullptr : &*it;
}

// Tests, and the headers that only tests share: src/<room>/<name>_testing.h.
bool IsTest(const std::string& file) {
  return file.ends_with("_test.cc") || file.ends_with("_testing.h") || file.starts_with("tests/");
}

bool AllowsPackage(const std::vector<Room>& rooms, const std::string& file,
                   const std::string& package) {
  if (package.empty()) return true;
  if (package == "gtest") return IsTest(file);
  if (package == "benchmark") return file.starts_with("bench/");
  if (package == "intrinsics") {
    // A pause instruction while threads spin is the one use outside the kernels.
    return file.starts_with("src/kernels/cpu/") || file == "src/base/thread_pool.cc";
  }
  if (package == "valijson") return IsTest(file);
  if (package == "openssl" && IsTest(file)) return true;
  if (!file.starts_with("src/")) return package == "fmt";
  const size_t slash = file.find('/', 4);
  const Room* room = FindRoom(rooms, file.substr(4, slash - 4));
  if (room == nullptr || slash == std::string::npos) return false;
  return std::any_of(room->packages.begin(), room->packages.end(), [&](const Package& listed) {
    return listed.name == package && (listed.file.empty() || listed.file == file.substr(slash + 1));
  });
}

// Why `file` may not include "path" of another room; "" when it may.
std::string RefuseRoom(const std::vector<Room>& rooms, const std::string& file,
                       const std::string& path) {
  const std::string to = path.substr(0, path.find('/'));
  const bool in_src = file.starts_with("src/");
  if (!in_src && (to == "tests" || to == "fuzz" || to == "bench")) return "";
  const Room* target = FindRoom(rooms, to);
  if (path.starts_with(".") || path.find('/') == std::string::npos || target == nullptr) {
    return "expected a path from src/ that begins with a room";
  }
  if (path.ends_with("_testing.h") && !IsTest(file)) return "header of tests outside a test";
  const std::string from = in_src ? file.substr(4, file.find('/', 4) - 4) : "";
  if (from == to) return "";
  const bool closed = std::count(path.begin(), path.end(), '/') > 1;
  if (closed && in_src && !IsTest(file)) return "closed folder of another room";
  const Room* room = FindRoom(rooms, from);
  if (room == nullptr) return "";
  if (target->floor > room->floor) return "upward include";
  if (target->floor == room->floor) return "sideways include";
  const auto& listed = room->includes;
  if (std::find(listed.begin(), listed.end(), to) == listed.end()) {
    return "room " + to + " is not listed for " + from;
  }
  return "";
}

}  // namespace

std::vector<Room> ParseRooms(std::string_view cmake) {
  std::string text;
  for (const std::string_view line : SplitLines(cmake)) {
    text += std::string(line.substr(0, line.find('#'))) + "\n";
  }
  std::vector<Room> rooms;
  static const std::regex call(R"((?:^|\n)fathom_room\(([^()]*)\))");
  for (std::sregex_iterator it(text.begin(), text.end(), call), end; it != end; ++it) {
    std::istringstream words((*it)[1].str());
    Room room;
    std::string word;
    std::string part;
    words >> room.name;
    while (words >> word) {
      if (word == "FLOOR" || word == "INCLUDES" || word == "PACKAGES" || word == "LINK") {
        part = word;
      } else if (part == "FLOOR") {
        room.floor = std::stoi(word);
      } else if (part == "INCLUDES") {
        room.includes.push_back(word);
      } else if (part == "PACKAGES") {
        const size_t colon = word.find(':');
        const bool one_file = colon != std::string::npos;
        room.packages.push_back(
            {one_file ? word.substr(0, colon) : "", one_file ? word.substr(colon + 1) : word});
      }
    }
    rooms.push_back(room);
  }
  return rooms;
}

Violations CheckIncludes(const std::vector<Room>& rooms, const Tree& tree) {
  Violations out;
  for (const auto& [file, text] : tree) {
    const bool code = file.starts_with("src/") || file.starts_with("tests/") ||
                      file.starts_with("fuzz/") || file.starts_with("bench/");
    if (!code || (!file.ends_with(".cc") && !file.ends_with(".h"))) continue;
    for (const Include& include : FindIncludes(text)) {
      std::string why;
      if (!include.angled) {
        why = RefuseRoom(rooms, file, include.path);
      } else if (const std::string package = PackageOf(include.path); package == "?") {
        why = "outside header of no known package";
      } else if (!AllowsPackage(rooms, file, package)) {
        why = "package " + package + " is not listed for this file";
      }
      if (!why.empty()) out.push_back({file, include.line, why + ": " + include.path});
    }
  }
  return out;
}

}  // namespace fathom::house
