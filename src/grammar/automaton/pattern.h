// Regular expressions of JSON Schema ("pattern": ECMA-262, not anchored) as automata. What no
// automaton can decide (look-around, back references, word boundaries) and Unicode properties are
// errors that quote the pattern.
#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/automaton/dfa.h"

namespace fathom::grammar {

// The strings in which the pattern matches somewhere.
Result<Dfa> CompilePattern(std::string_view pattern);

// The strings of a format of JSON Schema, or null for a format that is not enforced: email,
// hostname, ipv4, ipv6, uuid, date, time, date-time. Each is the part of the format that everybody
// accepts: names of hosts of up to 8 parts of 30 letters, no comments in addresses, no leap
// seconds.
const char* PatternOfFormat(std::string_view format);

}  // namespace fathom::grammar
