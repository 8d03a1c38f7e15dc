// The keywords of one schema object that speak about its value directly, read into a shape.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "grammar/schema/shape.h"

namespace fathom::grammar {

// Errors name the keyword, without its place.
Result<Shape> ReadKeywords(const Json& schema, const ShapeOptions& options);

}  // namespace fathom::grammar
