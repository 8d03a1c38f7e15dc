// The client of tests/http, which may misbehave, with replies as tests/api reads them. And the
// server that it talks to: the nano model behind the real HTTP.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"
#include "tests/api/requests.h"
#include "tests/http/client.h"

namespace fathom::faults {

using conformance::Dialect;
using conformance::Reply;
using conformance::Wish;

// What is allowed to take no time at all, on a busy machine.
#ifdef FATHOM_SANITIZED
inline constexpr double kPromptSeconds = 10;
#else
inline constexpr double kPromptSeconds = 2;
#endif

class Client : public http_tests::Client {
 public:
  explicit Client(int port, int receive_bytes = 0) : http_tests::Client(Try(port, receive_bytes)) {}

  // The next answer that is more than "go on"; status 0 when the connection closed before its head
  // was there. is_cut: it closed before the answer's end.
  Reply Read();
};

// The text of a request.
std::string PostText(const std::string& target, const std::string& body,
                     const std::string& headers = "");
std::string PostText(Dialect dialect, const Wish& wish);

struct ServerOptions {
  conformance::ServerSetup setup = {};
  server::HttpOptions http = {};
};

class HttpTestServer {
 public:
  explicit HttpTestServer(ServerOptions options = {});
  ~HttpTestServer();

  Client Connect(int receive_bytes = 0) const { return Client(http_->port(), receive_bytes); }
  // One request on a connection of its own.
  Reply Ask(const std::string& request) const;
  // A request that the model answers, answered right: the server is well.
  void ExpectWell();

  // Until the engine has nothing to do; the seconds it took.
  double SecondsUntilIdle();
  conformance::TestServer& inner() { return inner_; }
  server::HttpServer& http() { return *http_; }
  // As `fathom serve` goes down: the answers first, then the connections.
  void GoDown(double grace_s);

 private:
  conformance::TestServer inner_;
  std::unique_ptr<server::HttpServer> http_;
  bool is_down_ = false;
};

}  // namespace fathom::faults
