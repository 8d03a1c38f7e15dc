// What decides the next token besides the logits: scripts, constraints, a least number of tokens,
// the listener.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/batching/recorder.h"

namespace fathom::batching {
namespace {

using engine::EngineOptions;
using engine::FinishReason;

constexpr const char* kModel = "testdata/golden/bf16-tiny";
constexpr int64_t kVocab = 256;

EngineOptions Options() {
  EngineOptions options;
  options.session.threads = 1;
  options.session.capacity_tokens = 200;
  options.watch_logits = &KeepLogits;
  return options;
}

Answer Answered(engine::Engine& engine, Asked asked) {
  Submit(engine, std::move(asked.request));
  EXPECT_TRUE(asked.recorder->Wait());
  return asked.recorder->answer();
}

// Allows what `allows` says for the number of tokens so far, and keeps what it is told.
class Rule : public engine::Constraint {
 public:
  using Allows = bool (*)(int64_t count, TokenId token);
  Rule(Allows allows, std::vector<TokenId>* accepted) : allows_(allows), accepted_(accepted) {}

  std::span<const uint64_t> Allowed() override {
    mask_.assign(kVocab / 64, 0);
    for (TokenId token = 0; token < kVocab; ++token)
      if (allows_(count_, token))
        mask_[static_cast<size_t>(token / 64)] |= uint64_t{1} << (token % 64);
    return mask_;
  }
  void Accept(TokenId token) override {
    ++count_;
    accepted_->push_back(token);
  }

 private:
  Allows allows_;
  std::vector<TokenId>* accepted_;
  int64_t count_ = 0;
  std::vector<uint64_t> mask_;
};

class ChoicesTest : public testing::Test {
 protected:
  Asked AskWith(Rule::Allows allows) {
    Asked asked = Ask(MakeTokens(10, kVocab, 9), 40, {.temperature = 2.0f, .seed = 1});
    asked.request.choices[0].constraint = std::make_unique<Rule>(allows, &accepted_);
    return asked;
  }

