// Where in the text of a JSON document a value stands, and what is wrong with a text that is none:
// a second, slower reading for error messages only. The room's own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fathom::api {

// A member's name or an item's index.
using JsonStep = std::variant<std::string_view, size_t>;

struct JsonPlace {
  size_t begin = 0;
  size_t end = 0;
};
// The value at the path (of members of one name, the last). The text is valid JSON and has it.
JsonPlace FindPlace(std::string_view text, const std::vector<JsonStep>& path);

// "expected value at line 1 column 3" and the like, in serde's words. The text is not valid JSON.
std::string DescribeSyntaxError(std::string_view text);

// " at line L column C" for a position in bytes: lines and columns count from 1, the column is that
// of the byte before the position.
std::string AtLineColumn(std::string_view text, size_t position);

}  // namespace fathom::api
