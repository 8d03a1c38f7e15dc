// Python's dialect of JSON (chat/python_json.h): any bytes parse or are refused; what was parsed is
// written in a form that reads back equal and writes equal again; what the strict reader accepts,
// this one accepts too.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "chat/python_json.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fathom;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = chat::ParsePythonJson(text);
  // The strict reader skips a byte order mark, which Python refuses.
  const bool has_mark = text.starts_with("\xef\xbb\xbf");
  FATHOM_CHECK(parsed.ok() || has_mark || !ParseJson(text).ok(), "strict JSON is refused");
  if (!parsed.ok()) return 0;
  const std::string written = chat::WritePythonJson(parsed.value());
  if (!text::IsValidUtf8(written)) return 0;  // a lone surrogate, which the encoder refuses
  const auto again = chat::ParsePythonJson(written);
  FATHOM_CHECK(again.ok(), "written JSON does not parse");
  FATHOM_CHECK(again.value() == parsed.value(), "written JSON reads back different");
  return 0;
}
