// Recursive descent over ECMA-262's syntax. Letters after a backslash that mean nothing are errors,
// as in its Unicode mode: another dialect may give them a meaning.
#include "grammar/automaton/pattern_parser.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "text/utf8.h"

namespace fathom::grammar {
namespace {

using Ranges = std::vector<CodePointRange>;
using Tree = std::unique_ptr<PatternNode>;

constexpr int kNestingMax = 64;
constexpr int64_t kRepeatMax = 10'000;

Ranges Digits() { return {{'0', '9'}}; }
Ranges WordCharacters() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
Ranges Spaces() {
  return {{9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}
Ranges LineEnds() { return {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}; }

Ranges Complement(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const CodePointRange& a, const CodePointRange& b) { return a.low < b.low; });
  Ranges rest;
  char32_t at = 0;
  for (const CodePointRange& range : ranges) {
    if (range.low > at) rest.push_back({at, range.low - 1});
    at = std::max<char32_t>(at, range.high + 1);
  }
  if (at <= kCodePointMax) rest.push_back({at, kCodePointMax});
  return rest;
}

Tree MakeNode(PatternNode::Kind kind) {
  return std::make_unique<PatternNode>(PatternNode{.kind = kind});
}

Tree MakeSet(Ranges ranges) {
  Tree node = MakeNode(PatternNode::Kind::kSet);
  node->ranges = std::move(ranges);
  return node;
}

class Parser {
 public:
  explicit Parser(std::string_view pattern) : text_(pattern), points_(CodePoints(pattern)) {}

  Result<Tree> Parse() {
    FATHOM_TRY(Tree tree, Choice());
    if (at_ < points_.size()) return Fail("unmatched ')'");
    return tree;
  }

 private:
  Error Fail(const std::string& what) const {
    return Error{"pattern '" + std::string(text_) + "': " + what};
  }
  bool Has(size_t ahead = 0) const { return at_ + ahead < points_.size(); }
  char32_t Peek(size_t ahead = 0) const { return Has(ahead) ? points_[at_ + ahead] : 0; }
  bool Take(std::string_view text) {
    for (size_t i = 0; i < text.size(); ++i) {
      if (!Has(i) || Peek(i) != static_cast<unsigned char>(text[i])) return false;
    }
    at_ += text.size();
    return true;
  }

  Result<Tree> Choice();
  Result<Tree> Sequence();
  Result<Tree> Atom();
  Result<Tree> Group();
  Result<Tree> Set();
  Result<Tree> Quantified(Tree atom);
  bool TakeCounts(int64_t& min, int64_t& max);
  std::optional<int64_t> TakeNumber();
  // The set of \d and the like, or one character.
  Result<Ranges> Escape(bool in_set);
  Result<char32_t> HexEscape(char32_t kind);
  std::optional<char32_t> TakeHex(size_t digits);

