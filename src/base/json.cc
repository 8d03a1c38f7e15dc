#include "base/json.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

template class std::vector<fathom::Json>;
template class std::vector<fathom::Json::Member>;

namespace fathom {
namespace {

// What was read, fit for a message: the parser quotes it raw, and it may be long or no text at all.
std::string Shown(std::string_view text) {
  constexpr size_t kShownBytesMax = 200;
  std::string out(text.substr(0, kShownBytesMax));
  for (char& c : out)
    if (c < ' ' || c > '~') c = '?';
  if (text.size() > kShownBytesMax) out += "...";
  return out;
}

// Builds a Json from nlohmann's SAX events, which (unlike its DOM) hand over number literals as
// read.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(RepeatedNames repeated_names) : repeated_names_(repeated_names) {}

  bool null() override { return Put(Json()); }
  bool boolean(bool value) override { return Put(Json(value)); }
  bool number_integer(number_integer_t value) override { return Put(Json(int64_t{value})); }
  bool number_unsigned(number_unsigned_t value) override { return Put(Json(uint64_t{value})); }
  bool number_float(number_float_t, const string_t& text) override {
    return Put(Json(Json::Number{text}));
  }
  bool string(string_t& value) override { return Put(Json(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(Json(Json::Object{})); }
  bool end_object() override { return Close(); }
  bool start_array(std::size_t) override { return Open(Json(Json::Array{})); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    open_.back().name = std::move(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception& e) override {
    // nlohmann's message opens with its own error id in brackets; the reader needs the rest.
    std::string_view what = e.what();
    if (const size_t bracket = what.find("] "); bracket != what.npos)
      what.remove_prefix(bracket + 2);
    error_ = fmt::format("not valid JSON at byte {}: {}", position, Shown(what));
    return false;
  }

  Result<Json> Take() && {
    if (!error_.empty()) return Error{std::move(error_)};
    return std::move(root_);
  }

 private:
  struct Level {
    Json json;
    std::string name;                                // of the member being read
    std::unordered_map<std::string, size_t> places;  // member name to index
  };

  bool Open(Json json) {
    if (static_cast<int>(open_.size()) >= kJsonDepthMax) {
      error_ = fmt::format("JSON nested deeper than {}", kJsonDepthMax);
      return false;
    }
    open_.push_back({std::move(json), {}, {}});
    return true;
  }
  bool Close() {
    Json done = std::move(open_.back().json);
    open_.pop_back();
    return Put(std::move(done));
  }
  bool Put(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return true;
    }
    Level& level = open_.back();
    if (level.json.is_array()) {
      level.json.array().push_back(std::move(value));
      return true;
    }
    Json::Object& object = level.json.object();
    const auto [place, is_new] = level.places.try_emplace(level.name, object.size());
    if (is_new) {
      object.emplace_back(std::move(level.name), std::move(value));
    } else if (repeated_names_ == RepeatedNames::kRefuse) {
      error_ = fmt::format("JSON object with the repeated name \"{}\"", Shown(level.name));
      return false;
    } else {
      object[place->second].second = std::move(value);
    }
    return true;
  }

  RepeatedNames repeated_names_;
  std::vector<Level> open_;
  Json root_;
  std::string error_;
};

void Write(std::string& out, const Json& json, const JsonStyle& style) {
  if (json.is_null()) {
    out += "null";
  } else if (json.is_bool()) {
    out += json.boolean() ? "true" : "false";
  } else if (json.is_number()) {
    out += json.number().text;
  } else if (json.is_string()) {
    AppendJsonString(out, json.string());
  } else if (json.is_array()) {
    out += '[';
    bool first = true;
    for (const Json& item : json.array()) {
      if (!std::exchange(first, false)) out += style.item_separator;
      Write(out, item, style);
    }
    out += ']';
  } else {
    out += '{';
    bool first = true;
    for (const auto& [name, value] : json.object()) {
      if (!std::exchange(first, false)) out += style.item_separator;
      AppendJsonString(out, name);
      out += style.name_separator;
      Write(out, value, style);
    }
    out += '}';
  }
}

Result<const Json*> GetMember(const Json& object, std::string_view name, const std::string& where) {
  const Json* member = object.Find(name);
  if (member == nullptr) return Error{fmt::format("{}: missing key \"{}\"", where, name)};
  return member;
}

}  // namespace

Json::Json() : value_(nullptr) {}
Json::Json(std::nullptr_t) : value_(nullptr) {}
Json::Json(bool value) : value_(value) {}
Json::Json(int value) : Json(int64_t{value}) {}
Json::Json(int64_t value) : value_(Number{std::to_string(value)}) {}
Json::Json(uint64_t value) : value_(Number{std::to_string(value)}) {}
Json::Json(Number value) : value_(std::move(value)) {}
Json::Json(const char* value) : value_(std::string(value)) {}
Json::Json(std::string value) : value_(std::move(value)) {}
Json::Json(std::string_view value) : value_(std::string(value)) {}
Json::Json(Array value) : value_(std::move(value)) {}
Json::Json(Object value) : value_(std::move(value)) {}
Json::Json(const Json&) = default;
Json::Json(Json&&) noexcept = default;
Json& Json::operator=(const Json&) = default;
Json& Json::operator=(Json&&) noexcept = default;
Json::~Json() = default;

bool Json::operator==(const Json& other) const { return value_ == other.value_; }

Json::Json(double value) {
  if (!std::isfinite(value)) return;
  char buffer[32];
  const auto [end, status] = std::to_chars(buffer, buffer + sizeof buffer, value);
  value_ = Number{std::string(buffer, end)};
}

const Json* Json::Find(std::string_view name) const {
  if (!is_object()) return nullptr;
  for (const Member& member : object())
    if (member.first == name) return &member.second;
  return nullptr;
}

Json* Json::Find(std::string_view name) {
  return const_cast<Json*>(static_cast<const Json*>(this)->Find(name));
}

void Json::Set(std::string_view name, Json value) {
  if (is_null()) value_ = Object{};
  if (Json* member = Find(name)) {
    *member = std::move(value);
  } else {
    object().emplace_back(std::string(name), std::move(value));
  }
}

Result<int64_t> Json::ToInt64() const {
  if (!is_number()) return Error{fmt::format("expected an integer, found {}", KindName())};
  const std::string& text = number().text;
  int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status == std::errc() && end == text.data() + text.size()) return value;
  // Files written by other tools spell whole numbers as 1e5 or 10000.0.
  FATHOM_TRY(const double wide, ToDouble());
  if (wide != std::floor(wide) || std::abs(wide) > 0x1p53)
    return Error{fmt::format("expected an integer, found {}", text)};
  return static_cast<int64_t>(wide);
}

Result<double> Json::ToDouble() const {
  if (!is_number()) return Error{fmt::format("expected a number, found {}", KindName())};
  const std::string& text = number().text;
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size())
    return Error{fmt::format("expected a number, found {}", text)};
  return value;
}

