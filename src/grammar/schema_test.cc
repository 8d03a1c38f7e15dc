// Which documents a compiled schema takes, keyword by keyword, and what it refuses to compile.
#include <gtest/gtest.h>

#include <ctime>
#include <string>
#include <string_view>

#include "base/json.h"
#include "grammar/constraint.h"
#include "grammar/matches_testing.h"

namespace fathom::grammar {
namespace {

std::shared_ptr<const Grammar> Compile(std::string_view schema) {
  auto grammar = CompileSchema(ParseJson(schema).value());
  EXPECT_TRUE(grammar.ok()) << schema << ": " << (grammar.ok() ? "" : grammar.error().message);
  return grammar.ok() ? grammar.value() : nullptr;
}

std::string ErrorOf(std::string_view schema, const SchemaOptions& options = {}) {
  const auto grammar = CompileSchema(ParseJson(schema).value(), options);
  return grammar.ok() ? "compiled" : grammar.error().message;
}

constexpr const char* kTooManyPlaces =
    "#: more properties or alternatives may come next at one place than can be enforced (4096 "
    "places)";

// Every one of the texts is a document of the schema.
void Takes(std::string_view schema, std::initializer_list<std::string_view> texts) {
  const auto grammar = Compile(schema);
  if (grammar == nullptr) return;
  for (const std::string_view text : texts)
    EXPECT_TRUE(Matches(grammar, text)) << schema << "\n" << text;
}
void Refuses(std::string_view schema, std::initializer_list<std::string_view> texts) {
  const auto grammar = Compile(schema);
  if (grammar == nullptr) return;
  for (const std::string_view text : texts)
    EXPECT_FALSE(Matches(grammar, text)) << schema << "\n" << text;
}

TEST(SchemaTest, AnyValue) {
  Takes("true", {"null", "true", "0", "-1.5e+10", "\"a\"", "[]", "[1, [2], {}]", "{}",
                 R"({"a":{"b":[null]}})", "{\n  \"a\": 1\n}", "\"\\ud83d\\ude00 \\u00e9\""});
  Refuses("{}", {"",         " 1",       "1 ",      "01",    "+1",    "1.",          ".5",
                 "nul",      "[1,]",     "{\"a\"}", "{,}",   "\"a",   "\"\\ud83d\"", "\"\n\"",
                 "\"\xff\"", "\"\xc3\"", "'a'",     "[  1]", "1e999", "NaN"});
}

TEST(SchemaTest, AnyObject) {
  EXPECT_TRUE(Matches(AnyObject(), R"({"a": [1, "x"], "b": {}})"));
  EXPECT_FALSE(Matches(AnyObject(), "[]"));
  EXPECT_TRUE(Matches(Compile("true"), "[]"));
}

TEST(SchemaTest, DocumentsAreNotNestedWithoutEnd) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(Matches(Compile("true"), nested(100)));
  EXPECT_FALSE(Matches(Compile("true"), nested(256)));
}

TEST(SchemaTest, Types) {
  Takes(R"({"type":"integer"})", {"0", "-7", "123456789012345678"});
  Refuses(R"({"type":"integer"})", {"1.0", "-0", "1e2", "1234567890123456789", "\"1\""});
  Takes(R"({"type":["string","null"]})", {"null", "\"\""});
  Refuses(R"({"type":["string","null"]})", {"1", "[]"});
  Takes(R"({"type":"boolean"})", {"true", "false"});
}

TEST(SchemaTest, PropertiesComeInOrder) {
  const char* schema =
      R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},
                           "c":{"type":"null"}},"required":["b"],"additionalProperties":false})";
  Takes(schema, {R"({"b":""})", R"({"a":1,"b":"x","c":null})", R"({ "b": "x", "c": null })"});
  Refuses(schema, {"{}", R"({"a":1})", R"({"b":"x","a":1})", R"({"b":"x","d":1})", R"({"b":1})",
                   R"({"b":"","b":""})"});
}

