#include "grammar/schema/reference.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

namespace fathom::grammar {
namespace {

int HexValue(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  const char lower = static_cast<char>(digit | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// A part of a pointer: %XX, then ~1 and ~0.
std::string Unescaped(std::string_view part) {
  std::string bytes;
  for (size_t i = 0; i < part.size(); ++i) {
    const bool is_hex = part[i] == '%' && i + 2 < part.size() && HexValue(part[i + 1]) >= 0 &&
                        HexValue(part[i + 2]) >= 0;
    if (is_hex) {
      bytes.push_back(static_cast<char>(HexValue(part[i + 1]) * 16 + HexValue(part[i + 2])));
      i += 2;
    } else {
      bytes.push_back(part[i]);
    }
  }
  std::string name;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char next = i + 1 < bytes.size() ? bytes[i + 1] : '\0';
    if (bytes[i] == '~' && (next == '0' || next == '1')) {
      name.push_back(next == '0' ? '~' : '/');
      ++i;
    } else {
      name.push_back(bytes[i]);
    }
  }
  return name;
}

std::string Escaped(std::string_view name) {
  std::string part;
  for (const char byte : name) {
    if (byte == '~') {
      part.append("~0");
    } else if (byte == '/') {
      part.append("~1");
    } else {
      part.push_back(byte);
    }
  }
  return part;
}

bool FindPath(const Json& json, const Json& inside, std::string& path) {
  if (&json == &inside) return true;
  const size_t length = path.size();
  const auto try_child = [&](const Json& child, const std::string& part) {
    path.append("/").append(part);
    if (FindPath(child, inside, path)) return true;
    path.resize(length);
    return false;
  };
  if (json.is_object()) {
    for (const auto& [name, member] : json.object()) {
      if (try_child(member, Escaped(name))) return true;
    }
  }
  if (json.is_array()) {
    for (size_t i = 0; i < json.array().size(); ++i) {
      if (try_child(json.array()[i], std::to_string(i))) return true;
    }
  }
  return false;
}

}  // namespace

const Json* References::Child(const Json& json, const std::string& name) {
  constexpr size_t kManyMembers = 16;
  if (json.is_object() && json.object().size() > kManyMembers) {
    auto& members = members_[&json];
    if (members.empty()) {
      for (const auto& [key, value] : json.object()) members.emplace(key, &value);
    }
    const auto it = members.find(name);
    return it == members.end() ? nullptr : it->second;
  }
  if (!json.is_array()) return json.Find(name);
  if (name.empty() || name.size() > 6 || name.find_first_not_of("0123456789") != name.npos) {
    return nullptr;
  }
  const auto index = static_cast<size_t>(std::stoi(name));
  return index < json.array().size() ? &json.array()[index] : nullptr;
}

// The first of a name counts.
void References::AddAnchors(const Json& json) {
  if (json.is_object()) {
    if (const Json* name = json.Find("$anchor"); name != nullptr && name->is_string()) {
      anchors_.emplace(name->string(), &json);
    }
    for (const auto& [name, member] : json.object()) AddAnchors(member);
  }
  if (json.is_array()) {
    for (const Json& item : json.array()) AddAnchors(item);
  }
}

const Json* References::Find(std::string_view reference) {
  if (!reference.starts_with('#')) return nullptr;
  reference.remove_prefix(1);
  if (!reference.empty() && reference.front() != '/') {
    if (!std::exchange(has_anchors_, true)) AddAnchors(root_);
    const auto it = anchors_.find(reference);
    return it == anchors_.end() ? nullptr : it->second;
  }
  const Json* at = &root_;
  while (at != nullptr && !reference.empty()) {
    reference.remove_prefix(1);
    const size_t end = std::min(reference.find('/'), reference.size());
    at = Child(*at, Unescaped(reference.substr(0, end)));
    reference.remove_prefix(end);
  }
  return at;
}

std::string PlaceOf(const Json& root, const Json& inside) {
  std::string path = "#";
  FindPath(root, inside, path);
  return path;
}

}  // namespace fathom::grammar
