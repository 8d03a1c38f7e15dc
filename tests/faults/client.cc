#include "tests/faults/client.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <utility>

namespace fathom::faults {

Reply Client::Read() {
  http_tests::Response response;
  do {
    response = http_tests::Client::Read();
  } while (response.status == 100);
  return {.status = response.status,
          .headers = std::move(response.headers),
          .body = std::move(response.body),
          .is_cut = response.status != 0 && !response.is_complete};
}

std::string PostText(const std::string& target, const std::string& body,
                     const std::string& headers) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\n{}Content-Length: {}\r\n\r\n{}", target,
                     headers, body.size(), body);
}

std::string PostText(Dialect dialect, const Wish& wish) {
  return PostText(conformance::Target(dialect), conformance::BodyFor(dialect, wish));
}

HttpTestServer::HttpTestServer(ServerOptions options) : inner_(options.setup) {
  options.http.port = 0;
  options.http.error_body = [this](int status, const std::string& message) {
    return inner_.service().TransportError(status, message);
  };
  auto listening = server::HttpServer::Listen(
      options.http,
      [this](server::HttpRequest request, std::shared_ptr<server::Exchange> exchange) {
        inner_.service().Handle(std::move(request), std::move(exchange));
      });
  FATHOM_CHECK(listening.ok(), listening.error().message);
  http_ = std::move(listening).value();
}

HttpTestServer::~HttpTestServer() { GoDown(0); }

void HttpTestServer::GoDown(double grace_s) {
  if (std::exchange(is_down_, true)) return;
  inner_.service().Drain(grace_s);
  http_->Shutdown(grace_s);
}

Reply HttpTestServer::Ask(const std::string& request) const {
  Client client = Connect();
  EXPECT_TRUE(client.Send(request));
  return client.Read();
}

void HttpTestServer::ExpectWell() {
  const Reply reply = Ask(PostText(Dialect::kChat, {.more = R"({"temperature":0})"}));
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(conformance::ReadChat(reply)[0].content, "Hello! How can I help?");
}

double HttpTestServer::SecondsUntilIdle() {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(inner_.WaitUntilIdle());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace fathom::faults