TEST(SchemaTest, OtherProperties) {
  const char* schema = R"({"type":"object","properties":{"ab":{"type":"integer"}},
                           "additionalProperties":{"type":"boolean"}})";
  Takes(schema, {"{}", R"({"ab":1})", R"({"a":true,"abc":false})", R"({"ab":1,"é":true})"});
  Refuses(schema, {R"({"ab":true})", R"({"a":1})", R"({"\u0061b":true})"});
  // What the schema does not speak about is not produced beside declared properties.
  Refuses(R"({"properties":{"a":{}}})", {R"({"b":1})"});
  Takes(R"({"type":"object","required":["x"]})", {R"({"x":[1]})"});
  Takes(R"({"type":"object","patternProperties":{"^n_":{"type":"integer"}},
            "additionalProperties":false})",
        {"{}", R"({"n_a":1,"n_b":2})"});
  Refuses(R"({"type":"object","patternProperties":{"^n_":{"type":"integer"}},
              "additionalProperties":false})",
          {R"({"x":1})", R"({"n_a":""})"});
  Takes(R"({"type":"object","propertyNames":{"pattern":"^[a-z]+$"},"additionalProperties":true})",
        {R"({"abc":1})"});
  Refuses(R"({"type":"object","propertyNames":{"pattern":"^[a-z]+$"},"additionalProperties":true})",
          {R"({"Abc":1})"});
}

TEST(SchemaTest, NumbersOfProperties) {
  Refuses(R"({"type":"object","minProperties":1})", {"{}"});
  Takes(R"({"type":"object","minProperties":1})", {R"({"a":1})"});
  const char* schema = R"({"properties":{"a":{"const":1},"b":{"const":2},"c":{"const":3}},
                           "minProperties":2,"maxProperties":2})";
  Takes(schema, {R"({"a":1,"b":2})", R"({"a":1,"c":3})", R"({"b":2,"c":3})"});
  Refuses(schema, {"{}", R"({"a":1})", R"({"c":3})", R"({"a":1,"b":2,"c":3})"});
}

TEST(SchemaTest, Arrays) {
  Takes(R"({"type":"array","items":{"type":"integer"}})",
        {"[]", "[1]", "[1,2, 3]", "[\n  1,\n  2\n]"});
  Refuses(R"({"type":"array","items":{"type":"integer"}})", {"[\"\"]", "[1 2]", "[1,]"});
  const char* bounded = R"({"type":"array","items":{"type":"null"},"minItems":2,"maxItems":3})";
  Takes(bounded, {"[null,null]", "[null,null,null]"});
  Refuses(bounded, {"[]", "[null]", "[null,null,null,null]"});
  Takes(R"({"items":{"type":"null"},"maxItems":0})", {"[]"});
  Refuses(R"({"items":{"type":"null"},"maxItems":0})", {"[null]"});
  const char* tuple = R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],
                          "items":{"type":"null"},"minItems":1,"maxItems":4})";
  Takes(tuple, {"[1]", "[1,\"\"]", "[1,\"\",null]", "[1,\"\",null,null]"});
  Refuses(tuple, {"[]", "[\"\"]", "[1,null]", "[1,\"\",null,null,null]"});
  Takes(R"({"prefixItems":[true],"items":false,"minItems":1})", {"[{}]"});
  Takes(R"({"type":"array","items":{"type":"null"},"minItems":1})", {"[null]", "[null,null]"});
  Takes(R"({"type":"array","items":{"type":"null"},"minItems":3})", {"[null,null,null,null]"});
  Refuses(R"({"type":"array","items":{"type":"null"},"minItems":3})", {"[null,null]"});
}

TEST(SchemaTest, LengthsCountCodePoints) {
  const char* schema = R"({"type":"string","minLength":2,"maxLength":3})";
  Takes(schema, {"\"ab\"", "\"äöü\"", "\"😀😀\"", "\"\\ud83d\\ude00a\"", "\"\\n\\u0041\""});
  Refuses(schema, {"\"\"", "\"ä\"", "\"😀\"", "\"abcd\"", "\"\\ud83d\\ude00\"", "\"abc\\n\""});
  Takes(R"({"type":"string","minLength":2})", {"\"ab\"", "\"abcdefgh\""});
  Refuses(R"({"type":"string","minLength":2})", {"\"a\""});
}

