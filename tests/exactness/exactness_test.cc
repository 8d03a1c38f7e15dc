// The definition of done of the context cache: whatever a request continues from - memory, another
// choice's state, the disk after a restart, alone or among strangers - its tokens and logits are
// those of a session that reads the whole prompt, to the bit. Every case says beforehand how many
// tokens must come from the cache, from a list of all that was remembered.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "base/folder_testing.h"
#include "engine/cuts.h"
#include "engine/sequence_source.h"
#include "tests/batching/recorder.h"

namespace fathom::exactness {
namespace {

using batching::Alone;
using batching::Answer;
using batching::Ask;
using batching::Asked;
using batching::MakeTokens;
using batching::OpenEngine;
using engine::Engine;
using engine::EngineOptions;
using Tokens = std::vector<TokenId>;

struct Case {
  std::string dir;
  numerics::Mode mode = numerics::Mode::kOfficial;
};
void PrintTo(const Case& test, std::ostream* out) { *out << test.dir; }

#ifdef FATHOM_SANITIZED
constexpr int kRounds = 1;  // twenty times slower, so fewer models too
const auto kCases =
    testing::Values(Case{"testdata/golden/bf16-tiny"}, Case{"testdata/golden/fp8-fp4-tiny"});
#else
constexpr int kRounds = 3;
const auto kCases =
    testing::Values(Case{"testdata/golden/bf16-tiny"}, Case{"testdata/golden/flash-shape"},
                    Case{"testdata/golden/fp8-fp4-tiny"}, Case{"testdata/golden/longctx-tiny"},
                    Case{"models/nano"}, Case{"models/nano", numerics::Mode::kFast});
#endif

constexpr int64_t kCapacity = 700;
constexpr int64_t kEvery = 256;

struct Way {
  int threads = 1;
  int64_t chunk_tokens = 2048;
};

EngineOptions Options(const Way& way, numerics::Mode mode) {
  EngineOptions options;
  options.session.mode = mode;
  options.session.threads = way.threads;
  options.session.chunk_tokens = way.chunk_tokens;
  options.session.capacity_tokens = kCapacity;
  options.state_bytes_max = int64_t{1} << 30;
  options.cache_bytes = int64_t{1} << 29;
  options.cache_every = kEvery;
  options.watch_logits = &batching::KeepLogits;
  return options;
}

// What the cache must know of one key by now.
class Remembered {
 public:
  int64_t Longest(const Tokens& prompt) const {
    for (int64_t n = (std::ssize(prompt) - 1) / 128 * 128; n > 0; n -= 128)
      if (prefixes_.contains(Tokens(prompt.begin(), prompt.begin() + n))) return n;
    return 0;
  }
  void AddPrompt(const Tokens& prompt, const std::vector<int64_t>& boundaries, int64_t reused) {
    for (const int64_t cut : engine::WantedCuts(std::ssize(prompt), reused, boundaries, kEvery))
      Add(prompt, cut);
  }
  // All tokens but the last have passed through the model. `is_first`: the choice that read the
  // prompt, whose state at a full page at its end is there to be kept.
  void AddAnswer(Tokens text, int64_t prompt, bool is_first) {
    const int64_t last = (std::ssize(text) - 1) / 128 * 128;
    if (last > prompt || (last == prompt && is_first)) Add(text, last);
  }

 private:
  void Add(const Tokens& text, int64_t count) {
    prefixes_.emplace(text.begin(), text.begin() + count);
  }
  std::set<Tokens> prefixes_;
};

// One who talks with the engine under a key of their own: each request goes on from a random place
// of something said before, or begins anew.
class Talker {
 public:
  Talker(std::string key, uint64_t seed, int64_t vocab_size)
      : key_(std::move(key)), random_(seed), vocab_size_(vocab_size) {}

  void Submit(Engine& engine) {
    prompt_ = NextPrompt();
    boundaries_.clear();
    for (int64_t i = Pick(0, 4); i > 0; --i) boundaries_.push_back(Pick(0, std::ssize(prompt_)));
    max_tokens_ = Pick(1, 4) == 1 ? Pick(130, 150) : Pick(1, 10);
    params_.clear();
    const float temperature = Pick(0, 1) == 0 ? 0.0f : 1.0f;
    const uint64_t seed = random_();
    for (int64_t i = 0, count = Pick(1, 4) == 1 ? 2 : 1; i < count; ++i)
      params_.push_back(
          {.temperature = temperature, .seed = seed, .stream = static_cast<uint64_t>(i)});
    asked_ = Request(0);
    for (size_t i = 1; i < params_.size(); ++i)
      asked_.request.choices.push_back({params_[i], nullptr, std::nullopt});
    asked_.request.key = key_;
    asked_.request.boundaries = boundaries_;
    batching::Submit(engine, std::move(asked_.request));
  }

