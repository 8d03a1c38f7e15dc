// A recursive-descent reader (depth limited) after Python's json.scanner, and number spelling after
// float.__repr__. The shortest digits come from std::to_chars, which promises the same round trip.
#include "chat/python_json.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>
#include <unordered_map>

#include "text/utf8.h"

namespace fathom::chat {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The exponent of the first nonzero digit, saturated: tells overflow from underflow when the value
// fits no double. Zero mantissas never come here, they fit.
int64_t DecimalExponent(std::string_view literal) {
  constexpr int64_t kFar = 1'000'000'000'000;
  const size_t e = literal.find_first_of("eE");
  const std::string_view mantissa = literal.substr(0, e);
  int64_t exponent = 0;
  if (e != literal.npos) {
    std::string_view digits = literal.substr(e + 1);
    const bool is_negative = !digits.empty() && digits.front() == '-';
    if (is_negative || (!digits.empty() && digits.front() == '+')) digits.remove_prefix(1);
    const auto [end, status] =
        std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
    if (status != std::errc() || exponent > kFar) exponent = kFar;
    if (is_negative) exponent = -exponent;
  }
  const size_t point = std::min(mantissa.find('.'), mantissa.size());
  const size_t first = mantissa.find_first_of("123456789");
  if (first == mantissa.npos) return -kFar;
  const int64_t place = static_cast<int64_t>(point) - static_cast<int64_t>(first);
  return exponent + (first < point ? place - 1 : place);
}

double ToDouble(std::string_view literal) {
  double value = 0;
  const auto [end, status] =
      std::from_chars(literal.data(), literal.data() + literal.size(), value);
  if (status != std::errc::result_out_of_range) return value;
  const double magnitude =
      DecimalExponent(literal) > 0 ? std::numeric_limits<double>::infinity() : 0.0;
  return literal.front() == '-' ? -magnitude : magnitude;
}

std::string PythonFloat(double value) {
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  char buffer[40];
  const auto [end, status] =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view scientific(buffer, static_cast<size_t>(end - buffer));
  const size_t e = scientific.find('e');
  int exponent = 0;
  const bool is_small = scientific[e + 1] == '-';
  std::from_chars(scientific.data() + e + 2, end, exponent);
  if (is_small) exponent = -exponent;
  // Outside this range repr uses exponents, in just the form of to_chars: 1e-07, 1.5e+300.
  if (exponent < -4 || exponent >= 16) return std::string(scientific);

  std::string digits;
  for (const char c : scientific.substr(0, e))
    if (IsDigit(c)) digits += c;
  std::string out = scientific.front() == '-' ? "-" : "";
  if (exponent < 0) {
    return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  }
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) {
    return out + digits + std::string(whole - digits.size(), '0') + ".0";
  }
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

class Reader {
 public:
  Reader(std::string_view text, const PythonJsonOptions& options)
      : text_(text), options_(options) {}

  Result<Json> ReadAll() {
    SkipSpace();
    FATHOM_TRY(Json json, ReadValue(0));
    SkipSpace();
    if (at_ != text_.size()) return Fail("the end");
    return json;
  }

