#include "tests/http/client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

namespace fathom::http_tests {
namespace {

// No test waits that long unless it fails.
constexpr int kPatienceMs = 20000;

}  // namespace

std::string_view Response::Header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

Client Client::Tcp(int port) {
  Client client = Try(port);
  EXPECT_TRUE(client.is_connected()) << strerror(errno);
  return client;
}

Client Client::Try(int port, int receive_bytes) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_bytes > 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;  // what is cut apart shall travel apart
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Client client(fd);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) client.Close();
  return client;
}

Client Client::Unix(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0)
      << strerror(errno);
  return Client(fd);
}

Client::Client(Client&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), unread_(std::move(other.unread_)) {}

Client::~Client() { Close(); }

void Client::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

void Client::Reset() {
  const linger abort{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  Close();
}

void Client::ShutDownSending() { shutdown(fd_, SHUT_WR); }

bool Client::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool Client::Receive() {
  if (fd_ < 0) return false;
  pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
  if (poll(&readable, 1, kPatienceMs) != 1) {
    ADD_FAILURE() << "nothing came from the server";
    return false;
  }
  char buffer[16384];
  const ssize_t bytes = recv(fd_, buffer, sizeof buffer, 0);
  if (bytes <= 0) return false;
  unread_.append(buffer, static_cast<size_t>(bytes));
  return true;
}

bool Client::IsClosed(double within_s) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(within_s);
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() < 0) return false;
    pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
    char buffer[16384];
    if (poll(&readable, 1, static_cast<int>(left.count())) == 1 &&
        recv(fd_, buffer, sizeof buffer, 0) <= 0)
      return true;
  }
}

bool Client::ReadLine(std::string& line) {
  size_t end = 0;
  while ((end = unread_.find("\r\n")) == unread_.npos)
    if (!Receive()) return false;
  line = unread_.substr(0, end);
  unread_.erase(0, end + 2);
  return true;
}

bool Client::ReadBytes(size_t count, std::string& bytes) {
  while (unread_.size() < count)
    if (!Receive()) return false;
  bytes = unread_.substr(0, count);
  unread_.erase(0, count);
  return true;
}

bool Client::WaitForBytes(size_t count) {
  const size_t wanted = unread_.size() + count;
  while (unread_.size() < wanted)
    if (!Receive()) return false;
  return true;
}

std::string Client::ReadUntil(std::string_view text) {
  while (unread_.find(text) == unread_.npos)
    if (!Receive()) return std::exchange(unread_, "");
  const size_t end = unread_.find(text) + text.size();
  const std::string found = unread_.substr(0, end);
  unread_.erase(0, end);
  return found;
}

void Client::ReadChunks(Response& response) {
  for (;;) {
    std::string line;
    if (!ReadLine(line)) return;
    size_t digits = 0;
    const size_t bytes = std::stoul(line, &digits, 16);
    EXPECT_EQ(digits, line.size());
    std::string chunk;
    std::string end;
    if (!ReadBytes(bytes, chunk) || !ReadBytes(2, end)) return;
    EXPECT_EQ(end, "\r\n");
    response.is_complete = bytes == 0;
    if (bytes == 0) return;
    response.body += chunk;
    response.chunks.push_back(chunk);
  }
}

Response Client::Read(bool answers_head) {
  Response response;
  std::string line;
  if (!ReadLine(line)) return response;
  EXPECT_TRUE(line.starts_with("HTTP/1.1 ")) << line;
  response.status = std::stoi(line.substr(9));
  while (ReadLine(line) && !line.empty()) {
    const size_t colon = line.find(": ");
    if (colon == line.npos) {
      ADD_FAILURE() << line;
      return response;
    }
    response.headers.emplace_back(line.substr(0, colon), line.substr(colon + 2));
  }
  if (answers_head || response.status == 204 || response.status < 200) {
    response.is_complete = true;
  } else if (response.Header("transfer-encoding") == "chunked") {
    ReadChunks(response);
  } else if (!response.Header("content-length").empty()) {
    const size_t bytes = std::stoul(std::string(response.Header("content-length")));
    response.is_complete = ReadBytes(bytes, response.body);
  } else {
    while (Receive()) {
    }
    response.body = std::exchange(unread_, "");
    response.is_complete = true;
  }
  return response;
}

std::unique_ptr<server::HttpServer> Serve(server::Handler handler, server::HttpOptions options) {
  options.port = 0;
  auto server = server::HttpServer::Listen(options, std::move(handler));
  EXPECT_TRUE(server.ok()) << server.error().message;
  return std::move(server).value();
}

void Echo(server::HttpRequest request, const std::shared_ptr<server::Exchange>& exchange) {
  exchange->Send(200, {{"content-type", "text/plain"}},
                 request.method + "\n" + request.path + "\n" + request.query + "\n" + request.body);
}

std::string Get(std::string_view target, std::string_view headers) {
  return std::string("GET ")
      .append(target)
      .append(" HTTP/1.1\r\nHost: localhost\r\n")
      .append(headers)
      .append("\r\n");
}

bool Eventually(const std::function<bool()>& condition, double within_s) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(within_s);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace fathom::http_tests
