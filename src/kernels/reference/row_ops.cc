// The row operations of the reference path: the definition of their results, one value at a time.
#include "kernels/row_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/experts.h"
#include "kernels/int8_stretch.h"
#include "kernels/reference/dot.h"
#include "numerics/blocks.h"
#include "numerics/formats.h"
#include "numerics/functions.h"

namespace fathom::kernels {
namespace {

float Rounded(float value, bool round) { return round ? numerics::RoundToBF16(value) : value; }

void ScaleRow(const float* x, const float* weight, float scale, int64_t n, bool round, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = Rounded(weight[i] * (x[i] * scale), round);
}

void NormalizeHead(float* x, int64_t n, float eps, bool round) {
  float lanes[64] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % 64] += Rounded(x[i] * x[i], round);
  for (int l = 0; l < 16; ++l)
    lanes[l] = (lanes[l] + lanes[16 + l]) + (lanes[32 + l] + lanes[48 + l]);
  const float mean = Rounded(reference::Fold16(lanes) / static_cast<float>(n), round);
  const float scale = Rounded(1.0f / std::sqrt(Rounded(mean + eps, round)), round);
  for (int64_t i = 0; i < n; ++i) x[i] = Rounded(x[i] * scale, round);
}

void NormalizeHeads(float* x, int64_t heads, int64_t n, float eps, bool round) {
  for (int64_t h = 0; h < heads; ++h) NormalizeHead(x + h * n, n, eps, round);
}

void RotateHeads(const RotateTask& task) {
  for (int64_t h = 0; h < task.heads; ++h) {
    float* pair = task.x + (h + 1) * task.head_dim - 2 * task.pairs;
    for (int64_t i = 0; i < task.pairs; ++i, pair += 2) {
      const float c = task.cos[i], s = task.inverse ? -task.sin[i] : task.sin[i];
      const float a = pair[0], b = pair[1];
      pair[0] = Rounded(a * c - b * s, task.round);
      pair[1] = Rounded(a * s + b * c, task.round);
    }
  }
}

void MixStreams(const MixTask& task) {
  for (int64_t d = 0; d < task.dims; ++d) {
    float sum = 0;
    for (int64_t j = 0; j < task.streams; ++j) sum += task.pre[j] * task.x[j * task.dims + d];
    task.y[d] = Rounded(sum, task.round);
  }
}

void SpreadStreams(const SpreadTask& task) {
  const int64_t streams = task.streams, dims = task.dims;
  for (int64_t d = 0; d < dims; ++d) {
    float old[kStreamsMax];
    for (int64_t j = 0; j < streams; ++j) old[j] = task.x[j * dims + d];
    for (int64_t k = 0; k < streams; ++k) {
      float sum = 0;
      for (int64_t j = 0; j < streams; ++j) sum += task.comb[j * streams + k] * old[j];
      task.x[k * dims + d] = Rounded(task.post[k] * task.y[d] + sum, task.round);
    }
  }
}

void ExpRow(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = numerics::Exp(x[i]);
}

void DivideColumns(float* m, int64_t streams, float eps) {
  for (int64_t k = 0; k < streams; ++k) {
    float sum = 0;
    for (int64_t j = 0; j < streams; ++j) sum += m[j * streams + k];
    for (int64_t j = 0; j < streams; ++j) m[j * streams + k] /= sum + eps;
  }
}

void Sinkhorn(float* m, int64_t streams, int64_t iterations, float eps) {
  DivideColumns(m, streams, eps);
  for (int64_t iteration = 1; iteration < iterations; ++iteration) {
    for (int64_t j = 0; j < streams; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < streams; ++k) sum += m[j * streams + k];
      for (int64_t k = 0; k < streams; ++k) m[j * streams + k] /= sum + eps;
    }
    DivideColumns(m, streams, eps);
  }
}

void SwiGluRow(const SwiGluTask& task) {
  const numerics::Mode mode = task.round ? numerics::Mode::kOfficial : numerics::Mode::kPure;
  for (int64_t i = 0; i < task.count; ++i)
    task.out[i] = SwiGlu(Rounded(task.gate[i], task.round), Rounded(task.up[i], task.round),
                         task.limit, task.weight, mode);
}

void GateScoresRow(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = std::sqrt(numerics::Softplus(x[i]));
}

void RoundRow(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = numerics::RoundToBF16(x[i]);
}

void AddRow(const float* x, int64_t n, bool round, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = Rounded(y[i] + x[i], round);
}

void AddRounded(const float* x, int64_t n, bool round, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += Rounded(x[i], round);
}

void SimulateE4M3(float* x, int64_t n, int64_t block) {
  numerics::SimulateE4M3({x, static_cast<size_t>(n)}, block);
}

void SimulateE2M1(float* x, int64_t n) { numerics::SimulateE2M1({x, static_cast<size_t>(n)}); }

void Hadamard(float* x, int64_t n) { numerics::Hadamard({x, static_cast<size_t>(n)}); }

static_assert(numerics::kActivationBlock == kBlock);

void Pack(const PackTask& task) {
  const PairOrder& order = PairOrderOf(task.format);
  const int64_t padded = PackedWidth(task.format, task.n);
  for (int64_t begin = 0; begin < padded; begin += kStretch) {
    float stretch[kStretch] = {};
    const int64_t width = std::min<int64_t>(kStretch, task.n - begin);
    std::memcpy(stretch, task.x + begin, static_cast<size_t>(width) * sizeof(float));
    if (task.quantize) numerics::SimulateE4M3({stretch, static_cast<size_t>(width)}, kBlock);
    const int64_t places = std::min(kStretch, padded - begin);
    for (int64_t i = 0; i < places; ++i)
      task.out[begin + i] = numerics::ToBF16(stretch[order.k[i]]).bits;
  }
}

void PackInt8(const float* x, int64_t n, Int8Stretch* out) {
  for (int64_t begin = 0; begin < n; begin += kStretch, ++out) {
    *out = {};
    for (int64_t k = 0; k < kStretch && begin + k < n; k += numerics::kInt8Block) {
      const size_t count = static_cast<size_t>(std::min(numerics::kInt8Block, n - begin - k));
      int8_t codes[numerics::kInt8Block];
      const float scale = numerics::QuantizeInt8({x + begin + k, count}, {codes, count});
      const int64_t lane = Int8Partner(k / numerics::kInt8Block);
      out->scales[lane] = 0.5f * scale;
      for (size_t i = 0; i < count; ++i) {
        out->codes[Int8Place(k + static_cast<int64_t>(i))] = codes[i];
        out->offsets[lane] -= Int8Stretch::kCodeOffset * codes[i];
      }
    }
  }
}

}  // namespace

const RowOps kReferenceRowOps = {
    1,
    reference::SumOfSquares,
    ScaleRow,
    NormalizeHeads,
    RotateHeads,
    MixStreams,
    SpreadStreams,
    ExpRow,
    Sinkhorn,
    SwiGluRow,
    GateScoresRow,
    RoundRow,
    AddRow,
    AddRounded,
    SimulateE4M3,
    SimulateE2M1,
    Hadamard,
    Pack,
    PackInt8,
};

}  // namespace fathom::kernels
