// The UTF-8 stream against the whole-text rule: the first byte seeds the cuts, the rest is the
// input. Parts must be well-formed, and together they must be the lossy text.
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include "base/check.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  using namespace fathom;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = text::DecodeLossy(bytes);
  FATHOM_CHECK(text::IsValidUtf8(whole));
  FATHOM_CHECK((whole == bytes) == text::IsValidUtf8(bytes));

  std::minstd_rand random(data[0] + 1u);
  text::Utf8Stream stream;
  std::string joined;
  for (size_t at = 0; at < bytes.size();) {
    const size_t part = random() % 6;  // 0 too: an empty part changes nothing
    const std::string text = stream.Add(bytes.substr(at, part));
    FATHOM_CHECK(text::IsValidUtf8(text));
    joined += text;
    at += part;
  }
  joined += stream.Flush();
  FATHOM_CHECK(joined == whole);
  return 0;
}
