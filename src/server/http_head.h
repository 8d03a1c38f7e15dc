// The text of an answer's head: status line, date, the caller's headers and those of the transport.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/http.h"

namespace fathom::server {

// How the end of an answer is told.
struct Framing {
  bool is_http_1_0 = false;
  bool keep_alive = true;
  bool chunked = false;
  std::optional<int64_t> content_bytes = std::nullopt;
};

// Headers that frame the message are the transport's own: `headers` cannot set them. Line breaks
// inside a name or value become spaces.
std::string AnswerHead(int status, const Headers& headers, const Framing& framing);

// One chunk of a chunked body, appended; `bytes` is not empty, since an empty chunk ends the body.
void AppendChunk(std::string& out, std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

// Whether answers of that status never have a body.
bool IsBodiless(int status);

}  // namespace fathom::server
