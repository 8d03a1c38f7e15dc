// The same identity at the real widths of V4-Flash: one layer of each kind and the MTP block, few
// experts, random weights in the published formats (model/synth.h), about 800 MB of them.
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "base/folder_testing.h"
#include "base/thread_pool.h"
#include "model/config.h"
#include "model/synth.h"
#include "model/weights.h"
#include "verify/runner.h"

namespace fathom {
namespace {

using numerics::Mode;
using verify::Runner;

#ifdef FATHOM_SANITIZED
constexpr bool kIsSlowBuild = true;
#else
constexpr bool kIsSlowBuild = false;
#endif

model::Config FlashSlice() {
  model::Config config = model::FlashPreset();
  config.num_hidden_layers = 3;
  config.compress_ratios = {0, 4, 128, 0};
  config.num_hash_layers = 1;
  config.n_routed_experts = 8;
  config.vocab_size = 512;
  return config;
}

class FlashWidths : public testing::Test {
 protected:
  void SetUp() override {
    if (kIsSlowBuild)
      GTEST_SKIP() << "real widths under a sanitizer take longer than the whole suite may";
    ASSERT_TRUE(model::PrepareFolder(dir_, model::ExistingFolder::kReplace).ok());
    ThreadPool pool(2);
    const auto written =
        model::WriteSyntheticCheckpoint(FlashSlice(), 7, dir_, pool, [](int64_t, int64_t) {});
    ASSERT_TRUE(written.ok()) << written.error().message;
    auto loaded = model::LoadedModel::Load(dir_);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    loaded_.emplace(std::move(loaded).value());
  }

  struct Way {
    kernels::Path path;
    int threads;
    int64_t chunk;
    int64_t prompt_len;
  };
  // All logits of the first `count` tokens, main rows and then the MTP block's.
  std::vector<float> Logits(const Way& way, int64_t count, Mode mode) {
    std::vector<TokenId> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>(i * 37 % 512));
    std::vector<int64_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), int64_t{0});
    Runner runner(*loaded_, way.path, way.threads, way.chunk);
    const Runner::Logits logits = runner.Run(
        tokens, way.prompt_len,
        {positions, std::span<const int64_t>(positions).first(positions.size() - 1)}, mode);
    std::vector<float> all = logits.logits.values;
    all.insert(all.end(), logits.mtp.values.begin(), logits.mtp.values.end());
    return all;
  }

  static bool AreSame(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }

  const TempFolder folder_;
  const std::string dir_ = folder_ / "model";
  std::optional<model::LoadedModel> loaded_;
};

TEST_F(FlashWidths, ChunksThreadsAndPathsAreEqual) {
  const kernels::Path best = kernels::BestPath();
  // Past the first HCA block; steps stand for positions after the prompt.
  constexpr int64_t kTokens = 135;
  for (const Mode mode : {Mode::kOfficial, Mode::kPure}) {
    const std::vector<float> whole = Logits({best, 2, kTokens, kTokens}, kTokens, mode);
    EXPECT_TRUE(AreSame(whole, Logits({best, 1, 50, 130}, kTokens, mode)));
    EXPECT_TRUE(AreSame(whole, Logits({best, 2, 129, 129}, kTokens, mode)));
  }
  // The scalar path is slow: few tokens, and a step after them.
  constexpr int64_t kFew = 5;
  for (const Mode mode : {Mode::kOfficial, Mode::kPure}) {
    const std::vector<float> few = Logits({best, 2, 3, kFew}, kFew, mode);
    for (const auto path : {kernels::ReferenceOf(best), kernels::Path::kAvx2}) {
      if (!kernels::IsAvailable(path) || kernels::IsTiled(path) != kernels::IsTiled(best)) continue;
      EXPECT_TRUE(AreSame(few, Logits({path, 2, kFew, kFew}, kFew, mode))) << kernels::Name(path);
    }
  }
}

}  // namespace
}  // namespace fathom
