// Numbers of JSON as what they are written as: decimal digits, exact. Bounds and multiples of a
// schema are compared and divided without rounding.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fathom::grammar {

struct Decimal {
  bool is_negative = false;  // zero never is
  std::string whole;         // digits before the point, no leading zeros; may be empty
  std::string fraction;      // digits after it, no trailing zeros

  bool is_zero() const { return whole.empty() && fraction.empty(); }
  bool is_integer() const { return fraction.empty(); }
  Decimal Magnitude() const { return {false, whole, fraction}; }
  std::strong_ordering operator<=>(const Decimal& other) const;
  bool operator==(const Decimal&) const = default;
};

// A number literal of JSON. None when its exponent would need more than a thousand digits.
std::optional<Decimal> ParseDecimal(std::string_view literal);

// value / 10^-places as an integer, where it is one and fits.
std::optional<int64_t> Scaled(const Decimal& value, int64_t places);

// Whether value is a multiple of `step` (an integer of that many places). False when unknown.
bool IsMultiple(const Decimal& value, int64_t step, int64_t places);

}  // namespace fathom::grammar
