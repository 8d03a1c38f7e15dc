// The input of the Responses dialect as turns: items of one side next to each other are one turn,
// calls and their outputs find each other by call_id.
#pragma once

#include <vector>

#include "api/common_turns.h"
#include "api/error.h"
#include "api/fields.h"
#include "api/request.h"

namespace fathom::api {

// Reads `instructions` and `input`, types only; either may be absent.
Parsed<std::vector<Turn>> ReadInput(const Field& instructions, const Field& input,
                                    const Facts& facts);

// Every call has an id of its own and an output, every output a call before it. In the default
// profile calls of the last assistant turn that nobody answered are taken out instead.
Parsed<void> SettleCalls(Profile profile, std::vector<Turn>& turns);

}  // namespace fathom::api