  const std::string_view text_;
  const std::vector<char32_t> points_;
  size_t at_ = 0;
  int nesting_ = 0;
};

Result<Tree> Parser::Choice() {
  if (++nesting_ > kNestingMax) return Fail("too many groups within groups");
  Tree choice = MakeNode(PatternNode::Kind::kChoice);
  do {
    FATHOM_TRY(Tree part, Sequence());
    choice->parts.push_back(std::move(part));
  } while (Take("|"));
  --nesting_;
  return choice;
}

Result<Tree> Parser::Sequence() {
  Tree sequence = MakeNode(PatternNode::Kind::kSequence);
  while (Has() && Peek() != '|' && Peek() != ')') {
    FATHOM_TRY(Tree atom, Atom());
    FATHOM_TRY(Tree part, Quantified(std::move(atom)));
    sequence->parts.push_back(std::move(part));
  }
  return sequence;
}

Result<Tree> Parser::Atom() {
  const char32_t point = Peek();
  ++at_;
  switch (point) {
    case '^':
      return MakeNode(PatternNode::Kind::kBegin);
    case '$':
      return MakeNode(PatternNode::Kind::kEnd);
    case '.':
      return MakeSet(Complement(LineEnds()));
    case '(':
      return Group();
    case '[':
      return Set();
    case '\\': {
      FATHOM_TRY(Ranges ranges, Escape(false));
      return MakeSet(std::move(ranges));
    }
    case '*':
    case '+':
    case '?':
      return Fail("nothing to repeat");
    default:
      return MakeSet({{point, point}});
  }
}

Result<Tree> Parser::Group() {
  if (Take("?")) {
    const bool is_behind = Peek() == '<' && (Peek(1) == '=' || Peek(1) == '!');
    if (Peek() == '=' || Peek() == '!' || is_behind) {
      return Fail("look-around cannot be enforced");
    }
    if (Take("<")) {
      while (Has() && Peek() != '>') ++at_;
      if (!Take(">")) return Fail("the name of a group does not end");
    } else if (!Take(":")) {
      return Fail("groups with flags cannot be enforced");
    }
  }
  FATHOM_TRY(Tree inner, Choice());
  if (!Take(")")) return Fail("missing ')'");
  return inner;
}

Result<Tree> Parser::Quantified(Tree atom) {
  int64_t min = 0;
  int64_t max = -1;
  if (Take("+")) {
    min = 1;
  } else if (Take("?")) {
    max = 1;
  } else if (!Take("*") && !TakeCounts(min, max)) {
    return atom;
  }
  Take("?");  // how eagerly it matches does not change what it matches
  if (atom->kind == PatternNode::Kind::kBegin || atom->kind == PatternNode::Kind::kEnd) {
    return Fail("nothing to repeat");
  }
  if (max >= 0 && max < min) return Fail("numbers of a repetition out of order");
  if (std::max(min, max) > kRepeatMax) return Fail("is too complex to enforce");
  if (Peek() == '*' || Peek() == '+' || Peek() == '?') return Fail("nothing to repeat");
  Tree repeat = MakeNode(PatternNode::Kind::kRepeat);
  repeat->min = min;
  repeat->max = max;
  repeat->parts.push_back(std::move(atom));
  return repeat;
}

std::optional<int64_t> Parser::TakeNumber() {
  if (Peek() < '0' || Peek() > '9') return std::nullopt;
  int64_t number = 0;
  for (; Peek() >= '0' && Peek() <= '9'; ++at_) {
    number = std::min(kRepeatMax + 1, number * 10 + static_cast<int64_t>(Peek() - '0'));
  }
  return number;
}

// {2}, {2,} or {2,5}; other braces are characters.
bool Parser::TakeCounts(int64_t& min, int64_t& max) {
  const size_t start = at_;
  if (Take("{")) {
    const std::optional<int64_t> first = TakeNumber();
    const bool has_comma = first && Take(",");
    const std::optional<int64_t> second = has_comma ? TakeNumber() : first;
    if (first && Take("}")) {
      min = *first;
      max = second.value_or(-1);
      return true;
    }
  }
  at_ = start;
  return false;
}

Result<Tree> Parser::Set() {
  const bool is_negated = Take("^");
  Ranges ranges;
  while (!Take("]")) {
    if (!Has()) return Fail("missing ']'");
    const auto one = [&]() -> Result<Ranges> {
      if (Take("\\")) return Escape(true);
      const char32_t point = Peek();
      ++at_;
      return Ranges{{point, point}};
    };
    FATHOM_TRY(Ranges low, one());
    const bool is_range = Peek() == '-' && Has(1) && Peek(1) != ']';
    if (!is_range) {
      ranges.insert(ranges.end(), low.begin(), low.end());
      continue;
    }
    ++at_;
    FATHOM_TRY(const Ranges high, one());
    const bool are_characters = low.size() == 1 && low[0].low == low[0].high && high.size() == 1 &&
                                high[0].low == high[0].high;
    if (!are_characters) return Fail("a range needs two characters");
    if (low[0].low > high[0].low) return Fail("range out of order");
    ranges.push_back({low[0].low, high[0].low});
  }
  return MakeSet(is_negated ? Complement(std::move(ranges)) : std::move(ranges));
}

Result<Ranges> Parser::Escape(bool in_set) {
  if (!Has()) return Fail("ends in a backslash");
  const char32_t point = Peek();
  ++at_;
  const auto one = [](char32_t character) { return Ranges{{character, character}}; };
  switch (point) {
    case 'd':
      return Digits();
    case 'D':
      return Complement(Digits());
    case 'w':
      return WordCharacters();
    case 'W':
      return Complement(WordCharacters());
    case 's':
      return Spaces();
    case 'S':
      return Complement(Spaces());
    case 't':
      return one('\t');
    case 'n':
      return one('\n');
    case 'v':
      return one('\v');
    case 'f':
      return one('\f');
    case 'r':
      return one('\r');
    case '0':
      return one(0);
    case 'x':
    case 'u': {
      FATHOM_TRY(const char32_t character, HexEscape(point));
      return one(character);
    }
    case 'b':
      if (in_set) return one('\b');
      return Fail("word boundaries cannot be enforced");
    case 'B':
      return Fail("word boundaries cannot be enforced");
    case 'p':
    case 'P':
      return Fail("Unicode properties cannot be enforced");
    default:
      break;
  }
  if (point >= '1' && point <= '9') return Fail("back references cannot be enforced");
  if (point == 'k') return Fail("back references cannot be enforced");
  const bool is_letter = (point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z');
  if (is_letter) return Fail("unknown escape '\\" + std::string(1, static_cast<char>(point)) + "'");
  return one(point);
}

std::optional<char32_t> Parser::TakeHex(size_t digits) {
  char32_t value = 0;
  for (size_t i = 0; i < digits; ++i) {
    const char32_t point = Peek(i);
    const char32_t lower = point | 0x20;
    if (point >= '0' && point <= '9') {
      value = value * 16 + (point - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      value = value * 16 + (lower - 'a' + 10);
    } else {
      return std::nullopt;
    }
  }
  at_ += digits;
  return value;
}

// \xHH, \uHHHH (pairs of surrogates are one character), \u{H...}.
Result<char32_t> Parser::HexEscape(char32_t kind) {
  std::optional<char32_t> point;
  if (kind == 'u' && Take("{")) {
    size_t digits = 0;
    while (Has(digits) && Peek(digits) != '}' && digits < 7) ++digits;
    if (digits >= 1 && digits <= 6) point = TakeHex(digits);
    if (point && !Take("}")) point.reset();
  } else {
    point = TakeHex(kind == 'x' ? 2 : 4);
    if (point && *point >= 0xD800 && *point <= 0xDBFF && Take("\\u")) {
      const std::optional<char32_t> low = TakeHex(4);
      const bool is_pair = low && *low >= 0xDC00 && *low <= 0xDFFF;
      if (!is_pair) return Fail("half of a surrogate pair");
      point = 0x10000 + ((*point - 0xD800) << 10) + (*low - 0xDC00);
    }
  }
  if (!point) return Fail("broken escape");
  if (*point > kCodePointMax) return Fail("escape past U+10FFFF");
  if (*point >= kSurrogateFirst && *point <= kSurrogateLast) {
    return Fail("half of a surrogate pair");
  }
  return *point;
}

}  // namespace

Result<Tree> ParsePattern(std::string_view pattern) { return Parser(pattern).Parse(); }

}  // namespace fathom::grammar
