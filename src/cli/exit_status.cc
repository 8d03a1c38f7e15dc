#include "cli/exit_status.h"

#include <iostream>

namespace fathom::cli {

int ExitStatus(std::string_view command, const Result<int>& status) {
  constexpr int kUnusable = 2;  // arguments or input
  if (status.ok()) return status.value();
  std::cerr << "fathom " << command << ": " << status.error().message << '\n';
  return kUnusable;
}

}  // namespace fathom::cli
