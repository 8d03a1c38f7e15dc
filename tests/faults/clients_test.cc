// Clients that leave, do not read, or send too slowly, too much, or many things at once: each costs
// what it is allowed to, and the others are answered.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/client.h"

namespace fathom::faults {
namespace {

using conformance::kConversing;

std::string Long(Dialect dialect, bool stream) {
  return PostText(dialect, conformance::LongWish(stream));
}

// A stream that is large per token.
std::string Flood() {
  Wish wish = conformance::LongWish(/*stream=*/true);
  wish.more = R"({"n":8,"logprobs":true,"top_logprobs":20})";
  return PostText(Dialect::kChat, wish);
}

bool WaitForConnections(HttpTestServer& server, int64_t connections) {
  for (int i = 0; i < 2000; ++i) {
    if (server.http().stats().connections <= connections) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

// Leaving
// ---------------------------------------------------------------------------------------

TEST(Faults, DisconnectingInTheMiddleCancels) {
  HttpTestServer server({.setup = conformance::LongAnswers()});
  for (const bool is_reset : {false, true}) {
    for (const Dialect dialect : kConversing) {
      for (const bool stream : {false, true}) {
        Client client = server.Connect();
        ASSERT_TRUE(client.Send(Long(dialect, stream)));
        if (stream) {
          ASSERT_TRUE(client.WaitForBytes(1000));
        } else {
          ASSERT_TRUE(server.inner().WaitUntilRunning());
        }
        is_reset ? client.Reset() : client.Close();
        EXPECT_LT(server.SecondsUntilIdle(), kPromptSeconds);
      }
    }
  }
  EXPECT_TRUE(WaitForConnections(server, 0));
  server.ExpectWell();
}

TEST(Faults, DisconnectingWhileWaitingLeavesTheQueue) {
  ServerOptions options;
  options.setup = conformance::LongAnswers();
  options.setup.sequences_max = 1;
  HttpTestServer server(options);
  Client first = server.Connect();
  ASSERT_TRUE(first.Send(Long(Dialect::kChat, true)));
  ASSERT_TRUE(first.WaitForBytes(1000));
  {
    std::vector<Client> waiting;
    for (int i = 0; i < 5; ++i) {
      waiting.push_back(server.Connect());
      ASSERT_TRUE(waiting.back().Send(Long(kConversing[i % 3], i % 2 == 0)));
    }
    for (int i = 0; i < 2000 && server.inner().service().engine().stats().queued < 5; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(server.inner().service().engine().stats().queued, 5);
  }
  for (int i = 0; i < 2000 && server.inner().service().engine().stats().queued > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(server.inner().service().engine().stats().queued, 0);
  EXPECT_EQ(server.inner().service().engine().stats().running, 1);
  first.Close();
  EXPECT_LT(server.SecondsUntilIdle(), kPromptSeconds);
  server.ExpectWell();
}

TEST(Faults, ClientsThatStopReadingAreGivenUp) {
  ServerOptions options;
  options.setup = conformance::LongAnswers();
  options.http.write_timeout_s = 0.5;
  options.http.unsent_bytes_max = 256 << 10;
  HttpTestServer server(options);
  std::vector<Client> deaf;
  for (int i = 0; i < 2; ++i) {
    deaf.push_back(server.Connect(/*receive_bytes=*/4096));
    ASSERT_TRUE(deaf.back().Send(Flood()));
  }
  ASSERT_TRUE(server.inner().WaitUntilRunning());
  server.ExpectWell();  // while they are
  EXPECT_LT(server.SecondsUntilIdle(), 10.0);
  EXPECT_TRUE(WaitForConnections(server, 0));
  server.ExpectWell();
}

// A little unread is no reason to give a client up: it reads on later.
TEST(Faults, SlowReadersGetEverything) {
  HttpTestServer server;
  Client slow = server.Connect(/*receive_bytes=*/4096);
  ASSERT_TRUE(slow.Send(PostText(
      Dialect::kChat,
      {.stream = true, .max_tokens = 300, .more = R"({"ignore_eos":true,"logprobs":true})"})));
  server.SecondsUntilIdle();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(conformance::ReadChat(slow.Read())[0].completion_tokens, 300);
}

// Sending slowly
// --------------------------------------------------------------------------------

ServerOptions Impatient() {
  ServerOptions options;
  options.http.header_timeout_s = 0.4;
  options.http.body_timeout_s = 0.8;
  options.http.body_idle_s = 0.3;
  options.http.idle_timeout_s = 0.5;
  return options;
}

// One byte each 50 ms until the peer has had enough; the seconds it took.
double Drip(Client& client, std::string_view bytes) {
  const auto start = std::chrono::steady_clock::now();
  for (const char byte : bytes) {
    if (!client.Send({&byte, 1})) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const auto spent = std::chrono::steady_clock::now() - start;
    if (spent > std::chrono::seconds(2)) break;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(Faults, OneByteAtATime) {
  HttpTestServer server(Impatient());
  const std::string request = PostText(Dialect::kChat, {});
  const size_t body = request.find("\r\n\r\n") + 4;
  Client heads = server.Connect(), bodies = server.Connect(), silent = server.Connect();
  std::thread heads_thread([&] {
    Drip(heads, request);
    const Reply reply = heads.Read();
    EXPECT_TRUE(reply.status == 408 || reply.status == 0) << reply.status;
  });
  std::thread bodies_thread([&] {
    bodies.Send(request.substr(0, body));
    Drip(bodies, request.substr(body));
    const Reply reply = bodies.Read();
    EXPECT_TRUE(reply.status == 408 || reply.status == 0) << reply.status;
  });
  server.ExpectWell();  // meanwhile
  heads_thread.join();
  bodies_thread.join();
  EXPECT_TRUE(silent.IsClosed());
  EXPECT_TRUE(WaitForConnections(server, 0));
  server.ExpectWell();
}

TEST(Faults, LateHeadsAndBodiesAre408) {
  HttpTestServer server(Impatient());
  Client head = server.Connect();
  head.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n");
  Client body = server.Connect();
  body.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
  for (Client* client : {&head, &body}) {
    const Reply reply = client->Read();
    EXPECT_EQ(reply.status, 408);
    EXPECT_NE(conformance::TextAt(conformance::BodyOf(reply), "error.message"), "");
    EXPECT_TRUE(client->IsClosed());
  }
}

TEST(Faults, ManySlowClientsHoldNobodyUp) {
  HttpTestServer server;
  std::vector<Client> slow;
  const std::string request = PostText(Dialect::kChat, {});
  for (int i = 0; i < 300; ++i) {
    slow.push_back(server.Connect());
    ASSERT_TRUE(slow.back().Send(request.substr(0, static_cast<size_t>(i) % request.size())));
  }
  server.ExpectWell();
  EXPECT_TRUE(server.inner().WaitUntilIdle());  // half a request asks for nothing
  EXPECT_EQ(server.inner().usage().Take().size(), 1u);
}

// Too much
// --------------------------------------------------------------------------------------

TEST(Faults, TooLargeHeadsAndBodies) {
  ServerOptions options;
  options.http.header_bytes_max = 4096;
  options.http.body_bytes_max = 10000;
  options.setup.service.body_bytes_max = 10000;
  HttpTestServer server(options);
  const std::string large(20000, 'x');
  EXPECT_EQ(server.Ask(PostText("/v1/chat/completions", "{}", "x-a: " + large + "\r\n")).status,
            431);
  EXPECT_EQ(server.Ask("GET /" + large + " HTTP/1.1\r\nHost: x\r\n\r\n").status, 431);

  // By its length, before the body is sent.
  const Reply told =
      server.Ask("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 10001\r\n\r\n");
  EXPECT_EQ(told.status, 413);
  EXPECT_NE(conformance::TextAt(conformance::BodyOf(told), "error.message").find("10000"),
            std::string::npos);
  // In chunks, as soon as they are too many.
  std::string chunked =
      "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) chunked += "400\r\n" + std::string(1024, 'y') + "\r\n";
  EXPECT_EQ(server.Ask(chunked).status, 413);
  // As much as is allowed.
  const std::string body = conformance::BodyFor(Dialect::kChat, {.max_tokens = 1});
  EXPECT_EQ(
      server.Ask(PostText("/v1/chat/completions", body + std::string(10000 - body.size(), ' ')))
          .status,
      200);
  server.ExpectWell();
}

TEST(Faults, ConnectionsHaveALimit) {
  ServerOptions options;
  options.http.connections_max = 4;
  HttpTestServer server(options);
  std::vector<Client> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(server.Connect());
    if (i < 4) {
      ASSERT_TRUE(clients.back().Send(PostText(Dialect::kChat, {.max_tokens = 1})));
      EXPECT_EQ(clients.back().Read().status, 200);
      continue;
    }
    EXPECT_EQ(clients.back().Read().status, 503);
    EXPECT_TRUE(clients.back().IsClosed());
  }
  ASSERT_TRUE(clients[0].Send(PostText(Dialect::kChat, {.max_tokens = 1})));
  EXPECT_EQ(clients[0].Read().status, 200) << "those that were there first stay";
  clients.clear();
  EXPECT_TRUE(WaitForConnections(server, 0));
  server.ExpectWell();
}

// Many at once
// ----------------------------------------------------------------------------------

TEST(Faults, PipelinedRequestsAreAnsweredInOrder) {
  HttpTestServer server;
  Client client = server.Connect();
  std::string all;
  for (const int64_t tokens : {40, 1, 20, 3})
    all +=
        PostText(Dialect::kChat,
                 {.stream = tokens == 20, .max_tokens = tokens, .more = R"({"ignore_eos":true})"});
  all += "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n";
  all += PostText("/x", "{}");
  ASSERT_TRUE(client.Send(all));
  for (const int64_t tokens : {40, 1, 20, 3})
    EXPECT_EQ(conformance::ReadChat(client.Read())[0].completion_tokens, tokens);
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_EQ(client.Read().status, 404);
}

TEST(Faults, InterleavedRequests) {
  HttpTestServer server;
  std::vector<Client> clients;
  std::vector<std::string> requests;
  for (int i = 0; i < 12; ++i) {
    clients.push_back(server.Connect());
    requests.push_back(PostText(kConversing[i % 3], {.stream = i % 2 == 0, .max_tokens = 5 + i}));
  }
  // A few bytes of each in turn.
  for (size_t at = 0; at < 2000; at += 37)
    for (size_t i = 0; i < clients.size(); ++i)
      if (at < requests[i].size()) {
        ASSERT_TRUE(clients[i].Send(std::string_view(requests[i]).substr(at, 37)));
      }
  for (size_t i = 0; i < clients.size(); ++i) {
    const conformance::Answer answer = conformance::Read(kConversing[i % 3], clients[i].Read());
    EXPECT_TRUE(answer.end == "stop" || answer.completion_tokens == 5 + static_cast<int64_t>(i))
        << answer.Show();
  }
}

// Twice what may run and wait at once.
TEST(Faults, AQueueTwiceOverItsLimit) {
  ServerOptions options;
  options.setup.sequences_max = 4;
  options.setup.queue_max = 8;
  HttpTestServer server(options);
  std::vector<Client> clients;
  for (int i = 0; i < 24; ++i) {
    clients.push_back(server.Connect());
    ASSERT_TRUE(clients.back().Send(
        PostText(Dialect::kChat,
                 {.stream = i % 2 == 0, .max_tokens = 150, .more = R"({"ignore_eos":true})"})));
  }
  int answered = 0, refused = 0;
  for (Client& client : clients) {
    const Reply reply = client.Read();
    if (reply.status == 429) {
      ++refused;
      EXPECT_GE(std::stoi(std::string(reply.Header("retry-after"))), 1);
      continue;
    }
    ++answered;
    EXPECT_EQ(conformance::ReadChat(reply)[0].completion_tokens, 150);
  }
  EXPECT_GE(answered, 8);  // as many may wait, however fast they come
  EXPECT_GT(refused, 0);
  EXPECT_EQ(answered + refused, 24);
  server.ExpectWell();
}

}  // namespace
}  // namespace fathom::faults
