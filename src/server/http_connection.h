// One connection of the HTTP server, and what all connections share. Private to http*.cc: nothing
// else sees Boost.
//
// A connection lives on one loop (one thread). Whatever other threads may touch, which is the
// answer in progress, is guarded by the connection's mutex; everything else belongs to the loop's
// thread.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_set>

#include "server/http.h"
#include "server/http_parser.h"

namespace fathom::server {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using Executor = asio::io_context::executor_type;
// One type for TCP and Unix sockets: what is instantiated for a socket is instantiated once.
using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;
using TlsStream = asio::ssl::stream<Socket&>;
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor>;
template <typename T>
using Awaitable = asio::awaitable<T, Executor>;

inline Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

class Connection;

// Shared by the server and its loops, which hold it as long as a connection is referred to.
struct ServerState {
  HttpOptions options;
  Handler handler;
  std::optional<asio::ssl::context> tls;
  std::atomic<int64_t> connections{0};
  std::atomic<int64_t> exchanges{0};
  std::atomic<int64_t> body_bytes{0};  // counted towards all_bodies_bytes_max
  std::atomic<bool> stopping{false};
  // Notified when the last connection closes.
  std::mutex mutex;
  std::condition_variable closed;

  std::string ErrorBody(int status, const std::string& message) const;
};

// One thread and its connections. A connection refers to its loop, since its socket needs the
// context to the end.
struct Loop {
  // Bytes of one read. Connections read here, one after the other, and keep only what they cannot
  // use at once: an idle connection owns no buffer.
  static constexpr size_t kReadBytes = 64 << 10;

  explicit Loop(std::shared_ptr<ServerState> shared)
      : server(std::move(shared)), context(1), scratch(kReadBytes) {}

  std::shared_ptr<ServerState> server;
  asio::io_context context;
  std::vector<char> scratch;
  std::unordered_set<std::shared_ptr<Connection>> connections;
  std::thread thread;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Loop> loop, Socket socket);

  // On the loop's thread.
  void Begin();
  void BeginRefusal(int status, const std::string& message);  // answers and closes
  void Stop();                                                // closes when there is no request
  void Close();                                               // at once

  // The members of Exchange, for the exchange of that number; from any thread.
  void Send(uint64_t exchange, int status, const Headers& headers, std::string body);
  void Start(uint64_t exchange, int status, const Headers& headers);
  void Write(uint64_t exchange, std::string_view bytes);
  void End(uint64_t exchange, bool closes);
  void KeepAlive(uint64_t exchange, double period_s, std::string text);
  void Post(uint64_t exchange, std::function<void()> task, double delay_s);
  void OnGone(uint64_t exchange, std::function<void()> callback);
  void Abandon(uint64_t exchange);  // nobody is left who could end it

 private:
  enum class Phase {
    kHandshake,
    kIdle,       // between requests
    kHead,       // a part of a head has been read
    kBody,       // a part of a body is missing
    kAnswering,  // the handler was called and its answer is not sent yet
    kLinger,     // the last answer: what the peer still sends is dropped
    kClosed,
  };
  enum class Stage { kNone, kWaiting, kStreaming, kEnded, kGone };

  const HttpOptions& options() const { return loop_->server->options; }
  ServerState& server() const { return *loop_->server; }

  // The coroutines hold the connection they run on.
  Awaitable<void> Pump(std::shared_ptr<Connection> self);
  Awaitable<bool> Handshake();
  void StartPump();
  size_t ReadRoom() const;
  void OnReadError(const ErrorCode& ec);
  void Consume(std::string_view fresh);
  std::string_view ConsumeRequest(std::string_view bytes);
  bool CountBody();
  void OnHeadDone();
  void Dispatch();
  void Refuse(int status, const std::string& message);
  void OnSent();
  void Finish();

  Awaitable<void> Drain(std::shared_ptr<Connection> self);
  bool TakeQueued();
  bool IsSendingTheRest() const;
  // With the mutex held.
  void ScheduleDrain();
  void QueueWritten(std::string_view bytes);
  void WriteBody(std::string_view bytes);
  bool IsCurrent(uint64_t exchange, Stage stage) const;

  void SetReadDeadline(double seconds);
  void Watch(TimePoint at);
  void OnTimer();
  void OnReadTimeout();
  TimePoint KeepAliveDue();
  void RunLater(uint64_t exchange, std::function<void()> task, double delay_s);

  const std::shared_ptr<Loop> loop_;
  Socket socket_;
  std::unique_ptr<TlsStream> tls_;
  std::vector<char> tls_buffer_;
  std::string peer_;

  // Reading.
  Phase phase_ = Phase::kIdle;
  bool is_pumping_ = false;
  bool has_eof_ = false;       // the peer sends no more
  bool is_finishing_ = false;  // all is sent; waits for the peer to close
  std::string in_;             // read and not yet used
  std::unique_ptr<RequestParser> parser_;
  // Its request's part of body_bytes, given back with the last reference; null before the body.
  std::shared_ptr<int64_t> body_share_;

  // Time. One timer serves all deadlines: it is armed for the earliest and looks at the others when
  // it fires, so that a deadline which only moves on costs nothing.
  Timer timer_;
  TimePoint armed_for_ = TimePoint::max();
  TimePoint read_deadline_ = TimePoint::max();
  TimePoint body_deadline_ = TimePoint::max();
  TimePoint write_deadline_ = TimePoint::max();
  std::unordered_set<std::shared_ptr<Timer>> tasks_;  // waiting tasks of the exchange

  // Sending.
  std::string sending_;

  // The exchange in progress and what is queued for the peer.
  mutable std::mutex mutex_;
  uint64_t exchange_ = 0;
  Stage stage_ = Stage::kNone;
  bool is_draining_ = false;  // Drain runs or will
  bool closes_ = false;       // after this answer
  bool overflowed_ = false;
  bool answers_head_ = false;
  bool is_http_1_0_ = false;
  bool omits_body_ = false;
  std::string queued_;
  int64_t unsent_bytes_ = 0;  // queued_ and the rest of sending_
  TimePoint last_write_;
  double keep_alive_period_s_ = 0;
  std::string keep_alive_text_;
  std::function<void()> on_gone_;
};

}  // namespace fathom::server