TEST(SchemaTest, Patterns) {
  Takes(R"({"type":"string","pattern":"b+"})", {"\"b\"", "\"abbc\"", "\"\\nb\\\"\"", "\"äb\""});
  Refuses(R"({"type":"string","pattern":"b+"})", {"\"\"", "\"ac\""});
  Takes(R"({"type":"string","pattern":"^(a|bc){2,3}$"})", {"\"aa\"", "\"abc\"", "\"bcbcbc\""});
  Refuses(R"({"type":"string","pattern":"^(a|bc){2,3}$"})", {"\"a\"", "\"aaaa\"", "\"ab\""});
  Takes(R"({"type":"string","pattern":"^[^a-c\\d]\\w?\\.$"})", {"\"ä.\"", "\"xy.\""});
  Refuses(R"({"type":"string","pattern":"^[^a-c\\d]\\w?\\.$"})", {"\"a.\"", "\"5.\"", "\"xyz.\""});
  Takes(R"({"type":"string","pattern":"^a|b$"})", {"\"ax\"", "\"xb\""});
  Takes(R"({"type":"string","pattern":"^\\u{1F600}$"})", {"\"😀\""});
  Takes(R"({"type":"string","pattern":"^a*$","minLength":2,"maxLength":3})", {"\"aa\"", "\"aaa\""});
  Refuses(R"({"type":"string","pattern":"^a*$","minLength":2,"maxLength":3})",
          {"\"a\"", "\"aaaa\""});
  Takes(R"({"type":"string","pattern":"^\\s*$"})", {"\"\"", "\" \\t\\n\""});
}

TEST(SchemaTest, Formats) {
  Takes(R"({"type":"string","format":"email"})", {"\"a.b@example.com\""});
  Refuses(R"({"type":"string","format":"email"})", {"\"a@b\"", "\"@b.com\"", "\"a b@c.de\""});
  Takes(R"({"type":"string","format":"ipv4"})", {"\"0.10.255.199\""});
  Refuses(R"({"type":"string","format":"ipv4"})", {"\"1.2.3\"", "\"1.2.3.256\"", "\"01.2.3.4\""});
  Takes(R"({"type":"string","format":"ipv6"})", {"\"::\"", "\"::1\"", "\"1:2:3:4:5:6:7:8\"",
                                                 "\"fe80::1:2\"", "\"1::\"", "\"1:2:3:4:5:6::\""});
  Refuses(R"({"type":"string","format":"ipv6"})",
          {"\"1:2\"", "\"1::2::3\"", "\"1:2:3:4:5:6:7:8:9\"", "\"12345::\"", "\":\""});
  Takes(R"({"type":"string","format":"uuid"})", {"\"123e4567-e89b-12d3-a456-426614174000\""});
  Takes(R"({"type":"string","format":"date"})",
        {"\"2024-02-29\"", "\"2026-11-30\"", "\"2000-02-29\""});
  Refuses(R"({"type":"string","format":"date"})",
          {"\"2023-02-29\"", "\"2026-11-31\"", "\"2026-13-01\"", "\"1900-02-29\""});
  Takes(R"({"type":"string","format":"date-time"})", {"\"2026-11-26T01:02:03.5Z\""});
  Takes(R"({"type":"string","format":"time"})", {"\"23:59:59+01:00\""});
  Takes(R"({"type":"string","format":"hostname"})", {"\"a-b.example.org\"", "\"localhost\""});
  Refuses(R"({"type":"string","format":"hostname"})", {"\"-a\"", "\"a..b\"", "\"a_b\""});
  // A format that is not enforced says nothing.
  Takes(R"({"type":"string","format":"color"})", {"\"#fff\""});
}

