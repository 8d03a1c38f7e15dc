#include "chat/python_json.h"

#include <gtest/gtest.h>

namespace fathom::chat {
namespace {

std::string Rewrite(std::string_view text) {
  auto json = ParsePythonJson(text);
  return json.ok() ? WritePythonJson(json.value()) : "error: " + json.error().message;
}

TEST(PythonJson, SpellsNumbersAsPythonDoes) {
  const std::pair<const char*, const char*> cases[] = {
      {"0", "0"},
      {"-0", "0"},
      {"-7", "-7"},
      {"123456789012345678901234567890", "123456789012345678901234567890"},
      {"1.0", "1.0"},
      {"1e5", "100000.0"},
      {"1E-7", "1e-07"},
      {"0.0001", "0.0001"},
      {"0.00001", "1e-05"},
      {"1.5e-5", "1.5e-05"},
      {"1e15", "1000000000000000.0"},
      {"1e16", "1e+16"},
      {"9999999999999998.0", "9999999999999998.0"},
      {"12345678.9", "12345678.9"},
      {"1234567890123456789.5", "1.2345678901234568e+18"},
      {"0.30000000000000004", "0.30000000000000004"},
      {"-0.0", "-0.0"},
      {"-0e5", "-0.0"},
      {"5e-324", "5e-324"},
      {"2e-324", "0.0"},
      {"-1e-400", "-0.0"},
      {"1.7976931348623157e308", "1.7976931348623157e+308"},
      {"1e309", "Infinity"},
      {"-1e400", "-Infinity"},
      {"1e99999999999999999999", "Infinity"},
      {"1e-99999999999999999999", "0.0"},
      {"0e99999999999999999999", "0.0"},
      {"1.5e300", "1.5e+300"},
      {"1e22", "1e+22"},
      {"100.0", "100.0"},
      {"123.456", "123.456"},
      {"-0.001", "-0.001"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(Rewrite(text), expected) << text;
  EXPECT_EQ(Rewrite("1" + std::string(400, '0') + ".0"), "Infinity");
  EXPECT_EQ(Rewrite("0." + std::string(400, '0') + "1"), "0.0");
  // 1 followed by 400 digits, brought back into range by its exponent.
  EXPECT_EQ(Rewrite("1" + std::string(400, '0') + "e-400"), "1.0");
}

TEST(PythonJson, AcceptsPythonsConstants) {
  EXPECT_EQ(Rewrite("[NaN, Infinity,-Infinity]"), "[NaN, Infinity, -Infinity]");
  for (const char* text : {"NaN", "[Infinity]", "{\"a\":-Infinity}"})
    EXPECT_FALSE(ParsePythonJson(text, {.reject_constants = true}).ok()) << text;
  EXPECT_FALSE(ParsePythonJson("nan").ok());
  EXPECT_FALSE(ParsePythonJson("+Infinity").ok());
}

TEST(PythonJson, KeepsOrderAndTheLastOfRepeatedMembers) {
  EXPECT_EQ(Rewrite(R"({"b":1,"a":[],"b":{"x":null},"c":true})"),
            R"({"b": {"x": null}, "a": [], "c": true})");
}

TEST(PythonJson, ReadsEscapes) {
  EXPECT_EQ(Rewrite(R"("\u00e9\u4f60\ud83d\ude00\/\"\\\b\f\n\r\t\u0001\u007f")"),
            "\"é你😀/\\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7f\"");
  EXPECT_EQ(Rewrite("\"\xe2\x80\xa8 \xc2\x85\""), "\"\xe2\x80\xa8 \xc2\x85\"");
}

TEST(PythonJson, KeepsLoneSurrogatesForTheCallerToRefuse) {
  EXPECT_EQ(ParsePythonJson(R"("\ud83d")").value().string(), "\xed\xa0\xbd");
  EXPECT_EQ(ParsePythonJson(R"("\ude00\ud83d")").value().string(), "\xed\xb8\x80\xed\xa0\xbd");
  // The second escape is no partner, and is read again as the first half of a pair.
  EXPECT_EQ(ParsePythonJson(R"("\ud83d\ud83d\ude00")").value().string(), "\xed\xa0\xbd😀");
  EXPECT_EQ(ParsePythonJson(R"("\ud83d\u0041")").value().string(),
            "\xed\xa0\xbd"
            "A");
}

TEST(PythonJson, RefusesWhatPythonRefuses) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "[1,]",
                           "{\"a\":1,}",
                           "{a:1}",
                           "{'a':1}",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "-",
                           "1e",
                           "1e+",
                           "0x10",
                           "1 2",
                           "True",
                           "None",
                           "nul",
                           "\"\n\"",
                           "\"\t\"",
                           "\"\\x41\"",
                           "\"\\u12\"",
                           "\"\\u12g4\"",
                           "\"\\ud83d\\u12\"",
                           "\"abc",
                           "\"\\",
                           "[1 2]",
                           "{\"a\" 1}",
                           "\xef\xbb\xbf{}",
                           "\"\xff\"",
                           "\"\xed\xa0\x80\"",
                           "\xc2\xa0"
                           "1",
                           "[1]]",
                           "-Inf",
                           "{1:2}"})
    EXPECT_FALSE(ParsePythonJson(text).ok()) << text;
}

TEST(PythonJson, LimitsDepth) {
  const std::string open(kJsonDepthMax, '['), close(kJsonDepthMax, ']');
  EXPECT_TRUE(ParsePythonJson(open + close).ok());
  EXPECT_FALSE(ParsePythonJson("[" + open + close + "]").ok());
  EXPECT_FALSE(ParsePythonJson(std::string(1 << 20, '[')).ok());
}

TEST(PythonJson, WritingIsAFixedPointOfReading) {
  const std::string text = R"({"a": [1, 2.5, -0.0, 1e+16], "é": {"": "x\ny"}, "n": null})";
  EXPECT_EQ(Rewrite(text), text);
}

TEST(PythonJson, KnowsWhatIsTruthy) {
  for (const char* text : {"null", "false", "0", "-0", "0.0", "-0.0", "\"\"", "[]", "{}"})
    EXPECT_FALSE(IsTruthy(ParsePythonJson(text).value())) << text;
  for (const char* text : {"true", "1", "0.1", "NaN", "\"0\"", "[0]", "{\"a\":0}"})
    EXPECT_TRUE(IsTruthy(ParsePythonJson(text).value())) << text;
}

}  // namespace
}  // namespace fathom::chat
