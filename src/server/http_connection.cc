// A connection as a state machine fed by two coroutines: Pump reads as long as there is room, Drain
// writes as long as something is queued. Both end when they have nothing to do and are started
// anew, so that an idle connection holds one waiting Pump, one timer and no buffer.
//
// Requests are answered strictly one after the other; what a peer sends ahead is kept up to
// kAheadBytesMax and then left in the kernel. While an answer runs the Pump goes on reading, since
// only reading tells that the peer is gone. A peer that closes its sending side counts as gone.
#include "server/http_connection.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstring>
#include <utility>

#include "server/http_head.h"

namespace fathom::server {
namespace {

// Requests sent ahead of their turn.
constexpr size_t kAheadBytesMax = 64 << 10;
// Bytes decrypted at a time: one TLS record.
constexpr size_t kTlsReadBytes = 16 << 10;
// How long a peer may take to close after the last answer. Closing first, with bytes unread, would
// reset the connection and could destroy that answer on its way.
constexpr double kLingerSeconds = 1;

// A token for one operation whose error goes to `ec`.
auto Into(ErrorCode& ec) { return asio::redirect_error(asio::use_awaitable_t<Executor>(), ec); }

std::string PeerName(const Socket& socket) {
  ErrorCode ec;
  const auto endpoint = socket.remote_endpoint(ec);
  if (ec) return "unknown";
  const int family = endpoint.protocol().family();
  asio::ip::tcp::endpoint tcp;
  if ((family != AF_INET && family != AF_INET6) || endpoint.size() > tcp.capacity()) return "unix";
  std::memcpy(tcp.data(), endpoint.data(), endpoint.size());
  return tcp.address().to_string() + ":" + std::to_string(tcp.port());
}

// The handle that a handler holds.
class Answer final : public Exchange {
 public:
  Answer(std::shared_ptr<Connection> connection, uint64_t number)
      : connection_(std::move(connection)), number_(number) {}
  ~Answer() override { connection_->Abandon(number_); }

  void Send(int status, Headers headers, std::string body) override {
    connection_->Send(number_, status, headers, std::move(body));
  }
  void Start(int status, Headers headers) override { connection_->Start(number_, status, headers); }
  void Write(std::string bytes) override { connection_->Write(number_, bytes); }
  void End() override { connection_->End(number_, false); }
  void EndAndClose() override { connection_->End(number_, true); }
  void KeepAlive(double period_s, std::string text) override {
    connection_->KeepAlive(number_, period_s, std::move(text));
  }
  void Post(std::function<void()> task, double delay_s) override {
    connection_->Post(number_, std::move(task), delay_s);
  }
  void OnGone(std::function<void()> callback) override {
    connection_->OnGone(number_, std::move(callback));
  }

 private:
  // Also owned by its loop, as long as it is open.
  const std::shared_ptr<Connection> connection_;
  const uint64_t number_;
};

}  // namespace

Connection::Connection(std::shared_ptr<Loop> loop, Socket socket)
    : loop_(std::move(loop)), socket_(std::move(socket)), timer_(loop_->context.get_executor()) {}

// ---- Beginning and end ----

void Connection::Begin() {
  if (server().stopping) return Close();
  ErrorCode ignored;
  socket_.non_blocking(true, ignored);
  // Fails for a Unix socket, which has nothing to delay.
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  peer_ = PeerName(socket_);
  if (server().tls) {
    tls_ = std::make_unique<TlsStream>(socket_, *server().tls);
    phase_ = Phase::kHandshake;
    SetReadDeadline(options().header_timeout_s);
  } else {
    SetReadDeadline(options().idle_timeout_s);
  }
  StartPump();
}

void Connection::BeginRefusal(int status, const std::string& message) {
  ErrorCode ignored;
  socket_.non_blocking(true, ignored);
  Refuse(status, message);
  StartPump();
}

void Connection::Stop() {
  // Half a head is no request yet; half a body is one, and may still come.
  if (phase_ == Phase::kIdle || phase_ == Phase::kHandshake || phase_ == Phase::kHead) Close();
}

void Connection::Close() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  const bool was_answering = std::exchange(phase_, Phase::kClosed) == Phase::kAnswering;
  std::function<void()> on_gone;
  {
    const std::lock_guard lock(mutex_);
    on_gone = std::exchange(on_gone_, nullptr);
    if (stage_ == Stage::kEnded) on_gone = nullptr;
    if (stage_ == Stage::kWaiting || stage_ == Stage::kStreaming) stage_ = Stage::kGone;
    std::string().swap(queued_);
    unsent_bytes_ = 0;
  }
  ErrorCode ignored;
  socket_.close(ignored);
  timer_.cancel();
  tasks_.clear();
  std::string().swap(in_);
  parser_.reset();
  body_share_.reset();
  if (was_answering) --server().exchanges;
  if (on_gone) on_gone();
  loop_->connections.erase(self);
  const std::lock_guard lock(server().mutex);
  if (--server().connections == 0) server().closed.notify_all();
}

