// What the machine reaches when it does nothing but read, or nothing but multiply: the denominators
// of every figure. Another program may take the memory or a core at any moment, so a sample takes
// milliseconds, is taken right beside what it is compared with, and the best of several loops
// counts. Ref: kernels.md rule 9.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/context.h"
#include "kernels/limits.h"
#include "tensor/buffer.h"

namespace fathom::measure {

// The value that a share of `percent` of the values does not exceed; 0 of none.
double Percentile(std::vector<double> values, double percent);
double Median(std::vector<double> values);

class Limits {
 public:
  // Allocates and touches so much memory, 0: several times the size of the last cache. It lies in
  // large pages where the system has them. Keeps the context.
  explicit Limits(const kernels::Context& ctx, int64_t memory_bytes = 0);

  // One sample: bytes a second of the best read loop, or operations a second. On all threads of the
  // context.
  double SampleRead();
  double SampleBF16();
  double SampleF32();

  // The 90th percentile of the samples so far: what the machine does when it is left alone.
  double read_bytes_s() const { return Percentile(reads_, 90); }
  double bf16_flops() const { return Percentile(bf16_, 90); }
  double f32_flops() const { return Percentile(f32_, 90); }

 private:
  double SamplePeak(kernels::Peak peak, int64_t& rounds);

  kernels::Context ctx_;
  tensor::RawBuffer memory_;
  int64_t sample_bytes_;
  int64_t next_byte_ = 0;
  int64_t bf16_rounds_ = 1000;
  int64_t f32_rounds_ = 1000;
  std::vector<double> reads_, bf16_, f32_;
};

}  // namespace fathom::measure