TEST(SchemaTest, Ranges) {
  Takes(R"({"type":"integer","minimum":-12,"maximum":105})",
        {"-12", "-9", "-1", "0", "7", "99", "105"});
  Refuses(R"({"type":"integer","minimum":-12,"maximum":105})",
          {"-13", "-100", "106", "200", "1000"});
  Takes(R"({"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":3})", {"1", "2"});
  Refuses(R"({"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":3})", {"0", "3"});
  Takes(R"({"type":"number","minimum":0.5,"maximum":1.25})",
        {"0.5", "0.50", "1", "1.0", "1.25", "1.2499"});
  Refuses(R"({"type":"number","minimum":0.5,"maximum":1.25})",
          {"0.49", "0", "1.26", "1.2501", "2"});
  Takes(R"({"type":"number","exclusiveMinimum":0})", {"0.001", "1", "12"});
  Refuses(R"({"type":"number","exclusiveMinimum":0})", {"0", "0.0", "-1"});
  Takes(R"({"type":"number","minimum":-1.5,"maximum":-0.25})", {"-1.5", "-1", "-0.25"});
  Refuses(R"({"type":"number","minimum":-1.5,"maximum":-0.25})", {"-1.51", "-0.2", "0", "1"});
  Takes(R"({"type":"integer","minimum":1e3})", {"1000", "99999"});
  Refuses(R"({"type":"integer","minimum":1e3})", {"999"});
  Takes(R"({"type":"integer","minimum":1.5})", {"2"});
  Refuses(R"({"type":"integer","minimum":1.5})", {"1"});
}

TEST(SchemaTest, Multiples) {
  Takes(R"({"type":"integer","multipleOf":7})", {"0", "7", "-14", "700", "7007"});
  Refuses(R"({"type":"integer","multipleOf":7})", {"1", "8", "-13", "701"});
  Takes(R"({"type":"number","multipleOf":0.25})", {"0.25", "1", "1.5", "-0.75", "2.00"});
  Refuses(R"({"type":"number","multipleOf":0.25})", {"0.3", "1.1", "0.125"});
  Takes(R"({"type":"integer","multipleOf":6,"minimum":10,"maximum":40})", {"12", "36"});
  Refuses(R"({"type":"integer","multipleOf":6,"minimum":10,"maximum":40})", {"6", "42", "13"});
  Takes(R"({"type":"integer","allOf":[{"multipleOf":4},{"multipleOf":6}]})", {"12", "24"});
  Refuses(R"({"type":"integer","allOf":[{"multipleOf":4},{"multipleOf":6}]})", {"4", "6", "8"});
}

TEST(SchemaTest, EnumAndConst) {
  const char* schema = R"({"enum":["a","ab","ä\n",1,1.5,null,true,[1],{"k":"v"}]})";
  Takes(schema, {"\"a\"", "\"ab\"", "\"ä\\n\"", "1", "1.5", "null", "true", "[1]", R"({"k":"v"})",
                 R"({ "k": "v" })"});
  Refuses(schema, {"\"b\"", "\"\\u0061\"", "2", "false", "[2]", "{}"});
  Takes(R"({"type":"string","enum":[1,"x"]})", {"\"x\""});
  Refuses(R"({"type":"string","enum":[1,"x"]})", {"1"});
  Takes(R"({"enum":["a","bb","ccc"],"minLength":2})", {"\"bb\"", "\"ccc\""});
  Refuses(R"({"enum":["a","bb","ccc"],"minLength":2})", {"\"a\""});
  Takes(R"({"const":{"a":[1,2]}})", {R"({"a":[1,2]})"});
  Takes(R"({"enum":[1,2,3],"minimum":2})", {"2", "3"});
  Refuses(R"({"enum":[1,2,3],"minimum":2})", {"1"});
}

TEST(SchemaTest, Combinations) {
  Takes(R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})", {"1", "\"a\""});
  Refuses(R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})", {"\"ab\"", "null"});
  const char* all =
      R"({"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},
                        {"properties":{"b":{"type":"string"},"a":{"minimum":3}},
            "required":["b"]}]})";
  Takes(all, {R"({"a":3,"b":""})"});
  Refuses(all, {R"({"a":2,"b":""})", R"({"a":3})"});
  Takes(R"({"type":"object","properties":{"x":{"type":"integer"}},"anyOf":[{"required":["x"]},
            {"properties":{"y":{"const":1}},"required":["y"]}]})",
        {R"({"x":1})", R"({"y":1})"});
  const char* one =
      R"({"oneOf":[{"properties":{"t":{"const":"a"},"v":{"type":"integer"}},"required":["t","v"]},
                        {"properties":{"t":{"const":"b"}},"required":["t"]}]})";
  Takes(one, {R"({"t":"a","v":1})", R"({"t":"b"})"});
  Refuses(one, {R"({"t":"a"})", R"({"t":"c"})"});
}

