// The messages of the Anthropic dialect and its system text as turns: what each kind of block is to
// a text model. Their structure as a conversation is checked by the caller.
#pragma once

#include <vector>

#include "api/common_turns.h"
#include "api/error.h"
#include "api/fields.h"
#include "api/request.h"

namespace fathom::api {

struct Content {
  std::vector<Turn> turns;
  bool is_empty = false;   // no message at all
  bool has_image = false;  // in a message itself; those in tool results are replaced by text
};

// `system` may be absent.
Parsed<Content> ReadContent(const Field& system, const Field& messages, const Facts& facts);

}  // namespace fathom::api
