#include "base/json.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(Json, KeepsMemberOrderAndNumberText) {
  auto json = ParseJson(R"({"b": 1.50, "a": [123456789012345678901234567890, -0.0, 1e5], "b": 2})");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(WriteJson(json.value()), R"({"b":2,"a":[123456789012345678901234567890,-0.0,1e5]})");
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text :
       {"", "{", "[1,]", "{\"a\":1,}", "NaN", "\"\xff\"", "1 2", "\"\\ud800\"", "nul"})
    EXPECT_FALSE(ParseJson(text).ok()) << text;
}

TEST(Json, RefusesRepeatedNamesWhenAsked) {
  const auto json = ParseJson(R"({"a": {"b": 1, "c": 2, "b": 3}})", RepeatedNames::kRefuse);
  ASSERT_FALSE(json.ok());
  EXPECT_EQ(json.error().message, "JSON object with the repeated name \"b\"");
  EXPECT_TRUE(
      ParseJson(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})", RepeatedNames::kRefuse).ok());
}

TEST(Json, ComplaintsStayShortAndPrintable) {
  for (const std::string& text :
       {"[" + std::string(100'000, '1') + "x", "\"\n\xff" + std::string(100'000, 'a')}) {
    const std::string message = ParseJson(text).error().message;
    EXPECT_LT(message.size(), 300u);
    for (const char c : message) EXPECT_TRUE(c >= ' ' && c <= '~') << message;
  }
}

TEST(Json, TakesNoNulForTheEnd) {
  EXPECT_FALSE(ParseJson(std::string_view("null\0", 5)).ok());
  EXPECT_FALSE(ParseJson(std::string_view("[1]\0garbage", 11)).ok());
  EXPECT_FALSE(ParseJson(std::string_view("\"a\0b\"", 5)).ok());
}

TEST(Json, RefusesDeepNesting) {
  const std::string open(kJsonDepthMax, '['), close(kJsonDepthMax, ']');
  EXPECT_TRUE(ParseJson(open + close).ok());
  EXPECT_FALSE(ParseJson("[" + open + close + "]").ok());
  EXPECT_FALSE(ParseJson(std::string(1 << 20, '[')).ok());
}

TEST(Json, ReadsWholeNumbersInEverySpelling) {
  EXPECT_EQ(ParseJson("1e3").value().ToInt64().value(), 1000);
  EXPECT_EQ(ParseJson("-7").value().ToInt64().value(), -7);
  EXPECT_FALSE(ParseJson("1.5").value().ToInt64().ok());
  EXPECT_FALSE(ParseJson("1e300").value().ToInt64().ok());
  EXPECT_FALSE(ParseJson("\"1\"").value().ToInt64().ok());
}

TEST(Json, EscapesWhatJsonMustEscape) {
  EXPECT_EQ(WriteJson(Json("a\"\\\b\f\n\r\t\x01\x7fé")),
            "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7fé\"");
}

}  // namespace
}  // namespace fathom
