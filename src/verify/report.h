// What a comparison found: one CaseReport per recorded case or operator, made of checks, each a
// number against its limit. Printing and JSON live here too; deciding what to compare does not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace fathom::verify {

struct Check {
  enum class Bound { kAtMost, kAtLeast };

  int level = 0;     // 1, 2, 3; 0 for an operator table
  std::string what;  // "logits mean", "layers.2.ffn.out"
  double value = 0;
  double limit = 0;
  Bound bound = Bound::kAtMost;

  // A NaN does not pass.
  bool passes() const { return bound == Bound::kAtMost ? value <= limit : value >= limit; }
};

struct CaseReport {
  std::string name;
  std::string kind;
  std::vector<Check> checks;
  std::string error;  // set: the case could not be run, and why

  // Something was compared and everything held.
  bool passes() const;
  // Of one level: some check was made, and whether all of that level hold.
  bool has_level(int level) const;
  bool passes_level(int level) const;
};

struct Report {
  std::vector<CaseReport> cases;

  int64_t passed() const;
  bool passes() const { return passed() == std::ssize(cases) && !cases.empty(); }
};

// One line: name, levels run, each difference with its limit, pass or FAIL.
std::string FormatLine(const CaseReport& report);
// "N of M cases pass".
std::string FormatSummary(const Report& report);
Json ToJson(const Report& report);

}  // namespace fathom::verify
