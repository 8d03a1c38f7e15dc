// Each house rule is shown a small tree that breaks it and must say so, and a tree that keeps it
// and must stay silent.
#include "tests/house/rules.h"

#include <gtest/gtest.h>

#include "tests/house/scan.h"

namespace fathom::house {
namespace {

const char kTable[] = R"(
function(fathom_room name)  # fathom_room(no FLOOR 9)
endfunction()
fathom_room(base FLOOR 0
  PACKAGES fmt log.cc:spdlog
  LINK fmt::fmt)
fathom_room(text FLOOR 1 INCLUDES base)
fathom_room(numerics FLOOR 1 INCLUDES base)
fathom_room(tensor FLOOR 2 INCLUDES base numerics)
fathom_room(kernels FLOOR 3 INCLUDES base numerics tensor)
)";

const std::vector<Room>& Rooms() {
  static const std::vector<Room> rooms = ParseRooms(kTable);
  return rooms;
}

// The texts of all violations, one a line.
std::string Told(const Violations& violations) {
  std::string out;
  for (const Violation& v : violations) {
    out += v.file + ":" + std::to_string(v.line) + ": " + v.what + "\n";
  }
  return out;
}

std::string ToldOfInclude(const std::string& file, const std::string& line) {
  return Told(CheckIncludes(Rooms(), {{file, "// A file.\n#include " + line + "\n"}}));
}

std::string Lines(int count, const std::string& line = "int x;\n") {
  std::string out;
  for (int i = 0; i < count; ++i) out += line;
  return out;
}

TEST(RoomsTest, ReadsTheTable) {
  ASSERT_EQ(Rooms().size(), 5u);
  EXPECT_EQ(Rooms()[4].name, "kernels");
  EXPECT_EQ(Rooms()[4].floor, 3);
  EXPECT_EQ(Rooms()[4].includes, (std::vector<std::string>{"base", "numerics", "tensor"}));
  ASSERT_EQ(Rooms()[0].packages.size(), 2u);
  EXPECT_EQ(Rooms()[0].packages[0].file, "");
  EXPECT_EQ(Rooms()[0].packages[1].file, "log.cc");
  EXPECT_EQ(Rooms()[0].packages[1].name, "spdlog");
}

TEST(RoomsTest, TableMayOnlyPointDown) {
  const auto rooms = ParseRooms(
      "fathom_room(a FLOOR 0)\nfathom_room(b FLOOR 1 INCLUDES a c none)\n"
      "fathom_room(c FLOOR 1 INCLUDES a)\n");
  const Tree tree = {{"src/a/x.cc", ""}, {"src/b/x.cc", ""}, {"src/d/x.cc", ""}};
  EXPECT_EQ(Told(CheckRooms(rooms, tree)),
            "cmake/rooms.cmake:0: b lists a room that is not below it: c\n"
            "cmake/rooms.cmake:0: b lists an unknown room: none\n"
            "cmake/rooms.cmake:0: room without a folder: c\n"
            "src/d/x.cc:0: folder that is no room: d\n");
}

TEST(IncludesTest, RoomsLookDownThroughDoors) {
  EXPECT_EQ(ToldOfInclude("src/tensor/a.cc", "\"base/x.h\""), "");
  EXPECT_EQ(ToldOfInclude("src/tensor/a.cc", "\"tensor/impl/x.h\""), "");
  EXPECT_EQ(ToldOfInclude("src/tensor/a.cc", "\"kernels/x.h\""),
            "src/tensor/a.cc:2: upward include: kernels/x.h\n");
  EXPECT_EQ(ToldOfInclude("src/text/a_test.cc", "\"numerics/x.h\""),
            "src/text/a_test.cc:2: sideways include: numerics/x.h\n");
  EXPECT_EQ(ToldOfInclude("src/tensor/a.h", "\"text/x.h\""),
            "src/tensor/a.h:2: room text is not listed for tensor: text/x.h\n");
  EXPECT_EQ(ToldOfInclude("src/kernels/cpu/a.cc", "\"tensor/cuda/x.h\""),
            "src/kernels/cpu/a.cc:2: closed folder of another room: tensor/cuda/x.h\n");
  EXPECT_EQ(ToldOfInclude("tests/ops/a.cc", "\"kernels/reference/x.h\""), "");
}

TEST(IncludesTest, HeadersOfTestsStayInTests) {
  EXPECT_EQ(ToldOfInclude("src/text/a_testing.h", "<gtest/gtest.h>"), "");
  EXPECT_EQ(ToldOfInclude("src/text/a_test.cc", "\"text/a_testing.h\""), "");
  EXPECT_EQ(ToldOfInclude("src/text/a.cc", "\"text/a_testing.h\""),
            "src/text/a.cc:2: header of tests outside a test: text/a_testing.h\n");
  EXPECT_NE(ToldOfInclude("src/text/a.h", "<gtest/gtest.h>"), "");
}

TEST(IncludesTest, PathsBeginWithARoom) {
  for (const char* path : {"x.h", "../base/x.h", "nowhere/x.h", "tests/house/x.h"}) {
    const std::string told =
        ToldOfInclude("src/text/a.cc", std::string("\"").append(path).append("\""));
    EXPECT_NE(told.find("expected a path from src/"), std::string::npos) << path << told;
  }
  EXPECT_EQ(ToldOfInclude("tests/house/a.cc", "\"tests/house/x.h\""), "");
  EXPECT_NE(ToldOfInclude("fuzz/a_fuzz.cc", "\"x.h\""), "");
}

TEST(IncludesTest, OutsideHeadersNeedALine) {
  EXPECT_EQ(ToldOfInclude("src/text/a.cc", "<vector>"), "");
  EXPECT_EQ(ToldOfInclude("src/text/a.cc", "<sys/mman.h>"), "");
  EXPECT_EQ(ToldOfInclude("src/base/a.cc", "<fmt/format.h>"), "");
  EXPECT_EQ(ToldOfInclude("src/base/log.cc", "<spdlog/spdlog.h>"), "");
  EXPECT_EQ(ToldOfInclude("src/base/a.cc", "<spdlog/spdlog.h>"),
            "src/base/a.cc:2: package spdlog is not listed for this file: spdlog/spdlog.h\n");
  EXPECT_EQ(ToldOfInclude("src/text/a.cc", "<zlib.h>"),
            "src/text/a.cc:2: outside header of no known package: zlib.h\n");
  for (const char* header : {"fmt/format.h", "nlohmann/json.hpp", "pcre2.h", "CLI/CLI.hpp",
                             "histedit.h", "hwloc.h", "gtest/gtest.h", "benchmark/benchmark.h"}) {
    EXPECT_NE(ToldOfInclude("src/text/a.cc", std::string("<").append(header).append(">")), "")
        << header;
  }
  EXPECT_EQ(ToldOfInclude("src/text/a_test.cc", "<gtest/gtest.h>"), "");
  EXPECT_EQ(ToldOfInclude("bench/a_bench.cc", "<benchmark/benchmark.h>"), "");
  EXPECT_NE(ToldOfInclude("tests/a/a_test.cc", "<nlohmann/json.hpp>"), "");
}

TEST(IncludesTest, InstructionSetsStayInTheKernels) {
  EXPECT_EQ(ToldOfInclude("src/kernels/cpu/a.cc", "<immintrin.h>"), "");
  EXPECT_EQ(ToldOfInclude("src/base/thread_pool.cc", "<immintrin.h>"), "");
  for (const char* header : {"immintrin.h", "arm_neon.h", "x86intrin.h"}) {
    EXPECT_NE(ToldOfInclude("src/kernels/a.cc", std::string("<").append(header).append(">")), "")
        << header;
  }
}

TEST(IncludesTest, CommentsAndStringsAreNotIncludes) {
  const std::string text =
      "// #include <zlib.h>\n/*\n#include <zlib.h>\n*/\nconst char* s = R\"(\n" +
      std::string("#include <zlib.h>\n)\";\n");
  EXPECT_EQ(Told(CheckIncludes(Rooms(), {{"src/text/a.cc", text}})), "");
}

TEST(TargetsTest, OrphansAreFound) {
  const std::string test = "TEST(A, B) {}\n";
  EXPECT_EQ(Told(CheckTargets({{"src/text/a.cc", ""},
                               {"src/text/impl/a_test.cc", test},
                               {"tests/ops/a_test.cc", test},
                               {"tests/ops/cases.cc", ""},
                               {"fuzz/a_fuzz.cc", ""},
                               {"fuzz/corpus/a/seed", ""},
                               {"bench/a_bench.cc", ""}})),
            "");
  for (const char* path :
       {"src/a.cc", "src/text/impl/deep/a.cc", "src/text/a.cpp", "src/text/utils/a.cc",
        "src/text/a_fuzz.cc", "src/text/a_bench.cc", "tests/a_test.cc", "tests/ops/cases.cc",
        "tests/ops/deep/a_test.cc", "fuzz/a.cc", "fuzz/text/a_fuzz.cc", "bench/a.cc",
        "fuzz/corpus/a/seed", "src/text/a.h"}) {
    EXPECT_EQ(CheckTargets({{path, test}}).size(), 1u) << path;
  }
}

TEST(TargetsTest, ATestFileHoldsATest) {
  EXPECT_EQ(Told(CheckTargets({{"src/text/a_test.cc", "// TEST(A, B)\nint x;\n"}})),
            "src/text/a_test.cc:0: holds no test\n");
}

TEST(SizesTest, LongThingsAreFound) {
  EXPECT_EQ(Told(CheckSizes({{"src/text/a.cc", Lines(600)}, {"src/text/a.h", Lines(200)}})), "");
  EXPECT_EQ(Told(CheckSizes({{"src/text/a.cc", Lines(601)}})),
            "src/text/a.cc:0: file of 601 lines, limit 600\n");
  EXPECT_EQ(Told(CheckSizes({{"src/text/a.h", Lines(201)}})),
            "src/text/a.h:0: door header of 201 lines, limit 200\n");
  EXPECT_EQ(Told(CheckSizes({{"src/text/impl/a.h", Lines(201)}})), "");
  EXPECT_EQ(Told(CheckSizes({{"src/text/a.cc", "\n" + std::string(101, 'x') + "\n"}})),
            "src/text/a.cc:2: line of 101 columns\n");
  // A column is a character, not a byte.
  EXPECT_EQ(Told(CheckSizes({{"src/text/a.cc", Lines(100, "\u00e9") + "\n"}})), "");
}

TEST(SizesTest, LongFunctionsAreFound) {
  const std::string head = "namespace a {\nvoid F(int x,\n       int y) {\n";
  EXPECT_EQ(Told(CheckSizes({{"src/text/a.cc", head + Lines(67) + "}\n}\n"}})), "");
  EXPECT_EQ(Told(CheckSizes({{"src/text/a.cc", head + Lines(68) + "}\n}\n"}})),
            "src/text/a.cc:2: function F of 71 lines, limit 70\n");
  EXPECT_EQ(Told(CheckSizes({{"src/kernels/cpu/a.cc", head + Lines(117) + "}\n}\n"}})), "");
  EXPECT_EQ(Told(CheckSizes({{"src/kernels/reference/a.cc", head + Lines(118) + "}\n}\n"}})),
            "src/kernels/reference/a.cc:2: function F of 121 lines, limit 120\n");
}

TEST(WordsTest, UnfinishedWorkNeedsAnIssue) {
  const std::string word = std::string("TO") + "DO";
  EXPECT_EQ(Told(CheckWords({{"a.cc", "// " + word + "(#12): more\n"}})), "");
  EXPECT_EQ(Told(CheckWords({{"a.cc", "\n// " + word + ": more\n"}})),
            "a.cc:2: " + word + " without an issue\n");
}

TEST(WordsTest, PathsOfAMachineAreFound) {
  EXPECT_EQ(Told(CheckWords({{"a.md", "see work/x and the root/ of it\n"}})), "");
  for (const std::string word : {"/wo", "/ro", "/ho"}) {
    for (const char* rest : {"rk/x", "ot/x", "me/x"}) {
      const std::string path = word + rest;
      const bool bad = path == std::string("/wo") + "rk/x" || path == std::string("/ro") + "ot/x" ||
                       path == std::string("/ho") + "me/x";
      EXPECT_EQ(CheckWords({{"a.md", path}}).size(), bad ? 1u : 0u) << path;
    }
  }
}

TEST(TestdataTest, UnreadFilesAreFound) {
  Tree tree = {{"testdata/chat/a.json", ""},
               {"testdata/chat/README.md", ""},
               {"src/text/x_test.cc", "Read(\"/testdata/ops/\" + name)"},
               {"src/text/x.cc", "\"a.json\""}};
  EXPECT_EQ(Told(CheckTestdata(tree)), "testdata/chat/a.json:0: no test reads it\n");
  tree["tests/y/y_test.cc"] = "\"chat/a.json\"";
  EXPECT_EQ(Told(CheckTestdata(tree)), "");
  tree["tests/y/y_test.cc"] = "\"chat/\" + name";
  EXPECT_EQ(Told(CheckTestdata(tree)), "");
  tree["tests/y/y_test.cc"] = "\"snapchat/\" // a.json";
  EXPECT_EQ(CheckTestdata(tree).size(), 1u);
}

TEST(ExcuseTest, ExceptionsCoverAndGoStale) {
  const Violations found = {{"a.cc", 3, "function F of 90 lines"}, {"b.cc", 1, "line"}};
  EXPECT_EQ(Told(Excuse(found, {{"a.cc", "function F", "a table"}})), "b.cc:1: line\n");
  EXPECT_EQ(Told(Excuse({}, {{"a.cc", "function F", "a table"}})),
            "a.cc:0: exception that excuses nothing: function F\n");
}

std::string Names(std::string_view text) {
  std::string out;
  for (const Function& f : FindFunctions(text)) {
    out += f.name + "@" + std::to_string(f.line) + "+" + std::to_string(f.lines) + " ";
  }
  return out;
}

TEST(ScanTest, FindsFunctions) {
  EXPECT_EQ(Names("int F() { return 1; }\n"), "F@1+1 ");
  EXPECT_EQ(Names("template <class T>\nvoid F(T x) {\n}\n"), "F@1+3 ");
  EXPECT_EQ(Names("class A : B {\n public:\n  A() : x_{1}, y_(2) {\n  }\n  int x_{0};\n"
                  "  void G(O o = {}) const {\n    if (x) {\n    }\n  }\n};\n"),
            "A@3+2 G@6+4 ");
  EXPECT_EQ(Names("TEST(A, B) {\n}\nTEST_F(C, D) {\n}\n"), "A.B@1+2 C.D@3+2 ");
  EXPECT_EQ(Names("__attribute__((target(\"avx2\"))) float F(\n    int x) {\n}\n"), "F@1+3 ");
  EXPECT_EQ(Names("extern \"C\" {\nint F(int) {\n}\n}\n"), "F@2+2 ");
  EXPECT_EQ(Names("bool operator==(A a, A b) {\n}\nA::~A() {\n}\n"), "operator==@1+2 A::~A@3+2 ");
  EXPECT_EQ(Names("namespace a::b {\nstruct P {\n  int x = 0;\n};\nenum class E { kA };\n"
                  "const int kT[] = {1, 2};\nconst M kM = Make({{1}});\nint F() {\n}\n}\n"),
            "F@8+2 ");
}

TEST(ScanTest, IgnoresWhatIsNotCode) {
  EXPECT_EQ(Names("// void F() {\n/* { */ const char* s = \"{\"; char c = '{';\nint n = 1'000;\n"
                  "#define M() do { \\\n  {\nint F() {\n}\n"),
            "F@6+2 ");
  EXPECT_EQ(BlankComments("a // b\n\"c\\\"d\" 'e'"), "a     \n\"    \" ' '");
}

}  // namespace
}  // namespace fathom::house