// The last answer is sent: tells the peer, and waits until it has closed too.
void Connection::Finish() {
  phase_ = Phase::kLinger;
  is_finishing_ = true;
  std::string().swap(in_);
  if (has_eof_) return Close();
  SetReadDeadline(kLingerSeconds);
  ErrorCode ignored;
  if (tls_) {
    socket_.cancel(ignored);  // the Pump's read; it goes on with the end of TLS
  } else {
    socket_.shutdown(Socket::shutdown_send, ignored);
  }
  StartPump();
}

// ---- Reading ----

void Connection::StartPump() {
  if (std::exchange(is_pumping_, true)) return;
  asio::co_spawn(loop_->context.get_executor(), Pump(shared_from_this()),
                 [self = shared_from_this()](const std::exception_ptr& failure) {
                   if (failure) self->Close();
                 });
}

size_t Connection::ReadRoom() const {
  if (phase_ != Phase::kAnswering) return Loop::kReadBytes;
  return kAheadBytesMax - std::min(kAheadBytesMax, in_.size());
}

Awaitable<bool> Connection::Handshake() {
  ErrorCode ec;
  co_await tls_->async_handshake(TlsStream::server, Into(ec));
  if (ec || phase_ != Phase::kHandshake) co_return false;
  tls_buffer_.resize(kTlsReadBytes);
  phase_ = Phase::kIdle;
  SetReadDeadline(options().idle_timeout_s);
  co_return true;
}

Awaitable<void> Connection::Pump([[maybe_unused]] std::shared_ptr<Connection> self) {
  if (phase_ == Phase::kHandshake) {
    const bool is_secure = co_await Handshake();
    if (!is_secure) Close();
  }
  while (phase_ != Phase::kClosed && ReadRoom() > 0) {
    ErrorCode ec;
    size_t bytes = 0;
    const char* data = loop_->scratch.data();
    if (tls_ && is_finishing_) {
      co_await tls_->async_shutdown(Into(ec));
      Close();
      break;
    }
    if (tls_) {
      data = tls_buffer_.data();
      const auto buffer = asio::buffer(tls_buffer_, ReadRoom());
      bytes = co_await tls_->async_read_some(buffer, Into(ec));
      if (ec && is_finishing_) continue;
    } else {
      co_await socket_.async_wait(Socket::wait_read, Into(ec));
      if (phase_ == Phase::kClosed) break;
      if (!ec) bytes = socket_.read_some(asio::buffer(loop_->scratch, ReadRoom()), ec);
      if (ec == asio::error::would_block || ec == asio::error::try_again) continue;
    }
    if (phase_ == Phase::kClosed) break;
    if (ec) {
      OnReadError(ec);
      break;
    }
    Consume({data, bytes});
  }
  is_pumping_ = false;
}

void Connection::OnReadError(const ErrorCode& ec) {
  if (ec != asio::error::eof && ec != asio::ssl::error::stream_truncated) return Close();
  has_eof_ = true;
  if (!IsSendingTheRest()) Close();
}

// Whether an answer has ended, or is a refusal, and is still on its way. It gets there when the
// peer only closed its own side.
bool Connection::IsSendingTheRest() const {
  if (phase_ != Phase::kAnswering && phase_ != Phase::kLinger) return false;
  const std::lock_guard lock(mutex_);
  return stage_ == Stage::kEnded && is_draining_;
}

// Bytes that follow those in in_.
void Connection::Consume(std::string_view fresh) {
  if (phase_ == Phase::kLinger) return;
  std::string_view bytes = fresh;
  const bool is_kept = !in_.empty();
  if (is_kept) bytes = in_.append(fresh);
  bytes = ConsumeRequest(bytes);
  if (bytes.empty()) {
    std::string().swap(in_);
  } else if (is_kept) {
    in_.erase(0, in_.size() - bytes.size());
  } else {
    in_.assign(bytes);
  }
  // Nothing follows, so a request that is not whole never will be.
  if (has_eof_ && !IsSendingTheRest()) Close();
}

