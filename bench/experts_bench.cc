// Routed and shared experts at the shape of V4-Flash: tokens that choose 6 of 24 networks, from one
// token to a prompt's chunk, beside the machine's limits. Bytes are those of the networks that were
// chosen, each once.
//
//   experts_bench --benchmark_filter='Routed.*tokens:1/'
#include <algorithm>

#include "bench/beside_limits.h"
#include "kernels/experts.h"
#include "numerics/formats.h"

namespace fathom::bench {
namespace {

using tensor::Format;

// Ref: model.md 3.1.
constexpr int64_t kHidden = 4096;
constexpr int64_t kWidth = 2048;
constexpr int64_t kActive = 6;
constexpr float kLimit = 10;
constexpr int64_t kExperts = 24;

kernels::ExpertView Expert(Format format, int64_t i) {
  return {Weights().Matrix(format, kWidth, kHidden, 3 * i),
          Weights().Matrix(format, kHidden, kWidth, 3 * i + 1),
          Weights().Matrix(format, kWidth, kHidden, 3 * i + 2)};
}

int64_t BytesOf(const kernels::ExpertView& expert) {
  return expert.w1.bytes() + expert.w2.bytes() + expert.w3.bytes();
}

struct Inputs {
  explicit Inputs(int64_t tokens) : x(tokens * kHidden), y(tokens * kHidden) {
    Random random(3);
    for (int64_t i = 0; i < x.size(); ++i) x[i] = numerics::RoundToBF16(random.Signed());
  }
  tensor::Buffer<float> x, y;
};

void Routed(benchmark::State& state, Format format) {
  const int64_t tokens = state.range(0);
  Machine& machine = MachineOf(state.range(1));
  const Inputs inputs(tokens);
  std::vector<kernels::ExpertView> experts;
  for (int64_t i = 0; i < kExperts; ++i) experts.push_back(Expert(format, i));
  const tensor::Buffer<int32_t> chosen(tokens * kActive);
  const tensor::Buffer<float> weights(tokens * kActive);
  std::vector<bool> is_read(kExperts);
  Random random(4);
  const auto choose = [&] {
    std::fill(is_read.begin(), is_read.end(), false);
    for (int64_t t = 0; t < tokens; ++t) {
      // Six in a row, from anywhere: different ones, and as likely as any other.
      const int64_t first = static_cast<int64_t>(random.Bits() % kExperts);
      for (int64_t a = 0; a < kActive; ++a) {
        const int64_t expert = (first + a) % kExperts;
        chosen[t * kActive + a] = static_cast<int32_t>(expert);
        weights[t * kActive + a] = 0.25f;
        is_read[static_cast<size_t>(expert)] = true;
      }
      std::sort(chosen.data() + t * kActive, chosen.data() + (t + 1) * kActive);
    }
  };
  // With one token the choice moves on at each call, so that no network is found in a cache.
  choose();
  const int64_t read = std::count(is_read.begin(), is_read.end(), true);
  const Work work{read * BytesOf(experts[0]), 2 * tokens * kActive * 3 * kHidden * kWidth};
  RunBesideLimits(state, machine, work, [&] {
    if (tokens == 1) choose();
    kernels::RoutedExperts(inputs.x.matrix(tokens, kHidden), chosen.matrix(tokens, kActive),
                           weights.matrix(tokens, kActive), experts, kLimit,
                           inputs.y.matrix(tokens, kHidden), machine.ctx);
  });
  state.counters["networks"] = static_cast<double>(read);
}

void Shared(benchmark::State& state) {
  const int64_t tokens = state.range(0);
  Machine& machine = MachineOf(state.range(1));
  const Inputs inputs(tokens);
  int64_t next = 0;
  const Work work{BytesOf(Expert(Format::kFp8, 0)), 2 * tokens * 3 * kHidden * kWidth};
  RunBesideLimits(state, machine, work, [&] {
    kernels::SharedExpert(inputs.x.matrix(tokens, kHidden), Expert(Format::kFp8, next++), kLimit,
                          inputs.y.matrix(tokens, kHidden), machine.ctx);
  });
}

void Register(const char* name, void (*run)(benchmark::State&)) {
  const int threads = ThreadPool(0).threads();
  for (const int64_t tokens : {1, 2, 4, 8, 16, 64, 512, 2048}) {
    auto* bench = benchmark::RegisterBenchmark(name, run);
    bench->ArgNames({"tokens", "threads"})->UseManualTime()->Unit(benchmark::kMicrosecond);
    bench->MinTime(tokens >= 64 ? 1.0 : 0.2);
    bench->Args({tokens, 1});
    if (threads > 1) bench->Args({tokens, threads});
  }
}

[[maybe_unused]] const bool registered = [] {
  Register("RoutedFp4", [](benchmark::State& state) { Routed(state, Format::kFp4); });
  Register("RoutedFp8", [](benchmark::State& state) { Routed(state, Format::kFp8); });
  Register("SharedFp8", Shared);
  return true;
}();

}  // namespace
}  // namespace fathom::bench
