#include "server/routes.h"

#include <gtest/gtest.h>

#include <string>

namespace fathom::server {
namespace {

using api::Dialect;

TEST(RoutesTest, GenerationIsFoundUnderEveryPrefix) {
  for (const char* prefix : {"", "/v1", "/beta", "/beta/v1"}) {
    const std::string before = prefix;
    EXPECT_EQ(FindRoute("POST", before + "/chat/completions").kind, RouteKind::kGenerate);
    EXPECT_EQ(FindRoute("POST", before + "/completions").dialect, Dialect::kCompletions);
    EXPECT_EQ(FindRoute("POST", before + "/responses").dialect, Dialect::kResponses);
    EXPECT_EQ(FindRoute("POST", before + "/messages").dialect, Dialect::kAnthropic);
    EXPECT_EQ(FindRoute("POST", before + "/chat/completions").is_beta, before.starts_with("/beta"));
  }
}

TEST(RoutesTest, AnthropicPathsAnswerInItsDialect) {
  for (const char* path : {"/anthropic/v1/messages", "/anthropic/messages", "/v1/messages"}) {
    const Route route = FindRoute("POST", path);
    EXPECT_EQ(route.kind, RouteKind::kGenerate) << path;
    EXPECT_EQ(route.dialect, Dialect::kAnthropic) << path;
    EXPECT_EQ(FindRoute("POST", std::string(path) + "/count_tokens").kind, RouteKind::kCountTokens);
  }
  EXPECT_TRUE(FindRoute("GET", "/anthropic/v1/models").wants_anthropic);
  EXPECT_EQ(FindRoute("HEAD", "/anthropic").kind, RouteKind::kAlive);
  EXPECT_EQ(FindRoute("POST", "/anthropic/v1/chat/completions").kind, RouteKind::kUnknown);
  EXPECT_EQ(FindRoute("POST", "/anthropic/v1/nothing").dialect, Dialect::kAnthropic);
}

TEST(RoutesTest, OtherMethodsAreToldWhichOnesFit) {
  const Route post = FindRoute("GET", "/v1/chat/completions");
  EXPECT_EQ(post.kind, RouteKind::kWrongMethod);
  EXPECT_EQ(post.allow, "POST, OPTIONS");
  const Route get = FindRoute("POST", "/models");
  EXPECT_EQ(get.kind, RouteKind::kWrongMethod);
  EXPECT_EQ(get.allow, "GET, HEAD, OPTIONS");
  EXPECT_EQ(FindRoute("OPTIONS", "/v1/chat/completions").kind, RouteKind::kPreflight);
}

TEST(RoutesTest, StoredResponsesAndModelsCarryIds) {
  EXPECT_EQ(FindRoute("GET", "/v1/responses/resp_1").kind, RouteKind::kStored);
  EXPECT_EQ(FindRoute("DELETE", "/responses/resp_1").kind, RouteKind::kStored);
  EXPECT_EQ(FindRoute("GET", "/responses/resp_1/input_items").kind, RouteKind::kStored);
  EXPECT_EQ(FindRoute("GET", "/responses/resp_1/other").kind, RouteKind::kUnknown);
  EXPECT_EQ(FindRoute("POST", "/responses/compact").kind, RouteKind::kStored);
  EXPECT_EQ(FindRoute("GET", "/v1/models/deepseek-v4-flash").id, "deepseek-v4-flash");
}

TEST(RoutesTest, WhatIsNotThereIsUnknown) {
  for (const char* path : {"/x", "/v2/models", "/chat", "/modelsx", "/v1x/models"})
    EXPECT_EQ(FindRoute("GET", path).kind, RouteKind::kUnknown) << path;
  for (const char* path : {"/", "", "/v1", "/v1/"})
    EXPECT_EQ(FindRoute("GET", path).kind, RouteKind::kAlive) << path;
  EXPECT_EQ(FindRoute("GET", "/healthz").kind, RouteKind::kHealth);
}

}  // namespace
}  // namespace fathom::server
