#include "grammar/schema/decimal.h"

#include <algorithm>

namespace fathom::grammar {
namespace {

constexpr int64_t kExponentMax = 1000;

std::strong_ordering CompareMagnitudes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() <=> b.whole.size();
  if (const int order = a.whole.compare(b.whole); order != 0) return order <=> 0;
  return a.fraction.compare(b.fraction) <=> 0;  // a shorter fraction is a prefix with zeros after
}

}  // namespace

std::strong_ordering Decimal::operator<=>(const Decimal& other) const {
  if (is_negative != other.is_negative) {
    return is_negative ? std::strong_ordering::less : std::strong_ordering::greater;
  }
  return is_negative ? CompareMagnitudes(other, *this) : CompareMagnitudes(*this, other);
}

std::optional<Decimal> ParseDecimal(std::string_view literal) {
  Decimal value;
  value.is_negative = literal.starts_with('-');
  if (value.is_negative) literal.remove_prefix(1);
  int64_t exponent = 0;
  if (const size_t at = literal.find_first_of("eE"); at != std::string_view::npos) {
    std::string_view digits = literal.substr(at + 1);
    const bool is_down = digits.starts_with('-');
    if (is_down || digits.starts_with('+')) digits.remove_prefix(1);
    for (const char digit : digits)
      exponent = std::min(kExponentMax + 1, exponent * 10 + digit - '0');
    if (is_down) exponent = -exponent;
    literal = literal.substr(0, at);
  }
  const size_t point = std::min(literal.find('.'), literal.size());
  std::string digits(literal.substr(0, point));
  auto places = static_cast<int64_t>(digits.size());
  if (point < literal.size()) digits.append(literal.substr(point + 1));
  if (digits.find_first_not_of('0') == std::string::npos) return Decimal{};
  places += exponent;
  const auto size = static_cast<int64_t>(digits.size());
  if (exponent > kExponentMax || exponent < -kExponentMax) return std::nullopt;
  if (size > 2 * kExponentMax) return std::nullopt;
  if (places < 0) digits.insert(0, static_cast<size_t>(-places), '0');
  if (places > size) digits.append(static_cast<size_t>(places - size), '0');
  const auto split = static_cast<size_t>(std::max<int64_t>(places, 0));
  value.whole = digits.substr(0, split);
  value.fraction = digits.substr(split);
  value.whole.erase(0, std::min(value.whole.find_first_not_of('0'), value.whole.size()));
  const size_t last = value.fraction.find_last_not_of('0');
  value.fraction.erase(last == std::string::npos ? 0 : last + 1);
  return value;
}

std::optional<int64_t> Scaled(const Decimal& value, int64_t places) {
  const auto missing = places - static_cast<int64_t>(value.fraction.size());
  if (missing < 0 || missing > 18) return std::nullopt;
  const std::string digits =
      value.whole + value.fraction + std::string(static_cast<size_t>(missing), '0');
  if (digits.size() > 18) return std::nullopt;
  int64_t scaled = 0;
  for (const char digit : digits) scaled = scaled * 10 + (digit - '0');
  return value.is_negative ? -scaled : scaled;
}

bool IsMultiple(const Decimal& value, int64_t step, int64_t places) {
  const auto missing = places - static_cast<int64_t>(value.fraction.size());
  if (missing < 0) return false;
  const std::string digits =
      value.whole + value.fraction + std::string(static_cast<size_t>(missing), '0');
  int64_t rest = 0;
  for (const char digit : digits) rest = (rest * 10 + (digit - '0')) % step;
  return rest == 0;
}

}  // namespace fathom::grammar
