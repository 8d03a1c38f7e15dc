// Any bytes as a file of recorded cases: read, or refused in one line.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "verify/cases.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file =
      fathom::verify::ParseCases({reinterpret_cast<const char*>(data), size}, "dir", "cases.json");
  if (!file.ok() && file.error().message.find('\n') != std::string::npos) __builtin_trap();
  return 0;
}
