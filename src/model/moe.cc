// The feed-forward sub-layer: the gate (by score, or by the token's table entry on hash layers),
// the routed experts and the shared one. Ref: inference/model.py, MoE.forward; model.md 8.12, 8.13.
#include <algorithm>
#include <cstring>

#include "kernels/experts.h"
#include "kernels/linear.h"
#include "kernels/trace.h"
#include "model/forward.h"
#include "model/mistake.h"
#include "model/parts.h"
#include "model/scratch.h"

namespace fathom::model {

void Route(const GateWeights& gate, TokenId token, std::span<const float> scores_E,
           float route_scale, std::span<int32_t> experts_A, std::span<float> weights_A) {
  if (gate.tid2eid != nullptr) {
    const std::byte* entry = gate.tid2eid + int64_t{token} * std::ssize(experts_A) * 8;
    for (int32_t& expert : experts_A) {
      int64_t value;
      std::memcpy(&value, entry, 8);
      expert = static_cast<int32_t>(value);
      entry += 8;
    }
    std::sort(experts_A.begin(), experts_A.end());
  } else {
    kernels::SelectExperts(scores_E, gate.bias, experts_A);
  }
  kernels::RoutingWeights(scores_E, experts_A, route_scale, weights_A);
}

void Executor::Moe(const MoeWeights& w, std::span<const TokenId> tokens,
                   MatrixView<const float> x_TD, MatrixView<float> y_TD) {
  Scratch& s = *scratch_;
  const int64_t rows = x_TD.rows, active = config_.num_experts_per_tok;
  FATHOM_CHECK_EQ(std::ssize(tokens), rows);
  const auto scores = s.gate.matrix(rows, config_.n_routed_experts);
  const auto experts = s.experts.matrix(rows, active);
  const auto weights = s.routing_weights.matrix(rows, active);
  const auto shared = s.shared_out.matrix(rows, config_.hidden_size);
  kernels::Linear(x_TD, w.gate.weight, kernels::Activation::kBF16, kernels::Output::kF32, scores,
                  ctx_);
  kernels::GateScores(scores, ctx_);
  {
    const kernels::TraceSpan span(ctx_.trace, kernels::Operation::kGate);
    kernels::ForRows(ctx_, rows, config_.n_routed_experts * active, [&](int64_t t) {
      Route(w.gate, tokens[static_cast<size_t>(t)], scores.row_span(t),
            static_cast<float>(config_.routed_scaling_factor), experts.row_span(t),
            weights.row_span(t));
    });
  }
  const float limit = static_cast<float>(config_.swiglu_limit);
  kernels::RoutedExperts(x_TD, experts, weights, w.experts, limit, y_TD, ctx_, Quantized());
  const float shared_limit = Has(Mistake::kSharedNotClamped) ? 0.0f : limit;
  kernels::SharedExpert(x_TD, w.shared_experts, shared_limit, shared, ctx_, Quantized());
  kernels::AddRows(shared, y_TD, ctx_);
}

}  // namespace fathom::model
