// Input that is wrong: mutations of valid requests, bytes that are no HTTP. Nothing of it is ever
// answered by 5xx, and the next good request is answered right.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/faults/client.h"

namespace fathom::faults {
namespace {

#ifdef FATHOM_SANITIZED
constexpr int kMutations = 150;  // ten times slower
#else
constexpr int kMutations = 1200;
#endif

struct Seed {
  std::string target, body;
};

std::vector<Seed> Seeds() {
  std::vector<Seed> seeds;
  for (const Dialect dialect : conformance::kConversing) {
    const std::string target = conformance::Target(dialect);
    for (const bool thinks : {false, true})
      seeds.push_back(
          {target,
           conformance::BodyFor(
               dialect, {.thinks = thinks, .stream = thinks, .has_tools = true, .max_tokens = 3})});
  }
  seeds.push_back({"/v1/chat/completions",
                   R"({"model":"nano","max_tokens":3,"temperature":0.7,"top_p":0.9,"n":2,"seed":5,
      "stop":["a","b"],"logprobs":true,"top_logprobs":2,"logit_bias":{"5":1},
      "response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object",
      "properties":{"a":{"type":"string","pattern":"^[a-z]+$"},"b":{"enum":[1,2]}},
      "required":["a"],"additionalProperties":false}}},
      "messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text",
      "text":"u"}]},{"role":"assistant","content":null,"reasoning_content":"r","tool_calls":[
      {"id":"c","type":"function","function":{"name":"f","arguments":"{\"x\":[1,2]}"}}]},
      {"role":"tool","tool_call_id":"c","content":"r"}]})"});
  seeds.push_back({"/v1/completions",
                   R"({"model":"nano","prompt":"a","suffix":"b","max_tokens":3,"logprobs":2})"});
  seeds.push_back({"/anthropic/v1/messages",
                   R"({"model":"nano","max_tokens":3,"system":[{"type":"text","text":"s"}],
      "messages":[{"role":"user","content":"u"},{"role":"assistant","content":[
      {"type":"thinking","thinking":"t","signature":"s"},{"type":"tool_use","id":"a","name":"f",
      "input":{"x":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a",
      "content":[{"type":"text","text":"r"}]}]}]})"});
  seeds.push_back({"/v1/responses",
                   R"({"model":"nano","max_output_tokens":3,"input":[{"role":"user","content":"u"},
      {"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"r"}]},
      {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
      {"type":"function_call_output","call_id":"c","output":"r"}],
      "text":{"format":{"type":"text"}}})"});
  return seeds;
}

using Random = std::mt19937_64;

size_t Below(Random& random, size_t end) { return static_cast<size_t>(random() % end); }

// A piece of the text from somewhere.
std::string Piece(Random& random, const std::string& text) {
  return text.substr(Below(random, text.size()), 1 + Below(random, 40));
}

std::string Mutated(Random& random, std::string text) {
  static const std::vector<std::string> kValues = {"null",    "true",
                                                   "-1",      "0",
                                                   "1e400",   "99999999999999999999",
                                                   "0.5",     "\"\"",
                                                   "[]",      "{}",
                                                   "[[[[",    "\\u",
                                                   "\xff",    "\"\\ud800\"",
                                                   "\"a\\\"", "{\"a\":",
                                                   "NaN",     "'",
                                                   ",",       "\"<｜DSML｜tool_calls>\"",
                                                   "\n",      "\xf0\x9f"};
  for (size_t count = 1 + Below(random, 3); count > 0; --count) {
    if (text.empty()) return text;
    const size_t at = Below(random, text.size());
    switch (Below(random, 7)) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text.erase(at, 1 + Below(random, 20));
        break;
      case 2:
        text.insert(at, kValues[Below(random, kValues.size())]);
        break;
      case 3:
        text.insert(at, Piece(random, text));
        break;
      case 4:
        text.resize(at);
        break;
      default: {
        // A whole value becomes another.
        const size_t colon = text.find(':', at);
        if (colon == text.npos) break;
        const size_t end = std::min(text.find_first_of(",}]", colon), text.size());
        text.replace(colon + 1, end - colon - 1, kValues[Below(random, kValues.size())]);
      }
    }
  }
  return text;
}