 private:
  Error Fail(const char* expected) const {
    const std::string found = at_ < text_.size()
                                  ? fmt::format("byte 0x{:02x}", static_cast<uint8_t>(text_[at_]))
                                  : "the end of the text";
    return Error{fmt::format("JSON: expected {} at byte {}, found {}", expected, at_, found)};
  }
  bool Take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void SkipSpace() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string::npos)
      ++at_;
  }

  Result<Json> ReadValue(int depth) {
    if (Take("null")) return Json();
    if (Take("true")) return Json(true);
    if (Take("false")) return Json(false);
    if (!options_.reject_constants)
      for (const char* name : {"NaN", "Infinity", "-Infinity"})
        if (Take(name)) return Json(Json::Number{name});
    if (at_ == text_.size()) return Fail("a value");
    const char c = text_[at_];
    if (c == '"') {
      FATHOM_TRY(std::string value, ReadString());
      return Json(std::move(value));
    }
    if (c == '-' || IsDigit(c)) return ReadNumber();
    if (c != '[' && c != '{') return Fail("a value");
    if (depth >= kJsonDepthMax)
      return Error{fmt::format("JSON: expected nesting of at most {}, found more at byte {}",
                               kJsonDepthMax, at_)};
    ++at_;
    return c == '[' ? ReadArray(depth) : ReadObject(depth);
  }

  Result<Json> ReadArray(int depth) {
    Json::Array array;
    SkipSpace();
    if (Take("]")) return Json(std::move(array));
    for (;;) {
      SkipSpace();
      FATHOM_TRY(Json item, ReadValue(depth + 1));
      array.push_back(std::move(item));
      SkipSpace();
      if (Take("]")) return Json(std::move(array));
      if (!Take(",")) return Fail("',' or ']'");
    }
  }

  Result<Json> ReadObject(int depth) {
    Json::Object object;
    std::unordered_map<std::string, size_t> places;
    SkipSpace();
    if (Take("}")) return Json(std::move(object));
    for (;;) {
      SkipSpace();
      if (at_ == text_.size() || text_[at_] != '"') return Fail("a member name");
      FATHOM_TRY(std::string name, ReadString());
      SkipSpace();
      if (!Take(":")) return Fail("':'");
      SkipSpace();
      FATHOM_TRY(Json value, ReadValue(depth + 1));
      const auto [place, is_new] = places.try_emplace(name, object.size());
      if (is_new) {
        object.emplace_back(std::move(name), std::move(value));
      } else {
        object[place->second].second = std::move(value);
      }
      SkipSpace();
      if (Take("}")) return Json(std::move(object));
      if (!Take(",")) return Fail("',' or '}'");
    }
  }

  void SkipDigits() {
    while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
  }
  Result<Json> ReadNumber() {
    const size_t begin = at_;
    Take("-");
    if (at_ == text_.size() || !IsDigit(text_[at_])) return Fail("a digit");
    if (!Take("0")) SkipDigits();
    // A fraction or exponent without digits is not part of the number: what follows then fails.
    if (at_ + 1 < text_.size() && text_[at_] == '.' && IsDigit(text_[at_ + 1])) {
      ++at_;
      SkipDigits();
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      size_t digits = at_ + 1;
      if (digits < text_.size() && (text_[digits] == '+' || text_[digits] == '-')) ++digits;
      if (digits < text_.size() && IsDigit(text_[digits])) {
        at_ = digits;
        SkipDigits();
      }
    }
    return Json(Json::Number{PythonNumber(text_.substr(begin, at_ - begin))});
  }

  Result<std::string> ReadString() {
    ++at_;
    std::string out;
    for (;;) {
      const size_t begin = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             static_cast<uint8_t>(text_[at_]) >= 0x20)
        ++at_;
      out += text_.substr(begin, at_ - begin);
      if (at_ == text_.size()) return Fail("a closing quote");
      if (Take("\"")) return out;
      if (!Take("\\")) return Fail("a character of U+0020 or above inside a string");
      FATHOM_TRY_VOID(ReadEscape(out));
    }
  }

  Result<void> ReadEscape(std::string& out) {
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    if (at_ == text_.size()) return Fail("an escape");
    if (const size_t i = kNames.find(text_[at_]); i != kNames.npos) {
      out += kValues[i];
      ++at_;
      return {};
    }
    if (!Take("u")) return Fail("an escape");
    FATHOM_TRY(uint32_t code, ReadHex());
    if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_).starts_with("\\u")) {
      const size_t second = at_;
      at_ += 2;
      FATHOM_TRY(const uint32_t low, ReadHex());
      if (low >= 0xDC00 && low < 0xE000) {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      } else {
        at_ = second;  // another escape, read on its own
      }
    }
    if (code >= 0xD800 && code < 0xE000) {
      out += static_cast<char>(0xED);
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      text::AppendUtf8(out, code);
    }
    return {};
  }

  Result<uint32_t> ReadHex() {
    const std::string_view digits = text_.substr(at_, 4);
    uint32_t code = 0;
    const auto [end, status] =
        std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (status != std::errc() || end != digits.data() + 4) return Fail("four hexadecimal digits");
    at_ += 4;
    return code;
  }

  std::string_view text_;
  PythonJsonOptions options_;
  size_t at_ = 0;
};

}  // namespace

Result<Json> ParsePythonJson(std::string_view text, const PythonJsonOptions& options) {
  if (const int64_t valid = text::ValidUtf8Prefix(text); valid != std::ssize(text))
    return Error{fmt::format("JSON: expected UTF-8, found a stray byte at {}", valid)};
  return Reader(text, options).ReadAll();
}

std::string WritePythonJson(const Json& json) {
  return WriteJson(json, {.item_separator = ", ", .name_separator = ": "});
}

std::string PythonNumber(std::string_view literal) {
  if (literal.find_first_of(".eE") == literal.npos)
    return literal == "-0" ? "0" : std::string(literal);
  return PythonFloat(ToDouble(literal));
}

bool IsTruthy(const Json& json) {
  if (json.is_null()) return false;
  if (json.is_bool()) return json.boolean();
  if (json.is_string()) return !json.string().empty();
  if (json.is_array()) return !json.array().empty();
  if (json.is_object()) return !json.object().empty();
  const std::string& text = json.number().text;
  return text != "0" && text != "0.0" && text != "-0.0";
}

}  // namespace fathom::chat
