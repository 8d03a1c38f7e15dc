// How the engine serves: whose turn it is, what ends a request, what is refused, and that nothing
// one request does touches another. Small models; time is measured only where nothing else tells.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

#include "model/sequence.h"
#include "tests/batching/recorder.h"

namespace fathom::batching {
namespace {

using engine::BatchRequest;
using engine::ChoiceRequest;
using engine::Engine;
using engine::EngineOptions;
using engine::FinishReason;
using engine::SubmitStatus;
using engine::Submitted;

constexpr const char* kModel = "testdata/golden/bf16-tiny";
constexpr int64_t kVocab = 256;
constexpr int64_t kCapacity = 1000;

EngineOptions Options(int64_t chunk_tokens = 64) {
  EngineOptions options;
  options.session.threads = 1;
  options.session.chunk_tokens = chunk_tokens;
  options.session.capacity_tokens = kCapacity;
  options.watch_logits = &KeepLogits;
  return options;
}

std::vector<TokenId> Prompt(int64_t count, uint64_t seed = 1) {
  return MakeTokens(count, kVocab, seed);
}

// A good request gets the answer it gets alone.
void ExpectServes(Engine& engine) {
  Asked asked = Ask(Prompt(20, 77), 5, {.seed = 4});
  const Answer expected = Alone(*OpenSession(kModel, kCapacity), asked.request);
  Submit(engine, std::move(asked.request));
  ASSERT_TRUE(asked.recorder->Wait());
  EXPECT_TRUE(asked.recorder->answer() == expected);
}

// A request that holds the engine's thread until the door opens.
Asked AskToHold(Door& door) {
  Asked asked = Ask(Prompt(3), 1);
  asked.recorder->on_start = [&door] { door.Pass(); };
  return asked;
}

// Requests note their names as they start.
struct Starts {
  std::vector<std::string> names;  // on the engine's thread

