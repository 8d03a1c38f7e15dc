// The demonstration models, from both number formats, say what was recorded, token for token; and
// they say it however the prompt is cut, on every path and number of threads.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "engine/session.h"
#include "tests/nano/conversations.h"

namespace fathom::nano {
namespace {

using engine::FinishReason;
using engine::Session;
using engine::SessionOptions;
using kernels::Path;

#ifdef FATHOM_EMULATED
constexpr size_t kConversations = 2;
#elif defined(FATHOM_SANITIZED)
constexpr size_t kConversations = 10;
#else
constexpr size_t kConversations = 39;
#endif
#if defined(FATHOM_EMULATED) || defined(FATHOM_SANITIZED)
constexpr std::pair<int, int> kChunksAndThreads[] = {{3, 2}};  // ten times slower
constexpr size_t kSteps = 3;
#else
constexpr size_t kSteps = 10;
// Every chunk size, and every number of threads with small and large ones.
constexpr std::pair<int, int> kChunksAndThreads[] = {{1, 1},  {1, 2},    {3, 2},
                                                     {64, 1}, {1000, 1}, {1000, 2}};
#endif

std::unique_ptr<Session> Open(const std::string& dir, const SessionOptions& options = {}) {
  auto session = Session::Open(dir, options);
  FATHOM_CHECK(session.ok(), session.error().message);
  return std::move(session).value();
}

// Counts what it is told, and may end the generation or cancel it after some tokens.
struct Recorder : engine::Listener {
  void OnPrompt(int64_t done_now, int64_t total) override {
    done = done_now;
    EXPECT_LE(done, total);
    ++passes;
    if (cancel_in_prompt) cancelled = true;
  }
  bool OnToken(const sampling::Sampled& sampled) override {
    tokens.push_back(sampled.token);
    if (std::ssize(tokens) == cancel_after) cancelled = true;
    return std::ssize(tokens) != end_after;
  }

