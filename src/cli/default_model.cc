#include "cli/default_model.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

// A folder with a config.json is taken for a model; whether it is a good one is for its reader.
bool IsModelDir(const fs::path& dir) {
  std::error_code ignored;
  return fs::is_regular_file(dir / "config.json", ignored);
}

}  // namespace

Result<std::string> FindModelDir(const std::string& executable, const char* environment) {
  if (environment != nullptr && environment[0] != '\0') {
    if (IsModelDir(environment)) return std::string(environment);
    return Error{fmt::format(
        "FATHOM_MODEL={}: expected a model folder, found none with a config.json", environment)};
  }
  const fs::path start = fs::path(executable).parent_path();
  for (fs::path dir = start; !dir.empty(); dir = dir.parent_path()) {
    if (IsModelDir(dir / "models/nano")) return (dir / "models/nano").string();
    if (dir == dir.parent_path()) break;
  }
  // Installed as <prefix>/bin/fathom.
  const fs::path installed = start.parent_path() / "share/fathom/models/nano";
  if (IsModelDir(installed)) return installed.string();
  return Error{fmt::format(
      "no default model: expected models/nano in {} or above it, or {}; name a model with -m or "
      "FATHOM_MODEL",
      start.string(), installed.string())};
}

Result<std::string> DefaultModelDir() {
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  if (error) return Error{fmt::format("/proc/self/exe: cannot read: {}", error.message())};
  return FindModelDir(executable.string(), std::getenv("FATHOM_MODEL"));
}

}  // namespace fathom::cli
