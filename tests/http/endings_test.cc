// Where a server listens, what it costs while nobody asks, and how it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/folder_testing.h"
#include "tests/http/client.h"

namespace fathom::http_tests {
namespace {

using server::Exchange;
using server::HttpOptions;
using server::HttpRequest;
using server::HttpServer;
using testing::HasSubstr;

using ExchangePtr = std::shared_ptr<Exchange>;

std::string ListenError(const HttpOptions& options) {
  const auto server = HttpServer::Listen(options, Echo);
  return server.ok() ? "" : server.error().message;
}

TEST(HttpListenTest, AnAddressInUseIsAnError) {
  const auto server = Serve(Echo);
  HttpOptions options;
  options.port = server->port();
  EXPECT_THAT(ListenError(options), HasSubstr("in use"));
}

TEST(HttpListenTest, AHostThatIsNoneIsAnError) {
  HttpOptions options;
  options.host = "not a host";
  EXPECT_THAT(ListenError(options), HasSubstr("not a host: "));
  options.host = "192.0.2.1";  // of nobody (RFC 5737)
  EXPECT_THAT(ListenError(options), HasSubstr("192.0.2.1:"));
}

TEST(HttpListenTest, ANameIsServedAtItsAddresses) {
  HttpOptions options;
  options.host = "localhost";
  const auto server = Serve(Echo, options);
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  EXPECT_EQ(client.Read().status, 200);
}

TEST(HttpListenTest, UnixSockets) {
  const TempFolder folder;
  HttpOptions options;
  options.unix_socket = folder / "socket";
  {
    const auto server =
        Serve([](const HttpRequest& request,
                 const ExchangePtr& exchange) { exchange->Send(200, {}, request.peer); },
              options);
    Client client = Client::Unix(options.unix_socket);
    client.Send(Get("/"));
    EXPECT_EQ(client.Read().body, "unix");
    EXPECT_THAT(ListenError(options), HasSubstr("another server"));
  }
  EXPECT_FALSE(std::filesystem::exists(options.unix_socket));
  std::ofstream(options.unix_socket) << "precious";
  EXPECT_THAT(ListenError(options), HasSubstr("no socket"));
  EXPECT_TRUE(std::filesystem::exists(options.unix_socket));
  options.unix_socket = std::string(200, 'x');
  EXPECT_THAT(ListenError(options), HasSubstr("108"));
}

TEST(HttpListenTest, AnAbandonedUnixSocketIsReplaced) {
  const TempFolder folder;
  HttpOptions options;
  options.unix_socket = folder / "socket";
  const auto first = Serve(Echo, options);
  // What a server that is killed leaves: the file, and nobody behind it.
  std::filesystem::rename(options.unix_socket, folder / "kept");
  first->Shutdown(0);
  std::filesystem::rename(folder / "kept", options.unix_socket);
  const auto second = Serve(Echo, options);
  Client client = Client::Unix(options.unix_socket);
  client.Send(Get("/"));
  EXPECT_EQ(client.Read().status, 200);
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// How many connections the process may open: half its files are the clients'.
// FATHOM_IDLE_CONNECTIONS asks for another number than the default.
int ConnectionCount() {
  const char* asked = std::getenv("FATHOM_IDLE_CONNECTIONS");
  const int wanted = asked != nullptr ? std::atoi(asked) : 2000;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, static_cast<rlim_t>(2 * wanted + 200));
  setrlimit(RLIMIT_NOFILE, &limit);
  return std::min(wanted, static_cast<int>(limit.rlim_cur / 2) - 100);
}

// 10,000 idle connections may cost 200 MiB: 20 KiB each, after a request of some size each. The
// clients' own few hundred bytes are counted too.
TEST(HttpMemoryTest, IdleConnectionsAreCheap) {
  const int count = ConnectionCount();
  HttpOptions options;
  options.threads = 2;
  // A short answer, since clients keep the room that they read into.
  const auto server =
      Serve([](const HttpRequest&, const ExchangePtr& exchange) { exchange->Send(200, {}, "ok"); },
            options);
  std::vector<Client> clients;
  clients.reserve(static_cast<size_t>(count));
  Client warm = Client::Tcp(server->port());
  warm.Send(Get("/"));
  warm.Read();
  const std::string request =
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n" + std::string(20000, 'x');
  const int64_t before = ResidentBytes();
  for (int i = 0; i < count; ++i) {
    clients.push_back(Client::Tcp(server->port()));
    clients.back().Send(request);
    ASSERT_EQ(clients.back().Read().status, 200);
  }
  ASSERT_TRUE(Eventually([&] { return server->stats().connections == count + 1; }));
  const int64_t each = (ResidentBytes() - before) / count;
  std::printf("%d idle connections: %lld bytes each\n", count, static_cast<long long>(each));
#ifndef FATHOM_SANITIZED
  EXPECT_LT(each, 20 << 10);
#endif
  // And they still serve.
  clients.front().Send(Get("/"));
  clients.back().Send(Get("/"));
  EXPECT_EQ(clients.front().Read().status, 200);
  EXPECT_EQ(clients.back().Read().status, 200);
}

TEST(HttpMemoryTest, RunningOutOfFilesIsSurvived) {
#ifdef FATHOM_SANITIZED
  GTEST_SKIP() << "UndefinedBehaviorSanitizer opens a pipe to look at an object and fails as well";
#endif
  const auto server = Serve(Echo);
  Client first = Client::Tcp(server->port());
  first.Send(Get("/"));
  EXPECT_EQ(first.Read().status, 200);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit few = before;
  few.rlim_cur = 300;
  setrlimit(RLIMIT_NOFILE, &few);
  // One file is left. The client takes it, and the server finds none for its end.
  std::vector<int> taken;
  for (int fd = dup(0); fd >= 0; fd = dup(0)) taken.push_back(fd);
  ASSERT_FALSE(taken.empty());
  close(taken.back());
  taken.pop_back();
  Client late = Client::Tcp(server->port());
  late.Send(Get("/"));
  std::this_thread::sleep_for(std::chrono::milliseconds(250));
  EXPECT_EQ(server->stats().connections, 1);
  first.Send(Get("/"));
  EXPECT_EQ(first.Read().status, 200);
  for (const int fd : taken) close(fd);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(late.Read().status, 200);
}

TEST(HttpShutdownTest, ClosesIdleConnectionsAtOnce) {
  const auto server = Serve(Echo);
  Client idle = Client::Tcp(server->port());
  idle.Send(Get("/"));
  EXPECT_EQ(idle.Read().status, 200);
  Client half = Client::Tcp(server->port());
  half.Send("GET / HTTP/1.1\r\nHost:");
  // The client may have the whole answer before the server knows that it is sent.
  ASSERT_TRUE(Eventually(
      [&] { return server->stats().connections == 2 && server->stats().exchanges == 0; }));
  const auto start = std::chrono::steady_clock::now();
  server->Shutdown(10);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_TRUE(idle.IsClosed());
  EXPECT_TRUE(half.IsClosed());
  EXPECT_EQ(server->stats().connections, 0);
}

TEST(HttpShutdownTest, RunningAnswersEnd) {
  const auto server = Serve([](const HttpRequest&, const ExchangePtr& exchange) {
    exchange->Start(200, {});
    exchange->Write("begun ");
    exchange->Post(
        [exchange] {
          exchange->Write("ended");
          exchange->End();
        },
        0.2);
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  ASSERT_TRUE(Eventually([&] { return server->stats().exchanges == 1; }));
  std::thread ending([&] { server->Shutdown(10); });
  const Response response = client.Read();
  EXPECT_EQ(response.body, "begun ended");
  EXPECT_TRUE(response.is_complete);
  EXPECT_TRUE(client.IsClosed());
  client.Close();
  ending.join();
}

TEST(HttpShutdownTest, AnswersThatDoNotEndAreCut) {
  std::atomic<int> gone{0};
  ExchangePtr held;
  const auto server = Serve([&](const HttpRequest&, const ExchangePtr& exchange) {
    exchange->OnGone([&] { ++gone; });
    exchange->Start(200, {});
    exchange->Post([] { ADD_FAILURE() << "a task of a cut answer ran"; }, 3600);
    held = exchange;
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  ASSERT_TRUE(Eventually([&] { return server->stats().exchanges == 1; }));
  const auto start = std::chrono::steady_clock::now();
  server->Shutdown(0.2);
  EXPECT_GT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(190));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_EQ(gone, 1);
  EXPECT_FALSE(client.Read().is_complete);
  // The exchange outlives the server.
  held->Write("late");
  held->Post([] { ADD_FAILURE() << "a task after the end ran"; });
  held->End();
}

TEST(HttpShutdownTest, UnderLoad) {
  HttpOptions options;
  options.threads = 2;
  std::atomic<int64_t> answered{0};
  const auto server = Serve(
      [&](HttpRequest request, const ExchangePtr& exchange) {
        exchange->Start(200, {});
        exchange->KeepAlive(0.001, ":\n");
        exchange->OnGone([] {});
        exchange->Post(
            [exchange, path = request.path] {
              exchange->Write(path);
              exchange->End();
            },
            0.002);
      },
      options);
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&] {
      Client client = Client::Tcp(server->port());
      // What is answered is answered as a whole; in the end the server closes between answers.
      while (client.Send(Get("/path"))) {
        const Response response = client.Read();
        if (response.status == 0) break;
        EXPECT_TRUE(response.is_complete);
        EXPECT_THAT(response.body, HasSubstr("/path"));
        ++answered;
      }
    });
  }
  EXPECT_TRUE(Eventually([&] { return answered > 100; }));
  server->Shutdown(10);
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(server->stats().connections, 0);
  EXPECT_EQ(server->stats().exchanges, 0);
}

}  // namespace
}  // namespace fathom::http_tests
