// Expansion into shapes: a schema's own keywords, met with each of allOf, $ref, anyOf and oneOf. A
// reference that leads back to a schema being expanded adds nothing: {"anyOf": [A, null]} named A
// is null, and A alone is no value at all.
#include "grammar/schema/shape.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "grammar/automaton/pattern.h"
#include "grammar/schema/keywords.h"
#include "grammar/schema/reference.h"

namespace fathom::grammar {
namespace {

// Shapes of one value.
constexpr size_t kShapesMax = 1024;
// References within references at one place.
constexpr size_t kOpenMax = 200;
constexpr int64_t kStepMax = 1'000'000;

int64_t SmallerMax(int64_t a, int64_t b) {
  if (a < 0 || b < 0) return std::max(a, b);
  return std::min(a, b);
}

void MeetNumbers(NumberLimits& number, const NumberLimits& other) {
  if (other.min && (!number.min || *other.min >= *number.min)) {
    const bool is_same = number.min == other.min;
    number.excludes_min = other.excludes_min || (is_same && number.excludes_min);
    number.min = other.min;
  }
  if (other.max && (!number.max || *other.max <= *number.max)) {
    const bool is_same = number.max == other.max;
    number.excludes_max = other.excludes_max || (is_same && number.excludes_max);
    number.max = other.max;
  }
}

void MeetArrays(ArrayLimits& array, const ArrayLimits& other) {
  array.min = std::max(array.min, other.min);
  array.max = SmallerMax(array.max, other.max);
  while (array.first.size() < other.first.size()) array.first.push_back(array.rest);
  for (size_t i = 0; i < array.first.size(); ++i) {
    AddSchemas(array.first[i], i < other.first.size() ? other.first[i] : other.rest);
  }
  AddSchemas(array.rest, other.rest);
}

// Types that a range without numbers, and the like, rule out.
void DropEmptyTypes(Shape& shape) {
  const auto is_empty = [](int64_t min, int64_t max) { return max >= 0 && max < min; };
  if (is_empty(shape.string.min, shape.string.max)) shape.types &= static_cast<uint8_t>(~kString);
  if (is_empty(shape.array.min, shape.array.max)) shape.types &= static_cast<uint8_t>(~kArray);
  if (is_empty(shape.object.min, shape.object.max)) shape.types &= static_cast<uint8_t>(~kObject);
}

}  // namespace

void AddSchema(Conjunction& schemas, const Json& schema) {
  if (schema.is_bool() && schema.boolean()) return;
  if (schema.is_object() && schema.object().empty()) return;
  const auto at = std::lower_bound(schemas.begin(), schemas.end(), &schema);
  if (at == schemas.end() || *at != &schema) schemas.insert(at, &schema);
}

void AddSchemas(Conjunction& schemas, const Conjunction& others) {
  for (const Json* other : others) AddSchema(schemas, *other);
}

bool AreEqual(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) {
    const auto left = ParseDecimal(a.number().text);
    const auto right = ParseDecimal(b.number().text);
    return left && right ? *left == *right : a == b;
  }
  if (a.is_array() && b.is_array()) {
    return std::equal(a.array().begin(), a.array().end(), b.array().begin(), b.array().end(),
                      AreEqual);
  }
  if (a.is_object() && b.is_object()) {
    if (a.object().size() != b.object().size()) return false;
    return std::all_of(a.object().begin(), a.object().end(), [&](const Json::Member& member) {
      const Json* other = b.Find(member.first);
      return other != nullptr && AreEqual(member.second, *other);
    });
  }
  return a == b;
}

uint8_t TypeOf(const Json& value) {
  if (value.is_null()) return kNull;
  if (value.is_bool()) return kBoolean;
  if (value.is_string()) return kString;
  if (value.is_array()) return kArray;
  if (value.is_object()) return kObject;
  const auto decimal = ParseDecimal(value.number().text);
  return decimal && decimal->is_integer() ? kInteger : kFraction;
}

Result<void> ShapeReader::AddWork(size_t work) {
  work_ += static_cast<int64_t>(std::min(work, static_cast<size_t>(kWorkMax)));
  if (work_ > kWorkMax) return Error{"the schema is too large to enforce"};
  return {};
}

Error ShapeReader::At(const Json& schema, const std::string& what) const {
  return Error{PlaceOf(root_, schema) + ": " + what};
}

Result<std::vector<Shape>> ShapeReader::Expand(const Conjunction& schemas) {
  // What is being expanded further out is about another value.
  std::vector<const Json*> outer = std::exchange(open_, {});
  const auto expand = [&]() -> Result<Shapes> {
    Shapes shapes(1);
    for (const Json* schema : schemas) {
      FATHOM_TRY(const Shapes more, ExpandOne(*schema));
      FATHOM_TRY(shapes, Both(shapes, more));
    }
    return shapes;
  };
  Result<Shapes> shapes = expand();
  open_ = std::move(outer);
  return shapes;
}

