#include "grammar/schema/keywords.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>

#include "grammar/automaton/pattern.h"

namespace fathom::grammar {
namespace {

// Read elsewhere (shape.cc), or about people rather than values.
constexpr std::array<std::string_view, 25> kIgnored = {"$ref",
                                                       "allOf",
                                                       "anyOf",
                                                       "oneOf",
                                                       "$defs",
                                                       "$def",
                                                       "definitions",
                                                       "title",
                                                       "description",
                                                       "$schema",
                                                       "$id",
                                                       "$comment",
                                                       "$anchor",
                                                       "examples",
                                                       "example",
                                                       "default",
                                                       "deprecated",
                                                       "readOnly",
                                                       "writeOnly",
                                                       "contentEncoding",
                                                       "contentMediaType",
                                                       "contentSchema",
                                                       "$vocabulary",
                                                       "id",
                                                       "discriminator"};

std::string Quoted(std::string_view keyword) {
  std::string quoted(1, '\'');
  quoted.append(keyword).push_back('\'');
  return quoted;
}

Error Wrong(std::string_view keyword, std::string_view expected, const Json& found) {
  return Error{Quoted(keyword) + ": expected " + std::string(expected) + ", found " +
               found.KindName()};
}

Error Unenforceable(std::string_view keyword) {
  return Error{Quoted(keyword) + " cannot be enforced"};
}

class Reader {
 public:
  Reader(const Json& schema, const ShapeOptions& options) : schema_(schema), options_(options) {}

  Result<Shape> Read() {
    for (const auto& [keyword, value] : schema_.object()) {
      FATHOM_TRY_VOID(ReadKeyword(keyword, value));
    }
    return std::move(shape_);
  }

 private:
  using Method = Result<void> (Reader::*)(std::string_view, const Json&);
  static const std::map<std::string_view, Method>& Methods();

  Result<void> ReadKeyword(const std::string& keyword, const Json& value) {
    const auto& methods = Methods();
    const auto it = methods.find(keyword);
    if (it != methods.end()) return (this->*it->second)(keyword, value);
    const bool is_ignored = keyword.starts_with("x-") ||
                            std::find(kIgnored.begin(), kIgnored.end(), keyword) != kIgnored.end();
    if (is_ignored) return {};
    return Unenforceable(keyword);
  }

  Result<void> Type(std::string_view keyword, const Json& value);
  Result<void> Enum(std::string_view keyword, const Json& value);
  Result<void> Const(std::string_view keyword, const Json& value);
  Result<void> Bound(std::string_view keyword, const Json& value);
  Result<void> MultipleOf(std::string_view keyword, const Json& value);
  Result<void> Length(std::string_view keyword, const Json& value);
  Result<void> PatternText(std::string_view keyword, const Json& value);
  Result<void> Format(std::string_view keyword, const Json& value);
  Result<void> Items(std::string_view keyword, const Json& value);
  Result<void> AdditionalItems(std::string_view keyword, const Json& value);
  Result<void> PrefixItems(std::string_view keyword, const Json& value);
  Result<void> UniqueItems(std::string_view keyword, const Json& value);
  Result<void> Properties(std::string_view keyword, const Json& value);
  Result<void> PatternProperties(std::string_view keyword, const Json& value);
  Result<void> Required(std::string_view keyword, const Json& value);
  Result<void> AdditionalProperties(std::string_view keyword, const Json& value);
  Result<void> PropertyNames(std::string_view keyword, const Json& value);

  static Result<Conjunction> Schema(std::string_view keyword, const Json& value) {
    if (!value.is_object() && !value.is_bool()) return Wrong(keyword, "a schema", value);
    Conjunction schemas;
    AddSchema(schemas, value);
    return schemas;
  }

