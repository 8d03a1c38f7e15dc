// JSON as Python's json module reads and writes it: the dialect of the prompt format, where a
// schema or an argument list is what json.dumps(json.loads(text), ensure_ascii=False) prints.
// Differences from base/json.h, which is strict: NaN, Infinity and -Infinity are values, numbers
// take Python's spelling as they are read, and lone surrogate escapes are accepted.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace fathom::chat {

struct PythonJsonOptions {
  // Refuse NaN, Infinity and -Infinity, which no other JSON reader accepts.
  bool reject_constants = false;
};

// Reads a whole text. Members keep their order; a repeated name keeps its first position and last
// value. Integers of any size keep their digits; floats are spelled as Python's repr spells them
// (PythonNumber below), so that writing the value needs no further thought. A surrogate escape
// without its partner becomes the three bytes that UTF-8 forbids (Python would fail when it encodes
// such a string): whoever passes strings on must check them, as Encode does with the whole prompt.
// Errors: ill-formed UTF-8, what Python refuses, nesting deeper than kJsonDepthMax.
Result<Json> ParsePythonJson(std::string_view text, const PythonJsonOptions& options = {});

// One line with ", " and ": ", as json.dumps writes with ensure_ascii=False.
std::string WritePythonJson(const Json& json);

// A JSON number literal in Python's spelling: -0 is 0, 1e5 is 100000.0, 1E-7 is 1e-07, 1e400 is
// Infinity. Exponent form when the decimal exponent is below -4 or at least 16.
std::string PythonNumber(std::string_view literal);

// What Python counts as false: null, false, zero, and empty strings, arrays and objects.
bool IsTruthy(const Json& json);

}  // namespace fathom::chat