Result<std::vector<Shape>> ShapeReader::ExpandOne(const Json& schema) {
  FATHOM_TRY_VOID(AddWork(1));
  if (schema.is_bool()) return schema.boolean() ? Shapes(1) : Shapes{};
  if (!schema.is_object()) {
    return At(schema, std::string("expected a schema, found ") + schema.KindName());
  }
  if (std::find(open_.begin(), open_.end(), &schema) != open_.end()) return Shapes{};
  if (open_.size() >= kOpenMax) return At(schema, "references too deep to enforce");
  Result<Shape> own = ReadKeywords(schema, options_);
  if (!own.ok()) return At(schema, own.error().message);
  Shapes shapes = {std::move(own).value()};
  open_.push_back(&schema);
  const auto expand_rest = [&]() -> Result<void> {
    if (const Json* reference = schema.Find("$ref")) {
      if (!reference->is_string()) return At(schema, "'$ref': expected a string");
      FATHOM_TRY(const Shapes more, ExpandReference(schema, reference->string()));
      FATHOM_TRY(shapes, Both(shapes, more));
    }
    for (const std::string_view keyword : {"allOf", "anyOf", "oneOf"}) {
      const Json* parts = schema.Find(keyword);
      if (parts == nullptr) continue;
      if (!parts->is_array() || parts->array().empty()) {
        return At(schema, "'" + std::string(keyword) + "': expected an array of schemas");
      }
      if (keyword == "allOf") {
        for (const Json& part : parts->array()) {
          FATHOM_TRY(const Shapes more, ExpandOne(part));
          FATHOM_TRY(shapes, Both(shapes, more));
        }
        continue;
      }
      FATHOM_TRY(const Shapes more, ExpandChoice(*parts, keyword, schema));
      FATHOM_TRY(shapes, Both(shapes, more));
    }
    return {};
  };
  const Result<void> expanded = expand_rest();
  open_.pop_back();
  if (!expanded.ok()) return Error(expanded.error());
  return shapes;
}

Result<std::vector<Shape>> ShapeReader::ExpandReference(const Json& schema,
                                                        const std::string& reference) {
  const Json* target = references_.Find(reference);
  if (target == nullptr) return At(schema, "'$ref': '" + reference + "' leads nowhere");
  return ExpandOne(*target);
}

Result<std::vector<Shape>> ShapeReader::ExpandChoice(const Json& choice, std::string_view keyword,
                                                     const Json& schema) {
  std::vector<Shapes> alternatives;
  size_t count = 0;
  for (const Json& part : choice.array()) {
    FATHOM_TRY(Shapes shapes, ExpandOne(part));
    // Whether alternatives are apart is only known for what is really produced.
    if (keyword == "oneOf") {
      for (Shape& shape : shapes) shape.InferTypes();
    }
    count += shapes.size();
    if (count > kShapesMax) return At(schema, "too many alternatives to enforce");
    alternatives.push_back(std::move(shapes));
  }
  Shapes all;
  for (size_t i = 0; i < alternatives.size(); ++i) {
    for (size_t j = 0; keyword == "oneOf" && !is_comparing_ && j < i; ++j) {
      FATHOM_TRY(const bool are_apart, AreAllApart(alternatives[i], alternatives[j]));
      if (are_apart) continue;
      return At(schema, "'oneOf' cannot be enforced: alternatives " + std::to_string(j) + " and " +
                            std::to_string(i) + " may both hold (use 'anyOf')");
    }
    all.insert(all.end(), alternatives[i].begin(), alternatives[i].end());
  }
  return all;
}

Result<std::vector<Shape>> ShapeReader::Both(const Shapes& a, const Shapes& b) {
  if (a.size() * b.size() > kShapesMax) return Error{"too many alternatives to enforce"};
  Shapes both;
  for (const Shape& left : a) {
    for (const Shape& right : b) {
      Shape shape = left;
      FATHOM_TRY(const bool is_possible, Meet(shape, right));
      if (is_possible) both.push_back(std::move(shape));
    }
  }
  return both;
}