const char* Json::KindName() const {
  static constexpr const char* kNames[] = {"null",   "boolean", "number",
                                           "string", "array",   "object"};
  return kNames[value_.index()];
}

Result<Json> ParseJson(std::string_view text, RepeatedNames repeated_names) {
  // The parser takes a NUL for the end of its input; none is allowed anywhere in JSON.
  if (const size_t nul = text.find('\0'); nul != text.npos)
    return Error{fmt::format("not valid JSON at byte {}: found a NUL", nul)};
  Builder builder(repeated_names);
  // Errors arrive through parse_error; what is thrown beyond that would be out of memory.
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return std::move(builder).Take();
}

std::string WriteJson(const Json& json, const JsonStyle& style) {
  std::string out;
  Write(out, json, style);
  return out;
}

void AppendJsonEscaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
}

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  AppendJsonEscaped(out, text);
  out += '"';
}

std::string JsonString(std::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

Result<int64_t> GetInt64(const Json& object, std::string_view name, const std::string& where) {
  FATHOM_TRY(const Json* member, GetMember(object, name, where));
  auto value = member->ToInt64();
  if (!value.ok()) return std::move(value).error().In(fmt::format("{}: key \"{}\"", where, name));
  return value;
}

Result<double> GetDouble(const Json& object, std::string_view name, const std::string& where) {
  FATHOM_TRY(const Json* member, GetMember(object, name, where));
  auto value = member->ToDouble();
  if (!value.ok()) return std::move(value).error().In(fmt::format("{}: key \"{}\"", where, name));
  return value;
}

Result<std::string> GetString(const Json& object, std::string_view name, const std::string& where) {
  FATHOM_TRY(const Json* member, GetMember(object, name, where));
  if (!member->is_string())
    return Error{fmt::format("{}: key \"{}\": expected a string, found {}", where, name,
                             member->KindName())};
  return member->string();
}

}  // namespace fathom
