// Row operations at the widths of V4-Flash (D 4096, S 4, H * C 64 * 512, F 2048, E 256), for one
// token and for a prompt chunk: bytes that must move per second. "reference" is the plain scalar
// code, which all paths equal bit for bit.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/experts.h"
#include "kernels/hyper_connection.h"
#include "kernels/pack.h"
#include "kernels/rms_norm.h"
#include "kernels/rotate.h"
#include "kernels/row_ops.h"
#include "numerics/formats.h"

namespace fathom::kernels {
namespace {

constexpr int64_t kDims = 4096, kStreams = 4, kHeads = 64, kHeadDim = 512, kPairs = 32;
constexpr int64_t kWidth = 2048, kExperts = 256, kActive = 6;

struct Bench {
  explicit Bench(const benchmark::State& state)
      : tokens(state.range(0)),
        pool(static_cast<int>(state.range(2))),
        ctx{pool, workspace, static_cast<Path>(state.range(1)), numerics::Mode::kOfficial} {}
  tensor::MatrixView<float> Matrix(int64_t cols) {
    memory.emplace_back(static_cast<size_t>(tokens * cols));
    uint32_t state = 1;
    for (float& v : memory.back()) {
      state = state * 1664525 + 1013904223;
      v = numerics::RoundToBF16(static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f);
    }
    return {memory.back().data(), tokens, cols};
  }
  void Report(benchmark::State& state, int64_t bytes_per_token) {
    state.SetBytesProcessed(state.iterations() * tokens * bytes_per_token);
    state.SetLabel(std::string(Name(ctx.path)));
  }

