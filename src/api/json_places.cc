#include "api/json_places.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "text/utf8.h"

namespace fathom::api {
namespace {

// One walk over the text: remembers where the value at `path` stands, and stops at the first
// mistake.
class Scanner {
 public:
  Scanner(std::string_view text, const std::vector<JsonStep>& path) : text_(text), path_(path) {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;  // the parser skips a byte order mark, too
  }

  bool Document() {
    if (!Value(0, 0)) return false;
    SkipSpace();
    return at_ == text_.size() || FailHere("trailing characters");
  }

  JsonPlace place() const { return place_; }
  const std::string& mistake() const { return mistake_; }
  size_t mistake_position() const { return mistake_position_; }

 private:
  // Not on the way to the value that is sought.
  static constexpr size_t kOffPath = SIZE_MAX;

  bool AtEnd() const { return at_ >= text_.size(); }
  char Peek() const { return text_[at_]; }
  void SkipSpace() {
    while (!AtEnd() && (Peek() == ' ' || Peek() == '\t' || Peek() == '\n' || Peek() == '\r')) ++at_;
  }
  bool Fail(std::string mistake, size_t position) {
    mistake_ = std::move(mistake);
    mistake_position_ = std::min(position, text_.size());
    return false;
  }
  // About the byte that comes next.
  bool FailHere(std::string mistake) { return Fail(std::move(mistake), at_ + 1); }
  bool FailAtEnd(std::string_view where) {
    return Fail(fmt::format("EOF while parsing {}", where), text_.size());
  }

  // `matched` steps of the path lead here.
  bool Value(size_t matched, int depth) {
    SkipSpace();
    if (AtEnd()) return FailAtEnd("a value");
    const size_t begin = at_;
    if (!ValueAfterSpace(matched, depth)) return false;
    if (matched == path_.size()) place_ = {begin, at_};
    return true;
  }

  bool ValueAfterSpace(size_t matched, int depth) {
    switch (Peek()) {
      case '{':
        return depth < kJsonDepthMax ? Object(matched, depth + 1)
                                     : FailHere("recursion limit exceeded");
      case '[':
        return depth < kJsonDepthMax ? Array(matched, depth + 1)
                                     : FailHere("recursion limit exceeded");
      case '"': {
        std::string ignored;
        return String(ignored);
      }
      case 't':
        return Literal("true");
      case 'f':
        return Literal("false");
      case 'n':
        return Literal("null");
      default:
        return Number();
    }
  }

  bool Object(size_t matched, int depth) {
    ++at_;
    SkipSpace();
    if (!AtEnd() && Peek() == '}') return ++at_, true;
    while (true) {
      SkipSpace();
      if (AtEnd()) return FailAtEnd("an object");
      if (Peek() == '}') return FailHere("trailing comma");
      if (Peek() != '"') return FailHere("key must be a string");
      std::string name;
      if (!String(name)) return false;
      SkipSpace();
      if (AtEnd()) return FailAtEnd("an object");
      if (Peek() != ':') return FailHere("expected `:`");
      ++at_;
      if (!Value(Next(matched, JsonStep(std::string_view(name))), depth)) return false;
      SkipSpace();
      if (AtEnd()) return FailAtEnd("an object");
      if (Peek() == '}') return ++at_, true;
      if (Peek() != ',') return FailHere("expected `,` or `}`");
      ++at_;
    }
  }

  bool Array(size_t matched, int depth) {
    ++at_;
    SkipSpace();
    if (!AtEnd() && Peek() == ']') return ++at_, true;
    for (size_t i = 0;; ++i) {
      SkipSpace();
      if (AtEnd()) return FailAtEnd("a list");
      if (Peek() == ']') return FailHere("trailing comma");
      if (!Value(Next(matched, JsonStep(i)), depth)) return false;
      SkipSpace();
      if (AtEnd()) return FailAtEnd("a list");
      if (Peek() == ']') return ++at_, true;
      if (Peek() != ',') return FailHere("expected `,` or `]`");
      ++at_;
    }
  }

  size_t Next(size_t matched, const JsonStep& step) const {
    const bool follows = matched < path_.size() && path_[matched] == step;
    return follows ? matched + 1 : kOffPath;
  }

  bool Literal(std::string_view word) {
    for (const char c : word) {
      if (AtEnd()) return FailAtEnd("a value");
      if (Peek() != c) return FailHere("expected ident");
      ++at_;
    }
    return true;
  }

