// Writes sets of numbers into a grammar, digit by digit: how the digits so far compare with the
// bounds and what rest they leave is part of the place in the grammar.
#pragma once

#include <optional>

#include "base/result.h"
#include "grammar/automaton/grammar.h"
#include "grammar/schema/decimal.h"

namespace fathom::grammar {

struct NumberLimits {
  std::optional<Decimal> min;
  std::optional<Decimal> max;
  bool excludes_min = false;
  bool excludes_max = false;
  // A number is a multiple of step / 10^places.
  int64_t step = 0;  // 0: any
  int64_t places = 0;

  bool HasBounds() const { return min || max; }
};
// Digits that are written before the point and after it, where nothing else limits them: what a
// 64-bit integer and a double can hold.
inline constexpr int64_t kWholeDigits = 18;
inline constexpr int64_t kFractionDigits = 15;

bool Satisfies(const NumberLimits& limits, const Decimal& value);

// A part of the grammar that reads one number. Plain notation; a number without any limit may also
// have an exponent of up to two digits.
Result<NodeId> AddNumber(Builder& builder, const NumberLimits& limits, bool is_integer);

}  // namespace fathom::grammar
