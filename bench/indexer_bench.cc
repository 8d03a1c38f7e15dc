// Index scores and the selection at the widths of V4-Flash, 262,144 keys (a million tokens), as a
// fraction of the int8 peak of the same threads.
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "bench/peaks.h"
#include "kernels/indexer.h"

namespace fathom {
namespace {

constexpr int64_t kHeads = 64, kDim = 128, kTopk = 512;

// Packed rows of normal values.
std::vector<std::byte> Rows(int64_t count, const kernels::RowLayout& layout, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<std::byte> rows(static_cast<size_t>(count * layout.bytes()));
  std::vector<float> row(kDim);
  for (int64_t i = 0; i < count; ++i) {
    std::byte* out = rows.data() + i * layout.bytes();
    if (i >= 8192) {
      std::copy_n(rows.data() + i % 8191 * layout.bytes(), layout.bytes(), out);
      continue;
    }
    for (float& value : row) value = normal(random);
    kernels::EncodeRow(row, kernels::RowKind::kIndex, numerics::Mode::kOfficial, layout, out);
  }
  return rows;
}

// Arguments: threads, queries of a pass, keys.
void Select(benchmark::State& state) {
  const int64_t count = state.range(1), keys = state.range(2);
  ThreadPool pool(static_cast<int>(state.range(0)));
  kernels::Workspace workspace;
  const kernels::Context ctx{pool, workspace, kernels::BestPath(), numerics::Mode::kOfficial};
  const kernels::RowLayout layout = kernels::LayoutOf(kernels::RowKind::kIndex, kDim, 0, ctx.mode);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const std::vector<std::byte> cache = Rows(keys, layout, random);
  const std::vector<std::byte> q = Rows(count * kHeads, layout, random);
  std::vector<float> weights(static_cast<size_t>(count * kHeads));
  for (float& weight : weights) weight = numerics::RoundToBF16(normal(random));
  std::vector<int32_t> picks(static_cast<size_t>(count * kTopk));
  std::vector<kernels::IndexQuery> queries;
  for (int64_t i = 0; i < count; ++i)
    queries.push_back({q.data() + i * kHeads * layout.bytes(),
                       weights.data() + i * kHeads,
                       {cache.data(), layout},
                       keys,
                       picks.data() + i * kTopk});
  const auto run = [&] { kernels::SelectBlocks(queries, kHeads, kTopk, ctx); };
  run();
  const double ops = 2.0 * static_cast<double>(kHeads * kDim * keys * count);
  for (auto _ : state) {
    const double peak = bench::PeakOps(bench::Peak::kInt8, pool);
    const double seconds = bench::QuietSeconds(keys * count < 100000 ? 300 : 40, run);
    state.counters["ms_per_query"] = seconds * 1e3 / static_cast<double>(count);
    state.counters["gops"] = ops / seconds / 1e9;
    state.counters["peak_gops"] = peak / 1e9;
    state.counters["fraction"] = ops / seconds / peak;
  }
}
BENCHMARK(Select)
    ->ArgNames({"threads", "queries", "keys"})
    ->Args({1, 1, 262144})
    ->Args({2, 1, 262144})
    ->Args({2, 8, 262144})
    ->Args({2, 1, 1024})
    ->Args({2, 64, 1024})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

// Exact selection alone; one thread. Argument: 0 distinct scores, 1 mostly zeros.
void Top(benchmark::State& state) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> scores(262144);
  for (float& score : scores)
    score =
        state.range(0) == 1 && random() % 1000 != 0 ? 0.0f : numerics::RoundToBF16(normal(random));
  std::vector<int32_t> picks(kTopk);
  std::vector<uint64_t> scratch(scores.size());
  for (auto _ : state) {
    const double seconds = bench::QuietSeconds(
        300, [&] { kernels::SelectTop(scores, picks, scratch, kernels::BestPath()); });
    state.counters["us"] = seconds * 1e6;
  }
}
BENCHMARK(Top)->Arg(0)->Arg(1)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fathom
