// White space between JSON's signs is what people write, and bounded, so that a model cannot lose
// itself in it: nothing, a space, or a line break with an indentation.
#include "grammar/schema/compile.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "grammar/automaton/places.h"
#include "grammar/constraint.h"
#include "grammar/schema/object.h"
#include "grammar/schema/reference.h"

namespace fathom::grammar {
namespace {

constexpr int kIndentSpacesMax = 24;
constexpr int kIndentTabsMax = 12;

// Bytes of names that become an automaton, a state or more for each.
constexpr size_t kNamesBytesMax = kNodesMax / 4;

Error TooLarge() { return Error{"the schema is too large to enforce"}; }

bool AreTooLong(const std::vector<std::string_view>& names) {
  size_t bytes = 0;
  for (const std::string_view name : names) bytes += name.size();
  return bytes > kNamesBytesMax;
}

}  // namespace

NodeId ValueCompiler::PartOf(const Conjunction& schemas, uint8_t types) {
  const Key key = {schemas, types};
  const auto it = parts_.find(key);
  if (it != parts_.end()) return it->second.start;
  const NodeId start = builder_.AddNode();
  const Part part = {start, builder_.AddEnd()};
  parts_.emplace(key, part);
  to_fill_.emplace_back(key, part);
  return start;
}

Result<void> ValueCompiler::Run() {
  while (!to_fill_.empty()) {
    const auto [key, part] = std::move(to_fill_.back());
    to_fill_.pop_back();
    const Result<void> filled = Fill(key, part);
    if (!filled.ok()) {
      const std::string& message = filled.error().message;
      if (message.starts_with('#') || key.first.empty()) return Error{message};
      return Error{PlaceOf(reader_.root(), *key.first.front()) + ": " + message};
    }
    if (parts_.size() > kPartsMax || builder_.is_full()) return TooLarge();
  }
  return {};
}

Result<void> ValueCompiler::Fill(const Key& key, const Part& part) {
  FATHOM_TRY(std::vector<Shape> shapes, reader_.Expand(key.first));
  for (Shape& shape : shapes) {
    shape.InferTypes();
    shape.types &= key.second;
    FATHOM_TRY_VOID(AddShape(shape, part));
    if (builder_.is_full()) return TooLarge();
  }
  return {};
}

Result<void> ValueCompiler::AddShape(const Shape& shape, const Part& part) {
  if (shape.values) {
    FATHOM_TRY(const std::vector<Json> values, Values(shape));
    std::vector<std::string> texts;
    for (const Json& value : values) {
      if (value.is_array() || value.is_object()) {
        AddValue(value, part.start, part.end);
      } else {
        texts.push_back(value.is_string() ? WrittenString(value.string(), style_)
                                          : WriteJson(value));
      }
    }
    AddChoices(builder_, part.start, std::move(texts), part.end);
    return {};
  }
  if ((shape.types & kNull) != 0) builder_.TextTo(part.start, "null", part.end);
  if ((shape.types & kBoolean) != 0) {
    builder_.TextTo(part.start, "true", part.end);
    builder_.TextTo(part.start, "false", part.end);
  }
  if ((shape.types & kNumber) != 0) {
    FATHOM_TRY(const NumberLimits limits, reader_.Numbers(shape));
    const bool is_integer = (shape.types & kFraction) == 0;
    FATHOM_TRY(const NodeId number, AddNumber(builder_, limits, is_integer));
    builder_.Call(part.start, number, part.end);
  }
  if ((shape.types & kString) != 0) {
    FATHOM_TRY(const NodeId string, AddStrings(shape, style_));
    builder_.Call(part.start, string, part.end);
  }
  if ((shape.types & kArray) != 0) FATHOM_TRY_VOID(AddArray(shape.array, part));
  if ((shape.types & kObject) != 0) FATHOM_TRY_VOID(AddObject(shape.object, part));
  return {};
}

Result<std::vector<Json>> ValueCompiler::Values(const Shape& shape) {
  std::vector<Json> values;
  Shape unlisted = shape;  // what the shape demands besides
  unlisted.values.reset();
  for (const Json& value : *shape.values) {
    FATHOM_TRY(const bool has, reader_.Has(unlisted, value));
    if (has) values.push_back(value);
  }
  return values;
}

Result<Dfa> ValueCompiler::StringsOf(const StringLimits& limits, const Dfa& within) {
  const Error too_complex{"'pattern' and lengths together are too complex to enforce"};
  std::optional<Dfa> dfa = within;
  for (const std::string& pattern : limits.patterns) {
    FATHOM_TRY(const Dfa* strings, reader_.Pattern(pattern));
    dfa = Intersect(*dfa, *strings);
    if (!dfa) return too_complex;
  }
  if (limits.min > 0 || limits.max >= 0) {
    dfa = WithLength(*dfa, limits.min, limits.max);
    if (!dfa) return too_complex;
  }
  return *std::move(dfa);
}

Result<NodeId> ValueCompiler::AddStrings(const Shape& shape, StringStyle style) {
  const StringLimits& limits = shape.string;
  if (limits.patterns.empty()) return AddAnyString(builder_, style, limits.min, limits.max);
  const Dfa within = style == StringStyle::kRaw ? StringsWithoutMark() : AnyString();
  FATHOM_TRY(const Dfa dfa, StringsOf(limits, within));
  return AddString(builder_, dfa, style);
}

Result<Dfa> ValueCompiler::NamesOf(const Conjunction& schemas, const Dfa& within) {
  FATHOM_TRY(const std::vector<Shape> shapes, reader_.Expand(schemas));
  if (shapes.size() > 1) return Error{"'propertyNames' with alternatives cannot be enforced"};
  if (shapes.empty() || (shapes.front().types & kString) == 0) return Dfa{};
  const Shape& shape = shapes.front();
  std::optional<Dfa> names;
  if (shape.values) {
    FATHOM_TRY(const std::vector<Json> values, Values(shape));
    std::vector<std::string_view> texts;
    for (const Json& value : values) {
      if (value.is_string()) texts.push_back(value.string());
    }
    if (AreTooLong(texts)) return TooLarge();
    names = Intersect(within, OneOf(texts));
  } else {
    FATHOM_TRY(names, StringsOf(shape.string, within));
  }
  if (!names) return Error{"'propertyNames' is too complex to enforce"};
  return *std::move(names);
}

Result<NodeId> ValueCompiler::AddNames(const ObjectLimits& object, StringStyle style) {
  const bool is_free =
      object.properties.empty() && object.by_pattern.empty() && object.names.empty();
  if (is_free && style != StringStyle::kRaw) return AddAnyString(builder_, style);
  std::vector<std::string_view> declared;
  for (const Property& property : object.properties) declared.push_back(property.name);
  for (const std::string& name : object.required) declared.push_back(name);
  if (AreTooLong(declared)) return TooLarge();
  StringLimits limits;
  if (object.by_pattern.size() > 1) {
    return Error{"'patternProperties' with more than one pattern cannot be enforced"};
  }
  if (!object.by_pattern.empty()) limits.patterns.push_back(object.by_pattern.front().first);
  // A name in markup ends at the quote, and nothing is escaped there.
  if (style == StringStyle::kRaw) limits.patterns.emplace_back("^[^\"<>\\x00-\\x1f\\uff5c]+$");
  FATHOM_TRY(const Dfa others, StringsOf(limits, AllBut(declared)));
  FATHOM_TRY(const Dfa names, NamesOf(object.names, others));
  return AddString(builder_, names, style);
}

Result<std::vector<Property>> ValueCompiler::Properties(const ObjectLimits& object) {
  std::vector<Property> properties;
  std::set<std::string> missing = object.required;
  const auto add = [&](const std::string& name) -> Result<void> {
    FATHOM_TRY(const bool has_name, reader_.Holds(object.names, Json(name)));
    FATHOM_TRY(Conjunction schemas, reader_.SchemasOf(object, name));
    static const Json never(false);
    if (!has_name) AddSchema(schemas, never);
    properties.push_back({name, std::move(schemas)});
    return {};
  };
  for (const Property& property : object.properties) {
    missing.erase(property.name);
    FATHOM_TRY_VOID(add(property.name));
  }
  for (const std::string& name : missing) FATHOM_TRY_VOID(add(name));
  return properties;
}

bool ValueCompiler::HasOthers(const ObjectLimits& object) {
  return object.is_open || (object.properties.empty() && object.required.empty());
}

const Conjunction& ValueCompiler::SchemasOfOthers(const ObjectLimits& object) {
  return object.by_pattern.empty() ? object.rest : object.by_pattern.front().second;
}

// After the first items, which have nodes of their own, a counter counts the rest.
Result<void> ValueCompiler::AddArray(const ArrayLimits& array, const Part& part) {
  const auto first = static_cast<int64_t>(array.first.size());
  const NodeId open = builder_.AddNode();
  builder_.Symbols(part.start, '[', '[', open);
  const NodeId close = builder_.AddNode();
  builder_.Symbols(Space(close), ']', ']', part.end);
  NodeId before = Space(open);  // where the next item begins
  if (array.min == 0) builder_.Symbols(before, ']', ']', part.end);
  for (int64_t i = 0; i < first; ++i) {
    if (array.max >= 0 && i >= array.max) return {};
    const NodeId after = builder_.AddNode();
    builder_.Call(before, PartOf(array.first[static_cast<size_t>(i)]), after);
    if (i + 1 >= array.min) builder_.Epsilon(after, close);
    const NodeId comma = builder_.AddNode();
    if (array.max < 0 || i + 1 < array.max) builder_.Symbols(after, ',', ',', comma);
    before = Space(comma);
  }
  if (array.max >= 0 && array.max <= first) return {};
  const auto clamp = [](int64_t count) {
    return static_cast<uint32_t>(std::min<int64_t>(count, kNoLimit / 2));
  };
  const uint32_t min = clamp(std::max<int64_t>(array.min - first, 1));
  const uint32_t max = array.max < 0 ? kNoLimit : clamp(array.max - first);
  const NodeId next = builder_.AddNode();
  const NodeId item = builder_.AddNode();
  const NodeId after = builder_.AddNode();
  const NodeId comma = builder_.AddNode();
  builder_.Epsilon(before, next);
  builder_.Epsilon(Space(comma), next);
  builder_.Call(next, PartOf(array.rest), item);
  if (min == 1 && max == kNoLimit) {
    builder_.Epsilon(item, after);
  } else {
    builder_.Count(item, max == kNoLimit ? min : max, after);
  }
  builder_.IfAtLeast(after, min == 1 ? 0 : min, close);
  if (max == kNoLimit) {
    builder_.Symbols(after, ',', ',', comma);
  } else {
    const NodeId more = builder_.AddNode();
    builder_.IfLess(after, max, more);
    builder_.Symbols(more, ',', ',', comma);
  }
  return {};
}

Result<void> ValueCompiler::AddObject(const ObjectLimits& object, const Part& part) {
  return ObjectWriter(*this, object).Write(part.start, part.end);
}

// One fixed value; white space as everywhere.
void ValueCompiler::AddValue(const Json& value, NodeId from, NodeId to) {
  if (value.is_array() || value.is_object()) {
    const bool is_array = value.is_array();
    const size_t size = is_array ? value.array().size() : value.object().size();
    NodeId at = builder_.Text(from, is_array ? "[" : "{");
    for (size_t i = 0; i < size; ++i) {
      at = Space(i == 0 ? at : builder_.Text(at, ","));
      if (!is_array) {
        at = Colon(builder_.Text(at, WrittenString(value.object()[i].first, style_)));
      }
      const NodeId after = builder_.AddNode();
      AddValue(is_array ? value.array()[i] : value.object()[i].second, at, after);
      at = after;
    }
    builder_.TextTo(Space(at), is_array ? "]" : "}", to);
    return;
  }
  builder_.TextTo(from,
                  value.is_string() ? WrittenString(value.string(), style_) : WriteJson(value), to);
}

NodeId ValueCompiler::Space(NodeId from) {
  if (space_ == 0) {
    space_ = builder_.AddNode();
    const NodeId end = builder_.AddEnd();
    builder_.Epsilon(space_, end);
    builder_.Symbols(space_, ' ', ' ', end);
    const NodeId line = builder_.AddNode();
    builder_.Symbols(space_, '\n', '\n', line);
    builder_.Epsilon(line, end);
    const auto indent = [&](char kind, int count) {
      for (NodeId at = line; count > 0; --count) {
        const NodeId next = builder_.AddNode();
        builder_.Symbols(at, static_cast<uint8_t>(kind), static_cast<uint8_t>(kind), next);
        builder_.Epsilon(next, end);
        at = next;
      }
    };
    indent(' ', kIndentSpacesMax);
    indent('\t', kIndentTabsMax);
  }
  const NodeId after = builder_.AddNode();
  builder_.Call(from, space_, after);
  return after;
}

NodeId ValueCompiler::Colon(NodeId from) {
  const NodeId colon = builder_.Text(from, ":");
  const NodeId value = builder_.AddNode();
  builder_.Epsilon(colon, value);
  builder_.Symbols(colon, ' ', ' ', value);
  return value;
}

Result<std::shared_ptr<const Grammar>> CompileSchema(const Json& schema,
                                                     const SchemaOptions& options) {
  ShapeReader reader(schema, {.refuse_lengths = options.refuse_lengths});
  Builder builder;
  const NodeId start = builder.AddNode();
  const NodeId end = builder.AddEnd();
  ValueCompiler compiler(builder, reader, StringStyle::kJson);
  Conjunction schemas;
  if (!schema.is_object() && !schema.is_bool()) {
    return Error{std::string("#: expected a schema, found ") + schema.KindName()};
  }
  AddSchema(schemas, reader.root());
  builder.Call(start, compiler.PartOf(schemas), end);
  FATHOM_TRY_VOID(compiler.Run());
  std::shared_ptr<const Grammar> grammar = builder.Finish(start);
  if (grammar == nullptr) return Error{"#: no document satisfies the schema"};
  if (!KeepsAllPlaces(grammar)) return TooManyPlaces().In("#");
  return grammar;
}

std::shared_ptr<const Grammar> AnyObject() {
  static const std::shared_ptr<const Grammar> grammar =
      CompileSchema(Json(Json::Object{{"type", "object"}})).value();
  return grammar;
}

}  // namespace fathom::grammar
