// The server as a whole: its address, its acceptors, its loops and their end. One thread per loop;
// connections are dealt to the loops in turn. What happens on a connection is http_connection.cc.
#include "server/http.h"

#include <fmt/format.h>
#include <netdb.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>

#include "base/json.h"
#include "base/log.h"
#include "server/http_connection.h"

namespace fathom::server {

std::string_view HttpRequest::Header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

std::string ServerState::ErrorBody(int status, const std::string& message) const {
  if (options.error_body) return options.error_body(status, message);
  return WriteJson(Json(Json::Object{{"error", Json(Json::Object{{"message", message}})}}));
}

namespace {

using Endpoint = asio::generic::stream_protocol::endpoint;
using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol, Executor>;

// Connections above the limit that may wait for their 503 to be taken; further ones are closed
// without a word.
constexpr int64_t kRefusalsMax = 256;
// After a failed accept (no descriptors left, as a rule): time for others to close.
constexpr double kAcceptPauseSeconds = 0.1;
// Files that are no connections: models, logs, the loops' own.
constexpr rlim_t kOtherFiles = 512;

std::string ErrorText(int error) { return std::strerror(error); }

// So that connections_max can be reached; as far as the hard limit allows.
void RaiseFileLimit(int64_t connections_max) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = static_cast<rlim_t>(connections_max) + kOtherFiles;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

Result<std::vector<Endpoint>> Resolve(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  const int status = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (status != 0) return Error{fmt::format("{}: {}", host, gai_strerror(status))};
  std::vector<Endpoint> endpoints;
  for (const addrinfo* info = list; info != nullptr; info = info->ai_next)
    endpoints.emplace_back(info->ai_addr, info->ai_addrlen);
  freeaddrinfo(list);
  return endpoints;
}

// Removes what a server that ended badly left at that path.
Result<void> ClearSocketPath(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) return Error{path + ": exists and is no socket"};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return Error{path + ": " + ErrorText(errno)};
  const int status = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  close(probe);
  if (status == 0) return Error{path + ": another server listens there"};
  if (error != ECONNREFUSED) return Error{path + ": " + ErrorText(error)};
  if (unlink(path.c_str()) != 0) return Error{path + ": " + ErrorText(errno)};
  return {};
}

Result<std::optional<asio::ssl::context>> LoadTls(const HttpOptions& options) {
  std::optional<asio::ssl::context> tls;
  if (options.tls_cert.empty() && options.tls_key.empty()) return tls;
  if (options.tls_cert.empty() || options.tls_key.empty())
    return Error{"TLS: expected a certificate and a key, found one of them"};
  tls.emplace(asio::ssl::context::tls_server);
  tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                   asio::ssl::context::no_tlsv1_1);
  SSL_CTX_set_mode(tls->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  ErrorCode ec;
  tls->use_certificate_chain_file(options.tls_cert, ec);
  if (ec) return Error{options.tls_cert + ": no PEM certificate: " + ec.message()};
  tls->use_private_key_file(options.tls_key, asio::ssl::context::pem, ec);
  if (ec) return Error{options.tls_key + ": no key of that certificate: " + ec.message()};
  return tls;
}

class Server final : public HttpServer {
 public:
  explicit Server(std::shared_ptr<ServerState> state) : state_(std::move(state)) {
    for (int i = 0; i < std::max(1, state_->options.threads); ++i) {
      loops_.push_back(std::make_shared<Loop>(state_));
      guards_.emplace_back(loops_.back()->context.get_executor());
    }
  }
  ~Server() override { Shutdown(0); }

  Result<void> Bind();
  Result<void> BindTcp();
  Result<void> BindUnix();
  void Run();

  int port() const override { return port_; }
  HttpStats stats() const override {
    return {.connections = state_->connections,
            .exchanges = state_->exchanges,
            .body_bytes = state_->body_bytes};
  }
  void Shutdown(double grace_s) override;

 private:
  Result<void> Open(const Endpoint& endpoint, bool is_one_of_many, ErrorCode& ec);
  Awaitable<void> Accept(Acceptor& acceptor);
  void Welcome(const std::shared_ptr<Loop>& loop, Socket socket);
  void ForEachConnection(void (Connection::*action)());
  void CloseAcceptors();

