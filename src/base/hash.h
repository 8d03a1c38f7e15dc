// A hash of text that is the same in every process, for names that become seeds or other names.
// FNV-1a, 64 bits (Fowler, Noll, Vo). Nobody who wants two texts to collide is kept from it; files
// are told apart by cache/disk_format.h.
#pragma once

#include <cstdint>
#include <string_view>

namespace fathom {

inline constexpr uint64_t kHashStart = 0xcbf29ce484222325;

// `start`: of another text, which the hash then goes on from, or any number.
constexpr uint64_t HashText(std::string_view text, uint64_t start = kHashStart) {
  uint64_t hash = start;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace fathom
