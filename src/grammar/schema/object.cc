#include "grammar/schema/object.h"

#include <algorithm>
#include <string>

namespace fathom::grammar {
namespace {

// Nodes of one object: properties times counted members.
constexpr int64_t kObjectPlacesMax = 50'000;

}  // namespace

NodeId& ObjectWriter::After(size_t index, int64_t count) {
  return after_[index * static_cast<size_t>(count_max_ + 1) + static_cast<size_t>(count)];
}

NodeId& ObjectWriter::Choose(size_t index, int64_t count) {
  return choose_[index * static_cast<size_t>(count_max_ + 1) + static_cast<size_t>(count)];
}

Result<void> ObjectWriter::Write(NodeId start, NodeId end) {
  FATHOM_TRY(properties_, compiler_.Properties(object_));
  for (const Property& property : properties_) {
    is_required_.push_back(object_.required.contains(property.name));
    if (is_required_.back()) required_end_ = is_required_.size();
  }
  const bool has_others = ValueCompiler::HasOthers(object_);
  // A name that is not declared may come twice, and is then one member for who reads it.
  if (object_.min > 1 && has_others) {
    return Error{"'minProperties' above 1 cannot be enforced for properties that are not declared"};
  }
  count_max_ = std::max<int64_t>({1, object_.min, object_.max});
  const auto places = static_cast<int64_t>(properties_.size()) + 1;
  if (!has_others) count_max_ = std::max<int64_t>(1, std::min(count_max_, places));
  if (count_max_ > kObjectPlacesMax / places) {
    return Error{"'minProperties' and 'maxProperties' are too large to enforce"};
  }
  const size_t size = (properties_.size() + 1) * static_cast<size_t>(count_max_ + 1);
  for (size_t i = 0; i < size; ++i) {
    after_.push_back(builder_.AddNode());
    choose_.push_back(builder_.AddNode());
  }
  close_ = builder_.AddNode();
  builder_.Symbols(compiler_.Space(close_), '}', '}', end);

  const NodeId open = builder_.AddNode();
  builder_.Symbols(start, '{', '{', open);
  const NodeId first = compiler_.Space(open);
  builder_.Epsilon(first, Choose(0, 0));
  if (object_.min == 0 && required_end_ == 0) builder_.Symbols(first, '}', '}', end);
  for (size_t i = 0; i <= properties_.size(); ++i) {
    for (int64_t count = 0; count <= count_max_; ++count) WriteAfter(i, count);
  }
  if (!has_others) return {};
  const NodeId others_start = builder_.AddNode();
  const NodeId others_end = builder_.AddEnd();
  FATHOM_TRY_VOID(WriteOthers(others_start, others_end));
  for (int64_t count = 0; count <= count_max_; ++count) {
    if (object_.max >= 0 && count >= object_.max) continue;
    const int64_t next = std::min(count + 1, count_max_);
    builder_.Call(Choose(properties_.size(), count), others_start, After(properties_.size(), next));
  }
  return {};
}

void ObjectWriter::WriteAfter(size_t index, int64_t count) {
  const bool is_full = object_.max >= 0 && count >= object_.max;
  if (count > 0) {
    if (count >= object_.min && index >= required_end_)
      builder_.Epsilon(After(index, count), close_);
    const NodeId comma = builder_.AddNode();
    if (!is_full) builder_.Symbols(After(index, count), ',', ',', comma);
    builder_.Epsilon(compiler_.Space(comma), Choose(index, count));
  }
  if (index == properties_.size() || is_full) return;
  const Property& property = properties_[index];
  const NodeId name =
      builder_.Text(Choose(index, count), WrittenString(property.name, compiler_.style_));
  builder_.Call(compiler_.Colon(name), compiler_.PartOf(property.schemas),
                After(index + 1, std::min(count + 1, count_max_)));
  if (!is_required_[index]) builder_.Epsilon(Choose(index, count), Choose(index + 1, count));
}

Result<void> ObjectWriter::WriteOthers(NodeId start, NodeId end) {
  FATHOM_TRY(const NodeId names, compiler_.AddNames(object_, compiler_.style_));
  const NodeId name = builder_.AddNode();
  builder_.Call(start, names, name);
  builder_.Call(compiler_.Colon(name), compiler_.PartOf(ValueCompiler::SchemasOfOthers(object_)),
                end);
  return {};
}

}  // namespace fathom::grammar