Result<bool> ShapeReader::Meet(Shape& shape, const Shape& other) {
  FATHOM_TRY_VOID(AddWork(1));
  shape.types &= other.types;
  shape.mentioned |= other.mentioned;
  if (other.values && !shape.values) {
    shape.values = other.values;
  } else if (other.values) {
    FATHOM_TRY_VOID(AddWork(shape.values->size() * other.values->size() / 100));
    std::vector<Json> values;
    for (const Json& value : *shape.values) {
      const auto is_same = [&](const Json& known) { return AreEqual(known, value); };
      if (std::any_of(other.values->begin(), other.values->end(), is_same)) values.push_back(value);
    }
    shape.values = std::move(values);
  }
  MeetNumbers(shape.number, other.number);
  shape.multiples.insert(shape.multiples.end(), other.multiples.begin(), other.multiples.end());
  shape.string.min = std::max(shape.string.min, other.string.min);
  shape.string.max = SmallerMax(shape.string.max, other.string.max);
  shape.string.patterns.insert(shape.string.patterns.end(), other.string.patterns.begin(),
                               other.string.patterns.end());
  MeetArrays(shape.array, other.array);
  FATHOM_TRY(const bool has_objects, MeetObjects(shape.object, other.object));
  if (!has_objects) shape.types &= static_cast<uint8_t>(~kObject);
  DropEmptyTypes(shape);
  return shape.types != 0 && (!shape.values || !shape.values->empty());
}

Result<Conjunction> ShapeReader::SchemasOf(const ObjectLimits& object, const std::string& name) {
  FATHOM_TRY_VOID(AddWork(object.properties.size() / 1000));
  Conjunction schemas;
  bool is_known = false;
  for (const Property& property : object.properties) {
    if (property.name != name) continue;
    AddSchemas(schemas, property.schemas);
    is_known = true;
  }
  for (const auto& [pattern, of_pattern] : object.by_pattern) {
    FATHOM_TRY(const Dfa* names, Pattern(pattern));
    if (!Accepts(*names, name)) continue;
    AddSchemas(schemas, of_pattern);
    is_known = true;
  }
  if (!is_known) AddSchemas(schemas, object.rest);
  return schemas;
}

// False: no object is possible.
Result<bool> ShapeReader::MeetObjects(ObjectLimits& object, const ObjectLimits& other) {
  FATHOM_TRY_VOID(AddWork(object.properties.size() * other.properties.size() / 1000));
  std::vector<Property> properties;
  for (const Property& property : object.properties) {
    Property both = property;
    FATHOM_TRY(const Conjunction more, SchemasOf(other, property.name));
    AddSchemas(both.schemas, more);
    properties.push_back(std::move(both));
  }
  for (const Property& property : other.properties) {
    const auto is_same = [&](const Property& known) { return known.name == property.name; };
    if (std::any_of(properties.begin(), properties.end(), is_same)) continue;
    Property both = property;
    FATHOM_TRY(const Conjunction more, SchemasOf(object, property.name));
    AddSchemas(both.schemas, more);
    properties.push_back(std::move(both));
  }
  FATHOM_TRY_VOID(AddWork(properties.size() / 10));
  if (!object.by_pattern.empty() && !other.by_pattern.empty()) {
    return Error{"'patternProperties' cannot be enforced more than once for one object"};
  }
  for (auto& [pattern, schemas] : object.by_pattern) AddSchemas(schemas, other.rest);
  for (auto [pattern, schemas] : other.by_pattern) {
    AddSchemas(schemas, object.rest);
    object.by_pattern.emplace_back(pattern, std::move(schemas));
  }
  object.properties = std::move(properties);
  object.required.insert(other.required.begin(), other.required.end());
  object.min = std::max(object.min, other.min);
  object.max = SmallerMax(object.max, other.max);
  object.is_open = object.is_open || other.is_open;
  AddSchemas(object.rest, other.rest);
  AddSchemas(object.names, other.names);
  return object.max < 0 || static_cast<int64_t>(object.required.size()) <= object.max;
}

Result<NumberLimits> ShapeReader::Numbers(const Shape& shape) {
  NumberLimits limits = shape.number;
  for (const Decimal& multiple : shape.multiples) {
    limits.places = std::max(limits.places, static_cast<int64_t>(multiple.fraction.size()));
  }
  for (const Decimal& multiple : shape.multiples) {
    const std::optional<int64_t> step = Scaled(multiple, limits.places);
    if (!step || *step > kStepMax) return Error{"'multipleOf': too many digits to enforce"};
    limits.step = limits.step == 0 ? *step : std::lcm(limits.step, *step);
    if (limits.step > kStepMax) return Error{"'multipleOf': too many digits to enforce"};
  }
  return limits;
}

Result<const Dfa*> ShapeReader::Pattern(const std::string& pattern) {
  const auto it = patterns_.find(pattern);
  if (it != patterns_.end()) return &it->second;
  work_ += 100;  // patterns cost much more than keywords
  FATHOM_TRY(Dfa dfa, CompilePattern(pattern));
  return &patterns_.emplace(pattern, std::move(dfa)).first->second;
}

}  // namespace fathom::grammar
