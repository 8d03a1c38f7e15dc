// Code points become bytes by splitting ranges where the length or a continuation byte's range
// changes. The parts that follow a first byte, and the escapes, are shared between all states that
// lead to the same target.
#include "grammar/schema/string.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/json.h"
#include "text/utf8.h"

namespace fathom::grammar {
namespace {

struct ByteRange {
  uint8_t low;
  uint8_t high;
  auto operator<=>(const ByteRange&) const = default;
};
using ByteRanges = std::vector<ByteRange>;

constexpr char32_t kFullWidthBar = 0xFF5C;

std::string Utf8(char32_t point) {
  std::string bytes;
  text::AppendUtf8(bytes, point);
  return bytes;
}

// The byte sequences of a range of code points; `low` and `high` are no surrogates.
void SplitRange(char32_t low, char32_t high, std::vector<ByteRanges>& out) {
  for (const char32_t last : {char32_t{0x7F}, char32_t{0x7FF}, char32_t{0xFFFF}}) {
    if (low > last || high <= last) continue;
    SplitRange(low, last, out);
    SplitRange(last + 1, high, out);
    return;
  }
  const std::string last = Utf8(high);
  for (size_t i = 1; i < last.size(); ++i) {
    const char32_t mask = (char32_t{1} << (6 * i)) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      SplitRange(low, low | mask, out);
      SplitRange((low | mask) + 1, high, out);
      return;
    }
    if ((high & mask) != mask) {
      SplitRange(low, (high & ~mask) - 1, out);
      SplitRange(high & ~mask, high, out);
      return;
    }
  }
  const std::string first = Utf8(low);
  ByteRanges bytes;
  for (size_t i = 0; i < first.size(); ++i) {
    bytes.push_back({static_cast<uint8_t>(first[i]), static_cast<uint8_t>(last[i])});
  }
  out.push_back(std::move(bytes));
}

std::vector<char32_t> EscapedPoints(StringStyle style) {
  std::vector<char32_t> points;
  if (style == StringStyle::kRaw) return points;
  for (char32_t point = 0; point < 0x20; ++point) points.push_back(point);
  points.push_back('"');
  points.push_back('\\');
  if (style == StringStyle::kJsonInMarkup) points.push_back(kFullWidthBar);
  return points;
}

// Whether every character leads from the state to itself.
bool ReturnsAlways(const Dfa& dfa, size_t state) {
  const std::vector<Dfa::Arc>& arcs = dfa.states[state].arcs;
  const auto self = static_cast<int32_t>(state);
  return arcs.size() == 2 && arcs[0].target == self && arcs[1].target == self && arcs[0].low == 0 &&
         arcs[0].high + 1 == kSurrogateFirst && arcs[1].low == kSurrogateLast + 1 &&
         arcs[1].high == kCodePointMax;
}

// Writes one set of strings. Nodes of a limited string share its limits entry.
class StringWriter {
 public:
  StringWriter(Builder& builder, StringStyle style, int64_t min, int64_t max)
      : builder_(builder), style_(style), min_(min), max_(max) {
    if (min <= 0 && max < 0) return;
    const auto clamp = [](int64_t value) {
      return static_cast<uint32_t>(std::min<int64_t>(value, kNoLimit / 2));
    };
    limits_ = {clamp(std::max<int64_t>(min, 0)), max < 0 ? kNoLimit : clamp(max)};
    limits_id_ = builder.AddLimits(limits_);
  }

  // `is_any`: no string is left out but for what the style cannot write.
  NodeId Write(const Dfa& dfa, bool is_any);

 private:
  bool is_limited() const { return limits_id_ >= 0; }
  NodeId Node() {
    const NodeId node = builder_.AddNode();
    builder_.SetLimits(node, limits_id_);
    return node;
  }
  NodeId Quote(NodeId from) {
    if (style_ == StringStyle::kRaw) return from;
    const NodeId next = Node();
    builder_.Symbols(from, '"', '"', next);
    return next;
  }
  void WriteState(const Dfa& dfa, size_t state);
  void WriteRange(NodeId from, char32_t low, char32_t high, NodeId to);
  NodeId Rest(const ByteRanges& rest, NodeId to);
  NodeId Escapes(const std::map<char32_t, NodeId>& targets);
  void FreeEscapes(NodeId from, NodeId to);
  void Hex(NodeId from, std::string_view pattern, NodeId to);

