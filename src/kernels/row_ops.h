// Inside of the room: operations on single rows (norms, rotation, stream mixing, activations,
// quantisers, packing), one table of functions per path. Every path gives the bits of the plain
// versions in kernels/reference/row_ops.cc: each product and each sum is rounded on its own, in the
// order given here. Arguments are checked at the doors. To be called with subnormals flushed
// (kernels::ParallelFor and ForRows do). `round` means: to BF16, as official mode does.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/context.h"
#include "kernels/linear.h"

namespace fathom::kernels {

// The last 2 * pairs values of each of `heads` heads, rotated in place (rotate.h).
struct RotateTask {
  float* x = nullptr;  // [heads, head_dim]
  int64_t heads = 0;
  int64_t head_dim = 0;
  const float* cos = nullptr;  // [pairs]
  const float* sin = nullptr;
  int64_t pairs = 0;
  bool inverse = false;
  bool round = false;
};

// Stream j of a token starts at x + j * dims. Up to kStreamsMax of them.
inline constexpr int64_t kStreamsMax = 8;

// y[d] = sum over j, ascending, from zero, of pre[j] * x[j, d]; rounded once.
struct MixTask {
  const float* x = nullptr;  // [streams, dims]
  int64_t streams = 0;
  int64_t dims = 0;
  const float* pre = nullptr;  // [streams]
  bool round = false;
  float* y = nullptr;  // [dims]
};

// x[k, d] <- post[k] * y[d] + (sum over j, ascending, from zero, of comb[j, k] * x[j, d]).
struct SpreadTask {
  const float* y = nullptr;  // [dims]
  int64_t streams = 0;
  int64_t dims = 0;
  const float* post = nullptr;  // [streams]
  const float* comb = nullptr;  // [streams, streams]
  bool round = false;
  float* x = nullptr;  // [streams, dims]
};

// out[i] = SwiGlu(gate[i], up[i], limit, weight) (experts.h), gate and up rounded first when
// `round`. out may be gate or up.
struct SwiGluTask {
  const float* gate = nullptr;
  const float* up = nullptr;
  int64_t count = 0;
  float limit = 0;
  float weight = 1;
  bool round = false;
  float* out = nullptr;
};

// n values as BF16 bits in PairOrder, padded with zeros to PackedWidth. With `quantize` every block
// passes through E4M3 under a scale of its own first (model.md 6.3), whose values times their
// power-of-two scale BF16 holds exactly.
struct PackTask {
  const float* x = nullptr;
  int64_t n = 0;
  tensor::Format format = tensor::Format::kBF16;  // of the weights: not kF32
  bool quantize = false;
  uint16_t* out = nullptr;
};

struct Int8Stretch;

struct RowOps {
  // About how many values it takes in the time of one of the reference's: for grain sizes.
  int64_t speed;

  // In double, value k in lane k mod 8, lanes folded 4, 2, 1; rounded to float once.
  float (*sum_of_squares)(const float* x, int64_t n);
  // y = weight * (x * scale). y may be x.
  void (*scale_row)(const float* x, const float* weight, float scale, int64_t n, bool round,
                    float* y);
  // `heads` heads of n values each, in place (NormalizeHeads in rms_norm.h). The rounded squares
  // are summed in 64 lanes, folded (0 + 16) + (32 + 48), then 8, 4, 2, 1.
  void (*normalize_heads)(float* x, int64_t heads, int64_t n, float eps, bool round);
  void (*rotate_heads)(const RotateTask& task);

  void (*mix_streams)(const MixTask& task);
  void (*spread_streams)(const SpreadTask& task);
  // x[i] <- Exp(x[i]).
  void (*exp_row)(float* x, int64_t n);
  // m [S, S] made doubly stochastic (hyper_connection.cc), its row softmax already taken.
  void (*sinkhorn)(float* m, int64_t streams, int64_t iterations, float eps);

  void (*swiglu)(const SwiGluTask& task);
  // x[i] <- sqrt(Softplus(x[i])).
  void (*gate_scores)(float* x, int64_t n);

  // x[i] to BF16.
  void (*round_row)(float* x, int64_t n);
  // y[i] <- y[i] + x[i], the sum rounded.
  void (*add_row)(const float* x, int64_t n, bool round, float* y);
  // y[i] <- y[i] + x[i], the term rounded.
  void (*add_rounded)(const float* x, int64_t n, bool round, float* y);

  // numerics::SimulateE4M3 (blocks of `block` values), SimulateE2M1 and Hadamard.
  void (*simulate_e4m3)(float* x, int64_t n, int64_t block);
  void (*simulate_e2m1)(float* x, int64_t n);
  void (*hadamard)(float* x, int64_t n);

  void (*pack)(const PackTask& task);
  // n values as bytes for products with FP4 weights (numerics::QuantizeInt8, int8_stretch.h).
  void (*pack_int8)(const float* x, int64_t n, Int8Stretch* out);
};

const RowOps& RowOpsOf(Path path);

// The tables, one file per instruction set.
extern const RowOps kReferenceRowOps;
#if defined(__x86_64__)
extern const RowOps kAvx2RowOps;
extern const RowOps kAvx512RowOps;
#elif defined(__aarch64__)
extern const RowOps kNeonRowOps;
#endif

}  // namespace fathom::kernels
