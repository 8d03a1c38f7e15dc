// Tool calls in DSML markup, as src/chat writes and reads them: the frame of tags, and inside
// it parameters in schema order. Strings are raw text between the tags, everything else is JSON.
// Nothing in either may spell the mark, so that a value ends where its end tag is.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grammar/automaton/places.h"
#include "grammar/constraint.h"
#include "grammar/schema/compile.h"

namespace fathom::grammar {
namespace {

constexpr std::string_view kParameterEnd = "</｜DSML｜parameter>\n";
constexpr std::string_view kInvokeEnd = "</｜DSML｜invoke>\n";

// Whether a name can stand in a tag, where nothing is escaped.
bool IsWritable(std::string_view name) {
  return !name.empty() && name.find_first_of("\"<>\n") == std::string_view::npos &&
         name.find(kMarkText) == std::string_view::npos;
}

// The calls of one tool, from after its opening tag to after its end tag.
class ToolWriter {
 public:
  ToolWriter(Builder& builder, const Json& parameters, const SchemaOptions& options)
      : builder_(builder),
        reader_(parameters, {.refuse_lengths = options.refuse_lengths}),
        compiler_(builder, reader_, StringStyle::kJsonInMarkup) {}

  Result<void> Write(NodeId start, NodeId end) {
    Conjunction schemas;
    AddSchema(schemas, reader_.root());
    FATHOM_TRY(const std::vector<Shape> shapes, reader_.Expand(schemas));
    for (const Shape& shape : shapes) {
      if ((shape.types & kObject) == 0) continue;
      if (shape.values) return Error{"#: parameters listed as a whole cannot be enforced"};
      FATHOM_TRY_VOID(WriteObject(shape.object, start, end));
    }
    return compiler_.Run();
  }

 private:
  Result<void> WriteObject(const ObjectLimits& object, NodeId start, NodeId end);
  Result<void> WriteValue(const Conjunction& schemas, NodeId from, NodeId to);
  Result<NodeId> RawPart(const Conjunction& schemas);

