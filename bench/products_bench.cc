// Matrix products at the shapes of V4-Flash, from one row (decoding) to 512 (a prompt), beside the
// machine's read bandwidth and BF16 peak, which are sampled between the calls. A call walks through
// 8 matrices, 4-67 MB each, of a pool larger than the caches.
//
//   products_bench --benchmark_filter='Fp8.*rows:1/.*threads:2'
#include "bench/beside_limits.h"
#include "kernels/linear.h"
#include "numerics/formats.h"

namespace fathom::bench {
namespace {

using kernels::Activation;
using kernels::Output;
using tensor::Format;

struct Shape {
  const char* name;
  Format format;
  Activation activation;
  int64_t outputs;
  int64_t inputs;
  numerics::Mode mode = numerics::Mode::kOfficial;
};

// Ref: model.md 3.1, 4.2.
constexpr Shape kShapes[] = {
    {"Fp8/wq_a", Format::kFp8, Activation::kQuantized, 1024, 4096},
    {"Fp8/wq_b", Format::kFp8, Activation::kQuantized, 32768, 1024},
    {"Fp8/wo_b", Format::kFp8, Activation::kQuantized, 4096, 8192},
    {"Fp8/wo_a_group", Format::kFp8, Activation::kBF16, 1024, 4096},
    {"Fp4/expert_up", Format::kFp4, Activation::kQuantized, 2048, 4096},
    {"Fp4/expert_down", Format::kFp4, Activation::kQuantized, 4096, 2048},
    {"Fp4Fast/expert_up", Format::kFp4, Activation::kQuantized, 2048, 4096, numerics::Mode::kFast},
    {"Fp4Fast/expert_down", Format::kFp4, Activation::kQuantized, 4096, 2048,
     numerics::Mode::kFast},
    {"BF16/compressor", Format::kBF16, Activation::kBF16, 1024, 4096},
    {"BF16/head_piece", Format::kBF16, Activation::kBF16, 8192, 4096},
};

void Product(benchmark::State& state, const Shape& shape) {
  const int64_t rows = state.range(0);
  Machine& machine = MachineOf(state.range(1));
  // Many rows take long enough one matrix at a time.
  const int64_t matrices = rows >= 64 ? 1 : 8;
  Random random(2);
  tensor::Buffer<float> x(rows * shape.inputs), y(rows * shape.outputs);
  x.UseLargePages(), y.UseLargePages();  // as the model's activations
  for (int64_t i = 0; i < x.size(); ++i) x[i] = numerics::RoundToBF16(random.Signed());
  const int64_t bytes = Weights().Matrix(shape.format, shape.outputs, shape.inputs, 0).bytes();
  kernels::Context ctx = machine.ctx;
  ctx.mode = shape.mode;
  int64_t next = 0;
  RunBesideLimits(
      state, machine, {matrices * bytes, matrices * 2 * rows * shape.outputs * shape.inputs}, [&] {
        for (int64_t i = 0; i < matrices; ++i)
          kernels::Linear(x.matrix(rows, shape.inputs),
                          Weights().Matrix(shape.format, shape.outputs, shape.inputs, next++),
                          shape.activation, Output::kBF16, y.matrix(rows, shape.outputs), ctx);
      });
}

void RegisterAll() {
  const int threads = ThreadPool(0).threads();
  for (const Shape& shape : kShapes) {
    for (const int64_t rows : {1, 2, 4, 8, 16, 64, 512}) {
      auto* bench = benchmark::RegisterBenchmark(
          shape.name, [&shape](benchmark::State& state) { Product(state, shape); });
      bench->ArgNames({"rows", "threads"})->UseManualTime()->Unit(benchmark::kMicrosecond);
      bench->MinTime(rows >= 64 ? 1.0 : 0.2);
      bench->Args({rows, 1});
      if (threads > 1) bench->Args({rows, threads});
    }
  }
}

[[maybe_unused]] const bool registered = (RegisterAll(), true);

}  // namespace
}  // namespace fathom::bench
