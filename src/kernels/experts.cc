#include "kernels/experts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/pack.h"
#include "kernels/paths.h"
#include "kernels/row_ops.h"
#include "kernels/trace.h"
#include "numerics/functions.h"

namespace fathom::kernels {
namespace {

// Which (token, weight) pairs each expert of this call works on. A "slot" is one such pair; slots
// are sorted by expert and, within an expert, by token.
struct Plan {
  int64_t slots = 0;
  int64_t active = 0;         // experts with at least one slot
  int32_t* expert = nullptr;  // [active]
  int32_t* begin = nullptr;   // [active + 1]: slots of active expert i
  int32_t* token = nullptr;   // [slots]
  float* weight = nullptr;    // [slots]
  int64_t slots_max = 0;      // of one expert
};

// Every expert has the same shapes.
Work WorkOf(const Plan& plan, const ExpertView& expert) {
  const int64_t bytes = expert.w1.bytes() + expert.w2.bytes() + expert.w3.bytes();
  return {.weight_bytes = plan.active * bytes,
          .operations = 2 * plan.slots * 3 * expert.w1.rows * expert.w1.cols};
}

Plan MakePlan(MatrixView<const int32_t> experts_TA, MatrixView<const float> weights_TA,
              int64_t experts, const Context& ctx) {
  Plan plan;
  plan.slots = experts_TA.rows * experts_TA.cols;
  int32_t* memory =
      ctx.workspace.Get<int32_t>(Workspace::kRouting, 3 * (experts + 1) + 2 * plan.slots);
  plan.expert = memory;
  plan.begin = memory + experts + 1;
  int32_t* next = memory + 2 * (experts + 1);  // slots of each expert, then its next free slot
  plan.token = memory + 3 * (experts + 1);
  plan.weight = reinterpret_cast<float*>(plan.token + plan.slots);
  std::fill_n(next, experts + 1, 0);
  for (int64_t t = 0; t < experts_TA.rows; ++t) {
    for (const int32_t e : experts_TA.row_span(t)) {
      FATHOM_CHECK(e >= 0 && e < experts);
      ++next[e];
    }
  }
  int32_t slot = 0;
  for (int64_t e = 0; e < experts; ++e) {
    const int32_t count = next[e];
    next[e] = slot;
    if (count == 0) continue;
    plan.expert[plan.active] = static_cast<int32_t>(e);
    plan.begin[plan.active++] = slot;
    plan.slots_max = std::max<int64_t>(plan.slots_max, count);
    slot += count;
  }
  plan.begin[plan.active] = slot;
  for (int64_t t = 0; t < experts_TA.rows; ++t) {
    for (int64_t a = 0; a < experts_TA.cols; ++a) {
      const int32_t place = next[experts_TA.row(t)[a]]++;
      plan.token[place] = static_cast<int32_t>(t);
      plan.weight[place] = weights_TA.row(t)[a];
    }
  }
  return plan;
}

Plan EveryToken(int64_t tokens, const Context& ctx) {
  Plan plan;
  plan.slots = plan.slots_max = tokens;
  plan.active = 1;
  int32_t* memory = ctx.workspace.Get<int32_t>(Workspace::kRouting, 4 + 2 * tokens);
  plan.expert = memory;
  plan.begin = memory + 1;
  plan.token = memory + 4;
  plan.weight = reinterpret_cast<float*>(plan.token + tokens);
  plan.expert[0] = 0;
  plan.begin[0] = 0;
  plan.begin[1] = static_cast<int32_t>(tokens);
  std::iota(plan.token, plan.token + tokens, 0);
  std::fill_n(plan.weight, tokens, 1.0f);
  return plan;
}

// Row pointers of one expert's slots, taken from the packed rows of all tokens. Lives in `memory`.
PackedInput RowsOf(const PackedInput& all, const int32_t* tokens, int64_t count,
                   const void** memory) {
  const auto gather = [&](const auto* const* rows) {
    for (int64_t i = 0; i < count; ++i) memory[i] = rows[tokens[i]];
    return reinterpret_cast<decltype(rows)>(memory);
  };
  if (all.bf16 != nullptr) return {.bf16 = gather(all.bf16)};
  if (all.int8 != nullptr) return {.int8 = gather(all.int8)};
  return {.f32 = gather(all.f32)};
}

// Output rows that a chunk of up-projections works on at a time, so that what it puts aside stays
// in a cache.
constexpr int64_t kRowsAtATime = 512;

// Row pointers of some slots, and their tiles where the path wants them: one for each thread, since
// every thread gathers its own.
class GatheredInputs {
 public:
  GatheredInputs(const PackedInput& all, int64_t width, int64_t count_max, const Context& ctx)
      : all_(all), width_(width), count_max_(count_max), ctx_(ctx) {
    const int64_t threads = ctx.pool.threads();
    pointers_ = ctx.workspace.Get<const void*>(Workspace::kRowPointers, count_max * threads);
    if (all.bf16 == nullptr || OpsOf(ctx.path).to_tiles == nullptr || count_max == 1) return;
    words_ = TileWords(count_max, width);
    tiles_ = ctx.workspace.Get<uint32_t>(Workspace::kPackedTiles, words_ * threads);
  }

