#include "kernels/sparse_attention.h"

#include <algorithm>

#include "kernels/paths.h"
#include "kernels/trace.h"

namespace fathom::kernels {
namespace {

constexpr int64_t kTokensInTurn = 8;

}  // namespace

void SparseAttention(MatrixView<const float> q_THC, int64_t heads, std::span<const float> sink_H,
                     float scale, const GatheredRows& rows, MatrixView<float> o_THC,
                     const Context& ctx) {
  FATHOM_CHECK_EQ(q_THC.cols % heads, int64_t{0});
  FATHOM_CHECK_EQ(o_THC.cols, q_THC.cols);
  FATHOM_CHECK_EQ(std::ssize(sink_H), heads);
  const int64_t head_dim = q_THC.cols / heads;
  FATHOM_CHECK_EQ(head_dim % 2, int64_t{0});
  FATHOM_CHECK_EQ(rows.layout.dim, head_dim);
  TraceSpan span(ctx.trace, Operation::kAttention);
  const PathOps& ops = OpsOf(ctx.path);
  // A token's heads are split only when there are too few tokens to occupy the threads.
  int64_t groups = 1;
  if (q_THC.rows < 2 * ctx.pool.threads())
    groups = std::clamp<int64_t>(heads / ops.head_group, 1, ctx.pool.threads());
  const int64_t heads_per_group =
      (heads / groups + ops.head_group - 1) / ops.head_group * ops.head_group;
  groups = (heads + heads_per_group - 1) / heads_per_group;
  const int64_t scratch_floats = AttentionScratchFloats(heads, head_dim);
  const int threads = ctx.pool.threads();
  float* scratch = ctx.workspace.Get<float>(Workspace::kScores, scratch_floats * threads);
  const std::byte** pointers =
      ctx.workspace.Get<const std::byte*>(Workspace::kRowPointers, rows.rows_max * threads);
  // Of many tokens a thread takes several in turn, so that it knows the next one.
  const int64_t grain = q_THC.rows >= 4 * kTokensInTurn * threads ? kTokensInTurn : 1;
  const auto attend = [&](int64_t task, bool is_last, int thread) {
    const int64_t t = task / groups, head = task % groups * heads_per_group;
    const std::byte** list = pointers + thread * rows.rows_max;
    const RowList gathered = rows.gather(t, list);
    FATHOM_CHECK(gathered.count >= 1 && gathered.count <= rows.rows_max);
    if (head == 0)
      span.Add({.state_bytes = gathered.count * rows.layout.bytes(),
                .operations = 4 * gathered.count * heads * head_dim});
    ops.attend({q_THC.row(t), list, rows.layout, gathered.count, sink_H.data(), scale, head,
                std::min(head + heads_per_group, heads), head_dim,
                numerics::Rounds(ctx.mode), o_THC.row(t),
                scratch + thread * scratch_floats, gathered.window, gathered.gap,
                is_last ? nullptr : q_THC.row((task + 1) / groups)});
  };
  ParallelFor(ctx, q_THC.rows * groups, grain, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t task = begin; task < end; ++task) attend(task, task + 1 == end, thread);
  });
}

}  // namespace fathom::kernels
