// Core attention at the widths of V4-Flash over packed rows: one token and many, as a fraction of
// the BF16 peak of the same threads.
#include <benchmark/benchmark.h>

#include <cmath>
#include <random>
#include <vector>

#include "bench/peaks.h"
#include "kernels/sparse_attention.h"
#include "tensor/buffer.h"

namespace fathom {
namespace {

constexpr int64_t kHeads = 64, kDim = 512, kRotary = 64;

// One token's list of `rows` rows: 128 neighbours, the others anywhere in a cache of a million
// tokens. Arguments: threads, tokens of a pass, rows of a list.
void Attention(benchmark::State& state) {
  const int64_t tokens = state.range(1), rows = state.range(2), cached = 131072;
  ThreadPool pool(static_cast<int>(state.range(0)));
  kernels::Workspace workspace;
  const kernels::Context ctx{pool, workspace, kernels::BestPath(), numerics::Mode::kOfficial};
  const kernels::RowLayout layout =
      kernels::LayoutOf(kernels::RowKind::kLatent, kDim, kRotary, ctx.mode);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  // A few thousand different rows, repeated.
  tensor::RawBuffer cache(cached * layout.bytes());
  cache.UseLargePages();
  std::vector<float> row(kDim);
  for (int64_t i = 0; i < cached; ++i) {
    std::byte* out = cache.data() + i * layout.bytes();
    if (i >= 2048) {
      std::copy_n(cache.data() + i % 2048 * layout.bytes(), layout.bytes(), out);
      continue;
    }
    for (float& value : row) value = numerics::RoundToBF16(normal(random));
    kernels::EncodeRow(row, kernels::RowKind::kLatent, ctx.mode, layout, out);
  }
  std::vector<float> q(static_cast<size_t>(tokens * kHeads * kDim)), o(q.size());
  for (float& value : q) value = numerics::RoundToBF16(normal(random));
  const std::vector<float> sink(kHeads, 0.5f);
  std::vector<int64_t> picks(static_cast<size_t>(tokens * rows));
  for (int64_t& pick : picks) pick = static_cast<int64_t>(random() % (cached - 4096));
  const auto gather = [&](int64_t t, const std::byte** list) -> kernels::RowList {
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = i < 128 ? cached - 4096 + t + i : picks[static_cast<size_t>(t * rows + i)];
      list[i] = cache.data() + at * layout.bytes();
    }
    return {rows, 128, 0};
  };
  const auto run = [&] {
    kernels::SparseAttention({q.data(), tokens, kHeads * kDim}, kHeads, sink, 0.044f,
                             {layout, rows, gather}, {o.data(), tokens, kHeads * kDim}, ctx);
  };
  run();
  const double ops = 4.0 * static_cast<double>(kHeads * kDim * rows * tokens);
  for (auto _ : state) {
    const double peak = bench::PeakOps(bench::Peak::kBf16, pool);
    const double seconds = bench::QuietSeconds(tokens == 1 ? 300 : 20, run);
    state.counters["us_per_token"] = seconds * 1e6 / static_cast<double>(tokens);
    state.counters["gflops"] = ops / seconds / 1e9;
    state.counters["peak_gflops"] = peak / 1e9;
    state.counters["fraction"] = ops / seconds / peak;
  }
}
BENCHMARK(Attention)
    ->ArgNames({"threads", "tokens", "rows"})
    ->Args({1, 1, 640})
    ->Args({2, 1, 640})
    ->Args({2, 1, 8320})
    ->Args({1, 64, 640})
    ->Args({2, 64, 640})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fathom
