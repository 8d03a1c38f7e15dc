#include "api/fields.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <utility>

#include "api/json_places.h"

namespace fathom::api {
namespace {

// Quoted values are cut: a message need not repeat an image.
constexpr size_t kQuotedBytesMax = 200;

// The path from `root` to `node`, found by identity; the steps point into the document.
bool FindSteps(const Json& root, const Json* node, std::vector<JsonStep>& steps) {
  if (&root == node) return true;
  if (root.is_array()) {
    for (size_t i = 0; i < root.array().size(); ++i) {
      steps.emplace_back(i);
      if (FindSteps(root.array()[i], node, steps)) return true;
      steps.pop_back();
    }
  } else if (root.is_object()) {
    for (const auto& [name, value] : root.object()) {
      steps.emplace_back(std::string_view(name));
      if (FindSteps(value, node, steps)) return true;
      steps.pop_back();
    }
  }
  return false;
}

std::string PathText(const std::vector<JsonStep>& steps) {
  std::string out;
  for (const JsonStep& step : steps) {
    if (const auto* index = std::get_if<size_t>(&step)) {
      out += fmt::format("[{}]", *index);
    } else {
      if (!out.empty()) out += '.';
      out += std::get<std::string_view>(step);
    }
  }
  return out;
}

bool IsIntegerLiteral(const std::string& text) {
  return text.find_first_not_of("-0123456789") == text.npos;
}

// The longest beginning of at most `bytes_max` bytes that ends between characters.
std::string_view CutText(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xC0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max);
}

std::string Found(const Json& json) {
  if (json.is_null()) return "null";
  if (json.is_bool()) return fmt::format("boolean `{}`", json.boolean());
  if (json.is_array()) return "sequence";
  if (json.is_object()) return "map";
  if (json.is_number()) {
    const std::string& text = json.number().text;
    return fmt::format("{} `{}`", IsIntegerLiteral(text) ? "integer" : "floating point",
                       CutText(text, kQuotedBytesMax));
  }
  return "string " + JsonString(CutText(json.string(), kQuotedBytesMax));
}

std::string ExpectedNames(const std::vector<std::string_view>& names) {
  if (names.size() == 1) return fmt::format("expected `{}`", names[0]);
  if (names.size() == 2) return fmt::format("expected `{}` or `{}`", names[0], names[1]);
  std::string out = "expected one of ";
  for (size_t i = 0; i < names.size(); ++i)
    out += fmt::format("{}`{}`", i > 0 ? ", " : "", names[i]);
  return out;
}

ApiError WrongShape(const Body& body, const std::string& message) {
  ApiError error =
      BadRequest("Failed to deserialize the JSON body into the target type: " + message);
  if (body.profile == Profile::kStrict) error.status = 422;
  return error;
}

// Opt readers: absent and null are nullopt, anything else is read.
template <typename T>
Parsed<std::optional<T>> Optional(const Field& field, Parsed<T> (*read)(const Field&)) {
  if (!field.has_value()) return std::optional<T>();
  FATHOM_TRY(T value, read(field));
  return std::optional<T>(std::move(value));
}

}  // namespace

Parsed<Body> ReadBody(std::string_view text, Profile profile) {
  auto json = ParseJson(text);
  if (!json.ok())
    return BadRequest("Failed to parse the request body as JSON: " + DescribeSyntaxError(text));
  Body body;
  body.text = text;
  body.json = std::move(json).value();
  body.profile = profile;
  return body;
}

const Json& Field::json() const {
  static const Json kNull;
  return json_ == nullptr ? kNull : *json_;
}

Field Field::operator[](std::string_view name) const {
  return Field(body_, json().Find(name), json_ != nullptr ? json_ : parent_, name);
}

Parsed<std::string> Field::String() const {
  if (is_absent()) return Missing();
  if (!json_->is_string()) return WrongType("a string");
  return json_->string();
}

Parsed<bool> Field::Bool() const {
  if (is_absent()) return Missing();
  if (!json_->is_bool()) return WrongType("a boolean");
  return json_->boolean();
}