TEST(Faults, MutatedBodiesAreNeverAnswered5xx) {
  for (const bool is_strict : {false, true}) {
    ServerOptions options;
    if (is_strict) options.setup = conformance::Strict();
    options.setup.service.output_tokens_max = 8;
    options.setup.capacity_tokens = 1024;
    HttpTestServer server(options);
    const std::vector<Seed> seeds = Seeds();
    Random random(is_strict ? 1 : 2);
    int answered = 0;
    Client client = server.Connect();
    for (int i = 0; i < kMutations / 2; ++i) {
      const Seed& seed = seeds[static_cast<size_t>(i) % seeds.size()];
      const std::string body = Mutated(random, seed.body);
      ASSERT_TRUE(client.Send(PostText(seed.target, body)));
      const Reply reply = client.Read();
      ASSERT_TRUE(reply.status == 200 || reply.status == 400 || reply.status == 422)
          << reply.status << " for " << seed.target << " " << body;
      answered += reply.status == 200;
      if (reply.status == 200) continue;
      const auto json = ParseJson(reply.body);
      ASSERT_TRUE(json.ok() && json.value().Find("error") != nullptr) << reply.body << body;
    }
    EXPECT_GT(answered, 0) << "every mutation was refused: they are too coarse";
    server.SecondsUntilIdle();
  }
}

TEST(Faults, BytesThatAreNoHttp) {
  HttpTestServer server;
  Random random(3);
  const std::string valid = PostText(Dialect::kChat, {.max_tokens = 1});
  const size_t head = valid.find("\r\n\r\n") + 4;
  for (int i = 0; i < kMutations / 4; ++i) {
    // The head is damaged, or all is noise; then the client sends no more.
    std::string request;
    if (i % 4 == 0) {
      for (size_t k = 0; k < 50; ++k) request += static_cast<char>(random());
      request += "\r\n\r\n";
    } else {
      request = Mutated(random, valid.substr(0, head)) + valid.substr(head) + "\r\n\r\n\r\n";
    }
    Client client = server.Connect();
    ASSERT_TRUE(client.Send(request));
    client.ShutDownSending();
    const Reply reply = client.Read();
    EXPECT_LT(reply.status, 500) << reply.status << request;
    if (reply.status == 0) {
      EXPECT_TRUE(client.IsClosed()) << "neither answered nor closed: " << request;
    }
  }
  server.SecondsUntilIdle();
  server.ExpectWell();
}

// Two lengths, or a length beside chunks: what one reader takes for a body another takes for the
// next request. Neither may be guessed.
TEST(Faults, AmbiguousLengthsAreRefused) {
  HttpTestServer server;
  for (const std::string headers :
       {"Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "Content-Length: -1\r\n",
        "Content-Length: 2x\r\n", "Transfer-Encoding: gzip\r\n",
        "Content-Length: 99999999999999999999\r\n", "Content-Length : 2\r\n",
        " Content-Length: 2\r\n"}) {
    Client client = server.Connect();
    ASSERT_TRUE(client.Send("POST /v1/messages HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n{}"));
    const Reply reply = client.Read();
    EXPECT_TRUE(reply.status == 400 || reply.status == 413 || reply.status == 501)
        << reply.status << headers;
    EXPECT_TRUE(client.IsClosed()) << headers;
  }
  server.ExpectWell();
}

TEST(Faults, ChunkedBodiesAndExpectations) {
  HttpTestServer server;
  const std::string body = conformance::BodyFor(Dialect::kChat, {.max_tokens = 2});
  std::string chunked =
      "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t at = 0; at < body.size(); at += 7) {
    const std::string piece = body.substr(at, 7);
    chunked += fmt::format("{:x}\r\n{}\r\n", piece.size(), piece);
  }
  const Reply reply = server.Ask(chunked + "0\r\n\r\n");
  EXPECT_EQ(conformance::ReadChat(reply)[0].completion_tokens, 2);

  Client polite = server.Connect();
  const std::string request = PostText("/v1/chat/completions", body, "Expect: 100-continue\r\n");
  const size_t head = request.find("\r\n\r\n") + 4;
  ASSERT_TRUE(polite.Send(request.substr(0, head)));
  EXPECT_TRUE(polite.WaitForBytes(12));  // HTTP/1.1 100
  ASSERT_TRUE(polite.Send(request.substr(head)));
  EXPECT_EQ(polite.Read().status, 200);
  // An answer without a body to a question without one.
  ASSERT_TRUE(
      polite.Send("HEAD /anthropic HTTP/1.1\r\nHost: x\r\n\r\n"
                  "OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"));
  ASSERT_TRUE(polite.WaitForBytes(100));
}

}  // namespace
}  // namespace fathom::faults
