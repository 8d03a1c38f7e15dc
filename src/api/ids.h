// Ids of the parts of an answer. They look random and are fixed by the answer's identity, so that a
// stream and a whole body, or two runs of a test, name things alike.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "api/answer.h"

namespace fathom::api {

// 24 characters of 0-9, A-Z and a-z. Differs for every identity, kind and index.
std::string IdTail(const Identity& identity, std::string_view kind, int64_t index);

// "call_NN_" and a tail, as the platform writes ids of tool calls; NN is the index of the call.
std::string NumberedCallId(const Identity& identity, int64_t index);

}  // namespace fathom::api