  // What came is what the session says, and as much came from the cache as had to.
  void Check(engine::Session& session, const std::string& what) {
    ASSERT_TRUE(asked_.recorder->Wait());
    const int64_t reused = asked_.recorder->reused();
    const std::string where = what + ", key " + key_ + ", prompt of " +
                              std::to_string(prompt_.size()) + ", " + std::to_string(reused) +
                              " from the cache";
    EXPECT_EQ(reused, remembered_.Longest(prompt_)) << where;
    hits_ += reused > 0;
    remembered_.AddPrompt(prompt_, boundaries_, reused);
    for (size_t i = 0; i < params_.size(); ++i) {
      const Answer expected = Alone(session, Request(i).request);
      const Answer& got = asked_.recorder->answer(static_cast<int64_t>(i));
      EXPECT_EQ(got.tokens, expected.tokens) << where;
      EXPECT_TRUE(got == expected) << where << ": logits differ";
      Tokens text = prompt_;
      text.insert(text.end(), got.tokens.begin(), got.tokens.end());
      remembered_.AddAnswer(text, std::ssize(prompt_), i == 0);
      texts_.push_back(std::move(text));
    }
  }

  // The next request goes on from the end of the latest.
  void GoOn() { goes_on_ = !texts_.empty(); }

  int64_t hits() const { return hits_; }

 private:
  int64_t Pick(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random_() % static_cast<uint64_t>(most - least + 1));
  }

  Tokens NextPrompt() {
    Tokens prompt;
    if (std::exchange(goes_on_, false)) {
      prompt = texts_.back();
    } else if (texts_.empty() || Pick(1, 8) == 1) {
      prompt = MakeTokens(Pick(150, 350), vocab_size_, random_());
    } else {
      // Most go on from the end, as the next turn does; others say the same again or differ inside.
      prompt = texts_[random_() % texts_.size()];
      const int64_t kind = Pick(1, 4);
      if (kind == 1) return Fitting(prompt_);
      if (kind == 2) prompt.resize(static_cast<size_t>(Pick(0, std::ssize(prompt))));
    }
    const Tokens more = MakeTokens(Pick(1, 150), vocab_size_, random_());
    prompt.insert(prompt.end(), more.begin(), more.end());
    return Fitting(std::move(prompt));
  }
  static Tokens Fitting(Tokens prompt) {
    prompt.resize(std::min(prompt.size(), static_cast<size_t>(kCapacity - 200)));
    return prompt;
  }
  Asked Request(size_t choice) const { return Ask(prompt_, max_tokens_, params_[choice]); }

  std::string key_;
  std::mt19937_64 random_;
  int64_t vocab_size_;
  Remembered remembered_;
  std::vector<Tokens> texts_;  // prompts with their answers
  int64_t hits_ = 0;
  bool goes_on_ = false;
  // Of the latest request.
  Tokens prompt_;
  std::vector<int64_t> boundaries_;
  int64_t max_tokens_ = 0;
  std::vector<sampling::Params> params_;
  Asked asked_;
};

class ExactnessTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    session_ = batching::OpenSession(GetParam().dir, kCapacity, GetParam().mode);
    vocab_size_ = session_->config().vocab_size;
  }
  std::unique_ptr<Engine> Open(const EngineOptions& options) const {
    return OpenEngine(GetParam().dir, options);
  }
  EngineOptions OptionsOf(const Way& way) const { return Options(way, GetParam().mode); }
  Tokens Text(int64_t count, uint64_t seed) const { return MakeTokens(count, vocab_size_, seed); }
  std::shared_ptr<cache::DiskStore> OpenStore(const std::string& dir) const {
    const auto sizes = engine::SizesOf(session_->config(), numerics::Mode::kOfficial);
    auto store = cache::DiskStore::Open(
        {.dir = dir, .fingerprint = 7, .page_bytes = sizes.page, .tail_bytes = sizes.tail});
    EXPECT_TRUE(store.ok());
    return std::move(store).value();
  }

  std::unique_ptr<engine::Session> session_;
  int64_t vocab_size_ = 0;
};

TEST_P(ExactnessTest, ContinuingFromMemoryChangesNothing) {
  for (const Way& way : {Way{1, 2048}, Way{2, 90}}) {
    const auto engine = Open(OptionsOf(way));
    Talker talker("", 17 + static_cast<uint64_t>(way.threads), vocab_size_);
    for (int round = 0; round < 2 * kRounds; ++round) {
      talker.Submit(*engine);
      talker.Check(*session_,
                   std::to_string(way.threads) + " threads, round " + std::to_string(round));
    }
    EXPECT_GE(talker.hits(), kRounds);
  }
}

