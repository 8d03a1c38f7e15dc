// Clients that are broken, slow, silent or gone, and a server that ends under load: nobody else
// notices, and nothing stays behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "tests/http/client.h"

namespace fathom::http_tests {
namespace {

using server::Exchange;
using server::HttpOptions;
using server::HttpRequest;
using testing::HasSubstr;

using ExchangePtr = std::shared_ptr<Exchange>;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string Post(std::string_view headers) {
  return "POST / HTTP/1.1\r\nHost: h\r\n" + std::string(headers) + "\r\n";
}

// Refused with that status, in the form that the options ask for; then the connection closes.
void ExpectRefused(const std::string& bytes, int status, const HttpOptions& changes = {}) {
  HttpOptions options = changes;
  options.error_body = [](int code, const std::string& message) {
    return "refused " + std::to_string(code) + ": " + message;
  };
  const auto server = Serve(Echo, options);
  Client client = Client::Tcp(server->port());
  client.Send(bytes);
  const Response response = client.Read();
  EXPECT_EQ(response.status, status) << bytes.substr(0, 100);
  EXPECT_THAT(response.body, HasSubstr("refused " + std::to_string(status)));
  EXPECT_EQ(response.Header("content-type"), "application/json");
  EXPECT_EQ(response.Header("connection"), "close");
  EXPECT_TRUE(client.IsClosed());
  client.Close();
  EXPECT_TRUE(Eventually([&] { return server->stats().connections == 0; }));
}

TEST(HttpFaultsTest, WhatIsNoRequestIsRefused) {
  for (const char* bytes : {
           "hello\r\n\r\n",
           "GET / HTTP/1.1\nHost: h\n\n",
           "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
           "GET / HTTP/1.1\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
           "GET nowhere HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET /%2 HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n",
           "CONNECT host:443 HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: h\r\nna me: x\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: h\r\nx: \x01\r\n\r\n",
       })
    ExpectRefused(bytes, 400);
  // A TLS client at the wrong door.
  ExpectRefused(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 400);
}

// What two servers could read differently.
TEST(HttpFaultsTest, AmbiguousLengthsAreRefused) {
  for (const char* headers : {
           "Content-Length: 1\r\nContent-Length: 2\r\n",
           "Content-Length: x\r\n",
           "Content-Length: -1\r\n",
           "Content-Length: 99999999999999999999\r\n",
           "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
           "Transfer-Encoding: gzip\r\n",
           "Transfer-Encoding: chunked, gzip\r\n",
           "Transfer-Encoding: gzip, chunked\r\n",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
       })
    ExpectRefused(Post(headers) + "abc", 400);
  for (const char* body :
       {"x\r\n", "3\r\nabcd\r\n0\r\n", "-1\r\n", "fffffffffffffffff\r\n", "3;\x01\r\n"})
    ExpectRefused(Post("Transfer-Encoding: chunked\r\n") + body, 400);
}

TEST(HttpFaultsTest, LargeHeadsAreRefused) {
  HttpOptions options;
  options.header_bytes_max = 4096;
  ExpectRefused(Get("/", "a: " + std::string(4096, 'a') + "\r\n"), 431, options);
  ExpectRefused(Get(std::string("/").append(5000, 'a')), 431, options);
  ExpectRefused("GET /" + std::string(5000, 'a'), 431, options);
  // Many small lines, which arrive one by one.
  const auto server = Serve(Echo, options);
  Client client = Client::Tcp(server->port());
  client.Send("GET / HTTP/1.1\r\nHost: h\r\n");
  for (int i = 0; i < 300 && client.Send("header-" + std::to_string(i) + ": value\r\n"); ++i)
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  EXPECT_EQ(client.Read().status, 431);
  // Just below the limit.
  Client fits = Client::Tcp(server->port());
  fits.Send(Get("/", "a: " + std::string(4000, 'a') + "\r\n"));
  EXPECT_EQ(fits.Read().status, 200);
}

TEST(HttpFaultsTest, LargeBodiesAreRefused) {
  HttpOptions options;
  options.body_bytes_max = 1000;
  ExpectRefused(Post("Content-Length: 1001\r\n"), 413, options);
  ExpectRefused(Post("Transfer-Encoding: chunked\r\n") + "3e9\r\n", 413, options);
  std::string many = Post("Transfer-Encoding: chunked\r\n");
  for (int i = 0; i < 500; ++i) many += "3\r\nabc\r\n";
  ExpectRefused(many, 413, options);
  ExpectRefused(Post("Transfer-Encoding: chunked\r\n") + "1;" + std::string(100000, 'x'), 400);
}

// The refusal arrives although the client goes on sending for a while.
TEST(HttpFaultsTest, TheRefusalOfALargeBodyIsNotLost) {
  HttpOptions options;
  options.body_bytes_max = 1000;
  const auto server = Serve(Echo, options);
  Client client = Client::Tcp(server->port());
  client.Send(Post("Content-Length: 8000000\r\n"));
  EXPECT_TRUE(client.Send(std::string(8000000, 'x')));
  EXPECT_EQ(client.Read().status, 413);
}

// Each body is within its own limit. Refused is who comes last, and what was counted is given back,
// whether a request was answered, refused, broken off or is let go of by its handler.
TEST(HttpFaultsTest, AllBodiesTogetherAreBounded) {
  HttpOptions options;
  options.body_bytes_max = 1000;
  options.all_bodies_bytes_max = 1500;
  options.error_body = [](int, const std::string& message) { return "own shape: " + message; };
  std::mutex mutex;
  std::vector<HttpRequest> held;
  const auto server = Serve(
      [&](HttpRequest request, const ExchangePtr& exchange) {
        exchange->Send(200, {}, std::to_string(request.body.size()));
        const std::lock_guard lock(mutex);
        if (request.path == "/held") held.push_back(std::move(request));
      },
      options);
  const auto counts = [&](int64_t bytes) {
    return Eventually([&] { return server->stats().body_bytes == bytes; });
  };
  const auto send = [&](std::string_view path, int bytes) {
    Client client = Client::Tcp(server->port());
    client.Send("POST " + std::string(path) +
                " HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" +
                std::string(static_cast<size_t>(bytes), 'x'));
    return client;
  };
  Client first = send("/", 900);
  ASSERT_TRUE(counts(900));
  for (const int bytes : {601, 1000}) {
    Client above = send("/", bytes);
    const Response refusal = above.Read();
    EXPECT_EQ(refusal.status, 503);
    EXPECT_THAT(refusal.body, HasSubstr("own shape: The bodies of all requests"));
    EXPECT_EQ(refusal.Header("retry-after"), "1");
    EXPECT_TRUE(above.IsClosed());
  }
  // Nobody else is hurt: what fits beside the first does, and the first is answered.
  Client broken_off = send("/", 600);
  ASSERT_TRUE(counts(1500));
  broken_off.Close();
  ASSERT_TRUE(counts(900));
  first.Send(std::string(100, 'x'));
  EXPECT_EQ(first.Read().body, "1000");
  ASSERT_TRUE(counts(0));
  EXPECT_EQ(send("/held", 1000).Read().body, "1000");
  EXPECT_TRUE(counts(1000));
  EXPECT_EQ(send("/", 1000).Read().status, 503);
  {
    const std::lock_guard lock(mutex);
    held.clear();
  }
  EXPECT_TRUE(counts(0));
  EXPECT_EQ(send("/", 1000).Read().body, "1000");
}

TEST(HttpFaultsTest, OneByteAtATimeIsCutOff) {
  HttpOptions options;
  options.header_timeout_s = 0.2;
  options.body_timeout_s = 1.2;
  options.body_idle_s = 0.2;
  const auto server = Serve(Echo, options);
  for (const std::string head :
       {"", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"}) {
    const auto start = std::chrono::steady_clock::now();
    Client slow = Client::Tcp(server->port());
    slow.Send(head);
    for (int i = 0; i < 200 && SecondsSince(start) < 2; ++i) {
      slow.Send("x");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_EQ(slow.Read().status, 408);
  }
  // A body that stops is cut off earlier.
  const auto start = std::chrono::steady_clock::now();
  Client silent = Client::Tcp(server->port());
  silent.Send(Post("Content-Length: 1000\r\n") + "x");
  EXPECT_EQ(silent.Read().status, 408);
  EXPECT_LT(SecondsSince(start), 1.1);
}

TEST(HttpFaultsTest, SilentConnectionsAreClosed) {
  HttpOptions options;
  options.idle_timeout_s = 0.1;
  const auto server = Serve(Echo, options);
  Client silent = Client::Tcp(server->port());
  Client answered = Client::Tcp(server->port());
  answered.Send(Get("/"));
  EXPECT_EQ(answered.Read().status, 200);
  EXPECT_EQ(silent.ReadUntil("anything"), "");
  EXPECT_TRUE(answered.IsClosed());
}

// A handler that starts an answer and waits for the peer to go.
struct Watched {
  std::atomic<int> gone{0};
  std::atomic<int> started{0};
  std::mutex mutex;
  std::vector<ExchangePtr> exchanges;

  server::Handler handler() {
    return [this](const HttpRequest&, const ExchangePtr& exchange) {
      exchange->OnGone([this] { ++gone; });
      exchange->Start(200, {});
      exchange->Write("begun");
      const std::lock_guard lock(mutex);
      exchanges.push_back(exchange);
      ++started;
    };
  }
  ~Watched() { exchanges.clear(); }
};

TEST(HttpFaultsTest, AClientThatDisconnectsIsNoticedSoon) {
  Watched watched;
  const auto server = Serve(watched.handler());
  const auto expect_gone = [&](const std::function<void(Client&)>& leave) {
    const int before = watched.gone;
    Client client = Client::Tcp(server->port());
    client.Send(Get("/"));
    client.ReadUntil("begun");
    EXPECT_EQ(watched.gone, before);
    const auto start = std::chrono::steady_clock::now();
    leave(client);
    EXPECT_TRUE(Eventually([&] { return watched.gone == before + 1; }));
    EXPECT_LT(SecondsSince(start), 2);  // far below every limit on time
  };
  expect_gone([](Client& client) { client.Close(); });
  expect_gone([](Client& client) { client.Reset(); });
  expect_gone([](Client& client) { client.ShutDownSending(); });
  // With requests that are still unread.
  expect_gone([](Client& client) {
    client.Send(Get("/") + Get("/"));
    client.Close();
  });
  EXPECT_TRUE(Eventually([&] { return server->stats().connections == 0; }));
  EXPECT_EQ(server->stats().exchanges, 0);
  // All that comes later is ignored, but who asks for the first time is told.
  std::atomic<bool> told{false};
  watched.exchanges[0]->Write("late");
  watched.exchanges[0]->Post([] { ADD_FAILURE() << "a task of a lost answer ran"; });
  watched.exchanges[0]->OnGone([&] { told = true; });
  watched.exchanges[0]->End();
  EXPECT_TRUE(Eventually([&] { return told.load(); }));
}

TEST(HttpFaultsTest, ACloseAfterTheEndIsNoLoss) {
  std::atomic<int> gone{0};
  const auto server = Serve([&](const HttpRequest&, const ExchangePtr& exchange) {
    exchange->OnGone([&] { ++gone; });
    exchange->Send(200, {}, "done");
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  EXPECT_EQ(client.Read().body, "done");
  client.Close();
  EXPECT_TRUE(Eventually([&] { return server->stats().connections == 0; }));
  EXPECT_EQ(gone, 0);
}

// Requests that were whole before the client closed its sending side are answered, if at once.
TEST(HttpFaultsTest, AHalfClosedClientGetsItsAnswers) {
  const auto server = Serve([](const HttpRequest& request, const ExchangePtr& exchange) {
    exchange->Send(200, {}, std::string(300000, request.path.back()));
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/a") + Get("/b") + "GET /half");
  client.ShutDownSending();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(client.Read().body, std::string(300000, 'a'));
  EXPECT_EQ(client.Read().body, std::string(300000, 'b'));
  EXPECT_TRUE(client.IsClosed());
}

TEST(HttpFaultsTest, AClientThatStopsReadingCountsAsGone) {
  HttpOptions options;
  options.write_timeout_s = 0.2;
  Watched watched;
  const auto server = Serve(watched.handler(), options);
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  ASSERT_TRUE(Eventually([&] { return watched.started == 1; }));
  const ExchangePtr exchange = watched.exchanges[0];
  exchange->Write(std::string(12 << 20, 'x'));  // more than the kernel keeps
  EXPECT_TRUE(Eventually([&] { return watched.gone == 1; }));
  EXPECT_TRUE(Eventually([&] { return server->stats().connections == 0; }));
}

TEST(HttpFaultsTest, TooMuchUnsentCountsAsGone) {
  HttpOptions options;
  options.unsent_bytes_max = 1 << 20;
  Watched watched;
  const auto server = Serve(watched.handler(), options);
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  ASSERT_TRUE(Eventually([&] { return watched.started == 1; }));
  for (int i = 0; i < 1000 && watched.gone == 0; ++i)
    watched.exchanges[0]->Write(std::string(100000, 'x'));
  EXPECT_TRUE(Eventually([&] { return watched.gone == 1; }));
}

// A slow reader that does read is no reason to cut.
TEST(HttpFaultsTest, ASlowReaderGetsEverything) {
  HttpOptions options;
  options.write_timeout_s = 2;
  const std::string body(6 << 20, 'x');
  const auto server =
      Serve([&](const HttpRequest&, const ExchangePtr& exchange) { exchange->Send(200, {}, body); },
            options);
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(client.Read().body, body);
}

TEST(HttpFaultsTest, ConnectionsAboveTheLimitAreToldSo) {
  HttpOptions options;
  options.connections_max = 3;
  const auto server = Serve(Echo, options);
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(Client::Tcp(server->port()));
    clients.back().Send(Get("/"));
    EXPECT_EQ(clients.back().Read().status, 200);
  }
  Client above = Client::Tcp(server->port());
  above.Send(Get("/"));
  EXPECT_EQ(above.Read().status, 503);
  EXPECT_TRUE(above.IsClosed());
  clients.pop_back();
  EXPECT_TRUE(Eventually([&] { return server->stats().connections == 2; }));
  Client next = Client::Tcp(server->port());
  next.Send(Get("/"));
  EXPECT_EQ(next.Read().status, 200);
}

}  // namespace
}  // namespace fathom::http_tests
