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

// Where the halves of a block's own tokens lie, and where those of its predecessor's do.
int64_t OwnColumn(const Compressor& compressor, int64_t dim) {
  return !Overlaps(compressor) || Has(Mistake::kOverlapSwapped) ? 0 : dim;
}
int64_t PreviousColumn(const Compressor& compressor, int64_t dim) {
  return dim - OwnColumn(compressor, dim);
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
    } else if (p >= run.position) {
      const int64_t row = run.first_row + p - run.position;
      candidates[count++] = {scratch.value.row(row) + column, scratch.score.row(row) + column};
    } else if (p / ratio == run.position / ratio) {
      const int64_t at = p % ratio * width + column;
      candidates[count++] = {state.open_value.data() + at, state.open_score.data() + at};
    } else {
      const int64_t at = p % ratio * dim;
      candidates[count++] = {state.previous_value.data() + at, state.previous_score.data() + at};
    }
  };
  const int64_t first = block * ratio;
  if (overlaps)
    for (int64_t i = 0; i < ratio; ++i) add(first - ratio + i, PreviousColumn(compressor, dim));
  for (int64_t i = 0; i < ratio; ++i) add(first + i, OwnColumn(compressor, dim));
  kernels::PoolBlock({candidates, count}, out, mode);
}

// The norm, the rotation at the position of the block's first token, the cache's rounding.
void FinishRow(const Compressor& compressor, int64_t block, std::span<float> row,
               const kernels::MutableCacheRows& out, numerics::Mode mode) {
  FATHOM_CHECK_LE(compressor.rope.pairs(), kPairsMax);
  float cos[kPairsMax], sin[kPairsMax];
  const size_t pairs = static_cast<size_t>(compressor.rope.pairs());
  compressor.rope.Angles(block * compressor.ratio, {cos, pairs}, {sin, pairs});
  kernels::NormalizeRow(row, compressor.weights.norm, compressor.rms_norm_eps, mode);
  kernels::RotateHead(row, {cos, pairs}, {sin, pairs}, kernels::Direction::kForward, mode);
  StoreRow(row, compressor.kind, out.layout, out.row(block), mode);
}

// What the next pass needs of this one: the tokens of the block that stays open, and at ratio 4 the
// first halves of the block before it.
void KeepRecent(const Compressor& compressor, const CompressorRun& run,
                const CompressorScratch& scratch) {
  CompressorState& state = *run.state;
  const int64_t ratio = state.ratio, dim = state.dim, width = state.width;
  const int64_t end = run.position + run.count, open = end / ratio * ratio;
  const auto copy = [&](const MatrixView<float>& from, int64_t p, int64_t column, float* to,
                        int64_t n) {
    std::copy_n(from.row(run.first_row + p - run.position) + column, n, to + p % ratio * n);
  };
  if (Overlaps(compressor) && run.position < open) {
    const int64_t column = PreviousColumn(compressor, dim);
    for (int64_t p = std::max<int64_t>(0, open - ratio); p < open; ++p) {
      if (p >= run.position) {
        copy(scratch.value, p, column, state.previous_value.data(), dim);
        copy(scratch.score, p, column, state.previous_score.data(), dim);
      } else {
        // It came with an earlier pass, which left it in the block that was open then.
        const int64_t from = p % ratio * width + column, to = p % ratio * dim;
        std::copy_n(state.open_value.data() + from, dim, state.previous_value.data() + to);
        std::copy_n(state.open_score.data() + from, dim, state.previous_score.data() + to);
      }
    }
  }
  for (int64_t p = std::max(open, run.position); p < end; ++p) {
    copy(scratch.value, p, 0, state.open_value.data(), width);
    copy(scratch.score, p, 0, state.open_score.data(), width);
  }
}

}  // namespace

void StoreRow(std::span<float> row, RowKind kind, const kernels::RowLayout& layout, std::byte* out,
              numerics::Mode mode) {
  // The Hadamard rotation of index rows stays, its rounding goes.
  if (Has(Mistake::kNoActivationRounding) ||
      (kind == RowKind::kLatent && Has(Mistake::kKvNotRounded)))
    mode = numerics::Mode::kPure;
  kernels::EncodeRow(row, kind, mode, layout, out);
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
  const int64_t threads = ctx.pool.threads();
  float* rows = ctx.workspace.Get<float>(kernels::Workspace::kPooled, dim * threads);
  kernels::ParallelFor(ctx, std::ssize(scratch.jobs), 1, [&](int64_t j, int64_t, int thread) {
    const BlockJob& job = scratch.jobs[static_cast<size_t>(j)];
    const CompressorRun& run = runs[static_cast<size_t>(job.run)];
    const std::span<float> row(rows + thread * dim, static_cast<size_t>(dim));
    PoolTokens(compressor, run, scratch, job.block, row, ctx.mode);
    if (run.pooled != nullptr) std::copy_n(row.data(), dim, run.pooled + job.block * dim);
    FinishRow(compressor, job.block, row, run.out, ctx.mode);
  });
  for (const CompressorRun& run : runs) KeepRecent(compressor, run, scratch);
}

}  // namespace fathom::model
