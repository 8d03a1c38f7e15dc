// What tests ask of a grammar.
#pragma once

#include <memory>
#include <string_view>

#include "grammar/automaton/machine.h"

namespace fathom::grammar {

// Whether `text` is a whole document of the grammar; DSML markup spelled as text.
inline bool Matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  Machine machine(grammar, true);
  StateId state = machine.start();
  for (const char byte : text) {
    state = machine.Read(state, std::string_view(&byte, 1));
    if (state == kDead) return false;
    machine.Trim(state);
  }
  return machine.Accepts(state);
}

}  // namespace fathom::grammar
