#include "verify/compare.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace fathom::verify {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void CheckShapes(MatrixView<const float> a, MatrixView<const float> b) {
  FATHOM_CHECK_EQ(a.rows, b.rows);
  FATHOM_CHECK_EQ(a.cols, b.cols);
}

// Of sorted values, between the two nearest ranks.
double Percentile(const std::vector<double>& sorted, double share) {
  const double rank = share * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (rank - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Statistics Compare(MatrixView<const float> a, MatrixView<const float> b) {
  CheckShapes(a, b);
  Statistics result{.rows = a.rows};
  std::vector<double> differences;
  differences.reserve(static_cast<size_t>(a.rows * a.cols));
  bool has_nan = false;
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.cols; ++j) {
      const double d = std::fabs(static_cast<double>(a.row(i)[j]) - b.row(i)[j]);
      has_nan = has_nan || std::isnan(d);
      differences.push_back(d);
    }
    result.top1_differ += ArgMax(a.row(i), a.cols) != ArgMax(b.row(i), b.cols);
  }
  if (differences.empty()) return result;
  if (has_nan) {
    result.mean = result.p99 = result.max = kNaN;
    return result;
  }
  for (const double d : differences) result.mean += d;
  result.mean /= static_cast<double>(differences.size());
  std::sort(differences.begin(), differences.end());
  result.p99 = Percentile(differences, 0.99);
  result.max = differences.back();
  return result;
}

double MaxDifference(MatrixView<const float> a, MatrixView<const float> b) {
  CheckShapes(a, b);
  double max = 0;
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.cols; ++j) {
      const double d = std::fabs(static_cast<double>(a.row(i)[j]) - b.row(i)[j]);
      if (std::isnan(d)) return kNaN;
      max = std::max(max, d);
    }
  }
  return max;
}

double RelativeError(MatrixView<const float> a, MatrixView<const float> b) {
  CheckShapes(a, b);
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.cols; ++j) {
      const double x = a.row(i)[j], y = b.row(i)[j];
      difference += (x - y) * (x - y);
      norm += y * y;
    }
  }
  if (difference == 0) return 0;
  return std::sqrt(difference / norm);
}

int64_t ArgMax(const float* values, int64_t count) {
  int64_t best = 0;
  for (int64_t i = 1; i < count; ++i)
    if (values[i] > values[best]) best = i;
  return best;
}

int64_t Bf16Steps(float a, float b) {
  if (std::isnan(a) || std::isnan(b))
    return std::isnan(a) == std::isnan(b) ? 0 : std::numeric_limits<int64_t>::max();
  const auto place = [](float x) {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    const int64_t magnitude = (bits & 0x7fffffffu) >> 16;
    return (bits >> 31) != 0 ? -magnitude : magnitude;
  };
  const auto is_bf16 = [](float x) { return (std::bit_cast<uint32_t>(x) & 0xffffu) == 0; };
  const int64_t steps = std::abs(place(a) - place(b));
  return a != b && !(is_bf16(a) && is_bf16(b)) ? steps + 1 : steps;
}

}  // namespace fathom::verify
