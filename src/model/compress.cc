#include "model/compress.h"

#include <algorithm>

#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/trace.h"
#include "model/mistake.h"

namespace fathom::model {
namespace {

using kernels::RowKind;

// Candidates of one block: its tokens, and at ratio 4 those of the block before.
constexpr int64_t kCandidatesMax = kCompressRatioMax;
constexpr int64_t kPairsMax = kRotaryDimsMax / 2;

bool Overlaps(const Compressor& compressor) {
  return KindOfRatio(compressor.ratio) == LayerKind::kCsa;
}

void AddApe(const Compressor& compressor, std::span<const CompressorRun> runs,
            MatrixView<float> score) {
  if (Has(Mistake::kNoApe)) return;
  const FloatVector& ape = compressor.weights.ape;
  for (const CompressorRun& run : runs) {
    for (int64_t t = 0; t < run.count; ++t) {
      const float* bias = ape.data() + (run.position + t) % compressor.ratio * score.cols;
      float* row = score.row(run.first_row + t);
      for (int64_t c = 0; c < score.cols; ++c) row[c] += bias[c];
    }
  }
}

// Pools one block into `out`: tokens of this pass from the scratch, earlier ones from the state.
void PoolTokens(const Compressor& compressor, const CompressorRun& run,
                const CompressorScratch& scratch, int64_t block, std::span<float> out,
                numerics::Mode mode) {
  const int64_t ratio = compressor.ratio, dim = std::ssize(out), width = scratch.value.cols;
  const bool overlaps = Overlaps(compressor);
  FATHOM_CHECK_LE(overlaps ? 2 * ratio : ratio, kCandidatesMax);
  kernels::PoolCandidate candidates[kCandidatesMax];
  size_t count = 0;
  const CompressorState& state = *run.state;
  const auto add = [&](int64_t p, int64_t column) {
    if (p < 0) {
      candidates[count++] = {};
      return;
    }
    const bool is_new = p >= run.position;
    const int64_t row = is_new ? run.first_row + p - run.position : p % state.rows;
    const float* u = is_new ? scratch.value.row(row) : state.value.data() + row * width;
    const float* g = is_new ? scratch.score.row(row) : state.score.data() + row * width;
    candidates[count++] = {u + column, g + column};
  };
  const int64_t first = block * ratio;
  // Where the halves of the current block and of its predecessor lie.
  const int64_t own_half = !overlaps || Has(Mistake::kOverlapSwapped) ? 0 : dim;
  if (overlaps)
    for (int64_t i = 0; i < ratio; ++i) add(first - ratio + i, dim - own_half);
  for (int64_t i = 0; i < ratio; ++i) add(first + i, own_half);
  kernels::PoolBlock({candidates, count}, out, mode);
}

// The norm, the rotation at the position of the block's first token, the cache's rounding.
void FinishRow(const Compressor& compressor, int64_t block, std::span<float> row,
               numerics::Mode mode) {
  FATHOM_CHECK_LE(compressor.rope.pairs(), kPairsMax);
  float cos[kPairsMax], sin[kPairsMax];
  const size_t pairs = static_cast<size_t>(compressor.rope.pairs());
  compressor.rope.Angles(block * compressor.ratio, {cos, pairs}, {sin, pairs});
  kernels::NormalizeRow(row, compressor.weights.norm, compressor.rms_norm_eps, mode);
  kernels::RotateHead(row, {cos, pairs}, {sin, pairs}, kernels::Direction::kForward, mode);
  RoundCacheRow(row, compressor.rotary_dims, compressor.kind, mode);
}

void KeepRecent(const CompressorRun& run, const CompressorScratch& scratch) {
  CompressorState& state = *run.state;
  const int64_t width = scratch.value.cols;
  for (int64_t t = std::max<int64_t>(0, run.count - state.rows); t < run.count; ++t) {
    const int64_t row = (run.position + t) % state.rows;
    std::copy_n(scratch.value.row(run.first_row + t), width, state.value.data() + row * width);
    std::copy_n(scratch.score.row(run.first_row + t), width, state.score.data() + row * width);
  }
}

}  // namespace

void RoundCacheRow(std::span<float> row, int64_t rotary_dims, RowKind kind, numerics::Mode mode) {
  if (Has(Mistake::kNoActivationRounding) ||
      (kind == RowKind::kLatent && Has(Mistake::kKvNotRounded))) {
    // The Hadamard rotation stays, its rounding goes.
    if (kind == RowKind::kIndex)
      kernels::RoundForCache(row, rotary_dims, kind, numerics::Mode::kPure);
    return;
  }
  kernels::RoundForCache(row, rotary_dims, kind, mode);
}

void Compress(const Compressor& compressor, std::span<const CompressorRun> runs,
              MatrixView<const float> x_TD, const CompressorScratch& scratch,
              const kernels::Context& ctx) {
  const kernels::TraceSpan span(ctx.trace, kernels::Operation::kCompressor);
  const CompressorWeights& w = compressor.weights;
  const int64_t dim = std::ssize(w.norm), ratio = compressor.ratio;
  kernels::Linear(x_TD, w.wkv, kernels::Activation::kBF16, kernels::Output::kF32, scratch.value,
                  ctx);
  kernels::Linear(x_TD, w.wgate, kernels::Activation::kBF16, kernels::Output::kF32, scratch.score,
                  ctx);
  AddApe(compressor, runs, scratch.score);
  scratch.jobs.clear();
  for (size_t i = 0; i < runs.size(); ++i) {
    const CompressorRun& run = runs[i];
    for (int64_t b = run.position / ratio; b < (run.position + run.count) / ratio; ++b)
      scratch.jobs.push_back({static_cast<int32_t>(i), b});
  }
  kernels::ForRows(ctx, std::ssize(scratch.jobs), dim * ratio * 16, [&](int64_t j) {
    const BlockJob& job = scratch.jobs[static_cast<size_t>(j)];
    const CompressorRun& run = runs[static_cast<size_t>(job.run)];
    const std::span<float> row(run.out + job.block * dim, static_cast<size_t>(dim));
    PoolTokens(compressor, run, scratch, job.block, row, ctx.mode);
    if (run.pooled != nullptr) std::copy_n(row.data(), dim, run.pooled + job.block * dim);
    FinishRow(compressor, job.block, row, ctx.mode);
  });
  for (const CompressorRun& run : runs) KeepRecent(run, scratch);
}

}  // namespace fathom::model
