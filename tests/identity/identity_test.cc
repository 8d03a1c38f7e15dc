// Whole models, bit for bit: however a prompt is cut, whatever else is in the batch, with any
// number of threads and on every path, a sequence has the same logits. In all numeric modes, MTP
// block included.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "model/weights.h"
#include "verify/runner.h"

namespace fathom {
namespace {

using model::BatchItem;
using model::LogitRows;
using numerics::Mode;
using verify::FloatTable;
using verify::Runner;

#ifdef FATHOM_SANITIZED
constexpr bool kIsSlowBuild = true;
#else
constexpr bool kIsSlowBuild = false;
#endif

struct ModelCase {
  const char* name;
  const char* dir;  // below the source folder
  int64_t tokens;   // length of the sequence
};
void PrintTo(const ModelCase& model, std::ostream* out) { *out << model.name; }

// Long enough for several HCA blocks, for more CSA blocks than are picked, and for the window to
// wrap; the long one also leaves a ring of 128 behind five times.
constexpr ModelCase kModels[] = {
    {"bf16_tiny", "testdata/golden/bf16-tiny", 300},
    {"fp8_fp4_tiny", "testdata/golden/fp8-fp4-tiny", 300},
    {"longctx_tiny", "testdata/golden/longctx-tiny", 700},
    {"flash_shape", "testdata/golden/flash-shape", 300},
    {"nano", "models/nano", 300},
};

// Tokens without a pattern: a 64-bit congruential generator (Knuth's constants), upper bits.
std::vector<TokenId> MakeTokens(int64_t count, int64_t vocab, uint64_t seed) {
  std::vector<TokenId> tokens;
  uint64_t state = seed;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    tokens.push_back(static_cast<TokenId>((state >> 33) % static_cast<uint64_t>(vocab)));
  }
  return tokens;
}

std::vector<kernels::Path> AvailablePaths() {
  std::vector<kernels::Path> paths;
  for (const auto path : kernels::kAllPaths)
    if (kernels::IsAvailable(path)) paths.push_back(path);
  return paths;
}

// Of the available ones with the same results.
kernels::Path FastestOfFamily(kernels::Path path) {
  using kernels::Path;
  for (const auto fast : {Path::kAmx, Path::kAvx512, Path::kAvx2, Path::kNeon})
    if (kernels::IsTiled(fast) == kernels::IsTiled(path) && kernels::IsAvailable(fast)) return fast;
  return kernels::ReferenceOf(path);
}

// The first rows of a are all of b, to the bit.
bool StartsWith(const FloatTable& a, const FloatTable& b) {
  return a.values.size() >= b.values.size() &&
         std::memcmp(a.values.data(), b.values.data(), b.values.size() * sizeof(float)) == 0;
}

class Identity : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override {
    if (kIsSlowBuild && std::string(GetParam().name) != "bf16_tiny")
      GTEST_SKIP() << "under a sanitizer one model must do: ten times slower";
    auto loaded = model::LoadedModel::Load(std::string(FATHOM_SOURCE_DIR) + "/" + GetParam().dir);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    loaded_.emplace(std::move(loaded).value());
    tokens_ = MakeTokens(GetParam().tokens, loaded_->config().vocab_size, 1);
  }

  // Fast mode is official mode where no weight is FP4.
  std::vector<Mode> Modes() const {
    const auto& experts = loaded_->weights().layers.front().ffn.experts;
    if (experts.front().w1.format != tensor::Format::kFp4) return {Mode::kOfficial, Mode::kPure};
    return {Mode::kOfficial, Mode::kPure, Mode::kFast};
  }

  // All logits of the first `count` tokens; prompt_len 0: step by step.
  Runner::Logits Run(Runner& runner, int64_t count, Mode mode, int64_t prompt_len = -1) {
    std::vector<int64_t> positions(static_cast<size_t>(count));
    std::iota(positions.begin(), positions.end(), int64_t{0});
    std::span<const int64_t> mtp = positions;
    mtp = runner.has_mtp() ? mtp.first(static_cast<size_t>(count - 1)) : mtp.first(0);
    return runner.Run(std::span<const TokenId>(tokens_).first(static_cast<size_t>(count)),
                      prompt_len < 0 ? count : prompt_len, {positions, mtp}, mode);
  }
  Runner::Logits OneShot(Mode mode) {
    return OneShot(mode, kernels::BestPath(), std::ssize(tokens_));
  }
  Runner::Logits OneShot(Mode mode, kernels::Path path, int64_t count) {
    Runner runner(*loaded_, path, 2, count);
    return Run(runner, count, mode);
  }

  // The logits of all tokens, which are all of a batch. Not by way of the runner: it lays prompts
  // shorter than the window out as they were recorded.
  FloatTable Alone(std::span<const TokenId> tokens, Mode mode) {
    const int64_t count = std::ssize(tokens), vocab = loaded_->config().vocab_size;
    Runner runner(*loaded_, kernels::BestPath(), 1, count);
    model::Executor executor = runner.MakeExecutor(mode, count);
    model::Sequence sequence(loaded_->config(), count, mode);
    FloatTable logits = verify::MakeTable(count, vocab);
    const BatchItem item{&sequence, tokens, LogitRows::kAll};
    executor.Forward({&item, 1}, logits.view());
    return logits;
  }