  Asked Ask(const std::string& name, const std::string& key, int priority = 0) {
    Asked asked = batching::Ask(Prompt(4), 2);
    asked.request.key = key;
    asked.request.priority = priority;
    asked.recorder->on_start = [this, name] { names.push_back(name); };
    return asked;
  }
};

TEST(ServiceTest, KeysTakeTurns) {
  EngineOptions options = Options();
  options.sequences_max = 1;
  const auto engine = OpenEngine(kModel, options);
  Door door;
  Starts starts;
  std::vector<Asked> all;
  for (int i = 0; i < 10; ++i) all.push_back(starts.Ask("a" + std::to_string(i), "a"));
  all.push_back(starts.Ask("b0", "b"));
  // The first of key a is at work when all others come.
  all.front().recorder->on_start = [&] { starts.names.push_back("a0"), door.Pass(); };
  Submit(*engine, std::move(all.front().request));
  door.WaitForCaller();
  for (size_t i = 1; i < all.size(); ++i) Submit(*engine, std::move(all[i].request));
  door.Open();
  for (const Asked& asked : all) ASSERT_TRUE(asked.recorder->Wait());
  EXPECT_EQ(starts.names, (std::vector<std::string>{"a0", "b0", "a1", "a2", "a3", "a4", "a5", "a6",
                                                    "a7", "a8", "a9"}));
}

TEST(ServiceTest, HigherPrioritiesGoFirst) {
  EngineOptions options = Options();
  options.sequences_max = 1;
  const auto engine = OpenEngine(kModel, options);
  Door door;
  Asked held = AskToHold(door);
  Submit(*engine, std::move(held.request));
  door.WaitForCaller();
  Starts starts;
  std::vector<Asked> all;
  all.push_back(starts.Ask("low", "a", -1));
  all.push_back(starts.Ask("usual", "a"));
  all.push_back(starts.Ask("other", "b"));
  all.push_back(starts.Ask("high", "a", 3));
  for (Asked& asked : all) Submit(*engine, std::move(asked.request));
  door.Open();
  for (const Asked& asked : all) ASSERT_TRUE(asked.recorder->Wait());
  EXPECT_EQ(starts.names, (std::vector<std::string>{"high", "usual", "other", "low"}));
}

// Two prompts are read in one step when their keys differ: the short one need not wait for the long
// one.
TEST(ServiceTest, KeysShareTheReading) {
  const auto engine = OpenEngine(kModel, Options(16));
  Asked longer = Ask(Prompt(900), 1), shorter = Ask(Prompt(40), 1);
  longer.request.key = "long", shorter.request.key = "short";
  int64_t long_read = 0;
  longer.recorder->on_prompt = [&](int64_t done) {
    // It is at work when the other one comes.
    if (done == 16) Submit(*engine, std::move(shorter.request));
    long_read = done;
  };
  int64_t long_read_at_end = 0;
  shorter.recorder->on_end = [&] { long_read_at_end = long_read; };
  Submit(*engine, std::move(longer.request));
  ASSERT_TRUE(longer.recorder->Wait());
  ASSERT_TRUE(shorter.recorder->Wait());
  // 40 tokens at half of 16 a step: 5 steps, in which the long one goes on by as much.
  EXPECT_EQ(long_read_at_end, 16 + 40);
}

TEST(ServiceTest, AnswersFlowWhileAPromptIsRead) {
  const auto engine = OpenEngine(kModel, Options(16));
  Asked talker = Ask(Prompt(5), 900), reader = Ask(Prompt(900, 2), 3);
  int64_t talked = 0, at_start = 0, at_end = 0;
  talker.recorder->on_token = [&](int64_t tokens) {
    talked = tokens;
    if (tokens == 3) Submit(*engine, std::move(reader.request));
    return !reader.recorder->is_done();
  };
  reader.recorder->on_start = [&] { at_start = talked; };
  reader.recorder->on_prompt = [&](int64_t done) {
    if (done == 900) at_end = talked;
  };
  Submit(*engine, std::move(talker.request));
  ASSERT_TRUE(reader.recorder->Wait());
  ASSERT_TRUE(talker.recorder->Wait());
  // One token for each step, and the steps keep to their budget: 15 prompt tokens beside 1 of the
  // answer.
  EXPECT_EQ(at_end - at_start, std::ssize(reader.recorder->prompt_steps()));
  EXPECT_GE(std::ssize(reader.recorder->prompt_steps()), 900 / 15);
  EXPECT_EQ(talker.recorder->answer().reason, FinishReason::kListener);
}

TEST(ServiceTest, CancelEndsAPromptThatIsRead) {
  const auto engine = OpenEngine(kModel, Options(7));
  Asked asked = Ask(Prompt(300), 5);
  uint64_t ticket = 0;
  Door door;
  asked.recorder->on_start = [&] { door.Pass(); };
  asked.recorder->on_prompt = [&](int64_t done) {
    if (done == 21) engine->Cancel(ticket);
  };
  ticket = Submit(*engine, std::move(asked.request));
  door.Open();
  ASSERT_TRUE(asked.recorder->Wait());
  EXPECT_EQ(asked.recorder->prompt_steps(), (std::vector<int64_t>{7, 14, 21}));
  EXPECT_EQ(asked.recorder->answer().reason, FinishReason::kCancelled);
  EXPECT_TRUE(asked.recorder->answer().tokens.empty());
  EXPECT_EQ(asked.recorder->dones(), 1);
  ExpectServes(*engine);
}

TEST(ServiceTest, CancelEndsAllChoicesOfAnAnswer) {
  const auto engine = OpenEngine(kModel, Options());
  Asked asked = Ask(Prompt(30), 100);
  asked.request.choices.push_back({{.stream = 1}, nullptr, std::nullopt});
  asked.request.choices.push_back({{.stream = 2}, nullptr, std::vector<TokenId>{5, 6}});
  uint64_t ticket = 0;
  Door door;
  asked.recorder->on_start = [&] { door.Pass(); };
  asked.recorder->on_token = [&](int64_t tokens) {
    if (tokens == 4) engine->Cancel(ticket);
    return true;
  };
  ticket = Submit(*engine, std::move(asked.request));
  door.Open();
  ASSERT_TRUE(asked.recorder->Wait());
  for (const int64_t choice : {0, 1}) {
    EXPECT_EQ(asked.recorder->answer(choice).reason, FinishReason::kCancelled);
    EXPECT_EQ(asked.recorder->answer(choice).tokens.size(), 4u);
  }
  EXPECT_EQ(asked.recorder->answer(2).reason, FinishReason::kStopToken);
  EXPECT_EQ(asked.recorder->ends(), 3);
  engine->Cancel(ticket);  // is over
  engine->Cancel(123456);  // never was
  ExpectServes(*engine);
}

TEST(ServiceTest, CancelInTheQueueIsDoneAtOnce) {
  EngineOptions options = Options();
  options.sequences_max = 1;
  options.queue_max = 1;
  const auto engine = OpenEngine(kModel, options);
  Door door;
  Asked held = AskToHold(door), waits = Ask(Prompt(4), 2), after = Ask(Prompt(4), 2);
  Submit(*engine, std::move(held.request));
  door.WaitForCaller();
  engine->Cancel(Submit(*engine, std::move(waits.request)));
  // Its place is free although the engine's thread has not looked yet.
  Submit(*engine, std::move(after.request));
  door.Open();
  ASSERT_TRUE(waits.recorder->Wait());
  ASSERT_TRUE(after.recorder->Wait());
  EXPECT_EQ(waits.recorder->starts(), 0);
  EXPECT_EQ(waits.recorder->ends(), 0);
  EXPECT_EQ(after.recorder->answer().tokens.size(), 2u);
}

TEST(ServiceTest, AQueueTwiceOverItsLimitRefusesTheRest) {
  EngineOptions options = Options();
  options.queue_max = 8;
  const auto engine = OpenEngine(kModel, options);
  Door door;
  Asked held = AskToHold(door);
  Submit(*engine, std::move(held.request));
  door.WaitForCaller();
  std::vector<Asked> accepted;
  int64_t refused = 0;
  for (int i = 0; i < 16; ++i) {
    Asked asked = Ask(Prompt(4), 2);
    const auto submitted = engine->Submit(std::move(asked.request));
    ASSERT_TRUE(submitted.ok());
    if (submitted.value().status == SubmitStatus::kAccepted) {
      accepted.push_back(std::move(asked));
      continue;
    }
    EXPECT_EQ(submitted.value().status, SubmitStatus::kQueueFull);
    EXPECT_GE(submitted.value().retry_after_s, 1);
    EXPECT_EQ(asked.recorder.use_count(), 1) << "the engine kept the sink of a refused request";
    ++refused;
  }
  EXPECT_EQ(refused, 8);
  EXPECT_EQ(engine->stats().queued, 8);
  door.Open();
  for (const Asked& asked : accepted) {
    ASSERT_TRUE(asked.recorder->Wait());
    EXPECT_EQ(asked.recorder->answer().tokens.size(), 2u);
  }
  ExpectServes(*engine);
}

TEST(ServiceTest, RequestsWaitForMemory) {
  EngineOptions options = Options();
  const auto session = OpenSession(kModel, kCapacity);
  // 99 tokens and one that need not pass through the model.
  const int64_t each = model::Sequence::BytesFor(session->config(), 100, numerics::Mode::kOfficial);
  options.state_bytes_max = 2 * each + each / 2;
  const auto engine = OpenEngine(kModel, options);
  // Never fits: too long, or too many at once.
  ASSERT_GT(model::Sequence::BytesFor(session->config(), kCapacity, numerics::Mode::kOfficial),
            options.state_bytes_max / 2);
  Asked too_long = Ask(Prompt(10), 1);
  too_long.request.max_tokens = std::nullopt;
  too_long.request.choices.resize(2);
  const auto refused = engine->Submit(std::move(too_long.request));
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("state: expected at most"), std::string::npos);
  Asked too_many = Ask(Prompt(80), 21);
  for (int i = 0; i < 2; ++i) too_many.request.choices.push_back({{}, nullptr, std::nullopt});
  EXPECT_FALSE(engine->Submit(std::move(too_many.request)).ok());

