// A client that may misbehave: bytes over a loopback socket, sent and read as a test says. And the
// server that it talks to: the nano model behind the real HTTP.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"
#include "tests/api/requests.h"

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

class Client {
 public:
  // `receive_bytes`: how much the kernel takes in before it is read; 0: as it likes.
  explicit Client(int port, int receive_bytes = 0);
  ~Client() { Close(); }
  Client(Client&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), unread_(std::move(other.unread_)) {}
  Client& operator=(Client&&) = delete;

  bool is_connected() const { return socket_ >= 0; }
  // False when the peer is gone.
  bool Send(std::string_view bytes);
  // Says that no more will come; answers can still be read.
  void FinishSending();
  // The next answer; status 0 when the connection closed or ten seconds passed before its head was
  // there. is_cut: it closed before the answer's end.
  Reply Read();
  // Until so many more bytes are there; false when the connection closed before.
  bool WaitForBytes(size_t bytes);
  // Whether the peer closes within ten seconds; what it sends until then is dropped.
  bool IsClosedByPeer();
  // At once; with `is_reset` by a RST, as when a process dies with bytes unread.
  void Close(bool is_reset = false);

 private:
  bool More();
  bool ReadHead(Reply& reply);
  bool ReadChunks(std::string& body);
  // The next line without CR LF; false when it never comes.
  bool TakeLine(std::string& line);

  int socket_ = -1;
  std::string unread_;
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
