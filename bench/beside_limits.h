// For the benchmarks: a kernel timed beside samples of the machine's limits, and weights larger
// than any cache to run it on.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/thread_pool.h"
#include "kernels/context.h"
#include "measure/limits.h"
#include "tensor/buffer.h"
#include "tensor/view.h"

namespace fathom::bench {

using Random = SplitMix64;

// Threads, scratch memory and limits for one number of threads; made once, because the memory that
// the limits read is large.
struct Machine {
  explicit Machine(int threads)
      : pool(threads),
        ctx{pool, workspace, kernels::BestPath(), numerics::Mode::kOfficial},
        limits(ctx) {}

  ThreadPool pool;
  kernels::Workspace workspace;
  kernels::Context ctx;
  measure::Limits limits;
};

inline Machine& MachineOf(int64_t threads) {
  static std::unique_ptr<Machine> machine;
  if (machine == nullptr || machine->pool.threads() != threads) {
    machine.reset();
    machine = std::make_unique<Machine>(static_cast<int>(threads));
  }
  return *machine;
}

// Random matrices of one format and shape, as many as it takes to be read from memory again when
// their turn comes. Their bytes are shared: the matrices of all benchmarks lie in one pool.
class WeightPool {
 public:
  static constexpr int64_t kPoolBytes = int64_t{384} << 20;

  // Matrix number `i` (any) of the shape.
  tensor::QuantView Matrix(tensor::Format format, int64_t rows, int64_t cols, int64_t i) const {
    tensor::QuantView w{format, nullptr, nullptr, rows, cols};
    const int64_t bytes = (rows * w.row_bytes() + 4095) / 4096 * 4096;
    w.data = Values(format).data() + i % (kPoolBytes / bytes) * bytes;
    w.scale = scales_.data();
    FATHOM_CHECK_LE(w.bytes() - rows * w.row_bytes(), scales_.size());
    return w;
  }

 private:
  // Random codes are good FP4, but random bits are bad floats and, rarely, NaN as FP8: the pool is
  // rewritten when the format changes.
  const tensor::RawBuffer& Values(tensor::Format format) const {
    if (memory_.bytes() == 0) {
      memory_ = tensor::RawBuffer(kPoolBytes);
      memory_.UseLargePages();  // as a loader's copy, and mapped files where the system has them
      scales_ = tensor::Buffer<uint8_t>(8 << 20);
      for (int64_t i = 0; i < scales_.size(); ++i) scales_[i] = static_cast<uint8_t>(120 + i % 8);
    } else if (format == format_) {
      return memory_;
    }
    format_ = format;
    Random random(1);
    for (int64_t i = 0; i < kPoolBytes; i += 8) {
      uint64_t bits = random.Bits();
      // Exponents around that of 1: 0x3f80 is BF16's. E4M3 codes are normal but for one in 8,192,
      // as in Gaussian weights whose largest of a block is 448.
      if (format == tensor::Format::kBF16)
        bits = (bits & 0x807f807f807f807fu) | 0x3f003f003f003f00u;
      if (format == tensor::Format::kFp8) {
        bits = (bits & 0x9f9f9f9f9f9f9f9fu) | 0x2020202020202020u;
        if (i % 8192 == 0) bits &= ~uint64_t{0xff};
      }
      std::memcpy(memory_.data() + i, &bits, 8);
    }
    return memory_;
  }

  mutable tensor::Format format_ = tensor::Format::kF32;
  mutable tensor::RawBuffer memory_;
  mutable tensor::Buffer<uint8_t> scales_;
};

inline WeightPool& Weights() {
  static WeightPool pool;
  return pool;
}

// One call's bytes and operations.
struct Work {
  int64_t bytes = 0;
  int64_t operations = 0;
};

// Times `call`, a sample of each limit between any two calls. Reported are medians: bytes and
// operations a second, and their fractions of what the neighbouring samples reached.
template <typename Call>
void RunBesideLimits(benchmark::State& state, Machine& machine, const Work& work, Call call) {
  std::vector<double> read_fractions, peak_fractions, rates, flops;
  call();
  double read = machine.limits.SampleRead(), peak = machine.limits.SampleBF16();
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    call();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    state.SetIterationTime(seconds);
    const double next_read = machine.limits.SampleRead(), next_peak = machine.limits.SampleBF16();
    rates.push_back(static_cast<double>(work.bytes) / seconds);
    flops.push_back(static_cast<double>(work.operations) / seconds);
    read_fractions.push_back(rates.back() / std::max(read, next_read));
    peak_fractions.push_back(flops.back() / std::max(peak, next_peak));
    read = next_read, peak = next_peak;
  }
  state.counters["GB/s"] = measure::Median(rates) * 1e-9;
  state.counters["of_read_%"] = measure::Median(read_fractions) * 100;
  state.counters["GFLOP/s"] = measure::Median(flops) * 1e-9;
  state.counters["of_BF16_peak_%"] = measure::Median(peak_fractions) * 100;
}

}  // namespace fathom::bench
