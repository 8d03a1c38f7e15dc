// What happens around an answer: keep-alives while it waits, a client that leaves, a queue that is
// full, a server that ends, and the record that each request ends in.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/api/requests.h"

namespace fathom::conformance {
namespace {

std::string Long(Dialect dialect, bool stream) { return BodyFor(dialect, LongWish(stream)); }

// One place in the engine, which the first request holds.
ServerSetup OnePlace() {
  ServerSetup setup = LongAnswers();
  setup.sequences_max = 1;
  setup.queue_max = 2;
  setup.service.keep_alive_s = 0.02;
  setup.service.first_keep_alive_s = 0.02;
  return setup;
}

std::shared_ptr<MemoryExchange> Occupy(TestServer& server) {
  const auto first =
      server.Begin("POST", Target(Dialect::kChat), Long(Dialect::kChat, /*stream=*/true));
  first->WaitForBytes(1000);
  return first;
}

TEST(Lifecycle, KeepAlivesWhileWaiting) {
  TestServer server(OnePlace());
  const auto first = Occupy(server);
  const auto streamed =
      server.Begin("POST", Target(Dialect::kChat), BodyFor(Dialect::kChat, {.stream = true}));
  const auto whole = server.Begin("POST", Target(Dialect::kChat), BodyFor(Dialect::kChat, {}));
  EXPECT_TRUE(streamed->WaitForBytes(30).starts_with(": keep-alive\n\n: keep-alive\n\n"));
  EXPECT_TRUE(whole->WaitForBytes(3).starts_with("\n\n\n"));
  first->Leave();
  int comments = 0;
  const Reply stream_reply = streamed->Wait();
  ReadSse(stream_reply.body, &comments);
  EXPECT_GE(comments, 2);
  EXPECT_EQ(ReadChat(stream_reply)[0].end, "stop");
  const Reply whole_reply = whole->Wait();
  EXPECT_FALSE(whole_reply.is_whole);
  EXPECT_EQ(ReadChat(whole_reply)[0].end, "stop");
}

TEST(Lifecycle, PingsAreTheKeepAliveOfAnthropic) {
  TestServer server(OnePlace());
  const auto first = Occupy(server);
  const auto waiting = server.Begin("POST", Target(Dialect::kAnthropic),
                                    BodyFor(Dialect::kAnthropic, {.stream = true}));
  EXPECT_TRUE(waiting->WaitForBytes(50).starts_with("event: ping\ndata: {\"type\":\"ping\"}\n\n"));
  waiting->Leave();
  first->Leave();
  EXPECT_TRUE(server.WaitUntilIdle());
}

TEST(Lifecycle, LeavingCancelsWithinAStep) {
  TestServer server(LongAnswers());
  for (const Dialect dialect : kConversing) {
    const auto asked =
        server.Begin("POST", Target(dialect), Long(dialect, /*stream=*/dialect != Dialect::kChat));
    EXPECT_TRUE(server.WaitUntilRunning());
    asked->Leave();
    EXPECT_TRUE(server.WaitUntilIdle());
    const auto records = server.usage().Take();
    ASSERT_EQ(records.size(), 1u);
    EXPECT_EQ(records[0].status, 499);
    EXPECT_EQ(records[0].outcome, "cancelled");
    EXPECT_EQ(records[0].dialect, dialect);
  }
}

TEST(Lifecycle, AFullQueueIs429) {
  TestServer server(OnePlace());
  const auto first = Occupy(server);
  std::vector<std::shared_ptr<MemoryExchange>> asked;
  for (int i = 0; i < 2; ++i)
    asked.push_back(server.Begin("POST", Target(Dialect::kChat), BodyFor(Dialect::kChat, {})));
  asked.back()->WaitForBytes(1);
  for (const Dialect dialect : kConversing) {
    const Reply reply = server.Post(Target(dialect), BodyFor(dialect, {}));
    EXPECT_EQ(reply.status, 429);
    EXPECT_GE(std::stoi(std::string(reply.Header("retry-after"))), 1);
    EXPECT_EQ(TextAt(BodyOf(reply), "error.type"), "rate_limit_error");
  }
  first->Leave();
  for (const auto& each : asked) EXPECT_EQ(ReadChat(each->Wait())[0].end, "stop");
}

TEST(Lifecycle, RequestsThatDoNotStartInTimeAreClosed) {
  ServerSetup setup = OnePlace();
  setup.service.queue_timeout_s = 0.05;
  setup.service.first_keep_alive_s = 15;
  TestServer server(setup);
  const auto first = Occupy(server);
  const auto streamed =
      server.Begin("POST", Target(Dialect::kChat), BodyFor(Dialect::kChat, {.stream = true}));
  const Reply whole = server.Post(Target(Dialect::kChat), BodyFor(Dialect::kChat, {}));
  EXPECT_EQ(whole.status, 503);
  EXPECT_TRUE(streamed->Wait().is_cut);
  EXPECT_EQ(server.service().engine().stats().running, 1);
  first->Leave();
  EXPECT_TRUE(server.WaitUntilIdle());
}

TEST(Lifecycle, DrainingRefusesAndLetsFinish) {
  TestServer server(LongAnswers());
  const auto running =
      server.Begin("POST", Target(Dialect::kChat),
                   With(Long(Dialect::kChat, /*stream=*/true), R"({"max_tokens":200})"));
  running->WaitForBytes(500);
  server.service().Drain(30);
  EXPECT_EQ(ReadChat(running->Wait())[0].completion_tokens, 200);
  for (const Dialect dialect : kConversing) {
    const Reply reply = server.Post(Target(dialect), BodyFor(dialect, {}));
    EXPECT_EQ(reply.status, 503);
    EXPECT_NE(reply.Header("retry-after"), "");
    const std::string type = TextAt(BodyOf(reply), "error.type");
    EXPECT_EQ(type, dialect == Dialect::kAnthropic ? "overloaded_error" : "server_error");
    EXPECT_TRUE(TextAt(BodyOf(reply), "error.message").starts_with("Service is too busy"));
  }
}

TEST(Lifecycle, DrainingCutsWhatTakesTooLong) {
  TestServer server(LongAnswers());
  std::vector<std::shared_ptr<MemoryExchange>> running;
  for (const Dialect dialect : kConversing) {
    running.push_back(server.Begin("POST", Target(dialect), Long(dialect, /*stream=*/true)));
    running.back()->WaitForBytes(1000);
  }
  server.service().Drain(0.05);
  EXPECT_EQ(ReadChat(running[0]->Wait())[0].end, "insufficient_system_resource");
  EXPECT_EQ(ReadMessage(running[1]->Wait()).end, "max_tokens");
  EXPECT_EQ(ReadResponse(running[2]->Wait()).end, "failed");
}

TEST(Lifecycle, EachRequestEndsInOneRecord) {
  ServerSetup setup;
  setup.service.api_keys = {"sk-1"};
  TestServer server(setup);
  const server::Headers key = {{"x-api-key", "sk-1"}};
  const Reply reply =
      server.Post(Target(Dialect::kChat),
                  BodyFor(Dialect::kChat, {.more = R"({"temperature":0,"user_id":"me"})"}), key);
  auto records = server.usage().Take();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].request_id, reply.Header("x-request-id"));
  EXPECT_EQ(records[0].api_key, "sk-1");
  EXPECT_EQ(records[0].isolation_key, "me");
  EXPECT_EQ(records[0].model, "nano");
  EXPECT_EQ(records[0].status, 200);
  EXPECT_EQ(records[0].outcome, "stop");
  EXPECT_EQ(records[0].usage.prompt_tokens, 5);
  EXPECT_EQ(records[0].usage.completion_tokens, 7);
  EXPECT_GE(records[0].total_s, records[0].prompt_s);
  EXPECT_GE(records[0].prompt_s, records[0].queued_s);
  ReadChat(server.Post(Target(Dialect::kChat),
                       BodyFor(Dialect::kChat, {.max_tokens = 2, .more = R"({"n":3})"}), key));
  records = server.usage().Take();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].outcome, "length");
  EXPECT_EQ(records[0].usage.completion_tokens, 6);
}

// Bodies above 64 KiB are read by other threads than the connection's.
TEST(Lifecycle, LargeBodies) {
  TestServer server;
  const std::string padded = BodyFor(
      Dialect::kChat,
      {.max_tokens = 2, .more = "{\"metadata\":{\"x\":\"" + std::string(200000, 'y') + "\"}}"});
  EXPECT_EQ(ReadChat(server.Post(Target(Dialect::kChat), padded))[0].end, "length");
  const Reply wrong = server.Post(Target(Dialect::kChat), padded + "x");
  EXPECT_EQ(wrong.status, 400);
}

}  // namespace
}  // namespace fathom::conformance