  std::optional<model::LoadedModel> loaded_;
  std::vector<TokenId> tokens_;
};

TEST_P(Identity, ChunksAndStepsEqualOneShot) {
  for (const Mode mode : Modes()) {
    const Runner::Logits whole = OneShot(mode);
    ASSERT_TRUE(std::any_of(whole.logits.values.begin(), whole.logits.values.end(),
                            [](float x) { return x != 0; }));
    for (const int64_t chunk : {1, 2, 3, 5, 63, 127, 128, 129, 1000}) {
      Runner runner(*loaded_, kernels::BestPath(), chunk % 2 == 0 ? 2 : 1, chunk);
      const Runner::Logits chunked = Run(runner, std::ssize(tokens_), mode);
      EXPECT_TRUE(StartsWith(whole.logits, chunked.logits)) << "chunk " << chunk;
      EXPECT_TRUE(StartsWith(whole.mtp, chunked.mtp)) << "MTP, chunk " << chunk;
    }
    // A prompt, then tokens one by one.
    Runner runner(*loaded_, kernels::BestPath(), 2, 64);
    const Runner::Logits decoded = Run(runner, std::ssize(tokens_), mode, 131);
    EXPECT_TRUE(StartsWith(whole.logits, decoded.logits));
    EXPECT_TRUE(StartsWith(whole.mtp, decoded.mtp));
  }
}

TEST_P(Identity, PathsAndThreadsAreEqual) {
  // The scalar path is slow: a prefix past the first HCA block is enough for it.
  constexpr int64_t kPrefix = 140;
  for (const Mode mode : Modes()) {
    std::optional<Runner::Logits> of_family[2];
    for (const kernels::Path path : AvailablePaths()) {
      std::optional<Runner::Logits>& whole = of_family[kernels::IsTiled(path) ? 1 : 0];
      const kernels::Path fastest = FastestOfFamily(path);
      const bool is_plain = fastest == kernels::ReferenceOf(path);
      if (!whole.has_value())
        whole = OneShot(mode, fastest, is_plain ? kPrefix : std::ssize(tokens_));
      for (const int threads : {1, 2}) {
        Runner runner(*loaded_, path, threads, 50);
        const Runner::Logits own = Run(runner, kPrefix, mode, kPrefix - 4);
        EXPECT_TRUE(StartsWith(whole->logits, own.logits))
            << kernels::Name(path) << ", threads " << threads;
        EXPECT_TRUE(StartsWith(whole->mtp, own.mtp))
            << "MTP, " << kernels::Name(path) << ", threads " << threads;
      }
    }
  }
}

// One sequence of a batch: its tokens come in pieces of `piece`, from pass `start` on.
struct Member {
  std::vector<TokenId> tokens;
  int64_t piece;
  int64_t start;
  std::unique_ptr<model::Sequence> sequence;
  FloatTable logits;
};

TEST_P(Identity, BatchesEqualEachSequenceAlone) {
  const model::Config& config = loaded_->config();
  constexpr int64_t kTokensMax = 96;
  for (const Mode mode : Modes()) {
    Runner runner(*loaded_, kernels::BestPath(), 2, kTokensMax);
    model::Executor executor = runner.MakeExecutor(mode, kTokensMax);
    std::vector<Member> members;
    members.push_back({tokens_, 37, 0, nullptr, {}});
    members.push_back({MakeTokens(150, config.vocab_size, 2), 1, 1, nullptr, {}});
    members.push_back({MakeTokens(29, config.vocab_size, 3), 5, 2, nullptr, {}});
    members.push_back({MakeTokens(140, config.vocab_size, 4), 50, 3, nullptr, {}});
    for (Member& m : members) {
      m.sequence = std::make_unique<model::Sequence>(config, std::ssize(m.tokens), mode);
      m.logits = verify::MakeTable(std::ssize(m.tokens), config.vocab_size);
    }
    FloatTable rows = verify::MakeTable(kTokensMax, config.vocab_size);
    for (int64_t pass = 0;; ++pass) {
      std::vector<BatchItem> batch;
      std::vector<Member*> owners;
      for (Member& m : members) {
        const int64_t left = std::ssize(m.tokens) - m.sequence->length();
        if (left == 0 || pass < m.start) continue;
        const auto piece = std::span<const TokenId>(m.tokens).subspan(
            static_cast<size_t>(m.sequence->length()),
            static_cast<size_t>(std::min(left, m.piece)));
        batch.push_back({m.sequence.get(), piece, LogitRows::kAll});
        owners.push_back(&m);
      }
      if (batch.empty() && pass > 3) break;
      if (batch.empty()) continue;
      const int64_t count = model::Executor::LogitRowCount(batch);
      executor.Forward(batch, rows.view().rows_from(0, count));
      const float* from = rows.values.data();
      for (size_t i = 0; i < batch.size(); ++i) {
        const int64_t n = std::ssize(batch[i].tokens), end = owners[i]->sequence->length();
        std::copy_n(from, n * config.vocab_size, owners[i]->logits.view().row(end - n));
        from += n * config.vocab_size;
      }
    }
    for (const Member& m : members)
      EXPECT_TRUE(StartsWith(Alone(m.tokens, mode), m.logits)) << m.tokens.size() << " tokens";
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Identity, testing::ValuesIn(kModels),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace fathom
