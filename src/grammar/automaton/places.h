// Whether a machine can hold all places that a text leads to. One that cannot leaves some out, and
// with them what may come next there: a grammar like that is better refused.
#pragma once

#include <memory>

#include "base/result.h"
#include "grammar/automaton/grammar.h"

namespace fathom::grammar {

// Looks at the beginnings of the grammar and of each part, where alternatives meet, for a bounded
// time: false is certain, true is not.
bool KeepsAllPlaces(const std::shared_ptr<const Grammar>& grammar);
// What to say when it is false.
Error TooManyPlaces();

}  // namespace fathom::grammar