  std::vector<Asked> all;
  int64_t running = 0, most = 0;
  for (int i = 0; i < 5; ++i) {
    all.push_back(Ask(Prompt(80), 21));
    all.back().recorder->on_start = [&] { most = std::max(most, ++running); };
    all.back().recorder->on_end = [&] { --running; };
  }
  for (Asked& asked : all) Submit(*engine, std::move(asked.request));
  for (const Asked& asked : all) {
    ASSERT_TRUE(asked.recorder->Wait());
    EXPECT_EQ(asked.recorder->answer().reason, FinishReason::kLength);
  }
  EXPECT_EQ(most, 2);
  ASSERT_TRUE(engine->IsAlive(0, 60));
  EXPECT_EQ(engine->stats().state_bytes, 0);
}

TEST(ServiceTest, WrongRequestsAreErrorsAndHarmNobody) {
  const auto engine = OpenEngine(kModel, Options());
  const auto refused = [&](const char* word, void (*spoil)(BatchRequest&)) {
    Asked asked = Ask(Prompt(10), 3);
    spoil(asked.request);
    const auto submitted = engine->Submit(std::move(asked.request));
    ASSERT_FALSE(submitted.ok()) << word;
    EXPECT_EQ(submitted.error().message.rfind(word, 0), 0u) << submitted.error().message;
  };
  refused("prompt: ", [](BatchRequest& r) { r.prompt.clear(); });
  refused("prompt: ", [](BatchRequest& r) { r.prompt.resize(kCapacity + 1); });
  refused("prompt token 9: ", [](BatchRequest& r) { r.prompt[9] = kVocab; });
  refused("prompt token 0: ", [](BatchRequest& r) { r.prompt[0] = -1; });
  refused("max tokens: ", [](BatchRequest& r) { r.max_tokens = 0; });
  refused("max tokens: ", [](BatchRequest& r) { r.max_tokens = kCapacity - 9; });
  refused("min tokens: ", [](BatchRequest& r) { r.min_tokens = -1; });
  refused("stop token 0: ", [](BatchRequest& r) { r.stop_tokens = {kVocab}; });
  refused("choices: ", [](BatchRequest& r) { r.choices.clear(); });
  refused("choices: ", [](BatchRequest& r) { r.choices.resize(65); });
  refused("temperature: ", [](BatchRequest& r) { r.choices[0].sampling.temperature = -1; });
  refused("scripted token 1: ", [](BatchRequest& r) {
    r.choices[0].scripted = std::vector<TokenId>{1, -3};
  });
  ExpectServes(*engine);
}

TEST(ServiceTest, WrongOptionsAreErrors) {
  const auto refused = [](void (*spoil)(EngineOptions&)) {
    EngineOptions options = Options();
    spoil(options);
    EXPECT_FALSE(Engine::Open(ModelDir(kModel), options).ok());
  };
  refused([](EngineOptions& o) { o.sequences_max = 0; });
  refused([](EngineOptions& o) { o.queue_max = 0; });
  refused([](EngineOptions& o) { o.state_bytes_max = -1; });
  refused([](EngineOptions& o) { o.session.chunk_tokens = 0; });
  refused([](EngineOptions& o) { o.session.capacity_tokens = 1 << 20; });
  EXPECT_FALSE(Engine::Open(ModelDir("testdata"), Options()).ok());
}

TEST(ServiceTest, ManyThreadsSubmitAndCancel) {
  EngineOptions options = Options(32);
  options.session.threads = 2;
  options.sequences_max = 6;
  options.queue_max = 20;
  options.watch_logits = nullptr;
  auto engine = OpenEngine(kModel, options);
  constexpr int kThreads = 4, kEach = 40;
  std::atomic<int64_t> accepted = 0, dones = 0;
  std::vector<std::vector<Asked>> all(kThreads);
  const auto work = [&](int thread) {
    for (int i = 0; i < kEach; ++i) {
      const uint64_t number = static_cast<uint64_t>(thread * kEach + i);
      Asked asked = Ask(Prompt(1 + i % 37, number), 1 + i % 5, {.seed = number});
      asked.request.key = std::to_string(thread);
      asked.request.priority = i % 3 == 0 ? 1 : 0;
      if (i % 4 == 0) asked.request.choices.resize(2);
      const auto submitted = engine->Submit(std::move(asked.request));
      ASSERT_TRUE(submitted.ok());
      if (submitted.value().status != SubmitStatus::kAccepted) continue;
      ++accepted;
      if (i % 3 == 1) engine->Cancel(submitted.value().ticket);
      if (i % 5 == 0) (void)engine->stats();
      if (i % 7 == 0) {
        EXPECT_TRUE(asked.recorder->Wait());
      }
      all[static_cast<size_t>(thread)].push_back(std::move(asked));
    }
  };
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) threads.emplace_back(work, thread);
  EXPECT_TRUE(engine->IsAlive(0, 60));
  for (std::thread& thread : threads) thread.join();
  engine->Drain(60);
  for (const std::vector<Asked>& asked_by_one : all) {
    for (const Asked& asked : asked_by_one) {
      ASSERT_TRUE(asked.recorder->is_done());
      EXPECT_EQ(asked.recorder->dones(), 1);
      EXPECT_EQ(asked.recorder.use_count(), 1) << "the engine kept a sink";
      dones += asked.recorder->dones();
    }
  }
  EXPECT_EQ(dones, accepted);
  EXPECT_GE(accepted, 20);
  const engine::EngineStats stats = engine->stats();
  EXPECT_EQ(stats.accepted, accepted);
  EXPECT_EQ(stats.refused, kThreads * kEach - accepted);
  EXPECT_EQ(stats.done, accepted);
  EXPECT_EQ(stats.reading, 0);
  EXPECT_EQ(stats.queued, 0);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.state_bytes, 0);
}

