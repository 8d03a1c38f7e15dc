// The BF16 product of the AVX-512 path for the inputs of a batch, in the order of linear.h: more
// than are worth a decoding of the weights for every few of them, fewer than are worth a panel.
// Tiles of 4 rows by up to 5 inputs pass over one stretch of the rows after the other. The rows of
// the next tiles are decoded into a buffer in the first-level cache, some after each tile: decoding
// takes units that the products leave free.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/avx512_weights.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

// Rows and the most inputs of a tile.
constexpr int kTileRows = 4;
constexpr int kTileInputs = 5;
// Rows that pass over a stretch of all inputs before the next stretch, and are folded together.
constexpr int64_t kGroupRows = 16;
// How far ahead in its row a stretch is fetched while another is decoded, by measurement.
template <Format kFormat>
constexpr int64_t kStretchesAhead = kFormat == Format::kFp8 ? 1 : 2;
constexpr int64_t kDecodedStride = 2 * kStretch;

// A stretch of the rows of a tile: what it is decoded from, and what is multiplied.
template <Format kFormat>
struct Block {
  static constexpr int64_t kBytes = CodeBytes<kFormat>(kStretch);

  const std::byte* rows;  // BF16 values in pair order, of one row each `stride` bytes
  int64_t stride;
  StretchView stretch[kTileRows];
  int64_t ahead;  // from there to what is fetched meanwhile
  bool small_cache;
  alignas(64) uint16_t decoded[kTileRows][kStretch];
  alignas(64) float scales[kTileRows][16];        // FP4: of the lanes
  alignas(64) std::byte copy[kTileRows][kBytes];  // of stretches that are not whole
};

// The rows of a task that stand together from o on. Past its end the last one is read again.
template <Format kFormat>
class RowGroup {
 public:
  RowGroup(const DotTask& task, int64_t o)
      : whole_(task.w.cols / kStretch), rows_(Smaller(kGroupRows, task.row_end - o)) {
    for (int64_t r = 0; r < kGroupRows; ++r)
      row_[r] = RowReader<kFormat>(task.w, o + Smaller(r, rows_ - 1));
    row_bytes_ = task.w.row_bytes();
    // Behind the end of a row: the next group, or what is likely to be read next.
    if (o + kGroupRows < task.row_end) {
      ahead_ = kGroupRows * row_bytes_;
    } else if (task.next != nullptr) {
      ahead_ = task.next - row_[0].codes(0);
    }
  }

  int64_t rows() const { return rows_; }

  // Stretch b of the rows of a tile from r on.
  void Start(int64_t r, int64_t b, Block<kFormat>& block) const {
    const bool is_whole = b < whole_;
    constexpr int64_t kFar = kStretchesAhead<kFormat>;
    block.ahead = b + kFar < whole_ ? kFar * kBytes : ahead_ - (whole_ - kFar) * kBytes;
    if (!is_whole) block.ahead = 0;
#pragma GCC unroll 4
    for (int n = 0; n < kTileRows; ++n) {
      const RowReader<kFormat>& row = row_[r + n];
      block.stretch[n] = is_whole ? row.Whole(b) : row.Last(b, block.copy[n]);
      if constexpr (kFormat == Format::kFp4)
        _mm512_store_ps(block.scales[n], StretchScales<kFormat>(block.stretch[n]));
    }
    block.rows = reinterpret_cast<const std::byte*>(block.decoded);
    block.stride = kDecodedStride;
    if constexpr (kFormat == Format::kBF16) {
      // Multiplied where it stands.
      if (is_whole && r + kTileRows <= rows_) {
        block.rows = block.stretch[0].codes;
        block.stride = row_bytes_;
        return;
      }
      for (int n = 0; n < kTileRows; ++n)
        std::memcpy(block.decoded[n], block.stretch[n].codes, sizeof(block.decoded[n]));
    }
  }

 private:
  static constexpr int64_t kBytes = Block<kFormat>::kBytes;

  RowReader<kFormat> row_[kGroupRows];
  int64_t whole_, rows_, row_bytes_ = 0, ahead_ = 0;
};

// Decodes row r of a block, and fetches as much.
template <Format kFormat>
[[gnu::always_inline]] inline void DecodeRow(Block<kFormat>& block, int64_t r) {
  FetchWeights(block.stretch[r].codes + block.ahead, Block<kFormat>::kBytes, block.small_cache);
  if constexpr (kFormat != Format::kBF16) {
    StretchReader<kFormat> reader;
    reader.Start(block.stretch[r]);
#pragma GCC unroll 4
    for (int64_t four = 0; four < 4; ++four) {
      if (four >= reader.fours()) break;
      __m512i v[4];
      reader.Read(four, v);
      uint16_t* out = block.decoded[r] + 128 * four;
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) _mm512_store_si512(out + 32 * s, v[s]);
    }
  }
}

// The rows of a block that are decoded after a tile is multiplied.
template <Format kFormat>
struct Meanwhile {
  Block<kFormat>* block;
  int64_t begin, end;

  [[gnu::always_inline]] void Decode() const {
#pragma GCC unroll 1
    for (int64_t r = begin; r < end; ++r) DecodeRow<kFormat>(*block, r);
  }
};