  PackedInput Gather(const int32_t* tokens, int64_t count, int thread) const {
    const PackedInput rows = RowsOf(all_, tokens, count, pointers_ + thread * count_max_);
    if (tiles_ == nullptr || count == 1) return rows;
    return {nullptr, nullptr, FillTiles(rows.bf16, count, width_, tiles_ + thread * words_, ctx_)};
  }

 private:
  const PackedInput& all_;
  int64_t width_;
  int64_t count_max_;
  const Context& ctx_;
  const void** pointers_ = nullptr;
  uint32_t* tiles_ = nullptr;
  int64_t words_ = 0;  // of one thread
};

// hidden [slots, F] <- SwiGlu(w1 x, w3 x) * weight.
void UpProjections(MatrixView<const float> x_TD, std::span<const ExpertView> experts,
                   const Plan& plan, float limit, Activation activation, MatrixView<float> hidden,
                   const Context& ctx) {
  const QuantView& shape = experts[0].w1;
  const PackedInput x = PackRows(x_TD, shape.format, activation, Workspace::kPackedInput, ctx);
  const int64_t group_max = InputsPerChunk(plan.slots_max);
  const int64_t groups = (plan.slots_max + group_max - 1) / group_max;
  const int64_t rows =
      std::min(RowsPerChunk(shape, plan.slots_max, plan.active * groups, ctx), shape.rows);
  const int64_t chunks = (shape.rows + rows - 1) / rows;
  const Grain grain = ChunkGrain(ctx, plan.slots_max);
  const int64_t width_max = std::min({grain.most * rows, shape.rows, kRowsAtATime});
  const int64_t partial_floats = 2 * group_max * width_max;
  float* partials =
      ctx.workspace.Get<float>(Workspace::kPartial, partial_floats * ctx.pool.threads());
  const GatheredInputs gathered(x, PackedWidth(shape.format, shape.cols), group_max, ctx);
  const bool round = numerics::Rounds(ctx.mode);
  const RowOps& ops = RowOpsOf(ctx.path);
  const int64_t items = plan.active * groups * chunks;
  // What is read first for an item, of which a thread can only guess that it will be its next.
  const auto first_rows = [&](int64_t item) -> const std::byte* {
    if (item >= items) return nullptr;
    const int32_t expert = plan.expert[item / (groups * chunks)];
    return experts[static_cast<size_t>(expert)].w1.data + item % chunks * rows * shape.row_bytes();
  };
  // Chunks [item, item + n) of one expert and group.
  const auto run = [&](int64_t item, int64_t n, int thread) {
    const int64_t i = item / (groups * chunks), first = item % chunks * rows;
    const int64_t last = std::min(first + n * rows, shape.rows);
    const int64_t slot = plan.begin[i] + item / chunks % groups * group_max;
    const int64_t count = std::min(group_max, plan.begin[i + 1] - slot);
    if (count <= 0) return;
    const ExpertView& expert = experts[static_cast<size_t>(plan.expert[i])];
    const PackedInput mine = gathered.Gather(plan.token + slot, count, thread);
    float* gate = partials + thread * partial_floats;
    for (int64_t begin = first; begin < last; begin += width_max) {
      const int64_t end = std::min(begin + width_max, last), width = end - begin;
      float* up = gate + count * width;
      const std::byte* next = expert.w3.data + begin * shape.row_bytes();
      const std::byte* after = end < last ? expert.w1.data + end * shape.row_bytes()
                                          : first_rows(item + n - 1 + ctx.pool.threads());
      mine.Dot({expert.w1, begin, end, count, gate, width, next}, ctx);
      mine.Dot({expert.w3, begin, end, count, up, width, after}, ctx);
      for (int64_t s = 0; s < count; ++s)
        ops.swiglu({gate + s * width, up + s * width, width, limit, plan.weight[slot + s], round,
                    hidden.row(slot + s) + begin});
    }
  };
  ParallelFor(ctx, items, grain, [&](int64_t item, int64_t end, int thread) {
    for (int64_t n; item < end; item += n) {
      n = std::min(end - item, chunks - item % chunks);
      run(item, n, thread);
    }
  });
}

// The packed rows of all slots; of experts with several, their tiles as well, where the path wants
// them.
class PackedSlots {
 public:
  PackedSlots(const PackedInput& rows, int64_t width, const Plan& plan, const Context& ctx)
      : rows_(rows) {
    if (rows.bf16 == nullptr || OpsOf(ctx.path).to_tiles == nullptr || plan.slots_max == 1) return;
    begin_ = ctx.workspace.Get<int64_t>(Workspace::kOrder, plan.active);
    int64_t words = 0;
    for (int64_t i = 0; i < plan.active; ++i) {
      begin_[i] = words;
      words += TileWords(plan.begin[i + 1] - plan.begin[i], width);
    }
    tiles_ = ctx.workspace.Get<uint32_t>(Workspace::kHiddenTiles, words);
    ParallelFor(ctx, plan.active, 1, [&](int64_t i, int64_t, int) {
      const int64_t slot = plan.begin[i], count = plan.begin[i + 1] - slot;
      if (count > 1) FillTiles(rows.bf16 + slot, count, width, tiles_ + begin_[i], ctx);
    });
  }

