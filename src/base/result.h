// Result<T>: the value or one line that says what was wrong with the outside world (a file, JSON, a
// flag). Our own mistakes are FATHOM_CHECKs (check.h), and ordinary outcomes (stop, length) are
// enums; neither belongs here.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace fathom {

// What went wrong, in one line: the thing, the expectation, what was found.
struct [[nodiscard]] Error {
  std::string message;

  // The same error seen from further up: "model.safetensors: " + message.
  Error In(const std::string& place) && { return Error{place + ": " + message}; }
};

// `E` has a member `message`; other kinds of error than Error are for callers who need more of
// them.
template <typename T, typename E = Error>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit
  Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  bool ok() const { return state_.index() == 0; }
  const T& value() const& {
    FATHOM_CHECK(ok(), error().message);
    return std::get<0>(state_);
  }
  T& value() & {
    FATHOM_CHECK(ok(), error().message);
    return std::get<0>(state_);
  }
  // By value, so that `for (x : F().value())` does not outlive what it walks over.
  T value() && {
    FATHOM_CHECK(ok(), error().message);
    return std::get<0>(std::move(state_));
  }
  const E& error() const& { return std::get<1>(state_); }
  E&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, E> state_;
};

// The result of something that only succeeds or fails.
template <typename E>
class [[nodiscard]] Result<void, E> {
 public:
  Result() = default;
  Result(E error) : error_(std::move(error)) {}  // NOLINT: implicit

  bool ok() const { return !error_.has_value(); }
  const E& error() const& { return *error_; }
  E&& error() && { return *std::move(error_); }

 private:
  std::optional<E> error_;
};

#define FATHOM_CONCAT_INNER(a, b) a##b
#define FATHOM_CONCAT(a, b) FATHOM_CONCAT_INNER(a, b)

// FATHOM_TRY(auto x, F()): x is F()'s value, or the enclosing function returns F()'s error.
#define FATHOM_TRY(lhs, expr) FATHOM_TRY_INNER(FATHOM_CONCAT(fathom_try_, __LINE__), lhs, expr)
#define FATHOM_TRY_INNER(tmp, lhs, expr)        \
  auto tmp = (expr);                            \
  if (!tmp.ok()) return std::move(tmp).error(); \
  lhs = std::move(tmp).value()

// FATHOM_TRY_VOID(F()): for a Result<void>.
#define FATHOM_TRY_VOID(expr)                                     \
  do {                                                            \
    if (auto fathom_try_result = (expr); !fathom_try_result.ok()) \
      return std::move(fathom_try_result).error();                \
  } while (false)

}  // namespace fathom
