#include "grammar/schema/number.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace fathom::grammar {
namespace {

// Places in one number: positions times comparisons times rests.
constexpr size_t kNumberPlacesMax = 60'000;
constexpr int64_t kDigitsMax = 400;

enum class Order : int8_t { kLess, kEqual, kGreater };

struct Bound {
  bool exists = false;
  bool is_excluded = false;
  Decimal value;  // not negative
};

// What was read of a magnitude. `digits` counts since the start, or since the point.
struct Place {
  bool is_fraction = false;
  int64_t digits = 0;
  bool is_zero = false;  // "0": no digit may follow before the point
  Order low = Order::kEqual;
  Order high = Order::kEqual;
  int64_t rest = 0;
  auto operator<=>(const Place&) const = default;
};

class MagnitudeWriter {
 public:
  MagnitudeWriter(Builder& builder, const NumberLimits& limits, bool is_integer, NodeId end)
      : builder_(builder), limits_(limits), end_(end) {
    whole_max_ = kWholeDigits;
    fraction_max_ = is_integer ? 0 : kFractionDigits;
    int64_t bound_digits = 0;
    for (const auto* bound : {&limits.min, &limits.max}) {
      if (!*bound) continue;
      const auto whole = static_cast<int64_t>((*bound)->whole.size());
      const auto fraction = static_cast<int64_t>((*bound)->fraction.size());
      // A far bound needs no digits up to it: 1e308 is not there to be reached.
      if (whole > 2 * kWholeDigits) continue;
      bound_digits = std::max(bound_digits, whole);
      whole_max_ = std::max(whole_max_, whole);
      if (!is_integer) fraction_max_ = std::max(fraction_max_, fraction + 3);
    }
    if (limits.step == 0) return;
    fraction_max_ = std::min(fraction_max_, limits.places);
    // Every digit has a place for each rest: fewer digits where there are many rests.
    const auto affordable = static_cast<int64_t>(kNumberPlacesMax) / 4 / limits.step;
    const auto needed = static_cast<int64_t>(std::to_string(limits.step).size()) + 1;
    whole_max_ = std::min(whole_max_, std::max({affordable, needed, bound_digits}));
  }

  // Reads the magnitudes between the bounds from `from` on; false: too many places.
  bool Write(NodeId from, const Bound& low, const Bound& high) {
    low_ = low;
    high_ = high;
    if (fraction_max_ > kDigitsMax) return false;
    places_.clear();
    nodes_.clear();
    AddDigits(from, Place{}, '0', '9');
    for (size_t i = 0; i < places_.size(); ++i) {
      if (places_.size() > kNumberPlacesMax) return false;
      WritePlace(Place(places_[i]), nodes_.at(places_[i]));
    }
    return true;
  }

 private:
  void WritePlace(const Place& place, NodeId node);
  void AddDigits(NodeId from, const Place& place, char first, char last);
  NodeId NodeOf(const Place& place);
  bool Ends(const Place& place) const;
  static Order Next(Order order, const Bound& bound, const Place& place, char digit);
  static Order AtEnd(Order order, const Bound& bound, const Place& place);

