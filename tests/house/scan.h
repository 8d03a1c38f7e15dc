// Reading C++ just well enough for the house rules: which parts of a file are comments or strings,
// and where its functions begin and end. Braces and parentheses are counted; nothing is parsed, so
// code inside macros and unbalanced branches of #if are not understood.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom::house {

struct Function {
  std::string name;  // as written before its parameters; "Suite.Name" for a test
  int line = 0;      // of its first word
  int lines = 0;     // from there to its closing brace
};

// The same text, byte for byte as long, with the insides of comments, strings and character
// literals turned to spaces. Line ends stay.
std::string BlankComments(std::string_view text);

// All function bodies outside other functions, methods included, lambdas not.
std::vector<Function> FindFunctions(std::string_view text);

// Lines without their ends. A last line without an end counts.
std::vector<std::string_view> SplitLines(std::string_view text);

}  // namespace fathom::house
