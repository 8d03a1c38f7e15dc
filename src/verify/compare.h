// Differences between two tables of numbers, as the limits of recorded data are stated in.
#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace fathom::verify {

using tensor::MatrixView;

// Over all rows and columns of two matrices of one shape.
struct Statistics {
  int64_t rows = 0;
  double mean = 0;  // of |a - b|
  double p99 = 0;   // 99th percentile of |a - b|, interpolated between neighbours
  double max = 0;
  int64_t top1_differ = 0;  // rows whose largest entries (first of equals) stand at other places
  double top1_agree() const {
    return rows == 0 ? 1 : 1 - static_cast<double>(top1_differ) / static_cast<double>(rows);
  }
};
// A NaN in a makes mean, p99 and max NaN.
Statistics Compare(MatrixView<const float> a, MatrixView<const float> b);

// The largest |a - b|; NaN if there is one in a or b.
double MaxDifference(MatrixView<const float> a, MatrixView<const float> b);

// ||a - b|| / ||b||, Euclidean.
double RelativeError(MatrixView<const float> a, MatrixView<const float> b);

// The first largest entry.
int64_t ArgMax(const float* values, int64_t count);

// Steps between two BF16 values on their number line; values that are no BF16 values are measured
// by their upper halves and count one step more. Equal NaNs are 0 apart.
int64_t Bf16Steps(float a, float b);

}  // namespace fathom::verify