// Reads one request from the front, or a part of it, and returns the bytes that were not used.
std::string_view Connection::ConsumeRequest(std::string_view bytes) {
  if (phase_ == Phase::kIdle) {
    // RFC 9112, 2.2: empty lines before a request are skipped.
    bytes.remove_prefix(std::min(bytes.find_first_not_of("\r\n"), bytes.size()));
    if (bytes.empty()) return bytes;
    phase_ = Phase::kHead;
    parser_ = std::make_unique<RequestParser>(options().header_bytes_max, options().body_bytes_max);
    SetReadDeadline(options().header_timeout_s);
  }
  if (phase_ != Phase::kHead && phase_ != Phase::kBody) return bytes;
  const int64_t used = parser_->Feed(bytes);
  bytes.remove_prefix(static_cast<size_t>(used));
  if (parser_->failed()) {
    Refuse(parser_->status(), parser_->message());
    return {};
  }
  if (!CountBody()) {
    Refuse(503, "The bodies of all requests together are too large.");
    return {};
  }
  if (parser_->is_done()) {
    Dispatch();
    return bytes;
  }
  if (!parser_->is_head_done()) return bytes;
  if (phase_ == Phase::kHead) OnHeadDone();
  const TimePoint idle = Clock::now() + Seconds(options().body_idle_s);
  read_deadline_ = std::min(body_deadline_, idle);
  Watch(read_deadline_);
  return bytes;
}

// False when the bodies of all requests together are too large with what was read of this one.
bool Connection::CountBody() {
  if (parser_->body_bytes() == 0) return true;
  if (!body_share_) {
    // Held by the share: a handler may keep the request for longer than the server lives.
    const auto give_back = [state = loop_->server](const int64_t* bytes) {
      state->body_bytes -= *bytes;
      delete bytes;
    };
    body_share_ = {new int64_t{0}, give_back};
  }
  const int64_t fresh = parser_->body_bytes() - *body_share_;
  *body_share_ += fresh;
  return (server().body_bytes += fresh) <= options().all_bodies_bytes_max;
}

void Connection::OnHeadDone() {
  phase_ = Phase::kBody;
  body_deadline_ = Clock::now() + Seconds(options().body_timeout_s);
  if (!parser_->expects_continue() || parser_->body_bytes() > 0) return;
  const std::lock_guard lock(mutex_);
  QueueWritten("HTTP/1.1 100 Continue\r\n\r\n");
}

void Connection::Dispatch() {
  phase_ = Phase::kAnswering;
  read_deadline_ = TimePoint::max();
  uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = ++exchange_;
    stage_ = Stage::kWaiting;
    closes_ = !parser_->keep_alive();
    answers_head_ = parser_->is_head_method();
    is_http_1_0_ = parser_->is_http_1_0();
    keep_alive_period_s_ = 0;
  }
  HttpRequest request = parser_->TakeRequest();
  request.peer = peer_;
  request.body_share = std::move(body_share_);
  parser_.reset();
  ++server().exchanges;
  server().handler(std::move(request), std::make_shared<Answer>(shared_from_this(), number));
}

// Answers what is no request and closes.
void Connection::Refuse(int status, const std::string& message) {
  std::string body = server().ErrorBody(status, message);
  const bool omits_body = parser_ && parser_->is_head_method();
  parser_.reset();
  body_share_.reset();
  phase_ = Phase::kLinger;
  read_deadline_ = TimePoint::max();
  const std::lock_guard lock(mutex_);
  stage_ = Stage::kEnded;
  closes_ = true;
  Headers headers = {{"content-type", "application/json"}};
  if (status == 503) headers.emplace_back("retry-after", "1");
  std::string answer = AnswerHead(
      status, headers, {.keep_alive = false, .content_bytes = static_cast<int64_t>(body.size())});
  if (!omits_body) answer += body;
  QueueWritten(answer);
}

// ---- Sending ----

bool Connection::IsCurrent(uint64_t exchange, Stage stage) const {
  return exchange == exchange_ && stage == stage_;
}

void Connection::ScheduleDrain() {
  if (std::exchange(is_draining_, true)) return;
  asio::post(loop_->context.get_executor(), [self = shared_from_this()] {
    asio::co_spawn(self->loop_->context.get_executor(), self->Drain(self),
                   [self](const std::exception_ptr& failure) {
                     if (failure) self->Close();
                   });
  });
}

