// Objects: members in schema order, the optional ones may be left out, then members that are not
// declared. Which member is next, and how many there are where that matters, is a node of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "grammar/schema/compile.h"

namespace fathom::grammar {

class ObjectWriter {
 public:
  ObjectWriter(ValueCompiler& compiler, const ObjectLimits& object)
      : compiler_(compiler), builder_(compiler.builder_), object_(object) {}

  // Reads one object from `start` to `end`.
  Result<void> Write(NodeId start, NodeId end);

 private:
  // The next member may be `index` or a later one; `count` members were read, as far as it matters.
  NodeId& After(size_t index, int64_t count);
  NodeId& Choose(size_t index, int64_t count);
  void WriteAfter(size_t index, int64_t count);
  Result<void> WriteOthers(NodeId start, NodeId end);

  ValueCompiler& compiler_;
  Builder& builder_;
  const ObjectLimits& object_;
  std::vector<Property> properties_;
  std::vector<bool> is_required_;
  size_t required_end_ = 0;  // after the last of them
  int64_t count_max_ = 1;
  std::vector<NodeId> after_;
  std::vector<NodeId> choose_;
  NodeId close_ = 0;
};

}  // namespace fathom::grammar
