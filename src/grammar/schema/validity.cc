// Whether a given value has a shape: to leave out values of an enum that other keywords forbid; and
// whether two shapes are provably apart, which makes oneOf the same as anyOf.
#include <algorithm>

#include "grammar/schema/shape.h"

namespace fathom::grammar {
namespace {

constexpr int kApartDepthMax = 3;

bool IsWithin(int64_t length, int64_t min, int64_t max) {
  return length >= min && (max < 0 || length <= max);
}

bool HasFalse(const Conjunction& schemas) {
  return std::any_of(schemas.begin(), schemas.end(),
                     [](const Json* schema) { return schema->is_bool() && !schema->boolean(); });
}

bool AreNumbersApart(const NumberLimits& a, const NumberLimits& b) {
  const auto is_below = [](const NumberLimits& low, const NumberLimits& high) {
    if (!low.max || !high.min) return false;
    return *low.max < *high.min ||
           (*low.max == *high.min && (low.excludes_max || high.excludes_min));
  };
  return is_below(a, b) || is_below(b, a);
}

}  // namespace

Result<bool> ShapeReader::Holds(const Conjunction& schemas, const Json& value) {
  FATHOM_TRY(const std::vector<Shape> shapes, Expand(schemas));
  for (const Shape& shape : shapes) {
    FATHOM_TRY(const bool has, Has(shape, value));
    if (has) return true;
  }
  return false;
}

Result<bool> ShapeReader::HasNumber(const Shape& shape, const Json& value) {
  const std::optional<Decimal> decimal = ParseDecimal(value.number().text);
  if (!decimal) return false;
  FATHOM_TRY(const NumberLimits limits, Numbers(shape));
  return Satisfies(limits, *decimal);
}

Result<bool> ShapeReader::HasString(const Shape& shape, const Json& value) {
  const auto length = static_cast<int64_t>(CodePoints(value.string()).size());
  if (!IsWithin(length, shape.string.min, shape.string.max)) return false;
  for (const std::string& pattern : shape.string.patterns) {
    FATHOM_TRY(const Dfa* dfa, Pattern(pattern));
    if (!Accepts(*dfa, value.string())) return false;
  }
  return true;
}

Result<bool> ShapeReader::HasArray(const Shape& shape, const Json& value) {
  const ArrayLimits& array = shape.array;
  const Json::Array& items = value.array();
  if (!IsWithin(static_cast<int64_t>(items.size()), array.min, array.max)) return false;
  for (size_t i = 0; i < items.size(); ++i) {
    FATHOM_TRY(const bool holds,
               Holds(i < array.first.size() ? array.first[i] : array.rest, items[i]));
    if (!holds) return false;
  }
  return true;
}

Result<bool> ShapeReader::HasObject(const Shape& shape, const Json& value) {
  const ObjectLimits& object = shape.object;
  const Json::Object& members = value.object();
  if (!IsWithin(static_cast<int64_t>(members.size()), object.min, object.max)) return false;
  for (const std::string& name : object.required) {
    if (value.Find(name) == nullptr) return false;
  }
  for (const auto& [name, member] : members) {
    FATHOM_TRY(const Conjunction schemas, SchemasOf(object, name));
    FATHOM_TRY(const bool holds, Holds(schemas, member));
    FATHOM_TRY(const bool has_name, Holds(object.names, Json(name)));
    if (!holds || !has_name) return false;
  }
  return true;
}

Result<bool> ShapeReader::Has(const Shape& shape, const Json& value) {
  FATHOM_TRY_VOID(AddWork(1 + (shape.values ? shape.values->size() / 100 : 0)));
  if ((shape.types & TypeOf(value)) == 0) return false;
  if (shape.values && std::none_of(shape.values->begin(), shape.values->end(),
                                   [&](const Json& known) { return AreEqual(known, value); })) {
    return false;
  }
  if (value.is_number()) return HasNumber(shape, value);
  if (value.is_string()) return HasString(shape, value);
  if (value.is_array()) return HasArray(shape, value);
  if (value.is_object()) return HasObject(shape, value);
  return true;
}

Result<bool> ShapeReader::AreAllApart(const Shapes& a, const Shapes& b) {
  is_comparing_ = true;
  const auto compare = [&]() -> Result<bool> {
    for (const Shape& left : a) {
      for (const Shape& right : b) {
        FATHOM_TRY(const bool are_apart, AreApart(left, right, 0));
        if (!are_apart) return false;
      }
    }
    return true;
  };
  Result<bool> are_apart = compare();
  is_comparing_ = false;
  return are_apart;
}

// One of the two is an object with a property that the other's property of that name is apart from.
Result<bool> ShapeReader::AreObjectsApart(const Shape& a, const Shape& b, int depth) {
  std::set<std::string> names = a.object.required;
  names.insert(b.object.required.begin(), b.object.required.end());
  for (const std::string& name : names) {
    FATHOM_TRY(const Conjunction in_a, SchemasOf(a.object, name));
    FATHOM_TRY(const Conjunction in_b, SchemasOf(b.object, name));
    const bool a_must = a.object.required.contains(name);
    const bool b_must = b.object.required.contains(name);
    if ((a_must && HasFalse(in_b)) || (b_must && HasFalse(in_a))) return true;
    if (!a_must || !b_must || depth >= kApartDepthMax) continue;
    FATHOM_TRY(const std::vector<Shape> of_a, Expand(in_a));
    FATHOM_TRY(const std::vector<Shape> of_b, Expand(in_b));
    bool are_apart = true;
    for (const Shape& left : of_a) {
      for (const Shape& right : of_b) {
        FATHOM_TRY(const bool apart, AreApart(left, right, depth + 1));
        are_apart = are_apart && apart;
      }
    }
    if (are_apart) return true;
  }
  return false;
}

Result<bool> ShapeReader::AreApart(const Shape& a, const Shape& b, int depth) {
  const auto common = static_cast<uint8_t>(a.types & b.types);
  if (common == 0) return true;
  if (a.values || b.values) {
    const Shape& listed = a.values ? a : b;
    const Shape& other = a.values ? b : a;
    for (const Json& value : *listed.values) {
      FATHOM_TRY(const bool in_listed, Has(listed, value));
      FATHOM_TRY(const bool in_other, Has(other, value));
      if (in_listed && in_other) return false;
    }
    return true;
  }
  if ((common & ~(kNumber | kObject)) != 0) return false;
  if ((common & kNumber) != 0 && !AreNumbersApart(a.number, b.number)) return false;
  if ((common & kObject) == 0) return true;
  return AreObjectsApart(a, b, depth);
}

}  // namespace fathom::grammar