TEST_P(ExactnessTest, ContinuingAmongStrangersChangesNothing) {
  const auto engine = Open(OptionsOf({2, 200}));
  std::vector<Talker> talkers;
  for (uint64_t i = 0; i < 3; ++i) talkers.emplace_back(std::to_string(i), 100 + i, vocab_size_);
  for (int round = 0; round <= kRounds; ++round) {
    for (Talker& talker : talkers) talker.Submit(*engine);
    for (Talker& talker : talkers) talker.Check(*session_, "round " + std::to_string(round));
  }
  int64_t hits = 0;
  for (const Talker& talker : talkers) hits += talker.hits();
  EXPECT_GE(hits, 2 * kRounds);
}

// Each run has a process's worth of memory; the last one has the disk alone.
TEST_P(ExactnessTest, ContinuingFromTheDiskAfterARestartChangesNothing) {
  const TempFolder folder;
  Talker talker("someone", 5, vocab_size_);
  for (int run = 0; run < 4; ++run) {
    EngineOptions options = OptionsOf({1 + run % 2, 300});
    options.disk_store = OpenStore(folder.path());
    if (run == 3) options.cache_bytes = 0;
    const auto engine = Open(options);
    talker.GoOn();
    for (int round = 0; round <= (kRounds + 1) / 2; ++round) {
      talker.Submit(*engine);
      talker.Check(*session_, "run " + std::to_string(run));
      options.disk_store->Flush();
    }
    if (run > 0) {
      EXPECT_GT(options.disk_store->stats().hits, 0);
    }
  }
  EXPECT_GE(talker.hits(), 2 * kRounds);
}

// The same prompt three times at once: it is read once, and the others wait for what is left there.
TEST_P(ExactnessTest, APromptThatComesThreeTimesAtOnceIsReadOnce) {
  const auto engine = Open(OptionsOf({2, 64}));
  std::vector<Asked> all;
  for (uint64_t i = 0; i < 3; ++i)
    all.push_back(Ask(Text(400, 9), 10, {.temperature = 1, .seed = 3, .stream = i}));
  std::vector<Answer> expected;
  for (const Asked& asked : all) expected.push_back(Alone(*session_, asked.request));
  for (Asked& asked : all) batching::Submit(*engine, std::move(asked.request));
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_TRUE(all[i].recorder->Wait());
    EXPECT_EQ(all[i].recorder->reused(), i == 0 ? 0 : 384);
    EXPECT_TRUE(all[i].recorder->answer() == expected[i]);
  }
  engine->Drain(60);
  EXPECT_EQ(engine->stats().prompt_tokens, 400 + 16 + 16);
  EXPECT_EQ(engine->stats().cached_tokens, 384 + 384);
}

// What was read and said before a request was cancelled is there for the next one.
TEST_P(ExactnessTest, ACancelledRequestLeavesWhatItHad) {
  const auto engine = Open(OptionsOf({1, 2048}));
  const Tokens prompt = Text(300, 4);
  Asked cancelled = Ask(prompt, 400, {.temperature = 0});
  uint64_t ticket = 0;
  batching::Door door;
  cancelled.recorder->on_start = [&] { door.Pass(); };
  cancelled.recorder->on_token = [&](int64_t tokens) {
    if (tokens == 250) engine->Cancel(ticket);
    return true;
  };
  ticket = batching::Submit(*engine, std::move(cancelled.request));
  door.Open();
  ASSERT_TRUE(cancelled.recorder->Wait());
  Tokens longer = prompt;
  const Tokens& said = cancelled.recorder->answer().tokens;
  ASSERT_GE(said.size(), 250u);
  longer.insert(longer.end(), said.begin(), said.begin() + 250);
  Asked next = Ask(longer, 10, {.temperature = 0});
  const Answer expected = Alone(*session_, next.request);
  batching::Submit(*engine, std::move(next.request));
  ASSERT_TRUE(next.recorder->Wait());
  EXPECT_EQ(next.recorder->reused(), 512);  // 300 + 249 have passed through the model
  EXPECT_TRUE(next.recorder->answer() == expected);
}

INSTANTIATE_TEST_SUITE_P(Models, ExactnessTest, kCases, [](const auto& test) {
  std::string name = test.param.dir;
  name = name.substr(name.rfind('/') + 1);
  std::replace(name.begin(), name.end(), '-', '_');
  if (test.param.mode == numerics::Mode::kFast) name += "_fast";
  return name;
});

}  // namespace
}  // namespace fathom::exactness
