// Tools of the Responses dialect and the choice among them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/common_tools.h"
#include "api/error.h"
#include "api/fields.h"
#include "api/request.h"

namespace fathom::api {

// Functions, those inside namespaces too, and the custom tool apply_patch. Tools of other types are
// left out; so are other custom tools, which strict refuses.
struct ResponsesTools {
  std::vector<NamedTool> tools;
  bool has_left_out = false;
  std::optional<std::string> refused;  // strict: the path of a custom tool that is not known
};
Parsed<ResponsesTools> ReadResponsesTools(const Field& tools);

// `allowed_tools` is a choice among some of the tools; the names are those of the subset.
struct ResponsesChoice {
  ToolChoiceWish wish;
  std::optional<std::vector<std::string>> allowed;
};
Parsed<ResponsesChoice> ReadResponsesChoice(const Field& tool_choice);

// After ApplyTools. Errors: as ApplyToolChoice, also for a name of the subset that no tool has.
Parsed<void> ApplyResponsesChoice(const ResponsesChoice& choice, Profile profile, Request& request);

}  // namespace fathom::api