  const Json& schema_;
  const ShapeOptions& options_;
  Shape shape_;
};

const std::map<std::string_view, Reader::Method>& Reader::Methods() {
  static const std::map<std::string_view, Method> methods = {
      {"type", &Reader::Type},
      {"enum", &Reader::Enum},
      {"const", &Reader::Const},
      {"minimum", &Reader::Bound},
      {"maximum", &Reader::Bound},
      {"exclusiveMinimum", &Reader::Bound},
      {"exclusiveMaximum", &Reader::Bound},
      {"multipleOf", &Reader::MultipleOf},
      {"minLength", &Reader::Length},
      {"maxLength", &Reader::Length},
      {"minItems", &Reader::Length},
      {"maxItems", &Reader::Length},
      {"minProperties", &Reader::Length},
      {"maxProperties", &Reader::Length},
      {"pattern", &Reader::PatternText},
      {"format", &Reader::Format},
      {"items", &Reader::Items},
      {"additionalItems", &Reader::AdditionalItems},
      {"prefixItems", &Reader::PrefixItems},
      {"uniqueItems", &Reader::UniqueItems},
      {"properties", &Reader::Properties},
      {"patternProperties", &Reader::PatternProperties},
      {"required", &Reader::Required},
      {"additionalProperties", &Reader::AdditionalProperties},
      {"propertyNames", &Reader::PropertyNames},
  };
  return methods;
}

Result<void> Reader::Type(std::string_view keyword, const Json& value) {
  static const std::map<std::string_view, uint8_t> names = {
      {"null", kNull},     {"boolean", kBoolean}, {"integer", kInteger}, {"number", kNumber},
      {"string", kString}, {"array", kArray},     {"object", kObject}};
  const Json::Array one = {value};
  uint8_t types = 0;
  for (const Json& name : value.is_array() ? value.array() : one) {
    if (!name.is_string()) return Wrong(keyword, "the name of a type", name);
    const auto it = names.find(name.string());
    if (it == names.end()) return Error{"'type': no type is called '" + name.string() + "'"};
    types |= it->second;
  }
  shape_.types &= types;
  return {};
}

Result<void> Reader::Enum(std::string_view keyword, const Json& value) {
  if (!value.is_array()) return Wrong(keyword, "an array", value);
  std::vector<Json> values;
  for (const Json& choice : value.array()) {
    const auto is_same = [&](const Json& other) { return AreEqual(choice, other); };
    if (!shape_.values || std::any_of(shape_.values->begin(), shape_.values->end(), is_same)) {
      values.push_back(choice);
    }
  }
  shape_.values = std::move(values);
  return {};
}

Result<void> Reader::Const(std::string_view keyword, const Json& value) {
  return Enum(keyword, Json(Json::Array{value}));
}

Result<void> Reader::Bound(std::string_view keyword, const Json& value) {
  // Draft 4 wrote "exclusiveMinimum": true beside "minimum".
  const bool is_exclusive = keyword.starts_with("exclusive");
  if (is_exclusive && value.is_bool() && !value.boolean()) return {};
  if (!value.is_number()) return Wrong(keyword, "a number", value);
  const std::optional<Decimal> bound = ParseDecimal(value.number().text);
  if (!bound) return Error{Quoted(keyword) + ": too many digits to enforce"};
  NumberLimits& number = shape_.number;
  shape_.mentioned |= kNumber;
  const bool is_min = keyword.ends_with("inimum");
  std::optional<Decimal>& known = is_min ? number.min : number.max;
  bool& is_excluded = is_min ? number.excludes_min : number.excludes_max;
  const bool is_tighter = !known || (is_min ? *bound > *known : *bound < *known);
  if (is_tighter) {
    known = bound;
    is_excluded = is_exclusive;
  } else if (*bound == *known) {
    is_excluded = is_excluded || is_exclusive;
  }
  return {};
}

Result<void> Reader::MultipleOf(std::string_view keyword, const Json& value) {
  if (!value.is_number()) return Wrong(keyword, "a number", value);
  const std::optional<Decimal> step = ParseDecimal(value.number().text);
  if (!step) return Error{"'multipleOf': too many digits to enforce"};
  if (step->is_negative || step->is_zero()) return Error{"'multipleOf': expected more than 0"};
  shape_.multiples.push_back(*step);
  shape_.mentioned |= kNumber;
  return {};
}

Result<void> Reader::Length(std::string_view keyword, const Json& value) {
  if (options_.refuse_lengths && !keyword.ends_with("Properties")) return Unenforceable(keyword);
  std::optional<Decimal> number;
  if (value.is_number()) number = ParseDecimal(value.number().text);
  if (!number || number->is_negative || !number->is_integer()) {
    return Wrong(keyword, "a whole number of 0 or more", value);
  }
  const int64_t length = Scaled(*number, 0).value_or(INT64_MAX);
  const bool is_min = keyword.starts_with("min");
  const auto set = [&](int64_t& min, int64_t& max, uint8_t type) {
    (is_min ? min : max) = length;
    shape_.mentioned |= type;
  };
  if (keyword.ends_with("Length")) set(shape_.string.min, shape_.string.max, kString);
  if (keyword.ends_with("Items")) set(shape_.array.min, shape_.array.max, kArray);
  if (keyword.ends_with("Properties")) set(shape_.object.min, shape_.object.max, kObject);
  return {};
}

Result<void> Reader::PatternText(std::string_view keyword, const Json& value) {
  if (!value.is_string()) return Wrong(keyword, "a string", value);
  shape_.string.patterns.push_back(value.string());
  shape_.mentioned |= kString;
  return {};
}

Result<void> Reader::Format(std::string_view keyword, const Json& value) {
  if (!value.is_string()) return Wrong(keyword, "a string", value);
  const char* pattern = PatternOfFormat(value.string());
  if (pattern == nullptr) return {};
  return PatternText(keyword, Json(pattern));
}

Result<void> Reader::Items(std::string_view keyword, const Json& value) {
  // Drafts before 2020 wrote the schemas of the first items here.
  if (value.is_array()) return PrefixItems(keyword, value);
  shape_.mentioned |= kArray;
  FATHOM_TRY(shape_.array.rest, Schema(keyword, value));
  return {};
}

Result<void> Reader::AdditionalItems(std::string_view keyword, const Json& value) {
  const Json* items = schema_.Find("items");
  if (items == nullptr || !items->is_array()) return {};
  shape_.mentioned |= kArray;
  FATHOM_TRY(shape_.array.rest, Schema(keyword, value));
  return {};
}

Result<void> Reader::PrefixItems(std::string_view keyword, const Json& value) {
  if (!value.is_array()) return Wrong(keyword, "an array", value);
  shape_.mentioned |= kArray;
  for (const Json& item : value.array()) {
    FATHOM_TRY(Conjunction schemas, Schema(keyword, item));
    shape_.array.first.push_back(std::move(schemas));
  }
  return {};
}

Result<void> Reader::UniqueItems(std::string_view keyword, const Json& value) {
  if (value.is_bool() && !value.boolean()) return {};
  return Unenforceable(keyword);
}

Result<void> Reader::Properties(std::string_view keyword, const Json& value) {
  if (!value.is_object()) return Wrong(keyword, "an object", value);
  // Properties of several schemas are joined name by name, which takes the square of their number.
  constexpr size_t kPropertiesMax = 5000;
  if (value.object().size() > kPropertiesMax)
    return Error{"'properties': more than 5000 cannot be enforced"};
  shape_.mentioned |= kObject;
  for (const auto& [name, schema] : value.object()) {
    FATHOM_TRY(Conjunction schemas, Schema(keyword, schema));
    shape_.object.properties.push_back({name, std::move(schemas)});
  }
  return {};
}

Result<void> Reader::PatternProperties(std::string_view keyword, const Json& value) {
  if (!value.is_object()) return Wrong(keyword, "an object", value);
  shape_.mentioned |= kObject;
  for (const auto& [pattern, schema] : value.object()) {
    FATHOM_TRY(Conjunction schemas, Schema(keyword, schema));
    shape_.object.by_pattern.emplace_back(pattern, std::move(schemas));
    shape_.object.is_open = true;
  }
  return {};
}

Result<void> Reader::Required(std::string_view keyword, const Json& value) {
  if (value.is_bool()) return {};  // draft 3
  if (!value.is_array()) return Wrong(keyword, "an array", value);
  shape_.mentioned |= kObject;
  for (const Json& name : value.array()) {
    if (!name.is_string()) return Wrong(keyword, "the name of a property", name);
    shape_.object.required.insert(name.string());
  }
  return {};
}

Result<void> Reader::AdditionalProperties(std::string_view keyword, const Json& value) {
  shape_.mentioned |= kObject;
  shape_.object.is_open = !value.is_bool() || value.boolean();
  FATHOM_TRY(shape_.object.rest, Schema(keyword, value));
  return {};
}

Result<void> Reader::PropertyNames(std::string_view keyword, const Json& value) {
  shape_.mentioned |= kObject;
  FATHOM_TRY(shape_.object.names, Schema(keyword, value));
  return {};
}

}  // namespace

Result<Shape> ReadKeywords(const Json& schema, const ShapeOptions& options) {
  return Reader(schema, options).Read();
}

}  // namespace fathom::grammar
