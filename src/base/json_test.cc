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
