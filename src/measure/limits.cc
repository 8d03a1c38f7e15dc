#include "measure/limits.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/topology.h"

namespace fathom::measure {
namespace {

constexpr int64_t kPageBytes = 4096;
constexpr int64_t kMemoryBytesMin = int64_t{512} << 20;
// A scheduler takes a core away for a few milliseconds at a time; shorter samples often escape it.
constexpr double kSampleSeconds = 0.0025;
constexpr int64_t kSampleBytesMin = 4 << 20;

double SecondsOf(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Four times the last cache: of the samples that walk through it, none finds what the previous
// round left there.
int64_t MemorySize() {
  const int64_t wanted = std::max(kMemoryBytesMin, 4 * CacheBytes());
  return std::min(wanted, MemoryBytes() / 8) / kPageBytes * kPageBytes;
}

}  // namespace

double Percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = percent / 100 * static_cast<double>(values.size() - 1);
  return values[static_cast<size_t>(std::lround(place))];
}

double Median(std::vector<double> values) { return Percentile(std::move(values), 50); }

Limits::Limits(const kernels::Context& ctx, int64_t memory_bytes)
    : ctx_(ctx),
      memory_(memory_bytes == 0 ? MemorySize() : memory_bytes),
      sample_bytes_(kSampleBytesMin) {
  memory_.UseLargePages();
  const int64_t pages = memory_.bytes() / kPageBytes;
  // Every page its own: pages never written to are one page of zeros.
  kernels::ParallelFor(ctx_, pages, 256, [&](int64_t begin, int64_t end, int) {
    std::memset(memory_.data() + begin * kPageBytes, 1,
                static_cast<size_t>((end - begin) * kPageBytes));
  });
  for (int i = 0; i < 3; ++i) {
    const double rate = SampleRead();
    const int64_t bytes = static_cast<int64_t>(rate * kSampleSeconds) / kPageBytes * kPageBytes;
    sample_bytes_ = std::clamp(bytes, kSampleBytesMin, memory_.bytes() / 4);
    sample_bytes_ = std::max(sample_bytes_ / kPageBytes * kPageBytes, kPageBytes);
    SampleBF16();
    SampleF32();
  }
  // Those were for finding lengths.
  reads_.clear(), bf16_.clear(), f32_.clear();
}

double Limits::SampleRead() {
  double best = 0;
  for (int loop = 0; loop < kernels::kReadLoops; ++loop) {
    if (next_byte_ + sample_bytes_ > memory_.bytes()) next_byte_ = 0;
    const std::span<const std::byte> piece(memory_.data() + next_byte_,
                                           static_cast<size_t>(sample_bytes_));
    next_byte_ += sample_bytes_;
    const double seconds =
        SecondsOf([&] { kernels::ReadMemory(piece, static_cast<kernels::ReadLoop>(loop), ctx_); });
    best = std::max(best, static_cast<double>(sample_bytes_) / seconds);
  }
  reads_.push_back(best);
  return best;
}

double Limits::SamplePeak(kernels::Peak peak, int64_t& rounds) {
  int64_t operations = 0;
  const double seconds = SecondsOf([&] { operations = kernels::RunPeak(peak, rounds, ctx_); });
  // The next sample's length.
  const double next = static_cast<double>(rounds) * kSampleSeconds / seconds;
  rounds = std::max<int64_t>(1, static_cast<int64_t>(next));
  return static_cast<double>(operations) / seconds;
}

double Limits::SampleBF16() {
  bf16_.push_back(SamplePeak(kernels::Peak::kBF16, bf16_rounds_));
  return bf16_.back();
}

double Limits::SampleF32() {
  f32_.push_back(SamplePeak(kernels::Peak::kF32, f32_rounds_));
  return f32_.back();
}

}  // namespace fathom::measure