TEST(ServiceTest, DrainLetsAnswersFinish) {
  const auto engine = OpenEngine(kModel, Options());
  Asked asked = Ask(Prompt(5), 50);
  Submit(*engine, std::move(asked.request));
  engine->Drain(60);
  ASSERT_TRUE(asked.recorder->is_done());
  EXPECT_EQ(asked.recorder->answer().reason, FinishReason::kLength);
  Asked late = Ask(Prompt(5), 5);
  const auto submitted = engine->Submit(std::move(late.request));
  ASSERT_TRUE(submitted.ok());
  EXPECT_EQ(submitted.value().status, SubmitStatus::kShuttingDown);
  EXPECT_EQ(late.recorder->dones(), 0);
}

TEST(ServiceTest, DrainCancelsWhatIsLeft) {
  EngineOptions options = Options();
  options.sequences_max = 1;
  const auto engine = OpenEngine(kModel, options);
  Asked runs = Ask(Prompt(5), 990), waits = Ask(Prompt(5), 990);
  Door begun;
  runs.recorder->on_token = [&](int64_t tokens) {
    // The drain begins only now; nothing hurries from here on.
    if (tokens == 2) begun.Pass();
    if (tokens > 2) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return true;
  };
  Submit(*engine, std::move(runs.request));
  Submit(*engine, std::move(waits.request));
  begun.WaitForCaller();
  begun.Open();
  engine->Drain(0.01);
  ASSERT_TRUE(runs.recorder->is_done());
  ASSERT_TRUE(waits.recorder->is_done());
  EXPECT_EQ(runs.recorder->answer().reason, FinishReason::kCancelled);
  EXPECT_EQ(waits.recorder->starts(), 0);
  EXPECT_TRUE(engine->IsAlive(0, 60));
}

