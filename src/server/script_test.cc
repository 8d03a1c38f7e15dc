#include "server/script.h"

#include <gtest/gtest.h>

namespace fathom::server {
namespace {

TEST(ScriptTest, LinesAreTakenInOrderByTheirMatch) {
  auto lines = Script::Parse(
      "{\"match\": \"weather\", \"completion\": \"rain\"}\n\n"
      "{\"completion\": \"first\"}\r\n"
      "{\"completion\": \"second\"}",
      "script");
  ASSERT_TRUE(lines.ok()) << lines.error().message;
  Script script(std::move(lines).value());
  EXPECT_EQ(script.Take("hello"), "first");
  EXPECT_EQ(script.Take("the weather?"), "rain");
  EXPECT_EQ(script.Take("the weather?"), "second");
  EXPECT_EQ(script.Take("the weather?"), std::nullopt);
}

TEST(ScriptTest, ErrorsNameTheLine) {
  const auto message = [](std::string_view text) {
    const auto lines = Script::Parse(text, "script");
    return lines.ok() ? std::string() : lines.error().message;
  };
  EXPECT_TRUE(message("{\"completion\": \"a\"}\n{}").starts_with("script:2")) << message("\n{}");
  EXPECT_TRUE(message("nonsense").starts_with("script:1: "));
  EXPECT_EQ(message("{\"completion\": \"a\", \"match\": 1}"),
            "script:1: match: expected a string, found number");
  EXPECT_EQ(message("\n  \n"), "");
}

}  // namespace
}  // namespace fathom::server