TEST(SchemaTest, References) {
  const char* list = R"({"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{
      "v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},
      "required":["v","next"],"additionalProperties":false}}})";
  Takes(list, {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"});
  Refuses(list, {R"({"v":1})", R"({"v":1,"next":{}})"});
  Takes(R"({"type":"object","properties":{"c":{"type":"array","items":{"$ref":"#"}}},
            "required":["c"]})",
        {R"({"c":[]})", R"({"c":[{"c":[]},{"c":[]}]})"});
  Takes(
      R"({"properties":{"a/b~":{"type":"null"}},"items":{"$ref":"#/properties/a~1b~0"},
            "type":"array"})",
      {"[null]"});
  Takes(R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", {"null"});
  Takes(R"({"$ref":"#x","$defs":{"y":{"$anchor":"x","const":1}}})", {"1"});
}

TEST(SchemaTest, NoDocument) {
  const std::string none = "#: no document satisfies the schema";
  EXPECT_EQ(ErrorOf("false"), none);
  EXPECT_EQ(ErrorOf(R"({"$ref":"#"})"), none);
  EXPECT_EQ(ErrorOf(R"({"enum":[]})"), none);
  EXPECT_EQ(ErrorOf(R"({"type":"string","minLength":3,"maxLength":2})"), none);
  EXPECT_EQ(ErrorOf(R"({"type":"integer","minimum":0.1,"maximum":0.9})"), none);
  EXPECT_EQ(ErrorOf(R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})"), none);
  EXPECT_EQ(ErrorOf(R"({"type":"array","items":false,"minItems":1})"), none);
  EXPECT_EQ(ErrorOf(R"({"type":"string","pattern":"a^"})"), none);
  EXPECT_EQ(ErrorOf(R"({"allOf":[{"type":"string"},{"type":"null"}]})"), none);
}

TEST(SchemaTest, ErrorsNameKeywordAndPlace) {
  EXPECT_EQ(ErrorOf(R"({"properties":{"a/b":{"items":{"uniqueItems":true}}}})"),
            "#/properties/a~1b/items: 'uniqueItems' cannot be enforced");
  EXPECT_EQ(ErrorOf(R"({"not":{}})"), "#: 'not' cannot be enforced");
  EXPECT_EQ(ErrorOf(R"({"$ref":"#/$defs/x"})"), "#: '$ref': '#/$defs/x' leads nowhere");
  EXPECT_EQ(ErrorOf(R"({"type":"str"})"), "#: 'type': no type is called 'str'");
  EXPECT_EQ(ErrorOf(R"({"minLength":-1})"),
            "#: 'minLength': expected a whole number of 0 or more, found number");
  EXPECT_EQ(ErrorOf(R"_({"type":"string","pattern":"(?=a)"})_"),
            "#: pattern '(?=a)': look-around cannot be enforced");
  EXPECT_EQ(ErrorOf(R"_({"type":"string","pattern":"(a)\\1"})_"),
            "#: pattern '(a)\\1': back references cannot be enforced");
  EXPECT_EQ(ErrorOf(R"({"oneOf":[{"type":"integer"},{"type":"number"}]})"),
            "#: 'oneOf' cannot be enforced: alternatives 0 and 1 may both hold (use 'anyOf')");
  EXPECT_EQ(ErrorOf(R"({"maxItems":3})", {.refuse_lengths = true}),
            "#: 'maxItems' cannot be enforced");
  EXPECT_EQ(ErrorOf("3"), "#: expected a schema, found number");
  EXPECT_NE(ErrorOf(R"({"type":"string","pattern":"(a|b)*a(a|b){30}"})").find("too complex"),
            std::string::npos);
}

// What takes the square of the schema's size would take minutes here.
TEST(SchemaTest, LargeSchemasAreReadOrRefusedSoon) {
  const std::clock_t start = std::clock();  // processor time: the machine may be busy
  const auto error = [](const Json& schema) {
    const auto grammar = CompileSchema(schema);
    return grammar.ok() ? "" : grammar.error().message;
  };
  // Two lists met with each other.
  Json::Array numbers;
  for (int i = 0; i < 200'000; ++i) numbers.emplace_back(i);
  const Json listed(Json::Object{{"enum", Json(std::move(numbers))}});
  EXPECT_EQ(error(Json(Json::Object{{"allOf", Json(Json::Array{listed, listed})}})),
            "#: the schema is too large to enforce");
  // One place with many ways on.
  const Json empty(Json::Object{{"enum", Json(Json::Array(150'000, Json(Json::Array{})))}});
  EXPECT_EQ(error(empty), kTooManyPlaces);
  // Many references into many definitions, by anchor and by pointer.
  Json::Object definitions;
  Json::Object properties;
  for (int i = 0; i < 100'000; ++i) {
    const std::string name = "d" + std::to_string(i);
    definitions.emplace_back(name, Json(Json::Object{{"$anchor", Json(name)}, {"type", "null"}}));
    if (i % 25 != 24) continue;
    const std::string reference = (i % 50 == 24 ? "#" : "#/$defs/") + name;
    properties.emplace_back(name, Json(Json::Object{{"$ref", Json(reference)}}));
  }
  EXPECT_EQ(error(Json(Json::Object{{"$defs", Json(std::move(definitions))},
                                    {"properties", Json(std::move(properties))}})),
            "");
  // One text longer than any grammar.
  EXPECT_EQ(error(Json(Json::Object{{"const", Json(std::string(30 << 20, 'x'))}})),
            "#: the schema is too large to enforce");
  EXPECT_LT(std::clock() - start, 15 * CLOCKS_PER_SEC);
}

Json OptionalProperties(int count) {
  Json::Object properties;
  for (int i = 0; i < count; ++i)
    properties.emplace_back("name" + std::to_string(i), Json(Json::Object{{"type", "null"}}));
  return Json(Json::Object{{"properties", Json(std::move(properties))}, {"type", "object"}});
}

// Where not all of them could be produced, none is promised.
TEST(SchemaTest, WhatMayComeNextAtOnePlaceIsBounded) {
  const auto most = CompileSchema(OptionalProperties(4000));
  ASSERT_TRUE(most.ok()) << most.error().message;
  EXPECT_TRUE(Matches(most.value(), R"({"name0":null,"name3999":null})"));
  EXPECT_TRUE(Matches(most.value(), R"({"name3999":null})"));
  const auto error = [](const Json& schema) {
    const auto grammar = CompileSchema(schema);
    return grammar.ok() ? "" : grammar.error().message;
  };
  const Json above = OptionalProperties(5000);
  EXPECT_EQ(error(above), kTooManyPlaces);
  // Inside, where many steps lead to.
  const Json list(Json::Object{{"type", "array"}, {"minItems", 3}, {"items", above}});
  EXPECT_EQ(
      error(Json(Json::Object{{"type", "object"},
                              {"properties", Json(Json::Object{{"first", true}, {"in", list}})},
                              {"required", Json(Json::Array{"first", "in"})}})),
      kTooManyPlaces);
  // Few here and few there, and all at once.
  Json::Array objects(50, OptionalProperties(200));
  EXPECT_EQ(error(Json(Json::Object{{"anyOf", Json(std::move(objects))}})), kTooManyPlaces);
  // As one list they are read together.
  Json::Array values;
  for (int i = 0; i < 5000; ++i) values.emplace_back(i);
  const auto listed = CompileSchema(Json(Json::Object{{"enum", Json(values)}}));
  ASSERT_TRUE(listed.ok()) << listed.error().message;
  EXPECT_TRUE(Matches(listed.value(), "4999"));
}

TEST(SchemaTest, AnnotationsAreIgnored) {
  Takes(R"({"$schema":"x","title":"t","description":"d","default":1,"examples":[2],"x-y":3,
            "type":"integer","deprecated":true,"format":"int64"})",
        {"5"});
}

}  // namespace
}  // namespace fathom::grammar