Parsed<int64_t> Field::Integer(const IntegerKind& kind) const {
  if (is_absent()) return Missing();
  if (!json_->is_number()) return WrongType(kind.name);
  const std::string& text = json_->number().text;
  // Clients without an integer type write 10.0 for 10; the platform's reader does not take it.
  if (!IsIntegerLiteral(text) && is_strict()) return WrongType(kind.name);
  const auto value = json_->ToInt64();
  if (!value.ok() && !IsIntegerLiteral(text)) return WrongType(kind.name);
  if (!value.ok() || value.value() < kind.min || value.value() > kind.max)
    return Refuse(fmt::format("invalid value: {}, expected {}", Found(*json_), kind.name));
  return value.value();
}

Parsed<double> Field::Number() const {
  if (is_absent()) return Missing();
  if (!json_->is_number()) return WrongType("f64");
  const auto value = json_->ToDouble();
  // Too small for a double; what is too large is refused with the body.
  return value.ok() ? value.value() : 0.0;
}

Parsed<std::vector<Field>> Field::Items() const {
  if (is_absent()) return Missing();
  if (!json_->is_array()) return WrongType("a sequence");
  std::vector<Field> items;
  items.reserve(json_->array().size());
  for (const Json& item : json_->array()) items.push_back(Field(body_, &item, json_, {}));
  return items;
}

Parsed<void> Field::Object(std::string_view what) const {
  if (is_absent()) return Missing();
  if (!json_->is_object()) return WrongType(what);
  return {};
}

Parsed<int64_t> Field::Variant(const std::vector<std::string_view>& names) const {
  if (is_absent()) return Missing();
  if (!json_->is_string()) return WrongType("a string");
  for (size_t i = 0; i < names.size(); ++i)
    if (json_->string() == names[i]) return static_cast<int64_t>(i);
  return UnknownVariant(names);
}

Parsed<std::optional<std::string>> Field::OptString() const {
  return Optional<std::string>(*this, [](const Field& field) { return field.String(); });
}

Parsed<std::optional<bool>> Field::OptBool() const {
  return Optional<bool>(*this, [](const Field& field) { return field.Bool(); });
}

Parsed<std::optional<int64_t>> Field::OptInteger(const IntegerKind& kind) const {
  if (!has_value()) return std::optional<int64_t>();
  FATHOM_TRY(const int64_t value, Integer(kind));
  return std::optional<int64_t>(value);
}

Parsed<std::optional<double>> Field::OptNumber() const {
  return Optional<double>(*this, [](const Field& field) { return field.Number(); });
}

Parsed<std::vector<Field>> Field::OptItems() const {
  if (!has_value()) return std::vector<Field>();
  return Items();
}

Parsed<void> Field::OptObject(std::string_view what) const {
  if (!has_value()) return {};
  return Object(what);
}

Parsed<std::optional<int64_t>> Field::OptVariant(const std::vector<std::string_view>& names) const {
  if (!has_value()) return std::optional<int64_t>();
  FATHOM_TRY(const int64_t value, Variant(names));
  return std::optional<int64_t>(value);
}

ApiError Field::WrongType(std::string_view expected) const {
  // A container is refused at its opening bracket, anything else once it is read.
  const bool at_end = !json().is_array() && !json().is_object();
  return At(json_, {}, fmt::format("invalid type: {}, expected {}", Found(json()), expected),
            at_end);
}

ApiError Field::UnknownVariant(const std::vector<std::string_view>& names) const {
  return Refuse(fmt::format("unknown variant `{}`, {}", CutText(json().string(), kQuotedBytesMax),
                            ExpectedNames(names)));
}

ApiError Field::Refuse(std::string_view what) const {
  if (is_absent()) return At(parent_, name_, what, true);
  return At(json_, {}, what, true);
}

ApiError Field::Missing() const {
  return At(parent_, {}, fmt::format("missing field `{}`", name_), true);
}

ApiError Field::At(const Json* node, std::string_view path_suffix, std::string_view what,
                   bool at_end) const {
  std::vector<JsonStep> steps;
  (void)FindSteps(body_->json, node, steps);
  const JsonPlace place = FindPlace(body_->text, steps);
  if (!path_suffix.empty()) steps.emplace_back(path_suffix);
  std::string message = PathText(steps);
  if (!message.empty()) message += ": ";
  message += what;
  message += AtLineColumn(body_->text, at_end ? place.end : place.begin);
  return WrongShape(*body_, message);
}

}  // namespace fathom::api
