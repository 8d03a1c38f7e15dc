// JSON pointers: where a $ref leads, and how the place of a schema is told in messages.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace fathom::grammar {

// "#", "#/$defs/a" or "#anchor", within the document. Null when it leads nowhere.
const Json* FindReference(const Json& root, std::string_view reference);

// The pointer of a value inside the document, "#" for the document itself.
std::string PlaceOf(const Json& root, const Json& inside);

}  // namespace fathom::grammar