  int64_t tokens;
  ThreadPool pool;
  Workspace workspace;
  Context ctx;
  std::vector<std::vector<float>> memory;
};

void Norm(benchmark::State& state) {
  Bench b(state);
  const auto x = b.Matrix(kDims), y = b.Matrix(kDims);
  const std::vector<float> weight(kDims, 1.5f);
  for (auto _ : state) RmsNorm(x, weight, 1e-6f, y, b.ctx);
  b.Report(state, 8 * kDims);
}

void Heads(benchmark::State& state) {
  Bench b(state);
  const auto x = b.Matrix(kHeads * kHeadDim);
  for (auto _ : state) NormalizeHeads(x, kHeadDim, 1e-6f, b.ctx);
  b.Report(state, 8 * kHeads * kHeadDim);
}

void RotateQueries(benchmark::State& state) {
  Bench b(state);
  const auto x = b.Matrix(kHeads * kHeadDim), angles = b.Matrix(kPairs);
  for (auto _ : state) Rotate(x, kHeadDim, angles, angles, Direction::kForward, b.ctx);
  b.Report(state, 8 * kHeads * 2 * kPairs);
}

struct Hyper {
  Hyper() : fn(24 * kStreams * kDims, 1e-3f), base(24, 0.1f), scale(3, 0.5f) {
    view = {tensor::Format::kF32,
            reinterpret_cast<const std::byte*>(fn.data()),
            nullptr,
            24,
            kStreams * kDims,
            0};
  }
  std::vector<float> fn, base, scale;
  QuantView view;
  HyperConnection hc{view, base, scale, kStreams, 20, 1e-6f, 1e-6f};
};

void StreamsPre(benchmark::State& state) {
  Bench b(state);
  const Hyper hyper;
  const auto x = b.Matrix(kStreams * kDims), y = b.Matrix(kDims);
  const auto post = b.Matrix(kStreams), comb = b.Matrix(kStreams * kStreams);
  for (auto _ : state) HyperConnectionPre(x, hyper.hc, y, post, comb, b.ctx);
  b.Report(state, 4 * (kStreams + 1) * kDims);
}

// Without the product with fn.
void StreamsPreRow(benchmark::State& state) {
  Bench b(state);
  const auto x = b.Matrix(kStreams * kDims), y = b.Matrix(kDims);
  const RowOps& ops = RowOpsOf(b.ctx.path);
  const float pre[kStreams] = {0.1f, 0.2f, 0.3f, 0.4f};
  for (auto _ : state) {
    ForRows(b.ctx, b.tokens, kStreams * kDims, [&](int64_t t) {
      y.row(t)[0] = ops.sum_of_squares(x.row(t), x.cols);
      benchmark::ClobberMemory();
      ops.mix_streams({x.row(t), kStreams, kDims, pre, true, y.row(t)});
    });
  }
  b.Report(state, 4 * (kStreams + 1) * kDims);
}

void Split(benchmark::State& state) {
  Bench b(state);
  const RowOps& ops = RowOpsOf(b.ctx.path);
  std::vector<float> m(16);
  for (auto _ : state) {
    for (int64_t t = 0; t < b.tokens; ++t) {
      for (size_t i = 0; i < 16; ++i) m[i] = 0.1f + static_cast<float>((i * 7) % 16) * 0.05f;
      ops.exp_row(m.data(), 16);
      ops.sinkhorn(m.data(), 4, 20, 1e-6f);
    }
  }
  b.Report(state, 96);
}

void StreamsPost(benchmark::State& state) {
  Bench b(state);
  const auto x = b.Matrix(kStreams * kDims), y = b.Matrix(kDims);
  const auto post = b.Matrix(kStreams), comb = b.Matrix(kStreams * kStreams);
  // Doubly stochastic, so that the streams neither grow nor vanish over the iterations.
  std::fill_n(comb.data, b.tokens * 16, 0.25f);
  std::fill_n(post.data, b.tokens * 4, 0.001f);
  for (auto _ : state) HyperConnectionPost(y, post, comb, x, b.ctx);
  b.Report(state, 4 * (2 * kStreams + 1) * kDims);
}

// One expert's hidden row.
void SwiGluRows(benchmark::State& state) {
  Bench b(state);
  const auto gate = b.Matrix(kWidth), up = b.Matrix(kWidth), out = b.Matrix(kWidth);
  const RowOps& ops = RowOpsOf(b.ctx.path);
  for (auto _ : state)
    ForRows(b.ctx, b.tokens, kWidth, [&](int64_t t) {
      ops.swiglu({gate.row(t), up.row(t), kWidth, 7.0f, 0.5f, true, out.row(t)});
    });
  b.Report(state, 12 * kWidth);
}

void AddRows(benchmark::State& state) {
  Bench b(state);
  const auto x = b.Matrix(kDims), y = b.Matrix(kDims);
  const RowOps& ops = RowOpsOf(b.ctx.path);
  for (auto _ : state)
    ForRows(b.ctx, b.tokens, kDims,
            [&](int64_t t) { ops.add_row(x.row(t), kDims, true, y.row(t)); });
  b.Report(state, 12 * kDims);
}

void RoundRows(benchmark::State& state) {
  Bench b(state);
  const auto x = b.Matrix(kDims);
  const RowOps& ops = RowOpsOf(b.ctx.path);
  for (auto _ : state)
    ForRows(b.ctx, b.tokens, kDims, [&](int64_t t) { ops.round_row(x.row(t), kDims); });
  b.Report(state, 8 * kDims);
}

void Gate(benchmark::State& state) {
  Bench b(state);
  const auto x = b.Matrix(kExperts);
  const std::vector<float> original(x.data, x.data + x.rows * x.cols);
  for (auto _ : state) {
    std::memcpy(x.data, original.data(), original.size() * sizeof(float));
    GateScores(x, b.ctx);
  }
  b.Report(state, 8 * kExperts);
}

void Select(benchmark::State& state) {
  Bench b(state);
  const auto x = b.Matrix(kExperts);
  const std::vector<float> bias(kExperts, 0.1f);
  std::vector<int32_t> experts(kActive);
  for (auto _ : state)
    for (int64_t t = 0; t < b.tokens; ++t) SelectExperts(x.row_span(t), bias, experts);
  b.Report(state, 8 * kExperts);
}

void Pack(benchmark::State& state, tensor::Format format) {
  Bench b(state);
  const auto x = b.Matrix(kDims);
  const RowOps& ops = RowOpsOf(b.ctx.path);
  std::vector<uint16_t> packed(static_cast<size_t>(b.tokens * kDims));
  const bool quantize = format != tensor::Format::kBF16;
  for (auto _ : state) {
    ForRows(b.ctx, b.tokens, kDims, [&](int64_t t) {
      ops.pack({x.row(t), kDims, format, quantize, packed.data() + t * kDims});
    });
  }
  b.Report(state, 6 * kDims);
}
void PackBF16(benchmark::State& state) { Pack(state, tensor::Format::kBF16); }
void PackFp8(benchmark::State& state) { Pack(state, tensor::Format::kFp8); }
void PackFp4(benchmark::State& state) { Pack(state, tensor::Format::kFp4); }

// 64 index heads of 128.
void IndexQueries(benchmark::State& state) {
  Bench b(state);
  const auto x = b.Matrix(64 * 128);
  const RowOps& ops = RowOpsOf(b.ctx.path);
  for (auto _ : state) {
    ForRows(b.ctx, b.tokens, 64 * 128, [&](int64_t t) {
      for (int64_t h = 0; h < 64; ++h) ops.hadamard(x.row(t) + 128 * h, 128);
      ops.round_row(x.row(t), 64 * 128);
      ops.simulate_e2m1(x.row(t), 64 * 128);
    });
  }
  b.Report(state, 8 * 64 * 128);
}

void Cases(benchmark::internal::Benchmark* bench) {
  for (const int64_t tokens : {1, 2048})
    for (const Path path : {Path::kReference, Path::kAvx2, Path::kAvx512})
      if (IsAvailable(path)) bench->Args({tokens, static_cast<int64_t>(path), tokens == 1 ? 1 : 2});
  bench->MinTime(0.05)->UseRealTime();
}

BENCHMARK(Norm)->Apply(Cases);
BENCHMARK(Heads)->Apply(Cases);
BENCHMARK(RotateQueries)->Apply(Cases);
BENCHMARK(StreamsPre)->Apply(Cases);
BENCHMARK(StreamsPreRow)->Apply(Cases);
BENCHMARK(Split)->Apply(Cases);
BENCHMARK(StreamsPost)->Apply(Cases);
BENCHMARK(SwiGluRows)->Apply(Cases);
BENCHMARK(AddRows)->Apply(Cases);
BENCHMARK(RoundRows)->Apply(Cases);
BENCHMARK(Gate)->Apply(Cases);
BENCHMARK(Select)->Apply(Cases);
BENCHMARK(PackBF16)->Apply(Cases);
BENCHMARK(PackFp8)->Apply(Cases);
BENCHMARK(PackFp4)->Apply(Cases);
BENCHMARK(IndexQueries)->Apply(Cases);

}  // namespace
}  // namespace fathom::kernels
