// Inside of the room: products, attention and index scores, which have one implementation per path,
// as a table of functions; row_ops.h is the table of the operations on single rows. Arguments are
// checked at the doors; a path may assume them.
#pragma once

#include <cstdint>

#include "kernels/cache_row.h"
#include "kernels/context.h"
#include "kernels/indexer.h"
#include "kernels/linear.h"
#include "tensor/view.h"

namespace fathom::kernels {

// Output rows [row_begin, row_end) of one weight for `count` input rows:
// y[i * y_stride + (o - row_begin)] = dot(w[o], x[i]), unrounded, in the order of linear.h.
struct DotTask {
  tensor::QuantView w;
  int64_t row_begin = 0;
  int64_t row_end = 0;
  int64_t count = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
  const std::byte* next = nullptr;  // rows of the same shape that this thread is likely to read
                                    // afterwards, to be fetched ahead
};

// Slots per block of the running-maximum softmax. Ref: model.md 8.10.
inline constexpr int64_t kAttentionBlock = 64;
// Blocks that the paths with tiles take through the value products together.
inline constexpr int64_t kAttentionGroup = 2;

// One query token's attention over gathered rows (sparse_attention.h), heads [head_begin,
// head_end).
struct AttentionTask {
  const float* q = nullptr;                // [H, C]
  const std::byte* const* rows = nullptr;  // [count]
  RowLayout layout;                        // of each; C values
  int64_t count = 0;
  const float* sink = nullptr;  // [H]
  float scale = 0;
  int64_t head_begin = 0;
  int64_t head_end = 0;
  int64_t head_dim = 0;
  bool round = false;        // probabilities and outputs to BF16; q and rows hold BF16 values
  float* o = nullptr;        // [H, C]
  float* scratch = nullptr;  // AttentionScratchFloats() of it
  int64_t window = 0;        // rows of the list's first part, and the empty slots between it and
  int64_t gap = 0;           // the rest (RowList)
  const float* next_q = nullptr;  // of the task that this thread takes next, where that is known

  // Rows of the block that starts at row `begin`.
  int64_t BlockRows(int64_t begin) const {
    const int64_t slot = begin < window ? begin : begin + gap;
    const int64_t end_slot = (slot / kAttentionBlock + 1) * kAttentionBlock;
    int64_t end = end_slot <= window ? end_slot : end_slot - gap;
    if (end_slot > window && end < window) end = window;
    return (end < count ? end : count) - begin;
  }
};

// Index scores of `count` queries against rows [begin, end) of the same keys (indexer.h).
struct IndexTask {
  const IndexQuery* queries = nullptr;
  const float* packed = nullptr;  // what index_pack made of each, packed_stride apart
  int64_t packed_stride = 0;
  int64_t count = 0;
  int64_t heads = 0;
  CacheRows keys;
  int64_t begin = 0;
  int64_t end = 0;
  bool round = false;       // dot, product and sum to BF16; queries and keys hold BF16 values
  float* scores = nullptr;  // query i's score of key b at i * scores_stride + b - begin
  int64_t scores_stride = 0;
  float* scratch = nullptr;  // IndexScratchFloats() of it
};

// Input rows in tiles of 16, each of one stretch. A stretch's tiles of all rows stand side by side,
// so that they meet in no cache set.
struct InputTiles {
  static constexpr int64_t kRows = 16;
  static constexpr int64_t kWords = kStretch / 2 * kRows;  // of a tile; a last one may need less

  const uint32_t* data = nullptr;
  int64_t stride = 0;  // tiles from one stretch to the next

  // Tiles for so many input rows: from 17 rows on an even number.
  static constexpr int64_t For(int64_t rows) {
    return rows <= kRows ? 1 : (rows + 2 * kRows - 1) / (2 * kRows) * 2;
  }
};

struct Int8Stretch;

struct PathOps {
  // x[i]: the packed input, BF16 bits in PairOrder, padded with zeros to PackedWidth.
  void (*dot_bf16)(const DotTask& task, const uint16_t* const* x);
  // x[i]: floats in natural order, padded with zeros to a multiple of 128.
  void (*dot_f32)(const DotTask& task, const float* const* x);
  // FP4 weights times bytes (int8_stretch.h): x[i] is the first stretch of an input.
  void (*dot_int8)(const DotTask& task, const Int8Stretch* const* x);
  void (*attend)(const AttentionTask& task);
  // Brings a query into the form that index_scores reads: IndexQueryFloats() of `packed`, on a
  // vector; scratch as for index_scores.
  void (*index_pack)(const IndexQuery& query, int64_t heads, bool round, float* packed,
                     float* scratch);
  void (*index_scores)(const IndexTask& task);
  // Writes the indices of the scores above `bound`, ascending, and returns how many there are;
  // `out` has room for n + 16.
  int64_t (*collect_above)(const float* scores, int64_t n, float bound, int32_t* out);
  // How many heads a task should be given at least for the path to be efficient.
  int64_t head_group;
  // Of paths that multiply tiles of 16 input rows, whose dot_bf16 takes one row only. to_tiles
  // writes `steps` steps of 32 values, from value `begin` on, of `count` <= 16 packed rows to a
  // tile: [step][16 pairs][16 rows], zeros beside the rows.
  void (*to_tiles)(const uint16_t* const* x, int64_t count, int64_t begin, int64_t steps,
                   uint32_t* tile) = nullptr;
  void (*dot_tiles)(const DotTask& task, const InputTiles& x) = nullptr;
};

const PathOps& OpsOf(Path path);

// Upper bounds over all paths of the scratch a task needs, in floats.
int64_t AttentionScratchFloats(int64_t heads, int64_t head_dim);
int64_t IndexQueryFloats(int64_t heads, int64_t dim);
int64_t IndexScratchFloats(int64_t heads, int64_t dim);

// The tables, one file per instruction set.
extern const PathOps kReferenceOps;
extern const PathOps kTileReferenceOps;
#if defined(__x86_64__)
extern const PathOps kAvx2Ops;
extern const PathOps kAvx512Ops;
extern const PathOps kAmxOps;
#elif defined(__aarch64__)
extern const PathOps kNeonOps;
#endif

}  // namespace fathom::kernels
