// What a peer sends to the HTTP server: any bytes, cut in any way. The parser reads the same
// requests from every cut and refuses the same bytes; a running server answers or refuses each
// peer, closes, and goes on. The first bytes choose the cuts.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "server/http.h"
#include "server/http_parser.h"

namespace {

using namespace fathom;

constexpr int64_t kHeaderBytesMax = 2000;
constexpr int64_t kBodyBytesMax = 5000;

// Lengths of pieces from a seed; one piece when it is 0.
class Cuts {
 public:
  explicit Cuts(uint32_t seed) : seed_(seed) {}
  size_t Next(size_t left) {
    if (seed_ == 0) return left;
    seed_ = std::max(1u, seed_ * 1664525 + 1013904223);
    return std::min<size_t>(left, 1 + (seed_ >> 24) % 13);
  }

 private:
  uint32_t seed_;
};

// All requests at the front of the bytes and what refuses the rest, as text.
std::string ReadAll(std::string_view bytes, uint32_t seed) {
  Cuts cuts(seed);
  std::string told;
  std::string unread;
  server::RequestParser parser(kHeaderBytesMax, kBodyBytesMax);
  while (!bytes.empty()) {
    const size_t piece = cuts.Next(bytes.size());
    unread.append(bytes.substr(0, piece));
    bytes.remove_prefix(piece);
    while (!unread.empty()) {
      unread.erase(0, static_cast<size_t>(parser.Feed(unread)));
      if (parser.failed()) return told + fmt::format("refused {}\n", parser.status());
      if (!parser.is_done()) break;
      const bool keeps = parser.keep_alive();
      const server::HttpRequest request = parser.TakeRequest();
      FATHOM_CHECK(request.path.starts_with('/'), request.path);
      FATHOM_CHECK_LE(static_cast<int64_t>(request.body.size()), kBodyBytesMax);
      told += fmt::format("{} {} {} {} {}\n", request.method, request.path, request.query, keeps,
                          request.body);
      for (const auto& [name, value] : request.headers)
        told += fmt::format("{}: {}\n", name, value);
      parser = server::RequestParser(kHeaderBytesMax, kBodyBytesMax);
    }
  }
  return told;
}

// One server for all inputs, on a socket file of this process.
class Target {
 public:
  Target() {
    options_.unix_socket =
        std::filesystem::temp_directory_path() / fmt::format("fathom_http_fuzz_{}", getpid());
    options_.header_bytes_max = kHeaderBytesMax;
    options_.body_bytes_max = kBodyBytesMax;
    auto server = server::HttpServer::Listen(
        options_,
        [](const server::HttpRequest& request, const std::shared_ptr<server::Exchange>& exchange) {
          if (request.path.size() % 2 == 0) return exchange->Send(200, {}, request.body);
          exchange->Start(200, {});
          exchange->Write(request.body);
          exchange->End();
        });
    FATHOM_CHECK(server.ok(), server.error().message);
    server_ = std::move(server).value();
  }

  void Visit(std::string_view bytes, uint32_t seed) const {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    options_.unix_socket.copy(address.sun_path, sizeof address.sun_path - 1);
    FATHOM_CHECK_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    Cuts cuts(seed);
    while (!bytes.empty()) {
      const size_t piece = cuts.Next(bytes.size());
      if (send(fd, bytes.data(), piece, MSG_NOSIGNAL) < 0) break;
      bytes.remove_prefix(piece);
    }
    shutdown(fd, SHUT_WR);
    // The end comes, and soon: nothing more will be sent.
    char buffer[4096];
    while (recv(fd, buffer, sizeof buffer, 0) > 0) {
    }
    close(fd);
  }

 private:
  server::HttpOptions options_;
  std::unique_ptr<server::HttpServer> server_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Target target;
  if (size < 3) return 0;
  const uint32_t seed = 1 + data[0] + 256u * data[1];
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string whole = ReadAll(bytes, 0);
  const std::string cut = ReadAll(bytes, seed);
  // Below the limits nothing depends on the cuts, except that a head which is not whole may be
  // refused now or when it is.
  const bool is_same = whole == cut || whole == cut + "refused 400\n";
  if (bytes.size() < static_cast<size_t>(kHeaderBytesMax))
    FATHOM_CHECK(is_same, fmt::format("{}\nagainst\n{}", whole, cut));
  target.Visit(bytes, seed);
  return 0;
}
