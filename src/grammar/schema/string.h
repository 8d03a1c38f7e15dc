// Writes sets of strings into a grammar: as JSON strings between quotes, or as the raw text of a
// parameter in DSML markup. Bytes are well-formed UTF-8 whatever tokens they come in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/automaton/dfa.h"
#include "grammar/automaton/grammar.h"

namespace fathom::grammar {

enum class StringStyle {
  kJson,          // quoted; characters stand for themselves wherever JSON lets them
  kJsonInMarkup,  // the same, but U+FF5C is escaped, so that no end tag can be spelled
  kRaw,           // nothing is escaped; the set must keep the mark out (StringsWithoutMark)
};

// A part of the grammar that reads one string of the set with `min` to `max` characters (below 0:
// no limit). The limits may only be given for sets in which every string can be made longer.
NodeId AddString(Builder& builder, const Dfa& dfa, StringStyle style, int64_t min = 0,
                 int64_t max = -1);
// Any string of that length, with every escape that JSON has.
NodeId AddAnyString(Builder& builder, StringStyle style, int64_t min = 0, int64_t max = -1);

// Reads one of the texts from `from` to `to`; shared beginnings are shared.
void AddChoices(Builder& builder, NodeId from, std::vector<std::string> texts, NodeId to);

// The string as it is written in that style, quotes included.
std::string WrittenString(std::string_view text, StringStyle style);

}  // namespace fathom::grammar