// Adds a block to the sums of kInputs inputs, whose values x[i] + offset on stand beside it; the
// stretch has `steps` steps. A function of its own, so that the compiler keeps its pointers in
// registers.
template <Format kFormat, int kInputs, bool kIsWhole>
[[gnu::noinline]] void MultiplyTile(const Block<kFormat>& block, int64_t steps,
                                    const uint16_t* const* x, int64_t offset,
                                    float (*sums)[kTileRows][16],
                                    const Meanwhile<kFormat>& meanwhile) {
  const uint16_t* input[kInputs];
#pragma GCC unroll 8
  for (int m = 0; m < kInputs; ++m) input[m] = x[m] + offset;
  const std::byte* rows = block.rows;
  const int64_t stride = kFormat == Format::kBF16 ? block.stride : kDecodedStride;
  __m512 p[kInputs][kTileRows];
#pragma GCC unroll 8
  for (int m = 0; m < kInputs; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < kTileRows; ++n) p[m][n] = _mm512_setzero_ps();
  }
  const int64_t end = kIsWhole ? kStretch : 32 * steps;
#pragma GCC unroll 2
  for (int64_t at = 0; at < end; at += 32) {
    __m512i w[kTileRows];
#pragma GCC unroll 4
    for (int n = 0; n < kTileRows; ++n) w[n] = _mm512_loadu_si512(rows + n * stride + 2 * at);
#pragma GCC unroll 8
    for (int m = 0; m < kInputs; ++m) {
      const __m512i value = _mm512_loadu_si512(input[m] + at);
#pragma GCC unroll 4
      for (int n = 0; n < kTileRows; ++n) p[m][n] = DotPair(p[m][n], w[n], value);
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < kTileRows; ++n) {
    const __m512 scales =
        kFormat == Format::kFp4 ? _mm512_load_ps(block.scales[n]) : _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int m = 0; m < kInputs; ++m) {
      const __m512 acc = offset == 0 ? _mm512_setzero_ps() : _mm512_load_ps(sums[m][n]);
      _mm512_store_ps(sums[m][n], AddStretch<kFormat>(acc, p[m][n], scales));
    }
  }
  meanwhile.Decode();
}

// The sums of a group of rows: those of a tile stand together.
struct GroupSums {
  alignas(64) float lanes[kGroupRows / kTileRows][kBatchInputsMax][kTileRows][16];
};

template <Format kFormat>
void DotBatch(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  const int64_t width = PackedWidth(kFormat, task.w.cols);
  const int64_t stretches = (width + kStretch - 1) / kStretch;
  const int64_t tiles = (task.count + kTileInputs - 1) / kTileInputs;
  GroupSums sums;
  Block<kFormat> blocks[2];
  blocks[0].small_cache = blocks[1].small_cache = small_cache;
  Block<kFormat>* now = &blocks[0];
  Block<kFormat>* next = &blocks[1];
  RowGroup<kFormat> group(task, task.row_begin);
  group.Start(0, 0, *now);
  const Meanwhile<kFormat> before{now, 0, kTileRows};
  before.Decode();
  for (int64_t o = task.row_begin; o < task.row_end; o += kGroupRows) {
    const int64_t rows = group.rows();
    for (int64_t b = 0; b < stretches; ++b) {
      const int64_t steps = Smaller(kStretch, width - b * kStretch) / 32;
      for (int64_t r = 0; r < rows; r += kTileRows) {
        Meanwhile<kFormat> meanwhile{next, 0, 0};
        int64_t parts = tiles;
        if (r + kTileRows < rows) {
          group.Start(r + kTileRows, b, *next);
        } else if (b + 1 < stretches) {
          group.Start(0, b + 1, *next);
        } else if (o + kGroupRows < task.row_end) {
          group = RowGroup<kFormat>(task, o + kGroupRows);
          group.Start(0, 0, *next);
        } else {
          parts = 0;
        }
        int64_t part = 0;
        ForShares<kTileInputs>(task.count, [&](int64_t first, auto inputs) {
          if (parts > 0) meanwhile.end = ++part * kTileRows / parts;
          const auto multiply = steps == kStretch / 32 ? MultiplyTile<kFormat, inputs, true>
                                                       : MultiplyTile<kFormat, inputs, false>;
          multiply(*now, steps, x + first, b * kStretch, &sums.lanes[r / kTileRows][first],
                   meanwhile);
          meanwhile.begin = meanwhile.end;
        });
        std::swap(now, next);
      }
    }
    for (int64_t m = 0; m < task.count; ++m) {
      __m512 v[kGroupRows];
#pragma GCC unroll 16
      for (int r = 0; r < kGroupRows; ++r)
        v[r] = _mm512_load_ps(sums.lanes[r / kTileRows][m][r % kTileRows]);
      Vec512::Store(task.y + m * task.y_stride + (o - task.row_begin), Vec512::Fold16(v), rows);
    }
  }
}

}  // namespace

void DotBatchAvx512(const DotTask& task, const uint16_t* const* x, bool small_cache) {
  DotTask some = task;
  const int64_t groups = (task.count + kBatchInputsMax - 1) / kBatchInputsMax;
  for (int64_t group = 0, first = 0; group < groups; ++group, first += some.count) {
    some.count = (task.count - first + groups - group - 1) / (groups - group);
    some.y = task.y + first * task.y_stride;
    ForFormat(task.w.format, [&](auto format) { DotBatch<format>(some, x + first, small_cache); });
  }
}

}  // namespace fathom::kernels::cpu

#endif