  Builder& builder_;
  const NumberLimits& limits_;
  const NodeId end_;
  int64_t whole_max_;
  int64_t fraction_max_;
  Bound low_;
  Bound high_;
  std::vector<Place> places_;
  std::map<Place, NodeId> nodes_;
};

// Before the point the digits are compared with the bound's first digits; which number has more of
// them is known only at the end of the whole part.
Order MagnitudeWriter::Next(Order order, const Bound& bound, const Place& place, char digit) {
  if (!bound.exists) return Order::kEqual;
  const std::string& digits = place.is_fraction ? bound.value.fraction : bound.value.whole;
  const auto at = static_cast<size_t>(place.digits);
  if (!place.is_fraction && at >= digits.size()) {
    return place.is_zero && digits.empty() ? order : Order::kGreater;
  }
  if (order != Order::kEqual) return order;
  const char other = at < digits.size() ? digits[at] : '0';
  if (digit == other) return Order::kEqual;
  return digit < other ? Order::kLess : Order::kGreater;
}

// The order once nothing follows before the point, or at all.
Order MagnitudeWriter::AtEnd(Order order, const Bound& bound, const Place& place) {
  if (place.is_fraction || !bound.exists) return order;
  const auto digits = place.is_zero ? size_t{0} : static_cast<size_t>(place.digits);
  if (digits < bound.value.whole.size()) return Order::kLess;
  if (digits > bound.value.whole.size()) return Order::kGreater;
  return digits == 0 ? Order::kEqual : order;
}

bool MagnitudeWriter::Ends(const Place& place) const {
  const auto read = place.is_fraction ? static_cast<size_t>(place.digits) : size_t{0};
  const auto order = [&](Order so_far, const Bound& bound) {
    const Order at_end = AtEnd(so_far, bound, place);
    const bool more_follows = bound.exists && bound.value.fraction.size() > read;
    return at_end == Order::kEqual && more_follows ? Order::kLess : at_end;
  };
  if (low_.exists) {
    const Order low = order(place.low, low_);
    if (low == Order::kLess || (low == Order::kEqual && low_.is_excluded)) return false;
  }
  if (high_.exists) {
    const Order high = order(place.high, high_);
    if (high == Order::kGreater || (high == Order::kEqual && high_.is_excluded)) return false;
  }
  if (limits_.step == 0) return true;
  int64_t rest = place.rest;
  for (auto i = static_cast<int64_t>(read); i < limits_.places; ++i)
    rest = rest * 10 % limits_.step;
  return rest == 0;
}

NodeId MagnitudeWriter::NodeOf(const Place& place) {
  const auto [it, is_new] = nodes_.emplace(place, 0);
  if (is_new) {
    it->second = builder_.AddNode();
    places_.push_back(place);
  }
  return it->second;
}

void MagnitudeWriter::AddDigits(NodeId from, const Place& place, char first, char last) {
  for (char digit = first; digit <= last; ++digit) {
    Place next = place;
    next.is_zero = !place.is_fraction && place.digits == 0 && digit == '0';
    Place here = place;
    here.is_zero = next.is_zero;
    next.low = Next(place.low, low_, here, digit);
    next.high = Next(place.high, high_, here, digit);
    next.digits = place.digits + 1;
    if (limits_.step > 0) next.rest = (place.rest * 10 + (digit - '0')) % limits_.step;
    builder_.Symbols(from, static_cast<uint8_t>(digit), static_cast<uint8_t>(digit), NodeOf(next));
  }
}

void MagnitudeWriter::WritePlace(const Place& place, NodeId node) {
  if (Ends(place)) builder_.Epsilon(node, end_);
  if (place.is_fraction) {
    if (place.digits < fraction_max_) AddDigits(node, place, '0', '9');
    return;
  }
  if (!place.is_zero && place.digits < whole_max_) AddDigits(node, place, '0', '9');
  if (fraction_max_ == 0) return;
  const NodeId point = builder_.AddNode();
  builder_.Symbols(node, '.', '.', point);
  Place fraction{.is_fraction = true, .rest = place.rest};
  fraction.low = AtEnd(place.low, low_, place);
  fraction.high = AtEnd(place.high, high_, place);
  AddDigits(point, fraction, '0', '9');
}

NodeId AddFreeNumber(Builder& builder) {
  const NodeId start = builder.AddNode();
  const NodeId end = builder.AddEnd();
  const NodeId magnitude = builder.AddNode();
  builder.Epsilon(start, magnitude);
  builder.Symbols(start, '-', '-', magnitude);
  const NodeId whole = builder.AddNode();
  builder.Symbols(magnitude, '0', '0', whole);
  const auto digits = [&](NodeId from, int64_t count, NodeId to) {
    for (int64_t i = 0; i < count; ++i) {
      const NodeId next = builder.AddNode();
      builder.Symbols(from, '0', '9', next);
      builder.Epsilon(next, to);
      from = next;
    }
  };
  const NodeId first = builder.AddNode();
  builder.Symbols(magnitude, '1', '9', first);
  builder.Epsilon(first, whole);
  digits(first, kWholeDigits - 1, whole);
  const NodeId number = builder.AddNode();
  builder.Epsilon(whole, number);
  const NodeId point = builder.AddNode();
  builder.Symbols(whole, '.', '.', point);
  digits(point, kFractionDigits, number);
  builder.Epsilon(number, end);
  const NodeId exponent = builder.AddNode();
  builder.Symbols(number, 'e', 'e', exponent);
  builder.Symbols(number, 'E', 'E', exponent);
  const NodeId exponent_digits = builder.AddNode();
  builder.Epsilon(exponent, exponent_digits);
  builder.Symbols(exponent, '+', '+', exponent_digits);
  builder.Symbols(exponent, '-', '-', exponent_digits);
  digits(exponent_digits, 2, end);
  return start;
}

}  // namespace

bool Satisfies(const NumberLimits& limits, const Decimal& value) {
  if (limits.min && (value < *limits.min || (limits.excludes_min && value == *limits.min))) {
    return false;
  }
  if (limits.max && (value > *limits.max || (limits.excludes_max && value == *limits.max))) {
    return false;
  }
  return limits.step == 0 || IsMultiple(value, limits.step, limits.places);
}

Result<NodeId> AddNumber(Builder& builder, const NumberLimits& limits, bool is_integer) {
  if (!is_integer && !limits.HasBounds() && limits.step == 0) return AddFreeNumber(builder);
  const NodeId start = builder.AddNode();
  const NodeId end = builder.AddEnd();
  MagnitudeWriter writer(builder, limits, is_integer, end);
  const Error too_large{"the limits of a number have too many digits to enforce"};
  if (!limits.max || !limits.max->is_negative) {
    Bound low;
    if (limits.min && !limits.min->is_negative) low = {true, limits.excludes_min, *limits.min};
    Bound high;
    if (limits.max) high = {true, limits.excludes_max, *limits.max};
    if (!writer.Write(start, low, high)) return too_large;
  }
  if (!limits.min || limits.min->is_negative) {
    Bound low{true, true, {}};  // no "-0"
    if (limits.max && limits.max->is_negative) {
      low = {true, limits.excludes_max, limits.max->Magnitude()};
    }
    Bound high;
    if (limits.min) high = {true, limits.excludes_min, limits.min->Magnitude()};
    const NodeId minus = builder.AddNode();
    builder.Symbols(start, '-', '-', minus);
    if (!writer.Write(minus, low, high)) return too_large;
  }
  return start;
}

}  // namespace fathom::grammar
