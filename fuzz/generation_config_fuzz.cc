// generation_config.json: anything is an error or settings within their ranges.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "sampling/generation_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = fathom::sampling::ParseGenerationConfig(text, "fuzz");
  if (config.ok()) FATHOM_CHECK(fathom::sampling::CheckParams(config.value().params, 1).ok());
  return 0;
}