void Connection::QueueWritten(std::string_view bytes) {
  queued_.append(bytes);
  unsent_bytes_ += static_cast<int64_t>(bytes.size());
  last_write_ = Clock::now();
  ScheduleDrain();
}

// Moves all that is queued to sending_. False, and the Drain is over, when there is nothing.
bool Connection::TakeQueued() {
  const std::lock_guard lock(mutex_);
  sending_.clear();
  sending_.swap(queued_);
  if (sending_.empty()) is_draining_ = false;
  return !sending_.empty();
}

Awaitable<void> Connection::Drain([[maybe_unused]] std::shared_ptr<Connection> self) {
  while (TakeQueued()) {
    size_t sent = 0;
    while (sent < sending_.size() && phase_ != Phase::kClosed) {
      write_deadline_ = Clock::now() + Seconds(options().write_timeout_s);
      Watch(write_deadline_);
      ErrorCode ec;
      size_t bytes = 0;
      const auto buffer = asio::buffer(sending_.data() + sent, sending_.size() - sent);
      if (tls_) {
        bytes = co_await tls_->async_write_some(buffer, Into(ec));
      } else {
        bytes = co_await socket_.async_write_some(buffer, Into(ec));
      }
      if (ec) Close();
      sent += bytes;
      const std::lock_guard lock(mutex_);
      unsent_bytes_ -= static_cast<int64_t>(bytes);
    }
  }
  write_deadline_ = TimePoint::max();
  OnSent();
}

// All that was queued is with the kernel.
void Connection::OnSent() {
  bool closes = false;
  {
    const std::lock_guard lock(mutex_);
    // Another thread may have queued more meanwhile; then a Drain is on its way.
    if (is_draining_ || stage_ != Stage::kEnded) return;
    closes = closes_ || server().stopping;
    std::string().swap(queued_);
    std::string().swap(sending_);
  }
  if (phase_ == Phase::kLinger && !is_finishing_) return Finish();
  if (phase_ != Phase::kAnswering) return;
  tasks_.clear();
  --server().exchanges;
  if (closes) return Finish();
  phase_ = Phase::kIdle;
  SetReadDeadline(options().idle_timeout_s);
  Consume({});
  if (phase_ != Phase::kClosed && !has_eof_) StartPump();
}

void Connection::Send(uint64_t exchange, int status, const Headers& headers, std::string body) {
  std::function<void()> dropped;
  const std::lock_guard lock(mutex_);
  if (!IsCurrent(exchange, Stage::kWaiting)) return;
  closes_ = closes_ || server().stopping;
  Framing framing{.is_http_1_0 = is_http_1_0_, .keep_alive = !closes_};
  if (!IsBodiless(status)) framing.content_bytes = static_cast<int64_t>(body.size());
  std::string answer = AnswerHead(status, headers, framing);
  if (!answers_head_ && !IsBodiless(status)) answer += body;
  stage_ = Stage::kEnded;
  dropped.swap(on_gone_);
  QueueWritten(answer);
}

void Connection::Start(uint64_t exchange, int status, const Headers& headers) {
  const std::lock_guard lock(mutex_);
  if (!IsCurrent(exchange, Stage::kWaiting)) return;
  stage_ = Stage::kStreaming;
  omits_body_ = answers_head_ || IsBodiless(status);
  closes_ = closes_ || server().stopping || (is_http_1_0_ && !omits_body_);
  QueueWritten(AnswerHead(status, headers,
                          {.is_http_1_0 = is_http_1_0_,
                           .keep_alive = !closes_,
                           .chunked = !is_http_1_0_ && !IsBodiless(status)}));
}

void Connection::Write(uint64_t exchange, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (IsCurrent(exchange, Stage::kStreaming)) WriteBody(bytes);
}

void Connection::WriteBody(std::string_view bytes) {
  if (omits_body_ || bytes.empty()) return;
  if (unsent_bytes_ + static_cast<int64_t>(bytes.size()) > options().unsent_bytes_max) {
    if (std::exchange(overflowed_, true)) return;
    asio::post(loop_->context.get_executor(), [self = shared_from_this()] { self->Close(); });
    return;
  }
  if (is_http_1_0_) return QueueWritten(bytes);
  const size_t before = queued_.size();
  AppendChunk(queued_, bytes);
  unsent_bytes_ += static_cast<int64_t>(queued_.size() - before);
  last_write_ = Clock::now();
  ScheduleDrain();
}

