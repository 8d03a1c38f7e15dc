#include "tests/faults/client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>

namespace fathom::faults {
namespace {

constexpr int kPatienceMs = 10000;

}  // namespace

Client::Client(int port, int receive_bytes) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
  if (receive_bytes > 0)
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  const int one = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) Close();
}

void Client::Close(bool is_reset) {
  if (socket_ < 0) return;
  if (is_reset) {
    const linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  close(std::exchange(socket_, -1));
}

bool Client::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void Client::FinishSending() { shutdown(socket_, SHUT_WR); }

bool Client::More() {
  pollfd waiting = {.fd = socket_, .events = POLLIN, .revents = 0};
  if (socket_ < 0 || poll(&waiting, 1, kPatienceMs) <= 0) return false;
  char buffer[65536];
  const ssize_t got = recv(socket_, buffer, sizeof buffer, 0);
  if (got <= 0) return false;
  unread_.append(buffer, static_cast<size_t>(got));
  return true;
}

bool Client::TakeLine(std::string& line) {
  size_t end;
  while ((end = unread_.find("\r\n")) == unread_.npos)
    if (!More()) return false;
  line = unread_.substr(0, end);
  unread_.erase(0, end + 2);
  return true;
}

bool Client::ReadHead(Reply& reply) {
  std::string line;
  if (!TakeLine(line)) return false;
  EXPECT_TRUE(line.starts_with("HTTP/1.1 ")) << line;
  if (line.size() < 12) return false;
  reply.status = std::stoi(line.substr(9, 3));
  while (TakeLine(line)) {
    if (line.empty()) return true;
    const size_t colon = std::min(line.find(": "), line.size());
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    reply.headers.emplace_back(std::move(name), line.substr(std::min(colon + 2, line.size())));
  }
  return false;
}

bool Client::ReadChunks(std::string& body) {
  std::string line;
  while (TakeLine(line)) {
    const size_t bytes = std::stoul(line, nullptr, 16);
    while (unread_.size() < bytes + 2)
      if (!More()) {
        body += unread_;
        return false;
      }
    body.append(unread_, 0, bytes);
    EXPECT_EQ(unread_.substr(bytes, 2), "\r\n");
    unread_.erase(0, bytes + 2);
    if (bytes == 0) return true;
  }
  return false;
}

Reply Client::Read() {
  Reply reply;
  do {
    reply = {};
    if (!ReadHead(reply)) {
      reply.status = 0;
      return reply;
    }
  } while (reply.status == 100);
  if (reply.Header("transfer-encoding") == "chunked") {
    reply.is_cut = !ReadChunks(reply.body);
    return reply;
  }
  const std::string_view length = reply.Header("content-length");
  const size_t bytes = length.empty() ? 0 : std::stoul(std::string(length));
  while (unread_.size() < bytes)
    if (!More()) {
      reply.is_cut = true;
      break;
    }
  reply.body = unread_.substr(0, bytes);
  unread_.erase(0, bytes);
  return reply;
}

bool Client::WaitForBytes(size_t bytes) {
  const size_t wanted = unread_.size() + bytes;
  while (unread_.size() < wanted)
    if (!More()) return false;
  return true;
}

bool Client::IsClosedByPeer() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (More()) {
    unread_.clear();
    if (std::chrono::steady_clock::now() > end) return false;
  }
  pollfd waiting = {.fd = socket_, .events = POLLIN, .revents = 0};
  return poll(&waiting, 1, 0) > 0;  // readable, and nothing to read: the end
}

std::string PostText(const std::string& target, const std::string& body,
                     const std::string& headers) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\n{}Content-Length: {}\r\n\r\n{}", target,
                     headers, body.size(), body);
}

std::string PostText(Dialect dialect, const Wish& wish) {
  return PostText(conformance::Target(dialect), conformance::BodyFor(dialect, wish));
}

HttpTestServer::HttpTestServer(ServerOptions options) : inner_(options.setup) {
  options.http.port = 0;
  options.http.error_body = [this](int status, const std::string& message) {
    return inner_.service().TransportError(status, message);
  };
  auto listening = server::HttpServer::Listen(
      options.http,
      [this](server::HttpRequest request, std::shared_ptr<server::Exchange> exchange) {
        inner_.service().Handle(std::move(request), std::move(exchange));
      });
  FATHOM_CHECK(listening.ok(), listening.error().message);
  http_ = std::move(listening).value();
}

HttpTestServer::~HttpTestServer() { GoDown(0); }

void HttpTestServer::GoDown(double grace_s) {
  if (std::exchange(is_down_, true)) return;
  inner_.service().Drain(grace_s);
  http_->Shutdown(grace_s);
}

Reply HttpTestServer::Ask(const std::string& request) const {
  Client client = Connect();
  EXPECT_TRUE(client.Send(request));
  return client.Read();
}

void HttpTestServer::ExpectWell() {
  const Reply reply = Ask(PostText(Dialect::kChat, {.more = R"({"temperature":0})"}));
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(conformance::ReadChat(reply)[0].content, "Hello! How can I help?");
}

double HttpTestServer::SecondsUntilIdle() {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(inner_.WaitUntilIdle());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace fathom::faults
