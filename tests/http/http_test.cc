// The HTTP server as a well-behaved client sees it: requests, answers, streams, connections that
// are kept. What happens with clients that do not behave is in faults_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/http/client.h"

namespace fathom::http_tests {
namespace {

using server::Exchange;
using server::HttpOptions;
using server::HttpRequest;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

using ExchangePtr = std::shared_ptr<Exchange>;

TEST(HttpTest, AnswersAndKeepsTheConnection) {
  const auto server = Serve(Echo);
  Client client = Client::Tcp(server->port());
  for (int i = 0; i < 3; ++i) {
    client.Send(Get("/a%20b/%c3%bc?x=%20&y"));
    const Response response = client.Read();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "GET\n/a b/ü\nx=%20&y\n");
    EXPECT_EQ(response.Header("content-type"), "text/plain");
    EXPECT_EQ(response.Header("connection"), "");
    EXPECT_THAT(std::string(response.Header("date")), HasSubstr(" GMT"));
  }
  EXPECT_EQ(server->stats().connections, 1);
}

TEST(HttpTest, HandsOverHeadersInLowerCaseAndThePeer) {
  const auto server = Serve([](HttpRequest request, const ExchangePtr& exchange) {
    exchange->Send(200, {}, std::string(request.Header("x-one")) + "|" + request.peer);
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/", "X-One:  Value \r\n"));
  EXPECT_THAT(client.Read().body, StartsWith("Value|127.0.0.1:"));
}

TEST(HttpTest, ClosesWhenAsked) {
  const auto server = Serve(Echo);
  Client client = Client::Tcp(server->port());
  client.Send(Get("/", "Connection: close\r\n"));
  const Response response = client.Read();
  EXPECT_EQ(response.Header("connection"), "close");
  EXPECT_TRUE(response.is_complete);
  EXPECT_TRUE(client.IsClosed());
}

TEST(HttpTest, ReadsBodiesOfEveryLength) {
  const auto server = Serve(Echo);
  Client client = Client::Tcp(server->port());
  for (const size_t bytes : {0, 1, 1000, 65535, 65536, 3000000}) {
    const std::string body(bytes, 'b');
    client.Send("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(bytes) +
                "\r\n\r\n" + body);
    EXPECT_EQ(client.Read().body, "POST\n/p\n\n" + body);
  }
}

TEST(HttpTest, AnswersPipelinedRequestsInOrder) {
  // The first is answered last: its answer is held until the others have arrived.
  const auto server = Serve([](const HttpRequest& request, const ExchangePtr& exchange) {
    const double delay_s = request.path == "/0" ? 0.1 : 0;
    exchange->Post([exchange, path = request.path] { exchange->Send(200, {}, path); }, delay_s);
  });
  Client client = Client::Tcp(server->port());
  std::string requests;
  for (int i = 0; i < 200; ++i) requests += Get("/" + std::to_string(i));
  client.Send(requests);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(client.Read().body, "/" + std::to_string(i));
}

TEST(HttpTest, MorePipelinedRequestsThanAreKept) {
  const auto server = Serve([](HttpRequest request, const ExchangePtr& exchange) {
    exchange->Post([exchange, body = std::move(request.body)] { exchange->Send(200, {}, body); },
                   0.001);
  });
  Client client = Client::Tcp(server->port());
  const std::string body(20000, 'x');
  std::thread sender([&] {
    for (int i = 0; i < 50; ++i)
      client.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n" + body);
  });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(client.Read().body, body);
  sender.join();
}

TEST(HttpTest, InterleavedConnectionsDoNotWaitForEachOther) {
  ExchangePtr held;
  std::mutex mutex;
  const auto server = Serve([&](const HttpRequest& request, const ExchangePtr& exchange) {
    if (request.path != "/slow") return exchange->Send(200, {}, "fast");
    const std::lock_guard lock(mutex);
    held = exchange;
  });
  Client slow = Client::Tcp(server->port());
  Client fast = Client::Tcp(server->port());
  Client half = Client::Tcp(server->port());
  half.Send("GET /half HT");
  slow.Send(Get("/slow"));
  for (int i = 0; i < 5; ++i) {
    fast.Send(Get("/"));
    EXPECT_EQ(fast.Read().body, "fast");
  }
  ASSERT_TRUE(Eventually([&] { return server->stats().exchanges == 1; }));
  half.Send("TP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(half.Read().body, "fast");
  {
    const std::lock_guard lock(mutex);
    held->Send(200, {}, "slow");
  }
  EXPECT_EQ(slow.Read().body, "slow");
  held = nullptr;
}

TEST(HttpTest, ChunkedBodiesCutAtEveryByte) {
  const auto server = Serve(Echo);
  const std::string request =
      "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n1;name=value\r\nd\r\nA\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n";
  Client client = Client::Tcp(server->port());
  for (size_t cut = 1; cut < request.size(); ++cut) {
    client.Send(request.substr(0, cut));
    // Long enough, most times, for the server to read the two parts apart.
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    client.Send(request.substr(cut));
    ASSERT_EQ(client.Read().body, "POST\n/c\n\nabcd0123456789") << cut;
  }
}

TEST(HttpTest, SaysContinueWhenItIsExpected) {
  HttpOptions options;
  options.body_bytes_max = 100;
  const auto server = Serve(Echo, options);
  Client client = Client::Tcp(server->port());
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n";
  client.Send(head + "Content-Length: 4\r\n\r\n");
  EXPECT_EQ(client.Read().status, 100);
  client.Send("body");
  EXPECT_EQ(client.Read().body, "POST\n/\n\nbody");
  // Not when the body comes unasked, and not for a body that will be refused.
  client.Send(head + "Content-Length: 4\r\n\r\nbody");
  EXPECT_EQ(client.Read().status, 200);
  client.Send(head + "Content-Length: 101\r\n\r\n");
  EXPECT_EQ(client.Read().status, 413);
}

TEST(HttpTest, HeadHasNoBody) {
  const auto server = Serve([](const HttpRequest& request, const ExchangePtr& exchange) {
    if (request.path == "/whole") return exchange->Send(200, {}, "12345");
    exchange->Start(200, {});
    exchange->Write("12345");
    exchange->End();
  });
  Client client = Client::Tcp(server->port());
  client.Send("HEAD /whole HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.Read(true).Header("content-length"), "5");
  client.Send("HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.Read(true).Header("transfer-encoding"), "chunked");
  client.Send(Get("/stream"));
  EXPECT_EQ(client.Read().body, "12345");
}

TEST(HttpTest, NoContentHasNoBody) {
  const auto server = Serve(
      [](const HttpRequest&, const ExchangePtr& exchange) { exchange->Send(204, {}, "dropped"); });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/") + Get("/"));
  EXPECT_EQ(client.Read().Header("content-length"), "");
  EXPECT_EQ(client.Read().status, 204);
}

TEST(HttpTest, SpeaksHttp10) {
  const auto server = Serve([](const HttpRequest& request, const ExchangePtr& exchange) {
    if (request.path == "/whole") return exchange->Send(200, {}, "whole");
    exchange->Start(200, {});
    exchange->Write("a");
    exchange->Write("b");
    exchange->End();
  });
  Client kept = Client::Tcp(server->port());
  kept.Send("GET /whole HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const Response first = kept.Read();
  EXPECT_EQ(first.Header("connection"), "keep-alive");
  EXPECT_EQ(first.body, "whole");
  kept.Send("GET /whole HTTP/1.0\r\n\r\n");
  EXPECT_EQ(kept.Read().Header("connection"), "close");
  EXPECT_TRUE(kept.IsClosed());
  Client client = Client::Tcp(server->port());
  client.Send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const Response streamed = client.Read();
  EXPECT_EQ(streamed.Header("transfer-encoding"), "");
  EXPECT_EQ(streamed.body, "ab");
}

TEST(HttpTest, StreamsFromAnotherThread) {
  constexpr int kWrites = 2000;
  std::thread writer;
  const auto server = Serve([&](const HttpRequest&, const ExchangePtr& exchange) {
    exchange->Start(200, {{"content-type", "text/event-stream"}});
    writer = std::thread([exchange] {
      for (int i = 0; i < kWrites; ++i) exchange->Write("data: " + std::to_string(i) + "\n\n");
      exchange->Write("");  // must not end the body
      exchange->End();
    });
  });
  Client client = Client::Tcp(server->port());
  for (int answer = 0; answer < 2; ++answer) {
    client.Send(Get("/"));
    const Response response = client.Read();
    writer.join();
    EXPECT_TRUE(response.is_complete);
    ASSERT_EQ(response.chunks.size(), kWrites);
    for (int i = 0; i < kWrites; ++i)
      ASSERT_EQ(response.chunks[i], "data: " + std::to_string(i) + "\n\n");
  }
}

TEST(HttpTest, KeepAliveTextFillsSilence) {
  const auto server = Serve([](const HttpRequest&, const ExchangePtr& exchange) {
    exchange->Start(200, {});
    exchange->KeepAlive(0.02, ": wait\n\n");
    exchange->Post(
        [exchange] {
          exchange->Write("data: x\n\n");
          exchange->End();
        },
        0.3);
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  const Response response = client.Read();
  EXPECT_TRUE(response.is_complete);
  ASSERT_GE(response.chunks.size(), 3u);
  EXPECT_LE(response.chunks.size(), 16u);  // 0.3 s hold 15 periods
  for (size_t i = 0; i + 1 < response.chunks.size(); ++i)
    EXPECT_EQ(response.chunks[i], ": wait\n\n");
  EXPECT_EQ(response.chunks.back(), "data: x\n\n");
}

TEST(HttpTest, KeepAliveTextStaysAwayWhileThereIsNews) {
  const auto server = Serve([](const HttpRequest&, const ExchangePtr& exchange) {
    exchange->Start(200, {});
    exchange->KeepAlive(0.7, ": wait\n\n");
    for (int i = 1; i <= 8; ++i) exchange->Post([exchange] { exchange->Write("x"); }, 0.1 * i);
    exchange->Post([exchange] { exchange->End(); }, 0.9);
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  EXPECT_EQ(client.Read().body, "xxxxxxxx");
}

TEST(HttpTest, EndAndCloseLeavesTheBodyVisiblyIncomplete) {
  const auto server = Serve([](const HttpRequest&, const ExchangePtr& exchange) {
    exchange->Start(200, {});
    exchange->Write("part");
    exchange->EndAndClose();
    exchange->Write("late");
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/") + Get("/"));
  const Response response = client.Read();
  EXPECT_THAT(response.chunks, ElementsAre("part"));
  EXPECT_FALSE(response.is_complete);
  EXPECT_TRUE(client.IsClosed());
}

TEST(HttpTest, AnAnswerThatNobodyGivesIsAnError) {
  const auto server = Serve([](const HttpRequest& request, const ExchangePtr& exchange) {
    if (request.path == "/half") exchange->Start(200, {});
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  EXPECT_EQ(client.Read().status, 500);
  client.Send(Get("/half"));
  EXPECT_FALSE(client.Read().is_complete);
}

TEST(HttpTest, HeadersCannotBeBrokenOut) {
  const auto server = Serve([](const HttpRequest&, const ExchangePtr& exchange) {
    exchange->Send(200, {{"x-a", "1\r\nx-b: 2"}, {"Content-Length", "99"}}, "body");
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  const Response response = client.Read();
  EXPECT_EQ(response.Header("x-a"), "1  x-b: 2");
  EXPECT_EQ(response.Header("x-b"), "");
  EXPECT_EQ(response.body, "body");
}

TEST(HttpTest, SecondAnswersAreIgnored) {
  const auto server = Serve([](const HttpRequest&, const ExchangePtr& exchange) {
    exchange->Send(200, {}, "first");
    exchange->Send(200, {}, "second");
    exchange->Start(200, {});
    exchange->End();
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/") + Get("/"));
  EXPECT_EQ(client.Read().body, "first");
  EXPECT_EQ(client.Read().body, "first");
}

TEST(HttpTest, TasksOfAnEndedAnswerAreDropped) {
  std::atomic<int> runs{0};
  const auto server = Serve([&](const HttpRequest&, const ExchangePtr& exchange) {
    exchange->Post([&] { ++runs; }, 0.05);
    exchange->Send(200, {}, "done");
    exchange->Post([&] { ++runs; });
  });
  Client client = Client::Tcp(server->port());
  client.Send(Get("/"));
  EXPECT_EQ(client.Read().body, "done");
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  EXPECT_EQ(runs, 0);
}

TEST(HttpTest, ManyThreadsAndConnections) {
  HttpOptions options;
  options.threads = 3;
  const auto server = Serve(Echo, options);
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      Client client = Client::Tcp(server->port());
      for (int i = 0; i < 200; ++i) {
        const std::string target = "/" + std::to_string(c) + "/" + std::to_string(i);
        client.Send(Get(target));
        ASSERT_EQ(client.Read().body, "GET\n" + target + "\n\n");
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(Eventually([&] { return server->stats().connections == 0; }));
  EXPECT_EQ(server->stats().exchanges, 0);
}

}  // namespace
}  // namespace fathom::http_tests