  Builder& builder_;
  const StringStyle style_;
  const int64_t min_;
  const int64_t max_;
  bool is_any_ = false;
  CharacterLimits limits_;
  int32_t limits_id_ = -1;
  std::vector<NodeId> at_;    // before a character, in each state
  std::vector<NodeId> into_;  // after a character that led to the state
  NodeId end_ = 0;
  std::map<std::pair<ByteRanges, NodeId>, NodeId> rests_;
  std::map<std::map<char32_t, NodeId>, NodeId> escapes_;
};

NodeId StringWriter::Write(const Dfa& dfa, bool is_any) {
  is_any_ = is_any;
  const NodeId start = builder_.AddNode();
  end_ = builder_.AddEnd();
  if (dfa.states.empty() || (max_ >= 0 && max_ < min_)) return start;
  for (size_t i = 0; i < dfa.states.size(); ++i) {
    into_.push_back(Node());
    at_.push_back(is_limited() ? Node() : into_.back());
    if (is_limited()) {
      const uint32_t cap = limits_.max == kNoLimit ? limits_.min : limits_.max;
      builder_.Count(into_[i], cap, at_[i]);
    }
  }
  builder_.Epsilon(Quote(start), at_[0]);
  for (size_t i = 0; i < dfa.states.size(); ++i) WriteState(dfa, i);
  if (is_any && style_ != StringStyle::kRaw) {
    NodeId from = at_[0];
    if (is_limited() && limits_.max != kNoLimit) {
      from = Node();
      builder_.IfLess(at_[0], limits_.max, from);
    }
    FreeEscapes(from, into_[0]);
  }
  return start;
}

void StringWriter::WriteState(const Dfa& dfa, size_t state) {
  const std::vector<Dfa::Arc>& arcs = dfa.states[state].arcs;
  NodeId from = at_[state];
  if (dfa.states[state].accepts) {
    NodeId closing = from;
    if (is_limited()) {
      closing = Node();
      builder_.IfAtLeast(from, limits_.min, closing);
    }
    builder_.Epsilon(Quote(closing), end_);
  }
  if (limits_.max != kNoLimit) {
    const NodeId more = Node();
    builder_.IfLess(from, limits_.max, more);
    from = more;
  } else if (!arcs.empty()) {
    // Apart from the closing quote, so that the node reads characters only.
    const NodeId more = Node();
    builder_.Epsilon(from, more);
    from = more;
  }
  std::map<char32_t, NodeId> escaped;
  const std::vector<char32_t> points = EscapedPoints(style_);
  for (const Dfa::Arc& arc : arcs) {
    const NodeId to = into_[arc.target];
    char32_t low = arc.low;
    for (const char32_t point : points) {
      if (point < low || point > arc.high) continue;
      escaped[point] = to;
      if (low < point) WriteRange(from, low, point - 1, to);
      low = point + 1;
    }
    if (low <= arc.high) WriteRange(from, low, arc.high, to);
  }
  if (!escaped.empty()) builder_.Symbols(from, '\\', '\\', Escapes(escaped));
  if (is_any_ || ReturnsAlways(dfa, state)) {
    builder_.SetPlain(from, style_ == StringStyle::kRaw ? Plain::kRawText : Plain::kJsonString);
  }
}

void StringWriter::WriteRange(NodeId from, char32_t low, char32_t high, NodeId to) {
  std::vector<ByteRanges> sequences;
  SplitRange(low, high, sequences);
  for (const ByteRanges& bytes : sequences) {
    const NodeId next = Rest({bytes.begin() + 1, bytes.end()}, to);
    builder_.Symbols(from, bytes.front().low, bytes.front().high, next);
  }
}

NodeId StringWriter::Rest(const ByteRanges& rest, NodeId to) {
  if (rest.empty()) return to;
  const auto [it, is_new] = rests_.emplace(std::pair(rest, to), 0);
  if (!is_new) return it->second;
  const NodeId node = Node();
  const NodeId next = Rest({rest.begin() + 1, rest.end()}, to);
  builder_.Symbols(node, rest.front().low, rest.front().high, next);
  rests_[{rest, to}] = node;
  return node;
}

// The node after a backslash from which each code point's canonical escape leads to its target.
NodeId StringWriter::Escapes(const std::map<char32_t, NodeId>& targets) {
  const auto [it, is_new] = escapes_.emplace(targets, 0);
  if (!is_new) return it->second;
  const NodeId start = Node();
  std::map<std::string, NodeId> by_prefix = {{"", start}};
  for (const auto& [point, target] : targets) {
    std::string written = WrittenString(Utf8(point), style_);
    written = written.substr(2, written.size() - 3);
    NodeId at = start;
    for (size_t i = 0; i < written.size(); ++i) {
      const auto byte = static_cast<uint8_t>(written[i]);
      if (i + 1 == written.size()) {
        builder_.Symbols(at, byte, byte, target);
        break;
      }
      const auto [known, is_new_prefix] = by_prefix.emplace(written.substr(0, i + 1), 0);
      if (is_new_prefix) {
        known->second = Node();
        builder_.Symbols(at, byte, byte, known->second);
      }
      at = known->second;
    }
  }
  escapes_[targets] = start;
  return start;
}

// Hexadecimal digits by class: x any, n any but d, 7 up to 7, l from 8 to b, h from c on.
void StringWriter::Hex(NodeId from, std::string_view pattern, NodeId to) {
  for (size_t i = 0; i < pattern.size(); ++i) {
    const NodeId next = i + 1 == pattern.size() ? to : Node();
    const auto add = [&](char low, char high) {
      builder_.Symbols(from, static_cast<uint8_t>(low), static_cast<uint8_t>(high), next);
    };
    switch (pattern[i]) {
      case 'x':
        add('0', '9'), add('a', 'f'), add('A', 'F');
        break;
      case 'n':
        add('0', '9'), add('a', 'c'), add('A', 'C'), add('e', 'f'), add('E', 'F');
        break;
      case 'd':
        add('d', 'd'), add('D', 'D');
        break;
      case '7':
        add('0', '7');
        break;
      case 'l':
        add('8', '9'), add('a', 'b'), add('A', 'B');
        break;
      default:  // h
        add('c', 'f'), add('C', 'F');
        break;
    }
    from = next;
  }
}

// All that JSON allows after a backslash; surrogates only in pairs, which are one character.
void StringWriter::FreeEscapes(NodeId from, NodeId to) {
  const NodeId escape = Node();
  builder_.Symbols(from, '\\', '\\', escape);
  for (const char letter : std::string_view("\"\\/bfnrt")) {
    builder_.Symbols(escape, static_cast<uint8_t>(letter), static_cast<uint8_t>(letter), to);
  }
  const NodeId hex = Node();
  builder_.Symbols(escape, 'u', 'u', hex);
  Hex(hex, "nxxx", to);
  Hex(hex, "d7xx", to);
  const NodeId low = Node();
  Hex(hex, "dlxx", low);
  const NodeId low_escape = Node();
  builder_.Symbols(low, '\\', '\\', low_escape);
  const NodeId low_hex = Node();
  builder_.Symbols(low_escape, 'u', 'u', low_hex);
  Hex(low_hex, "dhxx", to);
}

}  // namespace

