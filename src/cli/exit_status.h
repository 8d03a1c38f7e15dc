// How a command ends for who called it.
#pragma once

#include <string_view>

#include "base/result.h"

namespace fathom::cli {

// The exit status of `command`; an error is one line on standard error, and status 2.
int ExitStatus(std::string_view command, const Result<int>& status);

}  // namespace fathom::cli
