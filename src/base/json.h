// JSON as a plain value: members keep their order, numbers keep their literal text. Parsing is
// strict (RFC 8259, valid UTF-8, depth limited) and done by nlohmann/json behind this door; the
// Python dialect that the prompt format speaks (NaN, J(x)) is chat/python_json.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace fathom {

class Json {
 public:
  // The literal as it was read ("1e5", "-0.0"), or as it will be written.
  struct Number {
    std::string text;
    bool operator==(const Number&) const = default;
  };
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;  // in the order read; names are unique

  Json();
  Json(std::nullptr_t);          // NOLINT: implicit, as for the rest
  Json(bool value);              // NOLINT
  Json(int value);               // NOLINT
  Json(int64_t value);           // NOLINT
  Json(uint64_t value);          // NOLINT
  Json(double value);            // NOLINT: shortest round trip; NaN is null
  Json(Number value);            // NOLINT
  Json(const char* value);       // NOLINT
  Json(std::string value);       // NOLINT
  Json(std::string_view value);  // NOLINT
  Json(Array value);             // NOLINT
  Json(Object value);            // NOLINT
  // Defined in json.cc: a variant's own members would be compiled again in every file.
  Json(const Json&);
  Json(Json&&) noexcept;
  Json& operator=(const Json&);
  Json& operator=(Json&&) noexcept;
  ~Json();

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_number() const { return std::holds_alternative<Number>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  // Each CHECKs the kind: ask first, or use the Get functions below.
  bool boolean() const { return std::get<bool>(value_); }
  const Number& number() const { return std::get<Number>(value_); }
  const std::string& string() const { return std::get<std::string>(value_); }
  const Array& array() const { return std::get<Array>(value_); }
  Array& array() { return std::get<Array>(value_); }
  const Object& object() const { return std::get<Object>(value_); }
  Object& object() { return std::get<Object>(value_); }

  // The member of that name, or nullptr (also when this is not an object). Linear.
  const Json* Find(std::string_view name) const;
  Json* Find(std::string_view name);
  // Sets or replaces a member of an object (a null becomes an object first).
  void Set(std::string_view name, Json value);

  // The number as int64 (fails on fractions and overflow) or double.
  Result<int64_t> ToInt64() const;
  Result<double> ToDouble() const;

  // "null", "boolean", "number", "string", "array", "object": for messages.
  const char* KindName() const;

  bool operator==(const Json& other) const;

 private:
  std::variant<std::nullptr_t, bool, Number, std::string, Array, Object> value_;
};

// Deeper nesting than this is refused: nobody means it, and destructors recurse.
inline constexpr int kJsonDepthMax = 256;

// What a repeated name in an object means: keep its first position and its last value, or an error.
enum class RepeatedNames { kLastWins, kRefuse };

// Strict parse of the whole text.
Result<Json> ParseJson(std::string_view text,
                       RepeatedNames repeated_names = RepeatedNames::kLastWins);

struct JsonStyle {
  std::string_view item_separator = ",";
  std::string_view name_separator = ":";
};
// Non-ASCII is kept; escapes are \" \\ \b \f \n \r \t and \u00XX below U+0020.
std::string WriteJson(const Json& json, const JsonStyle& style = {});
// One quoted and escaped string; appended; only its inside.
std::string JsonString(std::string_view text);
void AppendJsonString(std::string& out, std::string_view text);
void AppendJsonEscaped(std::string& out, std::string_view text);

// Typed members of an object, for readers of configuration. `where` names the file in the message.
Result<int64_t> GetInt64(const Json& object, std::string_view name, const std::string& where);
Result<double> GetDouble(const Json& object, std::string_view name, const std::string& where);
Result<std::string> GetString(const Json& object, std::string_view name, const std::string& where);

}  // namespace fathom

extern template class std::vector<fathom::Json>;
extern template class std::vector<fathom::Json::Member>;