NodeId AddString(Builder& builder, const Dfa& dfa, StringStyle style, int64_t min, int64_t max) {
  return StringWriter(builder, style, min, max).Write(dfa, false);
}

NodeId AddAnyString(Builder& builder, StringStyle style, int64_t min, int64_t max) {
  const Dfa dfa = style == StringStyle::kRaw ? StringsWithoutMark() : AnyString();
  return StringWriter(builder, style, min, max).Write(dfa, true);
}

void AddChoices(Builder& builder, NodeId from, std::vector<std::string> texts, NodeId to) {
  std::sort(texts.begin(), texts.end());
  std::vector<NodeId> path = {from};  // after each byte of the text before
  std::string_view before;
  for (const std::string& text : texts) {
    size_t shared = 0;
    while (shared < std::min(before.size(), text.size()) && before[shared] == text[shared]) {
      ++shared;
    }
    path.resize(shared + 1);
    for (size_t i = shared; i < text.size(); ++i) {
      const NodeId next = builder.AddNode();
      const auto byte = static_cast<uint8_t>(text[i]);
      builder.Symbols(path.back(), byte, byte, next);
      path.push_back(next);
    }
    builder.Epsilon(path.back(), to);
    before = text;
  }
}

std::string WrittenString(std::string_view text, StringStyle style) {
  if (style == StringStyle::kRaw) return std::string(text);
  std::string written = JsonString(text);
  if (style == StringStyle::kJson) return written;
  const std::string bar = Utf8(kFullWidthBar);
  for (size_t at = written.find(bar); at != std::string::npos; at = written.find(bar, at)) {
    written.replace(at, bar.size(), "\\uff5c");
  }
  return written;
}

}  // namespace fathom::grammar
