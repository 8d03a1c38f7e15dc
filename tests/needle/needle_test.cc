// Needles in a long context: tokens at random depths that the indexer must find again from the end,
// on a model built so that it must (needle_model.h), while memory stays flat but for the state.
//
// FATHOM_NEEDLE_TOKENS sets the length of the context: 32768 as a test, 1048576 by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <vector>

#include "base/thread_pool.h"
#include "model/forward.h"
#include "tests/needle/needle_model.h"

namespace fathom {
namespace {

using needle::kNeedles;
using needle::NeedleModel;

constexpr int64_t kChunk = 2048;

#ifdef FATHOM_SANITIZED
constexpr int64_t kDefaultTokens = 8192;
#else
constexpr int64_t kDefaultTokens = 32768;
#endif

int64_t ContextTokens() {
  const char* value = std::getenv("FATHOM_NEEDLE_TOKENS");
  return value == nullptr ? kDefaultTokens : std::atoll(value);
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * 4096;
}

uint64_t Next(uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state >> 33;
}

// What the CSA layer picks for each row of a pass.
class Picks : public model::Tap {
 public:
  void OnTensor(int64_t, std::string_view, tensor::MatrixView<const float>) override {}
  void OnPicks(int64_t layer, int64_t t, std::span<const int32_t> picks) override {
    if (layer == 0) rows[t] = {picks.begin(), picks.end()};
  }
  bool Has(int64_t row, int64_t block) const {
    const std::vector<int32_t>& picks = rows.at(row);
    return std::find(picks.begin(), picks.end(), block) != picks.end();
  }
  std::map<int64_t, std::vector<int32_t>> rows;
};

TEST(Needle, IsFoundAtAnyDepth) {
  const int64_t context = ContextTokens();
  ASSERT_GE(context, 4 * kChunk);
  const NeedleModel model(context);
  const int64_t hay = context - kNeedles - 1;
  uint64_t random = 1;
  std::vector<TokenId> tokens(static_cast<size_t>(hay));
  for (TokenId& token : tokens) token = static_cast<TokenId>(Next(random) % needle::kHayTokens);
  // One in each tenth of the context, so that no two share a block.
  std::vector<int64_t> place;
  for (int64_t i = 0; i < kNeedles; ++i) {
    const int64_t tenth = hay / kNeedles;
    place.push_back(i * tenth + 4 + static_cast<int64_t>(Next(random)) % (tenth - 8));
    tokens[static_cast<size_t>(place.back())] = model.needle(i);
  }

  ThreadPool pool;
  kernels::Workspace workspace;
  const kernels::Context ctx{pool, workspace, kernels::BestPath(), numerics::Mode::kOfficial};
  model::Executor executor(model.config(), model.weights(), {.batch_tokens_max = kChunk}, ctx);
  model::Sequence sequence(model.config(), context, ctx.mode);
  const auto start = std::chrono::steady_clock::now();
  int64_t resident_at_quarter = 0;
  for (int64_t at = 0; at < hay; at += kChunk) {
    const std::span<const TokenId> chunk(tokens.data() + at,
                                         static_cast<size_t>(std::min(kChunk, hay - at)));
    const model::BatchItem item{&sequence, chunk, model::LogitRows::kNone};
    executor.Forward({&item, 1}, {});
    if (at < hay / 4 && at + kChunk >= hay / 4) resident_at_quarter = ResidentBytes();
    if (at * 16 / hay != (at + kChunk) * 16 / hay) {
      std::printf("%8ld tokens %7.1f s, resident %6.1f MB\n", static_cast<long>(sequence.length()),
                  std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                  static_cast<double>(ResidentBytes()) / 1e6);
      std::fflush(stdout);
    }
  }
  // Of what grows, three quarters of the state and the memory for scores, which has a limit.
  constexpr int64_t kSlack = 16 << 20;
  const int64_t grown = ResidentBytes() - resident_at_quarter;
  std::printf("state %.1f MB, grown by %.1f MB over the last three quarters\n",
              static_cast<double>(sequence.bytes()) / 1e6, static_cast<double>(grown) / 1e6);
  EXPECT_LE(grown, sequence.bytes() * 3 / 4 + kSlack);

  // A token that asks nothing, then all questions.
  std::vector<TokenId> questions = {0};
  for (int64_t i = 0; i < kNeedles; ++i) questions.push_back(model.question(i));
  Picks picks;
  executor.set_tap(&picks);
  const model::BatchItem item{&sequence, questions, model::LogitRows::kNone};
  executor.Forward({&item, 1}, {});
  int64_t by_accident = 0;
  for (int64_t i = 0; i < kNeedles; ++i) {
    const int64_t block = place[static_cast<size_t>(i)] / 4;
    EXPECT_EQ(picks.rows.at(1 + i).front(), block)
        << "needle " << i << " at position " << place[static_cast<size_t>(i)];
    for (int64_t other = 0; other <= kNeedles; ++other)
      if (other != 1 + i && picks.Has(other, block)) ++by_accident;
  }
  // 32 of at least 2,000 blocks are picked: by chance some block of the needles is now and then.
  EXPECT_LE(by_accident, kNeedles);
}

}  // namespace
}  // namespace fathom
