// The table of docs/api.md, "Errors": status, types, codes and the two shapes.
#include "api/error.h"

#include <gtest/gtest.h>

namespace fathom::api {
namespace {

TEST(Errors, OpenAiShape) {
  const auto text = [](const ApiError& error) { return WriteError(error, Dialect::kChat, "r"); };
  EXPECT_EQ(text(NotFound("POST", "/x\"")),
            R"({"error":{"message":"Not found: POST /x\"","type":"invalid_request_error",)"
            R"("param":null,"code":"not_found"}})");
  EXPECT_EQ(text(WrongKey("sk-123456789")),
            R"({"error":{"message":"Authentication Fails, Your api key: ****6789 is invalid",)"
            R"("type":"authentication_error","param":null,"code":"invalid_request_error"}})");
  EXPECT_EQ(text(MissingKey()),
            R"-({"error":{"message":"Authentication Fails (governor)",)-"
            R"("type":"authentication_error","param":null,"code":"invalid_request_error"}})");
  EXPECT_EQ(text(ContextTooLong(1048576, 1045707, 8000)),
            R"({"error":{"message":"This model's maximum context length is 1048576 tokens. However)"
            R"(, you requested 1053707 tokens (1045707 in the messages,)"
            R"( 8000 in the completion). Please reduce the length of the messages or completion.",)"
            R"("type":"invalid_request_error","param":null,"code":"invalid_request_error"}})");
  ApiError with_param = BadRequest("m");
  with_param.param = "p";
  EXPECT_EQ(text(with_param),
            R"({"error":{"message":"m","type":"invalid_request_error","param":"p",)"
            R"("code":"invalid_request_error"}})");
}

TEST(Errors, AnthropicShapeHasBothDialectsMembers) {
  struct Case {
    ApiError error;
    int status;
    const char* openai_type;
    const char* anthropic_type;
  };
  const std::vector<Case> cases = {
      {BadRequest("m"), 400, "invalid_request_error", "invalid_request_error"},
      {MissingKey(), 401, "authentication_error", "authentication_error"},
      {WrongKey("k"), 401, "authentication_error", "authentication_error"},
      {NotFound("GET", "/"), 404, "invalid_request_error", "not_found_error"},
      {MethodNotAllowed("GET", "/"), 405, "invalid_request_error", "invalid_request_error"},
      {BodyTooLarge(1), 413, "invalid_request_error", "request_too_large"},
      {QueueFull(3), 429, "rate_limit_error", "rate_limit_error"},
      {ServerFailed("m"), 500, "server_error", "api_error"},
      {NotReady("m"), 503, "server_error", "overloaded_error"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(c.error.status, c.status);
    EXPECT_EQ(c.error.type, c.openai_type);
    const std::string text = WriteError(c.error, Dialect::kAnthropic, "0123");
    EXPECT_TRUE(text.starts_with(R"({"type":"error","error":{"message":")")) << text;
    EXPECT_NE(text.find(std::string("\"type\":\"") + c.anthropic_type + "\",\"param\":null"),
              std::string::npos)
        << text;
    EXPECT_TRUE(text.ends_with(R"(},"request_id":"req_0123"})")) << text;
  }
  // The very members by which Anthropic's packages go on without threads.
  EXPECT_NE(
      WriteError(ThreadsUnsupported(), Dialect::kAnthropic, "0123")
          .find(
              R"("details":{"error_code":"thread_unsupported_request","unsupported":["thread"]}})"),
      std::string::npos);
  EXPECT_EQ(QueueFull(3).retry_after_s, 3);
  EXPECT_TRUE(NotReady("x").message.starts_with("Service is too busy"));
}

}  // namespace
}  // namespace fathom::api