  // Shared with the connections, which may outlive the server in the hands of a handler.
  std::shared_ptr<ServerState> state_;
  std::vector<std::shared_ptr<Loop>> loops_;
  std::vector<asio::executor_work_guard<Executor>> guards_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::vector<std::unique_ptr<Timer>> pauses_;  // one per acceptor
  size_t next_loop_ = 0;
  int running_acceptors_ = 0;  // guarded by state_->mutex
  int port_ = 0;
  struct stat socket_file_ {};
  bool is_running_ = false;
};

// On success the acceptor is added. An address in use is told by `ec`.
Result<void> Server::Open(const Endpoint& endpoint, bool is_one_of_many, ErrorCode& ec) {
  auto acceptor = std::make_unique<Acceptor>(loops_[0]->context.get_executor());
  const bool is_ip6 = endpoint.protocol().family() == AF_INET6;
  acceptor->open(endpoint.protocol(), ec);
  if (!ec) acceptor->set_option(Acceptor::reuse_address(true), ec);
  if (!ec && is_ip6 && is_one_of_many)
    acceptor->set_option(asio::detail::socket_option::boolean<IPPROTO_IPV6, IPV6_V6ONLY>(true), ec);
  if (!ec) acceptor->bind(endpoint, ec);
  if (!ec) acceptor->listen(Acceptor::max_listen_connections, ec);
  if (ec) return Error{ec.message()};
  acceptors_.push_back(std::move(acceptor));
  pauses_.push_back(std::make_unique<Timer>(loops_[0]->context.get_executor()));
  return {};
}

// Every address of the host's name. One that the machine lacks is skipped when another works.
Result<void> Server::BindTcp() {
  const HttpOptions& options = state_->options;
  port_ = options.port;
  FATHOM_TRY(const std::vector<Endpoint> endpoints, Resolve(options.host, options.port));
  Result<void> failure = Error{"no address"};
  for (Endpoint endpoint : endpoints) {
    // The first one chooses the port for all.
    auto* address = static_cast<sockaddr*>(endpoint.data());
    const auto port = htons(static_cast<uint16_t>(port_));
    if (address->sa_family == AF_INET) reinterpret_cast<sockaddr_in*>(address)->sin_port = port;
    if (address->sa_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(address)->sin6_port = port;
    ErrorCode ec;
    auto opened = Open(endpoint, endpoints.size() > 1, ec);
    const std::string where = fmt::format("{}:{}", options.host, port_);
    if (!opened.ok()) failure = std::move(opened).error().In(where);
    if (ec == boost::system::errc::address_in_use) return failure;
    if (ec) continue;
    const Endpoint bound = acceptors_.back()->local_endpoint(ec);
    const auto* bound_address = static_cast<const sockaddr*>(bound.data());
    port_ = ntohs(bound_address->sa_family == AF_INET6
                      ? reinterpret_cast<const sockaddr_in6*>(bound_address)->sin6_port
                      : reinterpret_cast<const sockaddr_in*>(bound_address)->sin_port);
  }
  if (acceptors_.empty()) return failure;
  return {};
}

Result<void> Server::BindUnix() {
  const std::string& path = state_->options.unix_socket;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Error{fmt::format("{}: expected a path below {} bytes, found {}", path,
                             sizeof address.sun_path, path.size())};
  FATHOM_TRY_VOID(ClearSocketPath(path));
  path.copy(address.sun_path, path.size());
  ErrorCode ec;
  auto opened = Open(Endpoint(&address, sizeof address), false, ec);
  if (!opened.ok()) return std::move(opened).error().In(path);
  lstat(path.c_str(), &socket_file_);
  return {};
}

Result<void> Server::Bind() { return state_->options.unix_socket.empty() ? BindTcp() : BindUnix(); }

void Server::Run() {
  is_running_ = true;
  running_acceptors_ = static_cast<int>(acceptors_.size());
  for (const auto& acceptor : acceptors_)
    asio::co_spawn(loops_[0]->context.get_executor(), Accept(*acceptor), asio::detached);
  // Signals are for the threads that wait for them.
  sigset_t all{};
  sigset_t before{};
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (const auto& loop : loops_) loop->thread = std::thread([loop] { loop->context.run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Awaitable<void> Server::Accept(Acceptor& acceptor) {
  const size_t index =
      static_cast<size_t>(std::find_if(acceptors_.begin(), acceptors_.end(),
                                       [&](const auto& a) { return a.get() == &acceptor; }) -
                          acceptors_.begin());
  Timer& pause = *pauses_[index];
  while (!state_->stopping) {
    const std::shared_ptr<Loop>& loop = loops_[next_loop_++ % loops_.size()];
    ErrorCode ec;
    Socket socket = co_await acceptor.async_accept(
        loop->context.get_executor(), asio::redirect_error(asio::use_awaitable_t<Executor>(), ec));
    if (!ec) {
      Welcome(loop, std::move(socket));
      continue;
    }
    if (state_->stopping) break;
    if (ec == asio::error::connection_aborted) continue;
    Log(LogLevel::kWarning, "accept: " + ec.message());
    pause.expires_after(Seconds(kAcceptPauseSeconds));
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable_t<Executor>(), ec));
  }
  const std::lock_guard lock(state_->mutex);
  --running_acceptors_;
  state_->closed.notify_all();
}

void Server::Welcome(const std::shared_ptr<Loop>& loop, Socket socket) {
  const int64_t above = ++state_->connections - state_->options.connections_max;
  if (above > kRefusalsMax || (above > 0 && state_->tls)) {
    --state_->connections;
    return;  // and the socket closes
  }
  asio::post(loop->context.get_executor(), [loop, above, socket = std::move(socket)]() mutable {
    const auto connection = std::make_shared<Connection>(loop, std::move(socket));
    loop->connections.insert(connection);
    if (above > 0) return connection->BeginRefusal(503, "Too many connections.");
    connection->Begin();
  });
}

void Server::ForEachConnection(void (Connection::*action)()) {
  for (const auto& loop : loops_) {
    asio::post(loop->context.get_executor(), [loop, action] {
      const auto connections = loop->connections;  // the action may remove from it
      for (const auto& connection : connections) (connection.get()->*action)();
    });
  }
}

void Server::CloseAcceptors() {
  asio::post(loops_[0]->context.get_executor(), [this] {
    ErrorCode ignored;
    for (const auto& acceptor : acceptors_) acceptor->close(ignored);
    for (const auto& pause : pauses_) pause->cancel();
  });
  std::unique_lock lock(state_->mutex);
  state_->closed.wait(lock, [&] { return running_acceptors_ == 0; });
}

void Server::Shutdown(double grace_s) {
  if (!std::exchange(is_running_, false)) return;
  state_->stopping = true;
  CloseAcceptors();
  struct stat file {};
  const std::string& path = state_->options.unix_socket;
  if (!path.empty() && lstat(path.c_str(), &file) == 0 && file.st_ino == socket_file_.st_ino)
    unlink(path.c_str());
  ForEachConnection(&Connection::Stop);
  const auto all_closed = [&] { return state_->connections == 0; };
  bool is_done = false;
  {
    std::unique_lock lock(state_->mutex);
    is_done = state_->closed.wait_for(lock, Seconds(std::max(0.0, grace_s)), all_closed);
  }
  if (!is_done) {
    ForEachConnection(&Connection::Close);
    std::unique_lock lock(state_->mutex);
    state_->closed.wait(lock, all_closed);
  }
  guards_.clear();
  for (const auto& loop : loops_) loop->thread.join();
  state_->handler = nullptr;
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Listen(const HttpOptions& options,
                                                       Handler handler) {
  RaiseFileLimit(options.connections_max);
  auto state = std::make_shared<ServerState>();
  state->options = options;
  state->handler = std::move(handler);
  FATHOM_TRY(state->tls, LoadTls(options));
  auto server = std::make_unique<Server>(std::move(state));
  FATHOM_TRY_VOID(server->Bind());
  server->Run();
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace fathom::server