  bool Digits() {
    const size_t begin = at_;
    while (!AtEnd() && Peek() >= '0' && Peek() <= '9') ++at_;
    return at_ > begin;
  }

  bool Number() {
    const bool has_sign = Peek() == '-';
    if (has_sign) ++at_;
    if (!AtEnd() && Peek() == '0') {
      ++at_;
      if (!AtEnd() && Peek() >= '0' && Peek() <= '9') return FailHere("invalid number");
    } else if (!Digits()) {
      if (AtEnd()) return FailAtEnd("a value");
      return FailHere(has_sign ? "invalid number" : "expected value");
    }
    if (!AtEnd() && Peek() == '.') {
      ++at_;
      if (!Digits()) return AtEnd() ? FailAtEnd("a value") : FailHere("invalid number");
    }
    if (!AtEnd() && (Peek() == 'e' || Peek() == 'E')) {
      ++at_;
      if (!AtEnd() && (Peek() == '+' || Peek() == '-')) ++at_;
      if (!Digits()) return AtEnd() ? FailAtEnd("a value") : FailHere("invalid number");
    }
    return true;
  }

  bool String(std::string& out) {
    ++at_;
    while (true) {
      if (AtEnd()) return FailAtEnd("a string");
      const char c = Peek();
      if (c == '"') return ++at_, true;
      if (c == '\\') {
        if (!Escape(out)) return false;
        continue;
      }
      if (static_cast<unsigned char>(c) < 0x20)
        return FailHere("control character (\\u0000-\\u001F) found while parsing a string");
      const text::Utf8Step step = text::NextUtf8(text_.substr(at_));
      if (step.kind != text::Utf8Step::Kind::kCodePoint)
        return FailHere("invalid unicode code point");
      out += text_.substr(at_, static_cast<size_t>(step.bytes));
      at_ += static_cast<size_t>(step.bytes);
    }
  }

  bool Escape(std::string& out) {
    ++at_;
    if (AtEnd()) return FailAtEnd("a string");
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const char c = Peek();
    if (const size_t which = kNames.find(c); which != kNames.npos) {
      out += kMeanings[which];
      ++at_;
      return true;
    }
    if (c != 'u') return FailHere("invalid escape");
    ++at_;
    char32_t unit = 0;
    if (!HexUnit(unit)) return false;
    if (unit >= 0xDC00 && unit < 0xE000) return Fail("lone leading surrogate in hex escape", at_);
    if (unit >= 0xD800 && unit < 0xDC00) {
      if (!text_.substr(at_).starts_with("\\u")) return FailHere("unexpected end of hex escape");
      at_ += 2;
      char32_t low = 0;
      if (!HexUnit(low)) return false;
      if (low < 0xDC00 || low >= 0xE000) return Fail("lone leading surrogate in hex escape", at_);
      unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    text::AppendUtf8(out, unit);
    return true;
  }

  bool HexUnit(char32_t& unit) {
    unit = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      if (AtEnd()) return FailAtEnd("a string");
      const char c = Peek();
      const bool is_digit = c >= '0' && c <= '9';
      const char lower = static_cast<char>(c | 0x20);
      if (!is_digit && (lower < 'a' || lower > 'f')) return FailHere("invalid escape");
      unit = unit * 16 + static_cast<char32_t>(is_digit ? c - '0' : lower - 'a' + 10);
    }
    return true;
  }

  std::string_view text_;
  const std::vector<JsonStep>& path_;
  size_t at_ = 0;
  JsonPlace place_;
  std::string mistake_;
  size_t mistake_position_ = 0;
};

}  // namespace

JsonPlace FindPlace(std::string_view text, const std::vector<JsonStep>& path) {
  Scanner scanner(text, path);
  (void)scanner.Document();
  return scanner.place();
}

std::string DescribeSyntaxError(std::string_view text) {
  const std::vector<JsonStep> nowhere;
  Scanner scanner(text, nowhere);
  // What only the parser refuses is a number past the range of doubles; its place is not worth a
  // third reading.
  if (scanner.Document()) return "number out of range" + AtLineColumn(text, text.size());
  return scanner.mistake() + AtLineColumn(text, scanner.mistake_position());
}

std::string AtLineColumn(std::string_view text, size_t position) {
  const std::string_view before = text.substr(0, position);
  const auto lines = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  const size_t column = newline == before.npos ? before.size() : before.size() - newline - 1;
  return fmt::format(" at line {} column {}", lines, column);
}

}  // namespace fathom::api