  // Those of active expert i.
  PackedInput Of(const Plan& plan, int64_t i) const {
    const int64_t slot = plan.begin[i], count = plan.begin[i + 1] - slot;
    if (tiles_ == nullptr || count == 1) return rows_.From(slot);
    return {nullptr, nullptr, {tiles_ + begin_[i], InputTiles::For(count)}};
  }

 private:
  const PackedInput& rows_;
  uint32_t* tiles_ = nullptr;
  int64_t* begin_ = nullptr;  // words before an expert's tiles
};

// y[t] = sum of w2 hidden over the token's slots, experts ascending.
void DownProjections(MatrixView<const float> hidden, std::span<const ExpertView> experts,
                     const Plan& plan, Activation activation, MatrixView<float> y_TD,
                     const Context& ctx) {
  const QuantView& shape = experts[0].w2;
  const PackedInput packed =
      PackRows(hidden, shape.format, activation, Workspace::kPackedHidden, ctx);
  const PackedSlots x(packed, PackedWidth(shape.format, shape.cols), plan, ctx);
  // A chunk passes through all active experts, so that their outputs are added in order by one
  // thread. With few inputs it is as many bytes over all experts as a chunk of one product.
  int64_t rows = RowsPerChunk(shape, plan.slots_max, 1, ctx);
  if (plan.slots_max < kManyInputs) {
    // On tiles each expert's rows are long enough to be fetched ahead.
    const int64_t least =
        ctx.path == Path::kAmx
            ? std::clamp<int64_t>(shape.rows / (4 * ctx.pool.threads()) / 16 * 16, 16, 256)
            : 16;
    rows = std::max<int64_t>(rows / plan.active / 16 * 16, least);
  }
  rows = std::min({rows, shape.rows, kRowsAtATime});
  const int64_t chunks = ChunkGrain(ctx, plan.slots_max).most == 1 ? 1 : kRowsAtATime / rows;
  const Grain grain(rows, chunks * rows);
  const int64_t partial_floats = plan.slots_max * grain.most;
  float* partials =
      ctx.workspace.Get<float>(Workspace::kPartial, partial_floats * ctx.pool.threads());
  const bool round = numerics::Rounds(ctx.mode);
  const RowOps& ops = RowOpsOf(ctx.path);
  ParallelFor(ctx, shape.rows, grain, [&](int64_t begin, int64_t end, int thread) {
    const int64_t width = end - begin;
    float* partial = partials + thread * partial_floats;
    for (int64_t t = 0; t < y_TD.rows; ++t) std::fill_n(y_TD.row(t) + begin, width, 0.0f);
    for (int64_t i = 0; i < plan.active; ++i) {
      const int64_t slot = plan.begin[i], count = plan.begin[i + 1] - slot;
      const ExpertView& expert = experts[static_cast<size_t>(plan.expert[i])];
      // After the last expert, likely the first one's rows of the chunk after the other threads'.
      const bool is_last = i + 1 == plan.active;
      const int64_t next_row = is_last ? begin + ctx.pool.threads() * width : begin;
      const int32_t next_expert = plan.expert[is_last ? 0 : i + 1];
      const std::byte* next =
          next_row < shape.rows
              ? experts[static_cast<size_t>(next_expert)].w2.data + next_row * shape.row_bytes()
              : nullptr;
      x.Of(plan, i).Dot({expert.w2, begin, end, count, partial, width, next}, ctx);
      for (int64_t s = 0; s < count; ++s) {
        ops.add_rounded(partial + s * width, width, round, y_TD.row(plan.token[slot + s]) + begin);
      }
    }
  });
}

void RunExperts(MatrixView<const float> x_TD, std::span<const ExpertView> experts, const Plan& plan,
                float limit, Activation activation, MatrixView<float> y_TD, const Context& ctx) {
  const int64_t width = experts[0].w1.rows;
  const MatrixView<float> hidden(ctx.workspace.Get<float>(Workspace::kHidden, plan.slots * width),
                                 plan.slots, width);
  UpProjections(x_TD, experts, plan, limit, activation, hidden, ctx);
  DownProjections(hidden, experts, plan, activation, y_TD, ctx);
}

// SelectExperts in its defining form, for scores that have no order: each pick starts from the
// first expert left and moves on to whatever is larger, so that a NaN stays if it comes first.
void SelectOneByOne(std::span<const float> scores_E, std::span<const float> bias_E,
                    std::span<int32_t> experts_A) {
  const auto value = [&](int32_t e) {
    return scores_E[static_cast<size_t>(e)] + bias_E[static_cast<size_t>(e)];
  };
  for (auto end = experts_A.begin(); end != experts_A.end(); ++end) {
    int32_t best = -1;
    for (int32_t e = 0; e < std::ssize(scores_E); ++e)
      if (std::find(experts_A.begin(), end, e) == end && (best < 0 || value(e) > value(best)))
        best = e;
    *end = best;
  }
  std::sort(experts_A.begin(), experts_A.end());
}

}  // namespace

void GateScores(MatrixView<float> logits_TE, const Context& ctx) {
  const TraceSpan span(ctx.trace, Operation::kGate);
  const RowOps& ops = RowOpsOf(ctx.path);
  ForRows(ctx, logits_TE.rows, logits_TE.cols * 32 / ops.speed,
          [&](int64_t t) { ops.gate_scores(logits_TE.row(t), logits_TE.cols); });
}

void SelectExperts(std::span<const float> scores_E, std::span<const float> bias_E,
                   std::span<int32_t> experts_A) {
  const int64_t active = std::ssize(experts_A);
  FATHOM_CHECK_LE(experts_A.size(), scores_E.size());
  const auto value = [&](int32_t e) {
    return scores_E[static_cast<size_t>(e)] + bias_E[static_cast<size_t>(e)];
  };
  // The best so far, best first. Most experts lose against the last of them and cost one
  // comparison.
  int64_t count = 0;
  for (int32_t e = 0; e < std::ssize(scores_E); ++e) {
    const float own = value(e);
    if (std::isnan(own)) return SelectOneByOne(scores_E, bias_E, experts_A);
    int64_t place = count;
    while (place > 0 && own > value(experts_A[static_cast<size_t>(place - 1)])) --place;
    if (place == active) continue;
    if (count < active) ++count;
    const auto from = experts_A.begin() + place;
    std::copy_backward(from, experts_A.begin() + count - 1, experts_A.begin() + count);
    *from = e;
  }
  std::sort(experts_A.begin(), experts_A.end());
}

void RoutingWeights(std::span<const float> scores_E, std::span<const int32_t> experts_A,
                    float route_scale, std::span<float> weights_A) {
  float sum = 0;
  for (const int32_t e : experts_A) sum += scores_E[static_cast<size_t>(e)];
  for (size_t a = 0; a < experts_A.size(); ++a) {
    const float score = scores_E[static_cast<size_t>(experts_A[a])];
    weights_A[a] = sum > 0 ? score / sum * route_scale : 0.0f;
  }
}

float SwiGlu(float gate, float up, float limit, float weight, numerics::Mode mode) {
  if (limit > 0) {
    gate = std::min(gate, limit);
    up = std::clamp(up, -limit, limit);
  }
  return numerics::Round(numerics::Silu(gate) * up * weight, mode);
}

void RoutedExperts(MatrixView<const float> x_TD, MatrixView<const int32_t> experts_TA,
                   MatrixView<const float> weights_TA, std::span<const ExpertView> experts,
                   float swiglu_limit, MatrixView<float> y_TD, const Context& ctx,
                   Activation activation) {
  FATHOM_CHECK_EQ(experts_TA.rows, x_TD.rows);
  FATHOM_CHECK_EQ(weights_TA.cols, experts_TA.cols);
  FATHOM_CHECK_EQ(y_TD.rows, x_TD.rows);
  if (x_TD.rows == 0) return;
  TraceSpan span(ctx.trace, Operation::kRoutedExperts);
  const Plan plan = MakePlan(experts_TA, weights_TA, std::ssize(experts), ctx);
  span.Add(WorkOf(plan, experts[0]));
  RunExperts(x_TD, experts, plan, swiglu_limit, activation, y_TD, ctx);
}

void SharedExpert(MatrixView<const float> x_TD, const ExpertView& expert, float swiglu_limit,
                  MatrixView<float> y_TD, const Context& ctx, Activation activation) {
  if (x_TD.rows == 0) return;
  TraceSpan span(ctx.trace, Operation::kSharedExpert);
  const Plan plan = EveryToken(x_TD.rows, ctx);
  span.Add(WorkOf(plan, expert));
  RunExperts(x_TD, {&expert, 1}, plan, swiglu_limit, activation, y_TD, ctx);
}

void AddRows(MatrixView<const float> x_TD, MatrixView<float> y_TD, const Context& ctx) {
  FATHOM_CHECK_EQ(x_TD.rows, y_TD.rows);
  FATHOM_CHECK_EQ(x_TD.cols, y_TD.cols);
  const RowOps& ops = RowOpsOf(ctx.path);
  ForRows(ctx, y_TD.rows, y_TD.cols / ops.speed, [&](int64_t t) {
    ops.add_row(x_TD.row(t), y_TD.cols, numerics::Rounds(ctx.mode), y_TD.row(t));
  });
}

}  // namespace fathom::kernels