  std::unique_ptr<engine::Engine> engine_ = OpenEngine(kModel, Options());
  std::vector<TokenId> accepted_;  // on the engine's thread until the request is over
};

// Whoever takes the tokens, the model's logits and their log-probabilities are the same.
TEST_F(ChoicesTest, AScriptPassesThroughTheModel) {
  const sampling::Params params{.seed = 5, .logprobs = 3};
  const Answer sampled = Answered(*engine_, Ask(MakeTokens(50, kVocab, 8), 12, params));
  ASSERT_EQ(sampled.tokens.size(), 12u);
  Asked scripted = Ask(MakeTokens(50, kVocab, 8), 100, params);
  scripted.request.choices[0].scripted = sampled.tokens;
  const Answer replayed = Answered(*engine_, std::move(scripted));
  EXPECT_EQ(replayed.tokens, sampled.tokens);
  EXPECT_EQ(replayed.logprobs, sampled.logprobs);
  EXPECT_EQ(replayed.reason, FinishReason::kStopToken);
  // The last token has passed as well: then the script is over.
  ASSERT_EQ(replayed.logits.size(), sampled.logits.size() + kVocab);
  EXPECT_TRUE(std::equal(sampled.logits.begin(), sampled.logits.end(), replayed.logits.begin()));
}

TEST_F(ChoicesTest, AScriptEndsByStopTokenOrLength) {
  Asked stops = Ask({1, 2, 3}, 10);
  stops.request.choices[0].scripted = std::vector<TokenId>{4, 5, 6, 7};
  stops.request.stop_tokens = {6};
  stops.request.min_tokens = 9;  // is for what is sampled
  const Answer stopped = Answered(*engine_, std::move(stops));
  EXPECT_EQ(stopped.tokens, (std::vector<TokenId>{4, 5}));
  EXPECT_EQ(stopped.reason, FinishReason::kStopToken);
  Asked ends = Ask({1, 2, 3}, 2);
  ends.request.choices[0].scripted = std::vector<TokenId>{4, 5, 6, 7};
  const Answer ended = Answered(*engine_, std::move(ends));
  EXPECT_EQ(ended.tokens, (std::vector<TokenId>{4, 5}));
  EXPECT_EQ(ended.reason, FinishReason::kLength);
  Asked empty = Ask({1, 2, 3}, 2);
  empty.request.choices[0].scripted.emplace();
  EXPECT_EQ(Answered(*engine_, std::move(empty)).reason, FinishReason::kStopToken);
}

TEST_F(ChoicesTest, ConstraintsAreObeyed) {
  const Answer answer = Answered(
      *engine_, AskWith([](int64_t count, TokenId token) { return token % 8 == count % 8; }));
  ASSERT_EQ(answer.tokens.size(), 40u);
  for (size_t i = 0; i < answer.tokens.size(); ++i)
    EXPECT_EQ(answer.tokens[i] % 8, static_cast<TokenId>(i % 8));
  EXPECT_EQ(accepted_, answer.tokens);
}

TEST_F(ChoicesTest, AConstraintThatAllowsNothingEndsTheAnswer) {
  const Answer answer =
      Answered(*engine_, AskWith([](int64_t count, TokenId) { return count < 3; }));
  EXPECT_EQ(answer.tokens.size(), 3u);
  EXPECT_EQ(answer.reason, FinishReason::kStopToken);
}

TEST_F(ChoicesTest, StopTokensWaitForTheLeastNumberOfTokens) {
  Asked asked = Ask(MakeTokens(10, kVocab, 9), 100, {.temperature = 2.0f, .seed = 1});
  asked.request.min_tokens = 30;
  // Nearly every token would stop.
  for (TokenId token = 4; token < kVocab; ++token) asked.request.stop_tokens.push_back(token);
  const Answer answer = Answered(*engine_, std::move(asked));
  EXPECT_GE(answer.tokens.size(), 30u);
  EXPECT_LT(answer.tokens.size(), 40u);
  EXPECT_EQ(answer.reason, FinishReason::kStopToken);
  for (const TokenId token : answer.tokens) EXPECT_LT(token, 4);
}

TEST_F(ChoicesTest, ConstraintAndLeastNumberHoldTogether) {
  Asked asked = AskWith([](int64_t count, TokenId token) {
    return count < 20 ? token == 3 || token == 7 || token == 200 : token == 7;
  });
  asked.request.min_tokens = 30;
  asked.request.stop_tokens = {7, 200};
  const Answer answer = Answered(*engine_, std::move(asked));
  // After 20 tokens the constraint allows nothing but a stop token, and wins.
  EXPECT_EQ(answer.tokens, std::vector<TokenId>(20, 3));
  EXPECT_EQ(answer.reason, FinishReason::kStopToken);
  EXPECT_EQ(accepted_.size(), 21u);
  EXPECT_EQ(accepted_.back(), 7);
}

TEST_F(ChoicesTest, WhenEverythingStopsTheLeastNumberGivesWay) {
  Asked asked = Ask({1}, 10);
  asked.request.min_tokens = 5;
  for (TokenId token = 0; token < kVocab; ++token) asked.request.stop_tokens.push_back(token);
  const Answer answer = Answered(*engine_, std::move(asked));
  EXPECT_TRUE(answer.tokens.empty());
  EXPECT_EQ(answer.reason, FinishReason::kStopToken);
}

TEST_F(ChoicesTest, TheListenerEndsOneChoice) {
  Asked asked = Ask(MakeTokens(10, kVocab, 9), 12, {.seed = 1});
  asked.request.choices.push_back({{.seed = 1, .stream = 1}, nullptr, std::nullopt});
  std::vector<int64_t> lengths;
  asked.recorder->on_token = [&](int64_t tokens) {
    // Choice 0 comes first in each step.
    lengths.push_back(tokens);
    return !(tokens == 5 && std::count(lengths.begin(), lengths.end(), 5) == 1);
  };
  Submit(*engine_, std::move(asked.request));
  ASSERT_TRUE(asked.recorder->Wait());
  EXPECT_EQ(asked.recorder->answer(0).reason, FinishReason::kListener);
  EXPECT_EQ(asked.recorder->answer(0).tokens.size(), 5u);
  EXPECT_EQ(asked.recorder->answer(1).reason, FinishReason::kLength);
  EXPECT_EQ(asked.recorder->answer(1).tokens.size(), 12u);
}

}  // namespace
}  // namespace fathom::batching
