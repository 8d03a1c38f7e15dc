// Routes, the headers of every answer, authentication, and the answers that need no model.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tests/api/harness.h"
#include "tests/api/reading.h"

namespace fathom::conformance {
namespace {

constexpr const char* kChat =
    R"({"model":"nano","max_tokens":1,"messages":[{"role":"user","content":"Hello"}]})";
constexpr const char* kCompletion = R"({"model":"nano","max_tokens":1,"prompt":"Hello"})";
constexpr const char* kResponse = R"({"model":"nano","max_output_tokens":1,"input":"Hello"})";

// Every route but health, without prefixes.
struct Endpoint {
  const char* method;
  const char* path;
  const char* body;
  const char* answer;  // what the 200 begins with; its object or type stands there
};
const std::vector<Endpoint> kEndpoints = {
    {"POST", "/chat/completions", kChat, "\"object\":\"chat.completion\""},
    {"POST", "/completions", kCompletion, "\"object\":\"text_completion\""},
    {"POST", "/messages", kChat, "\"type\":\"message\""},
    {"POST", "/messages/count_tokens", kChat, "{\"input_tokens\":"},
    {"POST", "/responses", kResponse, "\"object\":\"response\""},
    {"POST", "/responses/input_tokens", kResponse, "\"object\":\"response.input_tokens\""},
    {"GET", "/models", "", "{\"object\":\"list\""},
    {"GET", "/models/nano", "", "{\"id\":\"nano\",\"object\":\"model\""},
    {"GET", "/user/balance", "", "{\"is_available\":true"}};

const std::vector<std::string> kPrefixes = {"", "/v1", "/beta", "/beta/v1"};

TEST(Routes, EveryRouteWithEveryPrefixAndAQuery) {
  TestServer server;
  std::set<std::string> ids;
  for (const Endpoint& endpoint : kEndpoints) {
    for (const std::string& prefix : kPrefixes) {
      for (const std::string query : {"", "?beta=true"}) {
        const std::string target = prefix + endpoint.path + query;
        const Reply reply = server.Ask(endpoint.method, target, endpoint.body);
        EXPECT_EQ(reply.status, 200) << target << ": " << reply.body;
        EXPECT_NE(reply.body.find(endpoint.answer), reply.body.npos) << target << reply.body;
        EXPECT_EQ(reply.Header("content-type"), "application/json");
        EXPECT_EQ(reply.Header("access-control-allow-origin"), "*");
        EXPECT_NE(reply.Header("x-request-id"), "");
        EXPECT_EQ(reply.Header("x-request-id"), reply.Header("request-id"));
        EXPECT_TRUE(ids.emplace(reply.Header("request-id")).second) << "an id twice";
      }
    }
  }
}

TEST(Routes, AnthropicPaths) {
  TestServer server;
  for (const std::string path : {"/anthropic/v1/messages", "/anthropic/messages"}) {
    EXPECT_EQ(ReadMessage(server.Post(path, kChat)).end, "max_tokens");
    EXPECT_GT(IntAt(BodyOf(server.Post(path + "/count_tokens?beta=true", kChat)), "input_tokens"),
              0);
  }
  // What lies elsewhere does not lie below /anthropic.
  EXPECT_EQ(server.Post("/anthropic/v1/chat/completions", kChat).status, 404);
  EXPECT_EQ(server.Post("/anthropic/responses", kResponse).status, 404);
}

TEST(Routes, AnotherMethodIs405WithAllow) {
  TestServer server;
  for (const Endpoint& endpoint : kEndpoints) {
    const bool is_get = std::string(endpoint.method) == "GET";
    for (const std::string method : {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"}) {
      if (method == endpoint.method || (is_get && method == "HEAD")) continue;
      const std::string target = std::string("/v1") + endpoint.path;
      // An id of a stored response could be called input_tokens.
      const Reply reply = server.Ask(method, target, endpoint.body);
      EXPECT_EQ(reply.status, 405) << method << " " << target << reply.body;
      EXPECT_EQ(reply.Header("allow"), is_get ? "GET, HEAD, OPTIONS" : "POST, OPTIONS") << target;
      EXPECT_EQ(TextAt(BodyOf(reply), "error.type"), "invalid_request_error");
    }
  }
}

TEST(Routes, UnknownPaths) {
  TestServer server;
  const Reply reply = server.Post("/x", "{}");
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(BodyOf(reply), Parse(R"({"error":{"message":"Not found: POST /x",
      "type":"invalid_request_error","param":null,"code":"not_found"}})"));
  for (const std::string path :
       {"/v2/chat/completions", "/chat", "/chat/completions/x", "/v1beta/models", "/messages/x",
        "/user", "/v1/v1/models", "/modelsx"})
    EXPECT_EQ(server.Post(path, kChat).status, 404) << path;

  const Json anthropic = BodyOf(server.Ask("GET", "/anthropic/x"));
  EXPECT_EQ(TextAt(anthropic, "type"), "error");
  EXPECT_EQ(TextAt(anthropic, "error.type"), "not_found_error");
  EXPECT_TRUE(TextAt(anthropic, "request_id").starts_with("req_"));
}

TEST(Routes, NothingIsStored) {
  TestServer server;
  for (const auto& [method, path] :
       std::vector<std::pair<std::string, std::string>>{{"GET", "/responses/resp_1"},
                                                        {"DELETE", "/v1/responses/resp_1"},
                                                        {"GET", "/v1/responses/resp_1/input_items"},
                                                        {"POST", "/v1/responses/compact"}}) {
    const Reply reply = server.Ask(method, path, kResponse);
    EXPECT_EQ(reply.status, 404) << path;
    EXPECT_EQ(TextAt(BodyOf(reply), "error.code"), "not_found");
  }
}

TEST(Routes, PreflightAndHead) {
  TestServer server;
  for (const std::string path : {"/v1/chat/completions", "/anthropic/v1/messages", "/x", "/"}) {
    const Reply reply =
        server.Ask("OPTIONS", path, "", {{"access-control-request-headers", "x-one, X-Two"}});
    EXPECT_EQ(reply.status, 204) << path;
    EXPECT_EQ(reply.body, "");
    EXPECT_EQ(reply.Header("access-control-allow-origin"), "*");
    EXPECT_EQ(reply.Header("access-control-allow-headers"), "x-one, X-Two");
    EXPECT_NE(reply.Header("access-control-allow-methods").find("POST"), std::string::npos);
  }
  EXPECT_EQ(server.Ask("OPTIONS", "/x").Header("access-control-allow-headers"), "*");
  for (const std::string path : {"/", "/anthropic", "/v1", "/v1/", "/health", "/healthz"})
    for (const std::string method : {"GET", "HEAD"}) {
      const Reply reply = server.Ask(method, path);
      EXPECT_EQ(reply.status, 200) << method << " " << path;
      EXPECT_LT(reply.body.size(), 100u);
    }
}

TEST(Auth, KeysOfBothHeaders) {
  ServerSetup setup;
  setup.service.api_keys = {"sk-one", "sk-two-1234"};
  TestServer server(setup);
  const auto status = [&](const server::Headers& headers) {
    return server.Ask("GET", "/models", "", headers).status;
  };
  EXPECT_EQ(status({{"authorization", "Bearer sk-one"}}), 200);
  EXPECT_EQ(status({{"authorization", "Bearer sk-two-1234"}}), 200);
  EXPECT_EQ(status({{"x-api-key", "sk-one"}}), 200);
  EXPECT_EQ(status({{"authorization", "Bearer sk-one"}, {"x-api-key", "wrong"}}), 200);
  EXPECT_EQ(status({{"authorization", "Bearer wrong"}, {"x-api-key", "sk-one"}}), 401);
  for (const std::string wrong : {"sk-on", "sk-onee", "sk-two-1235", "SK-ONE", " sk-one"})
    EXPECT_EQ(status({{"x-api-key", wrong}}), 401) << wrong;
  // Nobody needs a key to see that the server lives, or to ask from which page it may be called.
  EXPECT_EQ(server.Ask("HEAD", "/anthropic").status, 200);
  EXPECT_EQ(server.Ask("GET", "/health").status, 200);
  EXPECT_EQ(server.Ask("OPTIONS", "/models").status, 204);
}

TEST(Auth, Texts) {
  ServerSetup setup;
  setup.service.api_keys = {"sk-one"};
  TestServer server(setup);
  // Before anything else of the request: the body is no JSON.
  const Reply none = server.Post("/v1/chat/completions", "{");
  EXPECT_EQ(none.status, 401);
  EXPECT_EQ(BodyOf(none), Parse(R"-({"error":{"message":"Authentication Fails (governor)",
      "type":"authentication_error","param":null,"code":"invalid_request_error"
}
})-"));
  const Reply wrong = server.Post("/v1/messages", "{", {{"x-api-key", "sk-secret-9876"}});
  EXPECT_EQ(wrong.status, 401);
  const Json body = BodyOf(wrong);
  EXPECT_EQ(TextAt(body, "type"), "error");
  EXPECT_EQ(TextAt(body, "error.type"), "authentication_error");
  EXPECT_EQ(TextAt(body, "error.code"), "invalid_request_error");
  EXPECT_EQ(TextAt(body, "error.message"),
            "Authentication Fails, Your api key: ****9876 is invalid");
  EXPECT_EQ(wrong.body.find("secret"), wrong.body.npos);
  EXPECT_EQ(TextAt(body, "request_id"), "req_" + std::string(wrong.Header("request-id")));
}

TEST(Auth, WithoutKeysEveryKeyIsAccepted) {
  TestServer server;
  EXPECT_EQ(server.Ask("GET", "/models").status, 200);
  EXPECT_EQ(server.Ask("GET", "/models", "", {{"authorization", "Bearer x"}}).status, 200);
}

TEST(Models, BothShapes) {
  TestServer server;
  const Json list = BodyOf(server.Ask("GET", "/v1/models"));
  EXPECT_EQ(TextAt(list, "object"), "list");
  EXPECT_EQ(TextAt(list, "data.0.id"), "nano");
  EXPECT_EQ(TextAt(list, "data.0.object"), "model");
  EXPECT_EQ(TextAt(list, "data.0.owned_by"), "deepseek");
  EXPECT_GT(IntAt(list, "data.0.created"), 0);
  for (const char* name : {"context_length", "max_model_len"})
    EXPECT_EQ(IntAt(list, std::string("data.0.") + name), server.service().engine().capacity());
  EXPECT_EQ(IntAt(list, "data.0.max_output_tokens"), 393216);

  const Reply anthropic = server.Ask("GET", "/anthropic/v1/models");
  EXPECT_EQ(anthropic.body,
            server.Ask("GET", "/v1/models", "", {{"anthropic-version", "2023-06-01"}}).body);
  const Json body = BodyOf(anthropic);
  EXPECT_EQ(Names(body), (std::vector<std::string>{"data", "has_more", "first_id", "last_id"}));
  EXPECT_EQ(Names(At(body, "data.0")),
            (std::vector<std::string>{"type", "id", "display_name", "created_at"}));
  EXPECT_EQ(TextAt(body, "first_id"), "nano");
  EXPECT_EQ(TextAt(body, "last_id"), "nano");
}

TEST(Models, OneModelByItsNames) {
  TestServer server;
  for (const std::string name : {"nano", "deepseek-chat", "deepseek-reasoner", "deepseek-flash",
                                 "deepseek-v4-flash", "deepseek-v4-pro", "nano[1m]"})
    EXPECT_EQ(TextAt(BodyOf(server.Ask("GET", "/v1/models/" + name)), "id"), "nano") << name;
  EXPECT_EQ(server.Ask("GET", "/v1/models/gpt-5").status, 404);
  EXPECT_EQ(TextAt(BodyOf(server.Ask("GET", "/anthropic/v1/models/claude-opus-5")), "id"), "nano");
  EXPECT_EQ(server.Ask("GET", "/v1/models/claude-opus-5").status, 404);
}

TEST(Models, BalanceAndHealth) {
  TestServer server;
  EXPECT_EQ(server.Ask("GET", "/user/balance").body,
            R"({"is_available":true,"balance_infos":[{"currency":"USD","total_balance":"0.00",)"
            R"("granted_balance":"0.00","topped_up_balance":"0.00"}]})");
  // Nothing has been asked yet: health makes the model compute.
  EXPECT_EQ(server.service().engine().stats().steps, 0);
  EXPECT_EQ(server.Ask("GET", "/health").status, 200);
  EXPECT_GT(server.service().engine().stats().steps, 0);
}

TEST(Transport, ItsErrorsHaveTheSameShape) {
  ServerSetup setup;
  setup.service.body_bytes_max = 1000;
  TestServer server(setup);
  const Json body = Parse(server.service().TransportError(413, "too large"));
  EXPECT_EQ(TextAt(body, "error.type"), "invalid_request_error");
  EXPECT_NE(TextAt(body, "error.message").find("1000"), std::string::npos);
  EXPECT_EQ(TextAt(Parse(server.service().TransportError(400, "no HTTP")), "error.message"),
            "no HTTP");
}

}  // namespace
}  // namespace fathom::conformance
