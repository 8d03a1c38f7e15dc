// Sets of strings over code points as deterministic automata: what patterns, formats and lists of
// names become before they are written into a grammar as bytes (schema/string.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace fathom::grammar {

inline constexpr char32_t kCodePointMax = 0x10FFFF;
inline constexpr char32_t kSurrogateFirst = 0xD800;
inline constexpr char32_t kSurrogateLast = 0xDFFF;

struct CodePointRange {
  char32_t low;
  char32_t high;
};

struct Dfa {
  struct Arc {
    char32_t low;
    char32_t high;
    int32_t target;
  };
  struct State {
    std::vector<Arc> arcs;  // disjoint, ascending
    bool accepts = false;
  };
  std::vector<State> states;  // the first is the start; none: the empty set
};

// More states than this are refused: nobody means it, and memory is shared.
inline constexpr int32_t kDfaStatesMax = 20'000;

Dfa AnyString();
// Strings in which "｜DSML｜" does not occur.
Dfa StringsWithoutMark();
// All strings but these; only these.
Dfa AllBut(const std::vector<std::string_view>& names);
Dfa OneOf(const std::vector<std::string_view>& names);

// None when there would be more than kDfaStatesMax states. `max` below 0: no limit.
std::optional<Dfa> Intersect(const Dfa& a, const Dfa& b);
std::optional<Dfa> WithLength(const Dfa& dfa, int64_t min, int64_t max);

// Leaves out states from which no string is accepted.
Dfa Trimmed(const Dfa& dfa);
bool Accepts(const Dfa& dfa, std::string_view text);

// The code points of well-formed text.
std::vector<char32_t> CodePoints(std::string_view text);

}  // namespace fathom::grammar
