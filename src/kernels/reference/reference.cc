// The reference path: the definition of the results of the operations that have vector paths, in
// plain scalar C++. Slow on purpose in one respect only: it decodes and multiplies one value at a
// time.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/int8_stretch.h"
#include "kernels/linear.h"
#include "kernels/paths.h"
#include "kernels/reference/attention.h"
#include "kernels/reference/decode.h"
#include "kernels/reference/dot.h"
#include "kernels/reference/fma.h"
#include "numerics/formats.h"

namespace fathom::kernels {
namespace {

using numerics::BF16;
using reference::Fold16;
using tensor::Format;

// acc[16] <- the sums of one row (linear.h): codes and inputs in pair order, scales per stretch and
// lane.
FATHOM_FMA_CLONES
void SumStretches(const float* codes, const float* scales, const uint16_t* x, int64_t width,
                  float* acc) {
  for (int l = 0; l < 16; ++l) acc[l] = 0;
  for (int64_t begin = 0; begin < width; begin += kStretch, scales += 16) {
    float p[16] = {};
    for (int64_t step = begin; step < std::min(begin + kStretch, width); step += 32) {
      for (int l = 0; l < 16; ++l) {
        const int64_t even = step + 2 * l;
        p[l] = std::fma(codes[even + 1], numerics::ToFloat(BF16{x[even + 1]}), p[l]);
        p[l] = std::fma(codes[even], numerics::ToFloat(BF16{x[even]}), p[l]);
      }
    }
    for (int l = 0; l < 16; ++l) acc[l] = std::fma(p[l], scales[l], acc[l]);
  }
}

// The sum of one row in tile order.
FATHOM_FMA_CLONES
float SumTiles(const float* codes, const float* scales, const uint16_t* x, int64_t width) {
  float acc = 0;
  for (int64_t step = 0; step < width; step += 32) {
    const float* scale = scales + step / kStretch * 16;
    float even = 0, odd = 0;
    for (int64_t l = 0, k = step; l < 16; ++l, k += 2) {
      even = std::fma(codes[k] * scale[l], numerics::ToFloat(BF16{x[k]}), even);
      odd = std::fma(codes[k + 1] * scale[l], numerics::ToFloat(BF16{x[k + 1]}), odd);
    }
    acc += even + odd;
  }
  return acc;
}

float SumLanes(const float* codes, const float* scales, const uint16_t* x, int64_t width) {
  float acc[16];
  SumStretches(codes, scales, x, width, acc);
  return Fold16(acc);
}

template <auto kSum>
void DotBF16(const DotTask& task, const uint16_t* const* x) {
  const int64_t width = PackedWidth(task.w.format, task.w.cols);
  const int64_t stretches = (width + kStretch - 1) / kStretch;
  std::vector<float> codes(static_cast<size_t>(width));
  std::vector<float> scales(static_cast<size_t>(stretches) * 16);
  for (int64_t o = task.row_begin; o < task.row_end; ++o) {
    reference::DecodePairs(task.w, o, codes.data(), scales.data());
    for (int64_t i = 0; i < task.count; ++i)
      task.y[i * task.y_stride + (o - task.row_begin)] =
          kSum(codes.data(), scales.data(), x[i], width);
  }
}

void DotF32(const DotTask& task, const float* const* x) {
  std::vector<float> w(static_cast<size_t>(task.w.cols));
  for (int64_t o = task.row_begin; o < task.row_end; ++o) {
    reference::DecodeRow(task.w, o, w.data());
    for (int64_t i = 0; i < task.count; ++i)
      task.y[i * task.y_stride + (o - task.row_begin)] =
          reference::DotF32(w.data(), x[i], task.w.cols);
  }
}

// One row times one input in the order of int8_stretch.h.
FATHOM_FMA_CLONES
float SumInt8(const float* codes, const float* scales, const Int8Stretch* x, int64_t cols) {
  float acc[16] = {};
  for (int64_t begin = 0; begin < cols; begin += kStretch, ++x) {
    int sums[16] = {};
    for (int64_t k = 0; k < std::min(kStretch, cols - begin); ++k)
      sums[Int8Partner(k / tensor::kFp4Block)] +=
          static_cast<int>(2 * codes[begin + k]) * x->codes[Int8Place(k)];
    for (int64_t l = 0; l < 16; ++l) {
      const int64_t k = begin + Int8Partner(l) * tensor::kFp4Block;
      const float scale = k < cols ? scales[k] : 0.0f;
      acc[l] = std::fma(static_cast<float>(sums[l]), scale * x->scales[l], acc[l]);
    }
  }
  return Fold16(acc);
}

void DotInt8(const DotTask& task, const Int8Stretch* const* x) {
  const int64_t cols = task.w.cols;
  std::vector<float> codes(static_cast<size_t>(cols)), scales(static_cast<size_t>(cols));
  for (int64_t o = task.row_begin; o < task.row_end; ++o) {
    for (int64_t k = 0; k < cols; ++k) {
      codes[static_cast<size_t>(k)] = reference::CodeValue(task.w, o, k);
      scales[static_cast<size_t>(k)] = reference::ScaleValue(task.w, o, k);
    }
    for (int64_t i = 0; i < task.count; ++i)
      task.y[i * task.y_stride + (o - task.row_begin)] =
          SumInt8(codes.data(), scales.data(), x[i], cols);
  }
}

}  // namespace

const PathOps kReferenceOps = {DotBF16<SumLanes>,
                               DotF32,
                               DotInt8,
                               reference::Attend,
                               reference::IndexPack,
                               reference::IndexScores,
                               reference::CollectAbove,
                               1};

const PathOps kTileReferenceOps = {DotBF16<SumTiles>,
                                   DotF32,
                                   DotInt8,
                                   reference::AttendInTiles,
                                   reference::IndexPack,
                                   reference::IndexScores,
                                   reference::CollectAbove,
                                   1};

}  // namespace fathom::kernels
