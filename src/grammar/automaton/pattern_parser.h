// Reads a regular expression into a tree. Only pattern.cc needs it.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/automaton/dfa.h"

namespace fathom::grammar {

struct PatternNode {
  enum class Kind { kSet, kSequence, kChoice, kRepeat, kBegin, kEnd };
  Kind kind;
  std::vector<CodePointRange> ranges = {};               // kSet
  std::vector<std::unique_ptr<PatternNode>> parts = {};  // one for kRepeat
  int64_t min = 0;                                       // kRepeat
  int64_t max = -1;                                      // below 0: no limit
};

Result<std::unique_ptr<PatternNode>> ParsePattern(std::string_view pattern);

}  // namespace fathom::grammar