  Builder& builder_;
  ShapeReader reader_;
  ValueCompiler compiler_;
};

Result<void> ToolWriter::WriteObject(const ObjectLimits& object, NodeId start, NodeId end) {
  if (object.min > 1 || object.max >= 0) {
    return Error{"#: 'minProperties' and 'maxProperties' cannot be enforced for parameters"};
  }
  FATHOM_TRY(const std::vector<Property> properties, compiler_.Properties(object));
  const bool is_empty_allowed = object.min == 0 && object.required.empty();
  // Without parameters an empty line stands between the tags.
  if (is_empty_allowed) builder_.TextTo(start, "\n" + std::string(kInvokeEnd), end);
  NodeId before = start;              // before the next parameter, none read so far
  NodeId after = builder_.AddNode();  // the same with some read
  const auto begin = [&](std::string_view text) {
    const NodeId tag = builder_.AddNode();
    builder_.Epsilon(before, tag);
    builder_.Epsilon(after, tag);
    return builder_.Text(tag, text);
  };
  for (const Property& property : properties) {
    const bool is_required = object.required.contains(property.name);
    const NodeId next_before = builder_.AddNode();
    const NodeId next_after = builder_.AddNode();
    if (!is_required) {
      builder_.Epsilon(before, next_before);
      builder_.Epsilon(after, next_after);
    }
    if (IsWritable(property.name)) {
      const NodeId name = begin("<｜DSML｜parameter name=\"" + property.name + "\" string=\"");
      FATHOM_TRY_VOID(WriteValue(property.schemas, name, next_after));
    } else if (is_required) {
      return Error{"#: a parameter called '" + property.name + "' cannot be written in a tag"};
    }
    before = next_before;
    after = next_after;
  }
  builder_.TextTo(after, kInvokeEnd, end);
  if (!ValueCompiler::HasOthers(object)) return {};
  const NodeId tag = begin("<｜DSML｜parameter name=\"");
  FATHOM_TRY(const NodeId names, compiler_.AddNames(object, StringStyle::kRaw));
  const NodeId name = builder_.AddNode();
  builder_.Call(tag, names, name);
  return WriteValue(ValueCompiler::SchemasOfOthers(object), builder_.Text(name, "\" string=\""),
                    after);
}

// From inside string=" to after the end tag.
Result<void> ToolWriter::WriteValue(const Conjunction& schemas, NodeId from, NodeId to) {
  const NodeId value_end = builder_.AddNode();
  builder_.TextTo(value_end, kParameterEnd, to);
  FATHOM_TRY(const NodeId raw, RawPart(schemas));
  builder_.Call(builder_.Text(from, "true\">"), raw, value_end);
  const auto others = static_cast<uint8_t>(kAllTypes & ~kString);
  builder_.Call(builder_.Text(from, "false\">"), compiler_.PartOf(schemas, others), value_end);
  return {};
}

// A part that reads the strings of the schemas as raw text.
Result<NodeId> ToolWriter::RawPart(const Conjunction& schemas) {
  FATHOM_TRY(std::vector<Shape> shapes, reader_.Expand(schemas));
  const NodeId start = builder_.AddNode();
  const NodeId end = builder_.AddEnd();
  for (Shape& shape : shapes) {
    shape.InferTypes();
    if ((shape.types & kString) == 0) continue;
    if (!shape.values) {
      FATHOM_TRY(const NodeId strings, compiler_.AddStrings(shape, StringStyle::kRaw));
      builder_.Call(start, strings, end);
      continue;
    }
    FATHOM_TRY(const std::vector<Json> values, compiler_.Values(shape));
    std::vector<std::string> texts;
    for (const Json& value : values) {
      const bool is_text = value.is_string() && value.string().find(kMarkText) == std::string::npos;
      if (is_text) texts.push_back(value.string());
    }
    AddChoices(builder_, start, std::move(texts), end);
  }
  return start;
}

// What comes before the block, or instead of it, when none is required. Returns where a block may
// open.
Result<NodeId> AddText(Builder& builder, const ToolBlock& block, const SchemaOptions& options,
                       NodeId start, NodeId end) {
  if (!block.text_schema) {
    const NodeId open = builder.AddNode();
    builder.Call(start, AddAnyString(builder, StringStyle::kRaw), open);
    builder.Epsilon(open, end);
    return open;
  }
  ShapeReader reader(*block.text_schema, {.refuse_lengths = options.refuse_lengths});
  ValueCompiler compiler(builder, reader, StringStyle::kJson);
  Conjunction schemas;
  AddSchema(schemas, reader.root());
  builder.Call(start, compiler.PartOf(schemas), end);
  FATHOM_TRY_VOID(compiler.Run());
  return builder.Text(start, "\n\n");
}

}  // namespace

Result<std::shared_ptr<const Grammar>> CompileTools(const ToolBlock& block,
                                                    const SchemaOptions& options) {
  Builder builder;
  const NodeId start = builder.AddNode();
  const NodeId end = builder.AddEnd();
  NodeId open = start;
  if (block.is_required) {
    open = builder.Text(start, "\n\n");
  } else {
    FATHOM_TRY(open, AddText(builder, block, options, start, end));
  }
  const NodeId calls = builder.Text(open, "<｜DSML｜tool_calls>\n");
  const NodeId calls_end = builder.AddNode();
  builder.TextTo(calls_end, "</｜DSML｜tool_calls>", end);
  if (block.is_parallel) builder.Epsilon(calls_end, calls);
  const NodeId invoke = builder.Text(calls, "<｜DSML｜invoke name=\"");
  for (const ToolGrammar& tool : block.tools) {
    if (!IsWritable(tool.name)) {
      return Error{"a tool called '" + tool.name + "' cannot be written in a tag"};
    }
    const NodeId parameters = builder.Text(invoke, tool.name + "\">\n");
    Json schema(Json::Object{{"type", "object"}});
    if (tool.is_strict) {
      const Json none(Json::Object{{"type", "object"}, {"additionalProperties", false}});
      schema = tool.parameters.is_null() ? none : tool.parameters;
    }
    ToolWriter writer(builder, schema, options);
    Result<void> written = writer.Write(parameters, calls_end);
    if (!written.ok()) return std::move(written).error().In("tool '" + tool.name + "'");
  }
  std::shared_ptr<const Grammar> grammar = builder.Finish(start);
  if (grammar == nullptr) return Error{"no call of the tools satisfies their parameters"};
  if (!KeepsAllPlaces(grammar)) return TooManyPlaces().In("tools");
  return grammar;
}

std::shared_ptr<const Grammar> TextWithoutTools() {
  static const std::shared_ptr<const Grammar> grammar = [] {
    Builder builder;
    const NodeId start = AddAnyString(builder, StringStyle::kRaw);
    return builder.Finish(start);
  }();
  return grammar;
}

}  // namespace fathom::grammar
