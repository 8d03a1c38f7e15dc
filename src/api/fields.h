// Reading the members of a request body, with the errors that the platform's own reader makes: the
// path to the value, what was found, what was expected, and the place in the text. Json keeps no
// places; they are looked up in the body's text when an error is made. What members mean is the
// dialects' affair.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/error.h"
#include "api/request.h"
#include "base/json.h"

namespace fathom::api {

// A body and what it says. Fields point into it: it must stay where it is while they are used.
struct Body {
  std::string_view text;
  Json json;
  Profile profile = Profile::kDefault;
};
// Errors: "Failed to parse the request body as JSON: ...".
Parsed<Body> ReadBody(std::string_view text, Profile profile);

// Which integers a member takes, and how messages call them.
struct IntegerKind {
  std::string_view name;
  int64_t min;
  int64_t max;
};
inline constexpr IntegerKind kU8 = {"u8", 0, 255};
inline constexpr IntegerKind kI64 = {"i64", INT64_MIN, INT64_MAX};

// A value in a body, or the place of a member that is not there. Unless a name begins with Opt, an
// absent value is the error "missing field"; Opt readers give nullopt for absent and for null.
class Field {
 public:
  // The whole body.
  explicit Field(const Body& body) : body_(&body), json_(&body.json) {}

  bool is_absent() const { return json_ == nullptr; }
  // Neither absent nor null.
  bool has_value() const { return json_ != nullptr && !json_->is_null(); }
  // null when absent.
  const Json& json() const;
  bool is_strict() const { return body_->profile == Profile::kStrict; }

  // A member; absent when there is none or this is no object. `name` must outlive the Field.
  Field operator[](std::string_view name) const;

  Parsed<std::string> String() const;
  Parsed<bool> Bool() const;
  Parsed<int64_t> Integer(const IntegerKind& kind = kI64) const;
  Parsed<double> Number() const;
  Parsed<std::vector<Field>> Items() const;
  // Checks that this is an object; `what` is how the message calls it ("struct Tool", "a map").
  Parsed<void> Object(std::string_view what = "a map") const;
  // One of the names, as its index.
  Parsed<int64_t> Variant(const std::vector<std::string_view>& names) const;

  Parsed<std::optional<std::string>> OptString() const;
  Parsed<std::optional<bool>> OptBool() const;
  Parsed<std::optional<int64_t>> OptInteger(const IntegerKind& kind = kI64) const;
  Parsed<std::optional<double>> OptNumber() const;
  Parsed<std::vector<Field>> OptItems() const;  // empty for absent and null
  Parsed<void> OptObject(std::string_view what = "a map") const;
  Parsed<std::optional<int64_t>> OptVariant(const std::vector<std::string_view>& names) const;

  // "PATH: invalid type: KIND, expected ...".
  ApiError WrongType(std::string_view expected) const;
  // "PATH: unknown variant `...`, expected ...". This is a string.
  ApiError UnknownVariant(const std::vector<std::string_view>& names) const;
  // "PATH: " + what + the place of this value; of an absent member, the place of its object.
  ApiError Refuse(std::string_view what) const;
  // "PATH of the object: missing field `...`".
  ApiError Missing() const;

 private:
  Field(const Body* body, const Json* json, const Json* parent, std::string_view name)
      : body_(body), json_(json), parent_(parent), name_(name) {}
  ApiError At(const Json* node, std::string_view path_suffix, std::string_view what,
              bool at_end) const;

  const Body* body_;
  const Json* json_;              // nullptr: absent
  const Json* parent_ = nullptr;  // of an absent member: its object
  std::string_view name_;         // of an absent member
};

}  // namespace fathom::api
