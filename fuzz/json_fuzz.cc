// JSON from outside (base/json.h): any bytes parse or are refused, and what was parsed reads back
// equal after being written.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = fathom::ParseJson(text);
  if (!parsed.ok()) return 0;
  const auto again = fathom::ParseJson(fathom::WriteJson(parsed.value()));
  FATHOM_CHECK(again.ok(), "written JSON does not parse");
  FATHOM_CHECK(again.value() == parsed.value(), "written JSON reads back different");
  return 0;
}
