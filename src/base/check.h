// FATHOM_CHECK: our own mistakes (a shape past the binding, a broken invariant). Always on; prints
// the condition with its operands and aborts. What comes from outside is a Result instead
// (result.h).
#pragma once

#include <fmt/format.h>

#include <string>

namespace fathom {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const std::string& detail);
// Once for each pair of types, not at each place that compares them.
template <typename A, typename B>
[[noreturn, gnu::noinline, gnu::cold]] void ComparisonFailed(const char* file, int line,
                                                             const char* condition, const A& a,
                                                             const B& b) {
  CheckFailed(file, line, condition, fmt::format("{} against {}", a, b));
}

}  // namespace fathom

#define FATHOM_CHECK(condition, ...)                                                     \
  do {                                                                                   \
    if (!(condition)) [[unlikely]]                                                       \
      ::fathom::CheckFailed(__FILE__, __LINE__, #condition, ::std::string(__VA_ARGS__)); \
  } while (false)

#define FATHOM_CHECK_OP(op, a, b)                                                            \
  do {                                                                                       \
    const auto fathom_a = (a);                                                               \
    const auto fathom_b = (b);                                                               \
    if (!(fathom_a op fathom_b)) [[unlikely]]                                                \
      ::fathom::ComparisonFailed(__FILE__, __LINE__, #a " " #op " " #b, fathom_a, fathom_b); \
  } while (false)

#define FATHOM_CHECK_EQ(a, b) FATHOM_CHECK_OP(==, a, b)
#define FATHOM_CHECK_LE(a, b) FATHOM_CHECK_OP(<=, a, b)
#define FATHOM_CHECK_LT(a, b) FATHOM_CHECK_OP(<, a, b)
#define FATHOM_CHECK_GE(a, b) FATHOM_CHECK_OP(>=, a, b)

// Inside loops: compiled out of optimised builds.
#ifdef NDEBUG
#define FATHOM_DCHECK(condition) \
  do {                           \
  } while (false)
#else
#define FATHOM_DCHECK(condition) FATHOM_CHECK(condition)
#endif
