#include "model/fill.h"

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "kernels/cache_row.h"
#include "model/rows.h"
#include "numerics/formats.h"

namespace fathom::model {
namespace {

using kernels::RowKind;

// Different rows of each kind: far more than a query picks, and few enough to be made at once.
constexpr int64_t kRows = 4096;

// In [-1.75, 1.75): mean square 1, which is what the norm in front of the cache leaves.
class Random {
 public:
  explicit Random(uint64_t seed) : bits_(seed) {}
  float Value() { return bits_.Signed() * 1.75f; }

 private:
  SplitMix64 bits_;
};

void Fill(tensor::Buffer<float>& buffer, Random& random) {
  for (int64_t i = 0; i < buffer.size(); ++i) buffer[i] = random.Value();
}

// The first `count` rows, those after kRows copies.
void FillRows(const kernels::MutableCacheRows& out, int64_t count, RowKind kind,
              numerics::Mode mode, Random& random) {
  std::vector<float> row(static_cast<size_t>(out.layout.dim));
  for (int64_t i = 0; i < count; ++i) {
    if (i >= kRows) {
      std::copy_n(out.row(i - kRows), out.layout.bytes(), out.row(i));
      continue;
    }
    for (float& value : row) value = numerics::RoundToBF16(random.Value());
    kernels::EncodeRow(row, kind, mode, out.layout, out.row(i));
  }
}

void FillState(CompressorState& state, Random& random) {
  for (tensor::Buffer<float>* buffer :
       {&state.open_value, &state.open_score, &state.previous_value, &state.previous_score})
    Fill(*buffer, random);
}

}  // namespace

void FillRandom(const Config& config, int64_t length, uint64_t seed, Sequence& sequence) {
  FATHOM_CHECK_EQ(sequence.length(), int64_t{0});
  FATHOM_CHECK_LE(length, sequence.capacity());
  if (length == 0) return;
  Random random(seed);
  const numerics::Mode mode = sequence.mode();
  sequence.PrepareWrite(0, length);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    LayerState& state = sequence.layer(layer);
    FillRows(state.window.mutable_rows(), std::min(length, config.sliding_window), RowKind::kLatent,
             mode, random);
    if (state.ratio == 0) continue;
    const int64_t blocks = VisibleBlocks(length - 1, state.ratio);
    FillRows(sequence.compressed(layer), blocks, RowKind::kLatent, mode, random);
    FillState(state.compressor, random);
    if (KindOfRatio(state.ratio) != LayerKind::kCsa) continue;
    FillRows(sequence.index_keys(layer), blocks, RowKind::kIndex, mode, random);
    FillState(state.index_compressor, random);
  }
  sequence.Advance(length);
}

}  // namespace fathom::model
