#include "api/fields.h"

#include <gtest/gtest.h>

#include "api/json_places.h"

namespace fathom::api {
namespace {

constexpr std::string_view kNotJson = "Failed to parse the request body as JSON: ";
constexpr std::string_view kWrongShape =
    "Failed to deserialize the JSON body into the target type: ";

std::string SyntaxError(std::string_view text) {
  const auto body = ReadBody(text, Profile::kDefault);
  if (body.ok()) return "read";
  EXPECT_EQ(body.error().status, 400);
  EXPECT_TRUE(body.error().message.starts_with(kNotJson)) << body.error().message;
  return body.error().message.substr(kNotJson.size());
}

TEST(Fields, TextThatIsNoJsonIsRefusedWithItsPlace) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "EOF while parsing a value at line 1 column 0"},
      {"  \n ", "EOF while parsing a value at line 2 column 1"},
      {"x", "expected value at line 1 column 1"},
      {"{\"a\":1,}", "trailing comma at line 1 column 8"},
      {"{\"a\":1", "EOF while parsing an object at line 1 column 6"},
      {"{\"a\"", "EOF while parsing an object at line 1 column 4"},
      {"{\"a\":", "EOF while parsing a value at line 1 column 5"},
      {"{a:1}", "key must be a string at line 1 column 2"},
      {"{\"a\" 1}", "expected `:` at line 1 column 6"},
      {"{\"a\":1 \"b\":2}", "expected `,` or `}` at line 1 column 8"},
      {"[1,2", "EOF while parsing a list at line 1 column 4"},
      {"[1 2]", "expected `,` or `]` at line 1 column 4"},
      {"[1,]", "trailing comma at line 1 column 4"},
      {"{}\n{}", "trailing characters at line 2 column 1"},
      {"tru", "EOF while parsing a value at line 1 column 3"},
      {"nulx", "expected ident at line 1 column 4"},
      {"[01]", "invalid number at line 1 column 3"},
      {"-", "EOF while parsing a value at line 1 column 1"},
      {"-x", "invalid number at line 1 column 2"},
      {"1.", "EOF while parsing a value at line 1 column 2"},
      {"[1.x]", "invalid number at line 1 column 4"},
      {"[1e+]", "invalid number at line 1 column 5"},
      {"\"ab", "EOF while parsing a string at line 1 column 3"},
      {"\"a\nb\"",
       "control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0"},
      {"\"\\q\"", "invalid escape at line 1 column 3"},
      {"\"\\u12x4\"", "invalid escape at line 1 column 6"},
      {"\"\\ud800\"", "unexpected end of hex escape at line 1 column 8"},
      {"\"\\udc00\"", "lone leading surrogate in hex escape at line 1 column 7"},
      {"\"\\ud800\\u0041\"", "lone leading surrogate in hex escape at line 1 column 13"},
      {"\"\xFF\"", "invalid unicode code point at line 1 column 2"},
      {"\"\xC3", "invalid unicode code point at line 1 column 2"},
      {"{\"a\":\"\xED\xA0\x80\"}", "invalid unicode code point at line 1 column 7"},
      {std::string("{\"a\":\"x\0\"}", 10),
       "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 8"},
      {std::string("{}\0", 3), "trailing characters at line 1 column 3"},
      {std::string(257, '['), "recursion limit exceeded at line 1 column 257"},
      {"[1e999]", "number out of range at line 1 column 7"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(SyntaxError(text), expected) << text;
  EXPECT_EQ(SyntaxError(" {\"a\": [1, \"\\ud83d\\ude00\", -0.5e-3, true, null]} \n"), "read");
}

// The message of a reading that fails, without its constant beginning.
template <typename T>
std::string ShapeError(const Parsed<T>& parsed, Profile profile = Profile::kDefault) {
  if (parsed.ok()) return "read";
  EXPECT_EQ(parsed.error().status, profile == Profile::kStrict ? 422 : 400);
  EXPECT_EQ(parsed.error().type, "invalid_request_error");
  EXPECT_TRUE(parsed.error().message.starts_with(kWrongShape)) << parsed.error().message;
  return parsed.error().message.substr(kWrongShape.size());
}

TEST(Fields, WrongKindsAreNamedWithPathAndPlace) {
  const std::string text =
      "{\n"
      "  \"s\": \"x\\n\\\"\",\n"
      "  \"i\": 12, \"f\": 1.5,\n"
      "  \"t\": true, \"n\": null,\n"
      "  \"list\": [1, {\"a\": {\"b\": \"\\u00e9\"}}]\n"
      "}";
  const Body body = ReadBody(text, Profile::kDefault).value();
  const Field root(body);
  EXPECT_EQ(ShapeError(root["s"].Bool()),
            "s: invalid type: string \"x\\n\\\"\", expected a boolean at line 2 column 14");
  EXPECT_EQ(ShapeError(root["i"].String()),
            "i: invalid type: integer `12`, expected a string at line 3 column 9");
  EXPECT_EQ(ShapeError(root["f"].String()),
            "f: invalid type: floating point `1.5`, expected a string at line 3 column 19");
  EXPECT_EQ(ShapeError(root["f"].Integer(kU8)),
            "f: invalid type: floating point `1.5`, expected u8 at line 3 column 19");
  EXPECT_EQ(ShapeError(root["t"].Number()),
            "t: invalid type: boolean `true`, expected f64 at line 4 column 11");
  EXPECT_EQ(ShapeError(root["n"].String()),
            "n: invalid type: null, expected a string at line 4 column 22");
  EXPECT_EQ(ShapeError(root["list"].String()),
            "list: invalid type: sequence, expected a string at line 5 column 10");
  const std::vector<Field> items = root["list"].Items().value();
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(ShapeError(items[0].Object("struct Thing")),
            "list[0]: invalid type: integer `1`, expected struct Thing at line 5 column 12");
  EXPECT_EQ(ShapeError(items[1]["a"].Items()),
            "list[1].a: invalid type: map, expected a sequence at line 5 column 20");
  EXPECT_EQ(ShapeError(items[1]["a"]["b"].Integer()),
            "list[1].a.b: invalid type: string \"é\", expected i64 at line 5 column 34");
  EXPECT_EQ(ShapeError(items[1]["c"].String()), "list[1]: missing field `c` at line 5 column 36");
  EXPECT_EQ(ShapeError(root["model"].String()), "missing field `model` at line 6 column 1");
  EXPECT_EQ(ShapeError(root["s"].Variant({"a", "b", "c"})),
            "s: unknown variant `x\n\"`, expected one of `a`, `b`, `c` at line 2 column 14");
  EXPECT_EQ(ShapeError(root["s"].Variant({"a", "b"})),
            "s: unknown variant `x\n\"`, expected `a` or `b` at line 2 column 14");
  EXPECT_EQ(ShapeError(root["s"].Variant({"a"})),
            "s: unknown variant `x\n\"`, expected `a` at line 2 column 14");
}

TEST(Fields, IntegersHaveRanges) {
  const std::string text =
      "{\"neg\":-1,\"big\":256,\"huge\":99999999999999999999999,\"whole\":10.0,\"exp\":1e2}";
  for (const Profile profile : {Profile::kDefault, Profile::kStrict}) {
    const Body body = ReadBody(text, profile).value();
    const Field root(body);
    EXPECT_EQ(ShapeError(root["neg"].Integer(kU8), profile),
              "neg: invalid value: integer `-1`, expected u8 at line 1 column 9");
    EXPECT_EQ(ShapeError(root["big"].Integer(kU8), profile),
              "big: invalid value: integer `256`, expected u8 at line 1 column 19");
    EXPECT_EQ(root["big"].Integer().value(), 256);
    EXPECT_EQ(ShapeError(root["huge"].Integer(), profile),
              "huge: invalid value: integer `99999999999999999999999`, expected i64 at line 1 "
              "column 50");
    if (profile == Profile::kStrict) {
      EXPECT_EQ(ShapeError(root["whole"].Integer(), profile),
                "whole: invalid type: floating point `10.0`, expected i64 at line 1 column 63");
    } else {
      EXPECT_EQ(root["whole"].Integer().value(), 10);
      EXPECT_EQ(root["exp"].OptInteger().value(), 100);
    }
  }
}

TEST(Fields, OptionalMembersMayBeAbsentOrNull) {
  const Body body = ReadBody(R"({"n":null,"x":[1]})", Profile::kDefault).value();
  const Field root(body);
  for (const char* name : {"n", "absent"}) {
    const Field field = root[name];
    EXPECT_FALSE(field.has_value());
    EXPECT_EQ(field.OptString().value(), std::nullopt);
    EXPECT_EQ(field.OptBool().value(), std::nullopt);
    EXPECT_EQ(field.OptInteger().value(), std::nullopt);
    EXPECT_EQ(field.OptNumber().value(), std::nullopt);
    EXPECT_EQ(field.OptVariant({"a"}).value(), std::nullopt);
    EXPECT_TRUE(field.OptItems().value().empty());
    EXPECT_TRUE(field.OptObject().ok());
    EXPECT_TRUE(field["deeper"].is_absent());
    EXPECT_TRUE(field.json().is_null());
  }
  const Field list = root["x"];
  EXPECT_FALSE(list.OptString().ok());
  EXPECT_FALSE(list.OptBool().ok());
  EXPECT_FALSE(list.OptInteger().ok());
  EXPECT_FALSE(list.OptNumber().ok());
  EXPECT_FALSE(list.OptVariant({"a"}).ok());
  EXPECT_FALSE(list.OptObject().ok());
}

TEST(Fields, LongValuesAreCutInMessages) {
  const std::string text =
      "{\"a\":\"" + std::string(199, 'x') + "é" + std::string(5000, 'y') + "\"}";
  const Body body = ReadBody(text, Profile::kDefault).value();
  EXPECT_EQ(ShapeError(Field(body)["a"].Bool()),
            "a: invalid type: string \"" + std::string(199, 'x') +
                "\", expected a boolean at line 1 column 5208");
}

TEST(JsonPlaces, OfRepeatedNamesTheLastCounts) {
  const std::string_view text = R"({"a":{"b":1},"a":{"b":22}})";
  const JsonPlace place = FindPlace(text, {std::string_view("a"), std::string_view("b")});
  EXPECT_EQ(text.substr(place.begin, place.end - place.begin), "22");
}

}  // namespace
}  // namespace fathom::api
