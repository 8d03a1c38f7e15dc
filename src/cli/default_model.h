// Where the bundled model lies: what a command uses when no model is named.
#pragma once

#include <string>

#include "base/result.h"

namespace fathom::cli {

// The folder of the default model: $FATHOM_MODEL if set; else models/nano beside the executable or
// in one of the folders above it (a build folder inside the repository); else
// share/fathom/models/nano in the prefix the program is installed under.
Result<std::string> DefaultModelDir();

// The same search from a given executable and value of $FATHOM_MODEL (nullptr: not set).
Result<std::string> FindModelDir(const std::string& executable, const char* environment);

}  // namespace fathom::cli
