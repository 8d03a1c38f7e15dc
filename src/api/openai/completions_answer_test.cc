// The layout of Completions answers, streamed and whole.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api/answer.h"
#include "api/answer_testing.h"

namespace fathom::api {
namespace {

using Kind = chat::Delta::Kind;

Request CompletionsRequest(bool stream) {
  Request request;
  request.dialect = Dialect::kCompletions;
  request.model = "deepseek-v4-flash";
  request.prompt = Request::Prompt::kText;
  request.stream = stream;
  return request;
}

LogprobEntry Entry(const std::string& text, double logprob) {
  LogprobEntry entry;
  entry.chosen = {.text = text, .bytes = text, .logprob = logprob};
  return entry;
}

std::string Write(const Request& request, const std::vector<Part>& parts, End::Reason reason) {
  const auto writer = MakeAnswerWriter(request, TestIdentity());
  std::string sent = writer->Begin({});
  for (const Part& part : parts) sent += writer->Add(0, part);
  sent += writer->EndChoice(0, {.reason = reason}, kTestUsage);
  sent += writer->Finish(kTestUsage);
  EXPECT_TRUE(writer->CallIds(0).empty());
  return sent;
}

const std::string kHead =
    R"({"id":"01234567-89ab-cdef-0123-456789abcdef","object":"text_completion",)"
    R"("created":1763913000,"model":"deepseek-v4-flash","system_fingerprint":"fp_test",)"
    R"("choices":[{"index":0,"text":)";
const std::string kUsageText =
    R"("usage":{"prompt_tokens":300,"completion_tokens":29,"total_tokens":329,)"
    R"("prompt_tokens_details":{"cached_tokens":128},)"
    R"("completion_tokens_details":{"reasoning_tokens":7},"prompt_cache_hit_tokens":128,)"
    R"("prompt_cache_miss_tokens":172})";

TEST(CompletionsAnswer, StreamAndBody) {
  const std::vector<Part> parts = {{.delta = {.kind = Kind::kContent, .text = "a\n"}},
                                   {.delta = {.kind = Kind::kContent, .text = "<think>"}}};
  EXPECT_EQ(
      Write(CompletionsRequest(false), parts, End::Reason::kLength),
      kHead + R"("a\n<think>","logprobs":null,"finish_reason":"length"}],)" + kUsageText + "}");
  Request stream = CompletionsRequest(true);
  const std::string chunk = R"(,"logprobs":null,"finish_reason":null}])";
  const auto expected = [&](const std::string& usage) {
    return "data: " + kHead + R"("a\n")" + chunk + usage + "}\n\ndata: " + kHead + R"("<think>")" +
           chunk + usage + "}\n\ndata: " + kHead +
           R"("","logprobs":null,"finish_reason":"stop"}],)" + kUsageText + "}\n\ndata: [DONE]\n\n";
  };
  EXPECT_EQ(Write(stream, parts, End::Reason::kStop), expected(""));
  stream.include_usage = true;
  EXPECT_EQ(Write(stream, parts, End::Reason::kStop), expected(",\"usage\":null"));
  EXPECT_NE(Write(stream, {}, End::Reason::kAborted)
                .find(R"("finish_reason":"insufficient_system_resource")"),
            std::string::npos);
}

TEST(CompletionsAnswer, LegacyLogprobs) {
  LogprobEntry cut = Entry("\xC3", -0.5);
  cut.chosen.text = "\uFFFD";
  cut.top = {{.text = "x", .bytes = "x", .logprob = -0.25},
             {.text = "\uFFFD", .bytes = "\xC3", .logprob = -0.5}};
  LogprobEntry rest = Entry("\xA9", -1);
  rest.chosen.text = "\uFFFD";
  // The first is an echoed prompt of three characters.
  const std::vector<Part> parts = {
      {.delta = {.kind = Kind::kContent, .text = "Zür"}},
      {.delta = {.kind = Kind::kContent, .text = "é"}, .logprobs = {cut, rest}},
      {.delta = {.kind = Kind::kContent, .text = "ab"}, .logprobs = {Entry("ab", 0)}},
  };
  Request request = CompletionsRequest(false);
  request.generation.logprobs = 2;
  EXPECT_EQ(
      Write(request, parts, End::Reason::kStop),
      kHead +
          "\"Züréab\",\"logprobs\":{\"tokens\":[\"\uFFFD\",\"\uFFFD\",\"ab\"],"
          "\"token_logprobs\":[-0.5,-1.0,0.0],\"top_logprobs\":[{\"x\":-0.25,\"\uFFFD\":-0.5},"
          "{\"\uFFFD\":-1.0},{\"ab\":0.0}],\"text_offset\":[3,4,4]},\"finish_reason\":\"stop\"}]," +
          kUsageText + "}");
  request.stream = true;
  const std::string sent = Write(request, parts, End::Reason::kStop);
  EXPECT_NE(sent.find("\"ab\",\"logprobs\":{\"tokens\":[\"ab\"],\"token_logprobs\":[0.0],"
                      "\"top_logprobs\":[{\"ab\":0.0}],\"text_offset\":[4]}"),
            std::string::npos)
      << sent;
}

TEST(CompletionsAnswer, Failures) {
  const std::string body =
      R"({"error":{"message":"x","type":"server_error","param":null,"code":"internal_error"}})";
  EXPECT_EQ(MakeAnswerWriter(CompletionsRequest(true), TestIdentity())->Fail(ServerFailed("x")),
            "data: " + body + "\n\ndata: [DONE]\n\n");
  EXPECT_EQ(MakeAnswerWriter(CompletionsRequest(false), TestIdentity())->Fail(ServerFailed("x")),
            body);
}

}  // namespace
}  // namespace fathom::api
