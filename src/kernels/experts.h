// The mixture of experts: routing and the clamped SwiGLU networks. Ref: model.md 8.12, 8.13.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/context.h"
#include "kernels/linear.h"
#include "tensor/view.h"

namespace fathom::kernels {

// w1 (gate), w3 (up) [F, D], w2 (down) [D, F].
struct ExpertView {
  QuantView w1;
  QuantView w2;
  QuantView w3;
};

// scores [T, E] <- sqrt(softplus(logits)), in place.
void GateScores(MatrixView<float> logits_TE, const Context& ctx);

// The A experts with the largest score + bias (ties: lower id), ascending by id.
void SelectExperts(std::span<const float> scores_E, std::span<const float> bias_E,
                   std::span<int32_t> experts_A);

// weight[k] = score of experts[k] / their sum * route_scale; all zero when the sum is.
void RoutingWeights(std::span<const float> scores_E, std::span<const int32_t> experts_A,
                    float route_scale, std::span<float> weights_A);

// silu(min(gate, limit)) * clamp(up, -limit, limit) * weight, rounded to BF16; limit 0 is no clamp.
float SwiGlu(float gate, float up, float limit, float weight, numerics::Mode mode);

// y[t] = sum over the token's experts, ascending id, of w2 (SwiGlu(w1 x, w3 x) * weight), each
// expert's output rounded to BF16, the sum float32 and not rounded. Every expert has the same
// formats.
void RoutedExperts(MatrixView<const float> x_TD, MatrixView<const int32_t> experts_TA,
                   MatrixView<const float> weights_TA, std::span<const ExpertView> experts,
                   float swiglu_limit, MatrixView<float> y_TD, const Context& ctx,
                   Activation activation = Activation::kQuantized);

// The shared expert: one network for all tokens, unweighted, output rounded to BF16.
void SharedExpert(MatrixView<const float> x_TD, const ExpertView& expert, float swiglu_limit,
                  MatrixView<float> y_TD, const Context& ctx,
                  Activation activation = Activation::kQuantized);

// y <- y + x, rounded to BF16: the routed experts' sum and the shared expert's output.
void AddRows(MatrixView<const float> x_TD, MatrixView<float> y_TD, const Context& ctx);

}  // namespace fathom::kernels
