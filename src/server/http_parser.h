// Bytes to one HTTP/1.x request, incrementally and within limits. No sockets: who reads the bytes
// and what is answered to a refusal is http_connection.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "server/http.h"

namespace fathom::server {

class RequestParser {
 public:
  RequestParser(int64_t header_bytes_max, int64_t body_bytes_max);
  ~RequestParser();
  RequestParser(RequestParser&&) noexcept;
  RequestParser& operator=(RequestParser&&) noexcept;

  // Takes bytes from the front and returns how many. The rest belongs to the next request when
  // is_done(), and is to be offered again with more behind it otherwise. Not after failed() or
  // is_done().
  int64_t Feed(std::string_view bytes);

  bool is_head_done() const;
  bool is_done() const;
  // The request is refused: with 400, 413 or 431 and one line that says why.
  bool failed() const;
  int status() const;
  const std::string& message() const;

  // Once the head is done.
  bool is_http_1_0() const;
  bool is_head_method() const;  // also of a request that failed later
  bool keep_alive() const;
  bool expects_continue() const;
  int64_t body_bytes() const;  // read so far

  HttpRequest TakeRequest();

 private:
  class State;
  std::unique_ptr<State> state_;
};

// "/a%20b" to "/a b". False for a '%' without two hex digits and for a NUL.
bool DecodePath(std::string_view encoded, std::string& path);

}  // namespace fathom::server
