// Rotary embedding of the last R values of a head, interleaved pairs, forward and inverse, with the
// frequency tables of plain RoPE and YaRN. Ref: model.md 8.5.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/context.h"
#include "tensor/view.h"

namespace fathom::kernels {

using tensor::MatrixView;

struct Yarn {
  double factor = 1;
  int64_t original_positions = 0;
  double beta_fast = 32;
  double beta_slow = 1;
};

// Frequencies of R/2 pairs, float32 as the reference computes them.
class RopeTable {
 public:
  RopeTable(int64_t rotary_dims, double theta, const std::optional<Yarn>& yarn);

  int64_t pairs() const { return static_cast<int64_t>(frequencies_.size()); }
  std::span<const float> frequencies() const { return frequencies_; }
  // cos and sin of f32(f32(position) * frequency): the angle is a float32 product with its error,
  // as the models were trained; the functions of that angle are taken in double and rounded once.
  void Angles(int64_t position, std::span<float> cos, std::span<float> sin) const;

 private:
  std::vector<float> frequencies_;
};

enum class Direction { kForward, kInverse };

// (a, b) -> (a cos - b sin, a sin + b cos), or with -sin for kInverse, on the last 2 * pairs values
// of x; each result rounded to BF16 in official mode. cos and sin have `pairs` entries.
void RotateHead(std::span<float> x, std::span<const float> cos, std::span<const float> sin,
                Direction direction, numerics::Mode mode);

// Every head of every row; row t uses row t of cos_TR and sin_TR ([T, pairs]).
void Rotate(MatrixView<float> x_TD, int64_t head_dim, MatrixView<const float> cos_TR,
            MatrixView<const float> sin_TR, Direction direction, const Context& ctx);

}  // namespace fathom::kernels
