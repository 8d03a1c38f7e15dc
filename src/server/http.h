// HTTP/1.1 towards the network: connections, limits, TLS, streams. What a request means is the
// handler's affair. Boost stays behind this door, in http*.cc.
//
// Limits hold for every connection: a peer that is slow, silent or does not read costs a connection
// and little memory, never a thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace fathom::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // upper case
  std::string path;    // without query, percent-decoding undone; begins with '/'
  std::string query;   // after '?', raw
  Headers headers;     // names in lower case
  std::string body;
  std::string peer;  // for the log
  // The body's part of all_bodies_bytes_max: to be let go of with the body.
  std::shared_ptr<const void> body_share;

  // The first header of that (lower case) name; empty when absent.
  std::string_view Header(std::string_view name) const;
};

// One request and its answer. All members may be called from any thread; what is posted and the
// closed callback run on the connection's own executor, one at a time. After the peer is gone
// everything is accepted and ignored. When the last reference goes before the answer has ended, the
// peer is told 500, or cut off in the middle of a stream.
class Exchange {
 public:
  virtual ~Exchange() = default;

  // A complete answer. Once, and not after Start.
  virtual void Send(int status, Headers headers, std::string body) = 0;
  // The head of an answer of unknown length (chunked; with HTTP/1.0 ended by closing).
  virtual void Start(int status, Headers headers) = 0;
  virtual void Write(std::string bytes) = 0;
  virtual void End() = 0;
  // Cuts the connection after what was written is sent: an answer that failed half-way.
  virtual void EndAndClose() = 0;

  // Between Start and End: sends `text` whenever nothing was written for `period_s`.
  virtual void KeepAlive(double period_s, std::string text) = 0;
  // Runs `task` on the connection's executor after `delay_s` (0: soon). Dropped once the answer has
  // ended or the peer is gone.
  virtual void Post(std::function<void()> task, double delay_s = 0) = 0;
  // Called once when the peer goes before the answer has ended, or stops reading for longer than
  // the limit. A peer that closes only its sending side counts as gone as well.
  virtual void OnGone(std::function<void()> callback) = 0;
};

// Called on a connection's executor with each complete request; must not block. Requests that are
// refused here (syntax, limits) never reach it.
using Handler = std::function<void(HttpRequest, std::shared_ptr<Exchange>)>;

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 8000;                // 0: any free one
  std::string unix_socket;        // not empty: this path instead of host and port
  std::string tls_cert, tls_key;  // PEM files, both or none
  int threads = 1;
  int64_t connections_max = 16384;  // further ones are answered 503 and closed
  int64_t header_bytes_max = 64 << 10;
  int64_t body_bytes_max = int64_t{64} << 20;
  // Of all requests being read or not yet understood; further ones are answered 503.
  int64_t all_bodies_bytes_max = int64_t{1} << 30;
  double header_timeout_s = 30;  // from the first byte of a request to the end of its head
  double body_timeout_s = 300;   // for the whole body, and body_idle_s between its bytes
  double body_idle_s = 30;
  double idle_timeout_s = 300;                   // between requests
  double write_timeout_s = 60;                   // without the peer taking a byte
  int64_t unsent_bytes_max = int64_t{16} << 20;  // above: the peer counts as gone
  // The body of an answer that the server makes itself: 400 for a request that is not HTTP, 408,
  // 413, 431, 503. Told the status and a line of text; returns JSON.
  std::function<std::string(int status, const std::string& message)> error_body;
};

struct HttpStats {
  int64_t connections = 0;
  int64_t exchanges = 0;   // requests being answered
  int64_t body_bytes = 0;  // what counts towards all_bodies_bytes_max
};

class HttpServer {
 public:
  // Binds and starts its threads. Errors: an address in use, certificates that cannot be read, a
  // path that is no socket. An abandoned Unix socket file is replaced.
  static Result<std::unique_ptr<HttpServer>> Listen(const HttpOptions& options, Handler handler);
  virtual ~HttpServer() = default;

  virtual int port() const = 0;
  virtual HttpStats stats() const = 0;
  // Stops accepting; idle connections close, running answers may end within `grace_s` and are cut
  // then. Returns when all is closed. Once.
  virtual void Shutdown(double grace_s) = 0;
};

}  // namespace fathom::server
