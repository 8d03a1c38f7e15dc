#include "model/fill.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/compressor.h"
#include "model/rows.h"
#include "numerics/formats.h"

namespace fathom::model {
namespace {

using kernels::RowKind;

// Different rows of each kind: far more than a query picks, and few enough to be made at once.
constexpr int64_t kRows = 4096;

// splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In [-1.75, 1.75): mean square 1, which is what the norm in front of the cache leaves.
  float Value() { return (static_cast<float>(Bits() >> 40) * 0x1p-23f - 1.0f) * 1.75f; }

 private:
  uint64_t state_;
};

void Fill(tensor::Buffer<float>& buffer, Random& random) {
  for (int64_t i = 0; i < buffer.size(); ++i) buffer[i] = random.Value();
}

// `count` rows of `dim` values into `out`, the later ones copies of the first kRows.
void FillRows(float* out, int64_t count, int64_t dim, int64_t rotary_dims, RowKind kind,
              Random& random) {
  for (int64_t i = 0; i < count; ++i) {
    float* row = out + i * dim;
    if (i >= kRows) {
      std::copy_n(row - kRows * dim, dim, row);
      continue;
    }
    for (int64_t d = 0; d < dim; ++d) row[d] = numerics::RoundToBF16(random.Value());
    kernels::RoundForCache({row, static_cast<size_t>(dim)}, rotary_dims, kind,
                           numerics::Mode::kOfficial);
  }
}

}  // namespace

void FillRandom(const Config& config, int64_t length, uint64_t seed, Sequence& sequence) {
  FATHOM_CHECK_EQ(sequence.length(), int64_t{0});
  FATHOM_CHECK_LE(length, sequence.capacity());
  if (length == 0) return;
  Random random(seed);
  const int64_t rotary = config.qk_rope_head_dim;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    LayerState& state = sequence.layer(layer);
    FillRows(state.window.data(), std::min(length, config.sliding_window), config.head_dim, rotary,
             RowKind::kLatent, random);
    if (state.ratio == 0) continue;
    const int64_t blocks = VisibleBlocks(length - 1, state.ratio);
    FillRows(state.compressed.data(), blocks, config.head_dim, rotary, RowKind::kLatent, random);
    Fill(state.compressor.value, random);
    Fill(state.compressor.score, random);
    if (KindOfRatio(state.ratio) != LayerKind::kCsa) continue;
    FillRows(state.index_keys.data(), blocks, config.index_head_dim, rotary, RowKind::kIndex,
             random);
    Fill(state.index_compressor.value, random);
    Fill(state.index_compressor.score, random);
  }
  sequence.Advance(length);
}

}  // namespace fathom::model
