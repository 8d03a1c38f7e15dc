// JSON pointers: where a $ref leads, and how the place of a schema is told in messages.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/json.h"

namespace fathom::grammar {

// Finds references within one document, which it refers to. What many references need is found
// once: a schema may have as many as it has bytes.
class References {
 public:
  explicit References(const Json& root) : root_(root) {}

  // "#", "#/$defs/a" or "#anchor". Null when it leads nowhere.
  const Json* Find(std::string_view reference);

 private:
  const Json* Child(const Json& json, const std::string& name);
  void AddAnchors(const Json& json);

  const Json& root_;
  bool has_anchors_ = false;
  std::unordered_map<std::string_view, const Json*> anchors_;
  // Of objects with many.
  std::unordered_map<const Json*, std::unordered_map<std::string_view, const Json*>> members_;
};

// The pointer of a value inside the document, "#" for the document itself.
std::string PlaceOf(const Json& root, const Json& inside);

}  // namespace fathom::grammar