TEST(ServiceTest, TheEndCancelsWhatIsLeft) {
  auto engine = OpenEngine(kModel, Options());
  Asked asked = Ask(Prompt(5), 990);
  Submit(*engine, std::move(asked.request));
  engine.reset();
  EXPECT_TRUE(asked.recorder->is_done());
}

TEST(ServiceTest, AliveMeansThatAPassHasEnded) {
  const auto engine = OpenEngine(kModel, Options());
  EXPECT_TRUE(engine->IsAlive(0, 60));
  const int64_t steps = engine->stats().steps;
  EXPECT_GE(steps, 1);
  EXPECT_TRUE(engine->IsAlive(3600, 0));
  EXPECT_EQ(engine->stats().steps, steps);
  // A thread that is held answers for no pass.
  Door door;
  Asked held = AskToHold(door);
  Submit(*engine, std::move(held.request));
  door.WaitForCaller();
  EXPECT_FALSE(engine->IsAlive(0, 0.02));
  door.Open();
  ASSERT_TRUE(held.recorder->Wait());
  EXPECT_TRUE(engine->IsAlive(0, 60));
  EXPECT_LT(engine->stats().seconds_since_forward, 60);
}

TEST(ServiceTest, CountsAddUp) {
  EngineOptions options = Options();
  options.session.threads = 2;
  const auto engine = OpenEngine(kModel, options);
  Asked asked = Ask(Prompt(100), 10);
  asked.request.choices.push_back({{.stream = 1}, nullptr, std::nullopt});
  Submit(*engine, std::move(asked.request));
  ASSERT_TRUE(asked.recorder->Wait());
  engine->Drain(60);
  const engine::EngineStats stats = engine->stats();
  EXPECT_EQ(stats.prompt_tokens, 100);
  EXPECT_EQ(stats.output_tokens, 20);
  EXPECT_GE(stats.steps, 2 + 9);  // the prompt in two pieces
  EXPECT_GT(stats.forward_seconds, 0);
  EXPECT_GT(stats.forward_cpu_seconds, 0);
}

double ProcessCpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST(ServiceTest, AnIdleEngineSleeps) {
  EngineOptions options = Options();
  options.session.threads = 2;
  const auto engine = OpenEngine(kModel, options);
  ExpectServes(*engine);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const double before = ProcessCpuSeconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(ProcessCpuSeconds() - before, 0.02);
}

}  // namespace
}  // namespace fathom::batching
