// What a choice says does not depend on company: alone, in a batch with strangers, with its prompt
// in pieces of any length, on one thread or two, as one of several choices, a request has the
// tokens and the logits that a session alone gives it, to the bit.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/batching/recorder.h"

namespace fathom::batching {
namespace {

using engine::Engine;
using engine::EngineOptions;
using engine::FinishReason;

#ifdef FATHOM_SANITIZED
constexpr bool kIsSlowBuild = true;
#else
constexpr bool kIsSlowBuild = false;
#endif

constexpr int64_t kCapacity = 400;

EngineOptions Options(int threads, int64_t chunk_tokens, int64_t capacity = kCapacity) {
  EngineOptions options;
  options.session.threads = threads;
  options.session.chunk_tokens = chunk_tokens;
  options.session.capacity_tokens = capacity;
  options.watch_logits = &KeepLogits;
  return options;
}

// Requests of every kind of sampling and of lengths around the blocks of the models.
std::vector<Asked> Strangers(int64_t vocab_size) {
  std::vector<Asked> all;
  all.push_back(Ask(MakeTokens(5, vocab_size, 1), 20, {.temperature = 0}));
  all.push_back(Ask(MakeTokens(131, vocab_size, 2), 9,
                    {.temperature = 1.0f, .top_p = 0.9, .seed = 7, .logprobs = 2}));
  all.push_back(Ask(MakeTokens(301, vocab_size, 3), 12,
                    {.temperature = 0.7f,
                     .repetition_penalty = 1.2f,
                     .presence_penalty = 0.5f,
                     .seed = 8,
                     .stream = 3}));
  all.push_back(Ask(MakeTokens(64, vocab_size, 4), 40, {.temperature = 1.5f, .top_k = 50}));
  // Ends early by a stop token: a quarter of the vocabulary.
  for (TokenId token = 0; token < vocab_size / 4; ++token)
    all.back().request.stop_tokens.push_back(token);
  return all;
}

class BatchingTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (kIsSlowBuild && std::string(GetParam()) != "testdata/golden/bf16-tiny")
      GTEST_SKIP() << "under a sanitizer one model must do: ten times slower";
    session_ = OpenSession(GetParam(), kCapacity);
    vocab_size_ = session_->config().vocab_size;
  }

  void ExpectEqual(const Answer& got, const Answer& expected, const std::string& what) {
    EXPECT_EQ(got.tokens, expected.tokens) << what;
    EXPECT_EQ(got.logprobs, expected.logprobs) << what;
    EXPECT_TRUE(got.logits == expected.logits) << what << ": logits differ";
    EXPECT_TRUE(got.reason == expected.reason) << what << ": another reason";
  }

  std::unique_ptr<engine::Session> session_;
  int64_t vocab_size_ = 0;
};

TEST_P(BatchingTest, CompanyChunksAndThreadsChangeNothing) {
  std::vector<Answer> expected;
  for (const Asked& asked : Strangers(vocab_size_))
    expected.push_back(Alone(*session_, asked.request));
  ASSERT_EQ(expected[3].reason, FinishReason::kStopToken);
  const std::pair<int, int64_t> ways[] = {{1, 1}, {2, 1}, {1, 7}, {2, 64}};
  for (const auto& [threads, chunk] : ways) {
    const auto engine = OpenEngine(GetParam(), Options(threads, chunk));
    const std::string how =
        std::to_string(threads) + " threads, chunk " + std::to_string(chunk) + ", request ";
    std::vector<Asked> together = Strangers(vocab_size_);
    for (Asked& asked : together) Submit(*engine, std::move(asked.request));
    for (size_t i = 0; i < together.size(); ++i) {
      ASSERT_TRUE(together[i].recorder->Wait());
      ExpectEqual(together[i].recorder->answer(), expected[i], how + std::to_string(i));
    }
    std::vector<Asked> alone = Strangers(vocab_size_);
    Submit(*engine, std::move(alone[2].request));
    ASSERT_TRUE(alone[2].recorder->Wait());
    ExpectEqual(alone[2].recorder->answer(), expected[2], how + "2 alone");
  }
}

// Prompts that end around the blocks of both ratios and around the window: what is copied for the
// other choices differs.
TEST_P(BatchingTest, FourChoicesEqualFourRequests) {
  const auto engine = OpenEngine(GetParam(), Options(2, 50));
  for (const int64_t length : {1, 3, 4, 6, 127, 128, 129, 259}) {
    Asked four = Ask(MakeTokens(length, vocab_size_, 5), 8, {.seed = 11});
    std::vector<Answer> expected;
    four.request.choices.clear();
    for (uint64_t stream = 0; stream < 4; ++stream) {
      const Asked one = Ask(MakeTokens(length, vocab_size_, 5), 8, {.seed = 11, .stream = stream});
      expected.push_back(Alone(*session_, one.request));
      four.request.choices.push_back({one.request.choices.front().sampling, nullptr, std::nullopt});
    }
    const int64_t read_before = engine->stats().prompt_tokens;
    Submit(*engine, std::move(four.request));
    ASSERT_TRUE(four.recorder->Wait());
    for (int64_t i = 0; i < 4; ++i)
      ExpectEqual(four.recorder->answer(i), expected[static_cast<size_t>(i)],
                  "prompt of " + std::to_string(length) + ", choice " + std::to_string(i));
    // Counts are told at the end of a step, after the sinks.
    ASSERT_TRUE(engine->IsAlive(0, 60));
    EXPECT_EQ(engine->stats().prompt_tokens - read_before, length);
  }
}

TEST_P(BatchingTest, AFullContextEndsAnAnswerAsInASession) {
  constexpr int64_t kShort = 40;
  const auto session = OpenSession(GetParam(), kShort);
  const auto engine = OpenEngine(GetParam(), Options(2, 16, kShort));
  for (const int64_t length : {30, 39, 40}) {
    Asked asked = Ask(MakeTokens(length, vocab_size_, 6), 1, {.seed = 3});
    asked.request.max_tokens = std::nullopt;
    const Answer expected = Alone(*session, asked.request);
    ASSERT_EQ(expected.reason, FinishReason::kContextFull);
    Submit(*engine, std::move(asked.request));
    ASSERT_TRUE(asked.recorder->Wait());
    ExpectEqual(asked.recorder->answer(), expected, "prompt of " + std::to_string(length));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, BatchingTest,
                         testing::Values("testdata/golden/bf16-tiny",
                                         "testdata/golden/fp8-fp4-tiny",
                                         "testdata/golden/longctx-tiny", "models/nano"),
                         [](const auto& test) {
                           std::string name = test.param;
                           name = name.substr(name.rfind('/') + 1);
                           for (char& c : name)
                             if (c == '-') c = '_';
                           return name;
                         });

}  // namespace
}  // namespace fathom::batching
