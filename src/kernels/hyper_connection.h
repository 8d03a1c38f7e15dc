// Manifold-constrained hyper-connections: S residual streams mixed before and after every sub-layer
// with weights that each token computes from its own streams; the mixing matrix is made doubly
// stochastic by Sinkhorn iterations. Ref: model.md 8.3.
#pragma once

#include <span>

#include "kernels/context.h"
#include "kernels/linear.h"
#include "tensor/view.h"

namespace fathom::kernels {

struct HyperConnection {
  const QuantView& fn;           // F32 [(2 + S) * S, S * D]; hc_head: [S, S * D]
  std::span<const float> base;   // one per row of fn
  std::span<const float> scale;  // 3: pre, post, comb; hc_head: 1
  int64_t streams = 0;           // S
  int64_t sinkhorn_iters = 0;
  float hc_eps = 0;
  float rms_norm_eps = 0;
};

// From the S * D values of each row of x: its mixes (fn z) / rms(z) (the sum of squares as in
// rms_norm.h), then y[d] = sum_j pre[j] x[j, d] (j ascending, rounded to BF16), post [S] and comb
// [S, S] (row j the source stream, column k the destination), both float32. post_TS and comb_TS may
// be empty for hc_head.
void HyperConnectionPre(MatrixView<const float> x_TSD, const HyperConnection& hc,
                        MatrixView<float> y_TD, MatrixView<float> post_TS,
                        MatrixView<float> comb_TSS, const Context& ctx);

// x[k, d] <- post[k] y[d] + (sum_j comb[j, k] x[j, d], j ascending from zero), rounded to BF16. In
// place.
void HyperConnectionPost(MatrixView<const float> y_TD, MatrixView<const float> post_TS,
                         MatrixView<const float> comb_TSS, MatrixView<float> x_TSD,
                         const Context& ctx);

// pre, post and comb of one token from its mixes [(2 + S) * S]; only pre when mixes has S values.
void SplitMixes(std::span<const float> mixes, const HyperConnection& hc, std::span<float> pre,
                std::span<float> post, std::span<float> comb);

}  // namespace fathom::kernels
