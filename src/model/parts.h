// Inside of the room and of its verification: steps of the forward pass that need no executor, so
// that recorded operator tables run through the same code as a model.
#pragma once

#include <cstdint>
#include <span>

#include "base/types.h"
#include "kernels/linear.h"
#include "model/weights.h"

namespace fathom::model {

using tensor::MatrixView;

// z [T, G * O]: group k of o's columns times rows [k * O, (k + 1) * O) of wo_a [G * O, columns /
// G], unquantised. Ref: model.md 8.11.
void GroupedProjection(MatrixView<const float> o_TK, const QuantView& wo_a, int64_t groups,
                       MatrixView<float> z_TGO, const kernels::Context& ctx);

// One token's experts, ascending, and their weights, from its scores sqrt(softplus(logit)): by the
// table on hash layers, else the largest score + bias. Ref: model.md 8.12.
void Route(const GateWeights& gate, TokenId token, std::span<const float> scores_E,
           float route_scale, std::span<int32_t> experts_A, std::span<float> weights_A);

}  // namespace fathom::model