  std::vector<TokenId> tokens;
  int64_t done = 0, passes = 0, end_after = -1, cancel_after = -1;
  bool cancel_in_prompt = false;
  std::atomic<bool> cancelled = false;
};

engine::Request Greedy(const Session& session, const Conversation& conversation) {
  engine::Request request;
  request.prompt = conversation.prompt_ids;
  request.sampling.temperature = 0;
  request.max_tokens = 400;
  request.stop_tokens = {static_cast<TokenId>(session.config().eos_token_id)};
  return request;
}

// Conversations in a fresh session each time (Reset), compared token for token.
void ExpectRecorded(Session& session, const std::vector<Conversation>& conversations) {
  for (const Conversation& conversation : std::span(conversations).first(kConversations)) {
    session.Reset();
    Recorder recorder;
    const auto generated = session.Generate(Greedy(session, conversation), recorder);
    ASSERT_TRUE(generated.ok()) << generated.error().message;
    EXPECT_EQ(generated.value().tokens, conversation.output_ids) << conversation.id;
    EXPECT_EQ(generated.value().reason, FinishReason::kStopToken) << conversation.id;
  }
}

TEST(NanoTest, TheBundledModelSaysWhatWasRecorded) {
  const auto conversations = ReadConversations(BundledModel());
  ASSERT_EQ(conversations.size(), 39u);
  ExpectRecorded(*Open(BundledModel()), conversations);
}

TEST(NanoTest, TheBf16WeightsSayWhatWasRecorded) {
  const auto conversations = ReadConversations(Bf16Model());
  ASSERT_EQ(conversations.size(), 39u);
  ExpectRecorded(*Open(Bf16Model()), conversations);
}

TEST(NanoTest, PureNumericsSayTheSame) {
  ExpectRecorded(*Open(BundledModel(), {.mode = numerics::Mode::kPure}),
                 ReadConversations(BundledModel()));
}

// The longest prompt with what follows it: crosses both compressed kinds of layer and the sparse
// selection. Logits after the prompt and after each of the first tokens of the answer.
std::vector<float> LogitsAlong(const Conversation& conversation, const SessionOptions& options) {
  const auto session = Open(BundledModel(), options);
  std::vector<float> all;
  const auto add = [&](std::span<const float> row) {
    all.insert(all.end(), row.begin(), row.end());
  };
  EXPECT_TRUE(session->Prefill(conversation.prompt_ids).ok());
  add(session->logits());
  const size_t steps = std::min(conversation.output_ids.size(), kSteps);
  for (const TokenId token : std::span(conversation.output_ids).first(steps))
    add(session->Step(token));
  return all;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

const Conversation& Longest(const std::vector<Conversation>& conversations) {
  return *std::max_element(conversations.begin(), conversations.end(),
                           [](const Conversation& a, const Conversation& b) {
                             return a.prompt_ids.size() < b.prompt_ids.size();
                           });
}

std::vector<Path> AvailablePaths() {
  std::vector<Path> paths;
  for (const Path path : kernels::kAllPaths)
    if (kernels::IsAvailable(path)) paths.push_back(path);
  return paths;
}

TEST(NanoTest, ChunksThreadsAndPathsChangeNoBit) {
  const auto conversations = ReadConversations(BundledModel());
  const Conversation& longest = Longest(conversations);
  ASSERT_GT(longest.prompt_ids.size(), 132u);  // where the sparse selection begins to leave out
  const auto one_by_one = [&](Path path) {
    return LogitsAlong(longest, {.threads = 1, .chunk_tokens = 1000, .path = path});
  };
  const auto lanes = one_by_one(Path::kReference), tiles = one_by_one(Path::kTileReference);
  for (const Path path : AvailablePaths()) {
    const auto& expected = kernels::IsTiled(path) ? tiles : lanes;
    for (const auto& [chunk, threads] : kChunksAndThreads) {
      // The plain paths are slow, and differ in nothing but the products.
      if (path == Path::kTileReference && chunk != 3) continue;
      EXPECT_TRUE(
          SameBits(LogitsAlong(longest, {.threads = threads, .chunk_tokens = chunk, .path = path}),
                   expected))
          << kernels::Name(path) << ", chunk " << chunk << ", threads " << threads;
    }
  }
}

TEST(NanoTest, PureNumericsDoNotDependOnThePathEither) {
  const auto conversations = ReadConversations(BundledModel());
  const Conversation& longest = Longest(conversations);
  SessionOptions options{.threads = 1, .path = Path::kReference, .mode = numerics::Mode::kPure};
  const auto expected = LogitsAlong(longest, options);
  options.threads = 2, options.chunk_tokens = 3;
  for (const Path path : AvailablePaths()) {
    options.path = path;
    EXPECT_TRUE(SameBits(LogitsAlong(longest, options), expected)) << kernels::Name(path);
  }
}

// conv-01 .. conv-04 are one conversation without thinking: each prompt extends the one before it
// with its answer.
TEST(NanoTest, AConversationGoesOnFromItsCommonPrefix) {
  const auto conversations = ReadConversations(BundledModel());
  const auto session = Open(BundledModel());
  int64_t held = 0;
  for (size_t i = 0; i < 4; ++i) {
    Recorder recorder;
    const auto generated = session->Generate(Greedy(*session, conversations[i]), recorder);
    ASSERT_TRUE(generated.ok()) << generated.error().message;
    EXPECT_EQ(generated.value().tokens, conversations[i].output_ids) << conversations[i].id;
    EXPECT_EQ(generated.value().reused_tokens, held) << conversations[i].id;
    held = std::ssize(session->tokens());
    EXPECT_EQ(held, std::ssize(conversations[i].prompt_ids) +
                        std::ssize(conversations[i].output_ids) - 1);
  }
  // Another conversation starts over, and so does the same prompt after its answer.
  for (const size_t i : {size_t{21}, size_t{21}}) {
    Recorder recorder;
    const auto generated = session->Generate(Greedy(*session, conversations[i]), recorder);
    ASSERT_TRUE(generated.ok());
    EXPECT_EQ(generated.value().reused_tokens, 0);
    EXPECT_EQ(generated.value().tokens, conversations[i].output_ids);
  }
}

TEST(NanoTest, EveryEndHasItsReason) {
  const auto conversations = ReadConversations(BundledModel());
  const Conversation& conversation = conversations[0];
  const auto session = Open(BundledModel());
  const auto run = [&](Recorder& recorder, auto change) {
    session->Reset();
    engine::Request request = Greedy(*session, conversation);
    request.cancel = &recorder.cancelled;
    change(request);
    auto generated = session->Generate(request, recorder);
    FATHOM_CHECK(generated.ok(), generated.error().message);
    return std::move(generated).value();
  };
  const auto nothing = [](engine::Request&) {};
  const std::vector<TokenId> first3(conversation.output_ids.begin(),
                                    conversation.output_ids.begin() + 3);
  Recorder length;
  const auto at_length = run(length, [](engine::Request& r) { r.max_tokens = 3; });
  EXPECT_EQ(at_length.reason, FinishReason::kLength);
  EXPECT_EQ(at_length.tokens, first3);
  EXPECT_EQ(length.tokens, first3);
  Recorder ended;
  ended.end_after = 3;
  EXPECT_EQ(run(ended, nothing).reason, FinishReason::kListener);
  EXPECT_EQ(ended.tokens, first3);
  Recorder cancelled;
  cancelled.cancel_after = 3;
  EXPECT_EQ(run(cancelled, nothing).reason, FinishReason::kCancelled);
  EXPECT_EQ(cancelled.tokens, first3);
  Recorder stopped;
  const auto at_stop = run(stopped, nothing);
  EXPECT_EQ(at_stop.reason, FinishReason::kStopToken);
  EXPECT_EQ(at_stop.tokens.size(), stopped.tokens.size() + 1);  // the listener is not told of it
}

TEST(NanoTest, CancellingInThePromptLeavesAUsableSession) {
  const auto conversations = ReadConversations(BundledModel());
  const Conversation& conversation = Longest(conversations);
  const auto session = Open(BundledModel(), {.chunk_tokens = 16});
  Recorder recorder;
  recorder.cancel_in_prompt = true;
  engine::Request request = Greedy(*session, conversation);
  request.cancel = &recorder.cancelled;
  const auto cancelled = session->Generate(request, recorder);
  ASSERT_TRUE(cancelled.ok());
  EXPECT_EQ(cancelled.value().reason, FinishReason::kCancelled);
  EXPECT_TRUE(cancelled.value().tokens.empty());
  EXPECT_EQ(std::ssize(session->tokens()), 16);
  recorder.cancel_in_prompt = false, recorder.cancelled = false;
  const auto resumed = session->Generate(request, recorder);
  ASSERT_TRUE(resumed.ok());
  EXPECT_EQ(resumed.value().reused_tokens, 16);
  EXPECT_EQ(resumed.value().tokens, conversation.output_ids);
}

TEST(NanoTest, TheContextEndsTheText) {
  const auto conversations = ReadConversations(BundledModel());
  const Conversation& conversation = conversations[0];
  const int64_t prompt = std::ssize(conversation.prompt_ids);
  const auto session = Open(BundledModel(), {.capacity_tokens = prompt + 4});
  engine::Request request = Greedy(*session, conversation);
  request.max_tokens.reset();
  Recorder recorder;
  const auto generated = session->Generate(request, recorder);
  ASSERT_TRUE(generated.ok());
  EXPECT_EQ(generated.value().reason, FinishReason::kContextFull);
  EXPECT_EQ(generated.value().tokens, std::vector<TokenId>(conversation.output_ids.begin(),
                                                           conversation.output_ids.begin() + 5));
  request.max_tokens = 5;
  const auto refused = session->Generate(request, recorder);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message,
            "max tokens: expected at most 4 (a context of 9 less 5 prompt tokens), found 5");
}

TEST(NanoTest, UnusableRequestsAreErrors) {
  const auto session = Open(BundledModel(), {.capacity_tokens = 8});
  const auto message = [&](std::vector<TokenId> prompt, auto change) {
    engine::Request request;
    request.prompt = prompt;
    change(request);
    Recorder recorder;
    const auto generated = session->Generate(request, recorder);
    return generated.ok() ? "" : generated.error().message;
  };
  const auto nothing = [](engine::Request&) {};
  EXPECT_EQ(message({}, nothing), "prompt: expected at least one token, found none");
  EXPECT_EQ(message(std::vector<TokenId>(9, 5), nothing),
            "prompt: expected at most 8 tokens (the context), found 9");
  EXPECT_EQ(message({5, 1024}, nothing),
            "prompt token 1: expected an id below 1024 (vocab_size), found 1024");
  EXPECT_NE(message({-1}, nothing), "");
  EXPECT_NE(message({5}, [](engine::Request& r) { r.max_tokens = 0; }), "");
  EXPECT_NE(message({5}, [](engine::Request& r) { r.sampling.top_p = 2; }), "");
  EXPECT_EQ(message({5}, [](engine::Request& r) { r.max_tokens = 2; }), "");
}

TEST(NanoTest, UnusableOptionsAreErrors) {
  EXPECT_FALSE(Session::Open(BundledModel(), {.threads = -1}).ok());
  EXPECT_FALSE(Session::Open(BundledModel(), {.chunk_tokens = 0}).ok());
  EXPECT_FALSE(Session::Open(BundledModel(), {.capacity_tokens = 8193}).ok());
  EXPECT_FALSE(Session::Open(FATHOM_SOURCE_DIR "/src", {}).ok());
}

}  // namespace
}  // namespace fathom::nano
