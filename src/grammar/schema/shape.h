// JSON Schema as a choice of shapes: what a schema says about one value, with $ref, allOf, anyOf
// and oneOf worked in, so that a value is valid when it has one of the shapes. Schemas of what lies
// inside (properties, items) stay schemas: they are expanded when their turn comes, which ends
// recursion.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/automaton/dfa.h"
#include "grammar/schema/number.h"
#include "grammar/schema/reference.h"

namespace fathom::grammar {

enum TypeBits : uint8_t {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kFraction = 8,  // numbers that are no integers
  kNumber = kInteger | kFraction,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAllTypes = 127,
};

// Schemas that all hold, each once, in the order of their places. Empty: anything.
using Conjunction = std::vector<const Json*>;

struct StringLimits {
  int64_t min = 0;
  int64_t max = -1;                   // below 0: no limit
  std::vector<std::string> patterns;  // all match; formats are among them
};
struct ArrayLimits {
  int64_t min = 0;
  int64_t max = -1;
  std::vector<Conjunction> first;  // of the first items, in order
  Conjunction rest;                // of the others
};
struct Property {
  std::string name;
  Conjunction schemas;
};
struct ObjectLimits {
  int64_t min = 0;
  int64_t max = -1;
  std::vector<Property> properties;  // in schema order
  std::set<std::string> required;
  std::vector<std::pair<std::string, Conjunction>> by_pattern;
  Conjunction rest;      // of properties that are neither declared nor match a pattern
  bool is_open = false;  // the schema says something about those
  Conjunction names;     // of names as strings
};

struct Shape {
  uint8_t types = kAllTypes;
  uint8_t mentioned = 0;  // types that keywords speak about
  std::optional<std::vector<Json>> values;
  NumberLimits number;  // without multiples
  std::vector<Decimal> multiples;
  StringLimits string;
  ArrayLimits array;
  ObjectLimits object;

  // A shape of no stated type whose keywords speak about some types is meant to be of those.
  void InferTypes() {
    if (types == kAllTypes && mentioned != 0 && !values) types = mentioned;
  }
};

struct ShapeOptions {
  bool refuse_lengths = false;
};

// Reads one schema document.
class ShapeReader {
 public:
  ShapeReader(const Json& root, const ShapeOptions& options)
      : root_(root), options_(options), references_(root_) {}
  ShapeReader(const ShapeReader&) = delete;
  ShapeReader& operator=(const ShapeReader&) = delete;

  const Json& root() const { return root_; }
  // The shapes of a value for which all the schemas hold; none: no value.
  Result<std::vector<Shape>> Expand(const Conjunction& schemas);
  // Whether the value is valid.
  Result<bool> Holds(const Conjunction& schemas, const Json& value);
  Result<bool> Has(const Shape& shape, const Json& value);
  // What the shape's keywords demand of a property of that name.
  Result<Conjunction> SchemasOf(const ObjectLimits& object, const std::string& name);
  // The multiples worked into the limits.
  Result<NumberLimits> Numbers(const Shape& shape);
  Result<const Dfa*> Pattern(const std::string& pattern);

 private:
  // Schemas looked at and values compared for one document: about a second.
  static constexpr int64_t kWorkMax = 200'000;
  using Shapes = std::vector<Shape>;

  Result<Shapes> ExpandOne(const Json& schema);
  Result<Shapes> ExpandChoice(const Json& choice, std::string_view keyword, const Json& schema);
  Result<Shapes> ExpandReference(const Json& schema, const std::string& reference);
  Result<bool> HasNumber(const Shape& shape, const Json& value);
  Result<bool> HasString(const Shape& shape, const Json& value);
  Result<bool> HasArray(const Shape& shape, const Json& value);
  Result<bool> HasObject(const Shape& shape, const Json& value);
  Result<bool> AreAllApart(const Shapes& a, const Shapes& b);
  Result<bool> AreApart(const Shape& a, const Shape& b, int depth);
  Result<bool> AreObjectsApart(const Shape& a, const Shape& b, int depth);
  Result<Shapes> Both(const Shapes& a, const Shapes& b);
  Result<bool> Meet(Shape& shape, const Shape& other);
  Result<bool> MeetObjects(ObjectLimits& object, const ObjectLimits& other);
  Result<void> AddWork(size_t work);
  Error At(const Json& schema, const std::string& what) const;

  const Json root_;
  const ShapeOptions options_;
  References references_;          // in root_
  std::vector<const Json*> open_;  // schemas being expanded, outermost first
  // Whether alternatives are being compared: then one within them is any of them, which is more.
  bool is_comparing_ = false;
  int64_t work_ = 0;
  std::map<std::string, Dfa> patterns_;
};

void AddSchema(Conjunction& schemas, const Json& schema);
void AddSchemas(Conjunction& schemas, const Conjunction& others);
// Equal as JSON values: numbers by value, objects in any order.
bool AreEqual(const Json& a, const Json& b);
uint8_t TypeOf(const Json& value);

}  // namespace fathom::grammar