void Connection::End(uint64_t exchange, bool closes) {
  std::function<void()> dropped;
  const std::lock_guard lock(mutex_);
  if (exchange != exchange_) return;
  if (stage_ != Stage::kStreaming && !(stage_ == Stage::kWaiting && closes)) return;
  const bool ends_chunks = stage_ == Stage::kStreaming && !is_http_1_0_ && !omits_body_;
  stage_ = Stage::kEnded;
  closes_ = closes_ || closes;
  dropped.swap(on_gone_);
  QueueWritten(ends_chunks && !closes ? kLastChunk : std::string_view());
}

void Connection::Abandon(uint64_t exchange) {
  bool is_waiting = false;
  {
    const std::lock_guard lock(mutex_);
    is_waiting = IsCurrent(exchange, Stage::kWaiting);
  }
  if (is_waiting) {
    const std::string message = "the request was not answered";
    Send(exchange, 500, {{"content-type", "application/json"}}, server().ErrorBody(500, message));
  } else {
    End(exchange, true);
  }
}

void Connection::OnGone(uint64_t exchange, std::function<void()> callback) {
  const std::lock_guard lock(mutex_);
  if (exchange != exchange_) return;
  if (stage_ == Stage::kWaiting || stage_ == Stage::kStreaming) on_gone_.swap(callback);
  // Gone before anyone asked.
  if (stage_ == Stage::kGone) asio::post(loop_->context.get_executor(), std::move(callback));
}

// ---- Time ----

void Connection::SetReadDeadline(double seconds) {
  read_deadline_ = Clock::now() + Seconds(seconds);
  Watch(read_deadline_);
}

void Connection::Watch(TimePoint at) {
  if (at >= armed_for_ || phase_ == Phase::kClosed) return;
  armed_for_ = at;
  timer_.expires_at(at);
  timer_.async_wait([self = shared_from_this()](const ErrorCode& ec) {
    if (!ec) self->OnTimer();
  });
}

void Connection::OnTimer() {
  armed_for_ = TimePoint::max();
  const TimePoint now = Clock::now();
  if (now >= write_deadline_) return Close();
  if (now >= read_deadline_) OnReadTimeout();
  if (now >= KeepAliveDue()) {
    const std::lock_guard lock(mutex_);
    WriteBody(keep_alive_text_);
  }
  Watch(std::min({read_deadline_, write_deadline_, KeepAliveDue()}));
}

void Connection::OnReadTimeout() {
  if (phase_ != Phase::kHead && phase_ != Phase::kBody) return Close();
  Refuse(408, "the request did not arrive in time");
}

TimePoint Connection::KeepAliveDue() {
  const std::lock_guard lock(mutex_);
  if (stage_ != Stage::kStreaming || omits_body_ || keep_alive_period_s_ <= 0)
    return TimePoint::max();
  return last_write_ + Seconds(keep_alive_period_s_);
}

void Connection::KeepAlive(uint64_t exchange, double period_s, std::string text) {
  const std::lock_guard lock(mutex_);
  if (!IsCurrent(exchange, Stage::kStreaming)) return;
  keep_alive_period_s_ = period_s;
  keep_alive_text_.swap(text);
  asio::post(loop_->context.get_executor(),
             [self = shared_from_this()] { self->Watch(self->KeepAliveDue()); });
}

void Connection::Post(uint64_t exchange, std::function<void()> task, double delay_s) {
  const std::lock_guard lock(mutex_);
  if (!IsCurrent(exchange, Stage::kWaiting) && !IsCurrent(exchange, Stage::kStreaming)) return;
  asio::post(loop_->context.get_executor(),
             [self = shared_from_this(), exchange, task = std::move(task), delay_s]() mutable {
               self->RunLater(exchange, std::move(task), delay_s);
             });
}

void Connection::RunLater(uint64_t exchange, std::function<void()> task, double delay_s) {
  {
    const std::lock_guard lock(mutex_);
    if (!IsCurrent(exchange, Stage::kWaiting) && !IsCurrent(exchange, Stage::kStreaming)) return;
  }
  if (delay_s <= 0) return task();
  // Owned by tasks_ and, while it waits, by its own callback.
  const auto timer = std::make_shared<Timer>(loop_->context.get_executor(), Seconds(delay_s));
  tasks_.insert(timer);
  timer->async_wait([self = shared_from_this(), timer_address = timer.get(), exchange,
                     task = std::move(task)](const ErrorCode& ec) mutable {
    if (ec) return;
    std::erase_if(self->tasks_, [&](const auto& t) { return t.get() == timer_address; });
    self->RunLater(exchange, std::move(task), 0);
  });
}

}  // namespace fathom::server
