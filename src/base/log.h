// Log lines for the operator on stderr, one line each. What a user asked for goes to stdout instead
// and never through here.
#pragma once

#include <string_view>

namespace fathom {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Lines below this level are dropped. Default kWarning.
void SetLogLevel(LogLevel level);
void Log(LogLevel level, std::string_view message);

}  // namespace fathom
