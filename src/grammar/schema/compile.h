// From shapes to a grammar of JSON text: one part of the grammar for each set of schemas that a
// value must obey. tools.cc uses it for the values inside DSML markup.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/automaton/grammar.h"
#include "grammar/schema/shape.h"
#include "grammar/schema/string.h"

namespace fathom::grammar {

class ValueCompiler {
 public:
  // `json_style`: of all strings, as the place demands where the JSON will stand.
  ValueCompiler(Builder& builder, ShapeReader& reader, StringStyle json_style)
      : builder_(builder), reader_(reader), style_(json_style) {}

  // The part that reads a value for which the schemas hold. It is empty until Run.
  NodeId PartOf(const Conjunction& schemas, uint8_t types = kAllTypes);
  // Fills the parts asked for, and those they need.
  Result<void> Run();

  // A part that reads the strings of a shape; of `object`'s names that are not declared.
  Result<NodeId> AddStrings(const Shape& shape, StringStyle style);
  Result<NodeId> AddNames(const ObjectLimits& object, StringStyle style);
  // The values listed by the shape that have it.
  Result<std::vector<Json>> Values(const Shape& shape);
  // The declared and the required properties with all that is demanded of them, in schema order;
  // without those whose name is forbidden.
  Result<std::vector<Property>> Properties(const ObjectLimits& object);
  // Whether properties that are not declared are produced, and what is demanded of them.
  static bool HasOthers(const ObjectLimits& object);
  static const Conjunction& SchemasOfOthers(const ObjectLimits& object);

 private:
  using Key = std::pair<Conjunction, uint8_t>;
  struct Part {
    NodeId start;
    NodeId end;
  };

  Result<void> Fill(const Key& key, const Part& part);
  Result<void> AddShape(const Shape& shape, const Part& part);
  Result<void> AddArray(const ArrayLimits& array, const Part& part);
  Result<void> AddObject(const ObjectLimits& object, const Part& part);
  Result<Dfa> StringsOf(const StringLimits& limits, const Dfa& within);
  Result<Dfa> NamesOf(const Conjunction& schemas, const Dfa& within);
  void AddValue(const Json& value, NodeId from, NodeId to);
  NodeId Space(NodeId from);
  NodeId Colon(NodeId from);

  friend class ObjectWriter;
  Builder& builder_;
  ShapeReader& reader_;
  const StringStyle style_;
  std::map<Key, Part> parts_;
  std::vector<std::pair<Key, Part>> to_fill_;
  NodeId space_ = 0;  // 0: not yet made; no part starts at node 0
};

// Parts of one grammar; past them the schema is refused.
inline constexpr size_t kPartsMax = 20'000;

}  // namespace fathom::grammar
