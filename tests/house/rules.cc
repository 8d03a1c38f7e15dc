// The rules that look at whole files and at words; includes.cc holds those about #include.
#include "tests/house/rules.h"

#include <algorithm>
#include <regex>
#include <set>

#include "tests/house/scan.h"

namespace fathom::house {
namespace {

constexpr int kColumnsMax = 100;
constexpr int kFunctionLinesMax = 70;
constexpr int kKernelLinesMax = 120;
constexpr int kFileLinesMax = 600;
constexpr int kDoorLinesMax = 200;

std::vector<std::string> Parts(const std::string& path) {
  std::vector<std::string> parts(1);
  for (const char c : path) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

bool IsSource(const std::string& path) { return path.ends_with(".cc") || path.ends_with(".h"); }

bool HoldsTest(const std::string& text) {
  const std::string code = BlankComments(text);
  for (const std::string_view line : SplitLines(code)) {
    for (const char* macro : {"TEST(", "TEST_F(", "TEST_P(", "TYPED_TEST("}) {
      if (line.starts_with(macro)) return true;
    }
  }
  return false;
}

// Code points, since a column is a character.
int Columns(std::string_view line) {
  return static_cast<int>(std::count_if(line.begin(), line.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

void CheckSourcePlace(const std::string& path, const std::vector<std::string>& parts,
                      Violations& out) {
  if (parts.size() < 3 || parts.size() > 4) {
    out.push_back({path, 0, "expected src/<room>/ or src/<room>/<impl>/"});
  } else if (path.ends_with("_bench.cc") || path.ends_with("_fuzz.cc")) {
    out.push_back({path, 0, "a benchmark or fuzz target in src/ ends up in its room's library"});
  }
  for (size_t i = 1; i + 1 < parts.size(); ++i) {
    static const std::set<std::string> vague = {"utils", "util", "common", "misc", "core"};
    if (vague.contains(parts[i])) out.push_back({path, 0, "folder name says nothing: " + parts[i]});
  }
}

}  // namespace

Violations CheckRooms(const std::vector<Room>& rooms, const Tree& tree) {
  Violations out;
  const std::string table = "cmake/rooms.cmake";
  std::map<std::string, int> floors;
  for (const Room& room : rooms) floors[room.name] = room.floor;
  for (const Room& room : rooms) {
    for (const std::string& name : room.includes) {
      if (!floors.contains(name)) {
        out.push_back({table, 0, room.name + " lists an unknown room: " + name});
      } else if (floors[name] >= room.floor) {
        out.push_back({table, 0, room.name + " lists a room that is not below it: " + name});
      }
    }
    const auto first = tree.lower_bound("src/" + room.name + "/");
    if (first == tree.end() || !first->first.starts_with("src/" + room.name + "/")) {
      out.push_back({table, 0, "room without a folder: " + room.name});
    }
  }
  for (const auto& [path, text] : tree) {
    const auto parts = Parts(path);
    if (parts[0] == "src" && parts.size() > 2 && !floors.contains(parts[1])) {
      out.push_back({path, 0, "folder that is no room: " + parts[1]});
    }
  }
  return out;
}

Violations CheckTargets(const Tree& tree) {
  Violations out;
  std::set<std::string> test_folders;
  for (const auto& [path, text] : tree) {
    const auto parts = Parts(path);
    if (parts[0] == "tests" && parts.size() == 3 && path.ends_with("_test.cc")) {
      test_folders.insert(parts[1]);
    }
  }
  static const std::regex foreign(R"(\.(c|cpp|cxx|c\+\+|C|hpp|hh|hxx|inl)$)");
  for (const auto& [path, text] : tree) {
    const auto parts = Parts(path);
    const std::string& top = parts[0];
    if (top != "src" && top != "tests" && top != "fuzz" && top != "bench") continue;
    if (std::regex_search(path, foreign)) out.push_back({path, 0, "expected .cc or .h"});
    if (!IsSource(path)) continue;
    if (top == "src") CheckSourcePlace(path, parts, out);
    if (path.ends_with("_test.cc") && !HoldsTest(text)) out.push_back({path, 0, "holds no test"});
    if (path.ends_with(".h")) {
      if (text.find("#pragma once\n") == std::string::npos) {
        out.push_back({path, 0, "expected #pragma once"});
      }
      continue;
    }
    if (top == "tests" && (parts.size() != 3 || !test_folders.contains(parts[1]))) {
      out.push_back({path, 0, "no target builds it: expected tests/<name>/ with a *_test.cc"});
    }
    if (top == "fuzz" && (parts.size() != 2 || !path.ends_with("_fuzz.cc"))) {
      out.push_back({path, 0, "no target builds it: expected fuzz/<name>_fuzz.cc"});
    }
    if (top == "bench" && (parts.size() != 2 || !path.ends_with("_bench.cc"))) {
      out.push_back({path, 0, "no target builds it: expected bench/<name>_bench.cc"});
    }
  }
  for (const auto& [path, text] : tree) {
    const auto parts = Parts(path);
    if (parts.size() > 3 && parts[0] == "fuzz" && parts[1] == "corpus" &&
        !tree.contains("fuzz/" + parts[2] + "_fuzz.cc")) {
      out.push_back({path, 0, "seed of no fuzz target"});
    }
  }
  return out;
}

Violations CheckSizes(const Tree& tree) {
  Violations out;
  for (const auto& [path, text] : tree) {
    if (!IsSource(path)) continue;
    const auto lines = SplitLines(text);
    const int count = static_cast<int>(lines.size());
    const auto parts = Parts(path);
    const bool door = path.ends_with(".h") && parts[0] == "src" && parts.size() == 3;
    const int file_max = door ? kDoorLinesMax : kFileLinesMax;
    if (count > file_max) {
      out.push_back({path, 0,
                     std::string(door ? "door header" : "file") + " of " + std::to_string(count) +
                         " lines, limit " + std::to_string(file_max)});
    }
    for (int i = 0; i < count; ++i) {
      const int columns = Columns(lines[static_cast<size_t>(i)]);
      if (columns <= kColumnsMax) continue;
      out.push_back({path, i + 1, "line of " + std::to_string(columns) + " columns"});
    }
    const bool kernel =
        path.starts_with("src/kernels/reference/") || path.starts_with("src/kernels/cpu/");
    const int function_max = kernel ? kKernelLinesMax : kFunctionLinesMax;
    for (const Function& function : FindFunctions(text)) {
      if (function.lines <= function_max) continue;
      out.push_back({path, function.line,
                     "function " + function.name + " of " + std::to_string(function.lines) +
                         " lines, limit " + std::to_string(function_max)});
    }
  }
  return out;
}

Violations CheckWords(const Tree& tree) {
  Violations out;
  // In pieces, so that this file passes its own test.
  const std::string unfinished = std::string("TO") + "DO";
  const std::vector<std::string> machine = {std::string("/wo") + "rk/", std::string("/ro") + "ot/",
                                            std::string("/ho") + "me/",
                                            std::string("/tmp/") + "bash_jobs"};
  static const std::regex issue(R"(^\(#\d+\))");
  for (const auto& [path, text] : tree) {
    const auto lines = SplitLines(text);
    for (size_t i = 0; i < lines.size(); ++i) {
      const int number = static_cast<int>(i) + 1;
      if (const size_t at = lines[i].find(unfinished); at != std::string_view::npos) {
        const std::string rest(lines[i].substr(at + unfinished.size()));
        if (!std::regex_search(rest, issue)) {
          out.push_back({path, number, unfinished + " without an issue"});
        }
      }
      for (const std::string& word : machine) {
        if (lines[i].find(word) == std::string_view::npos) continue;
        out.push_back({path, number, "path of a machine: " + word});
      }
    }
  }
  return out;
}

Violations CheckTestdata(const Tree& tree) {
  Violations out;
  std::string tests;
  for (const auto& [path, text] : tree) {
    const bool test = path.ends_with("_test.cc") || path.starts_with("tests/") ||
                      path.starts_with("fuzz/") || path.starts_with("bench/");
    if (test && (IsSource(path) || path.ends_with("CMakeLists.txt"))) tests += text;
  }
  const auto named = [&](const std::string& name) {
    for (size_t i = tests.find(name); i != std::string::npos; i = tests.find(name, i + 1)) {
      const char before = i == 0 ? '"' : tests[i - 1];
      const char after = i + name.size() < tests.size() ? tests[i + name.size()] : '"';
      const bool starts = before == '"' || before == '/';
      if (starts && (after == '"' || after == '/')) return true;
    }
    return false;
  };
  for (const auto& [path, text] : tree) {
    const auto parts = Parts(path);
    // What tells where data is from, and the script that made it, are not read by tests.
    const std::string& name = parts.back();
    if (parts[0] != "testdata" || name.ends_with(".md") || name.ends_with(".py")) continue;
    if (name.starts_with("README") || name.starts_with("LICENSE")) continue;
    // Named by its file name, or picked from its folder.
    const std::string folder = parts.size() > 2 ? parts[parts.size() - 2] : "";
    if (named(name) || (!folder.empty() && named(folder))) continue;
    out.push_back({path, 0, "no test reads it"});
  }
  return out;
}

Violations Excuse(Violations violations, const std::vector<Exception>& exceptions) {
  Violations out;
  std::vector<bool> used(exceptions.size());
  for (Violation& violation : violations) {
    bool excused = false;
    for (size_t i = 0; i < exceptions.size(); ++i) {
      const Exception& exception = exceptions[i];
      if (exception.file != violation.file) continue;
      if (violation.what.find(exception.what) == std::string::npos) continue;
      used[i] = true;
      excused = true;
    }
    if (!excused) out.push_back(std::move(violation));
  }
  for (size_t i = 0; i < exceptions.size(); ++i) {
    if (used[i]) continue;
    out.push_back({exceptions[i].file, 0, "exception that excuses nothing: " + exceptions[i].what});
  }
  return out;
}

}  // namespace fathom::house
