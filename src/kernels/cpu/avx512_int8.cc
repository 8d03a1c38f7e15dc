// The product of FP4 weights and byte inputs of the AVX-512 path, as int8_stretch.h defines it. For
// few inputs each row of weights is decoded in registers straight from the checkpoint's bytes; for
// many, a panel of rows is decoded into the second-level cache once, and tiles of 4 rows by 5
// inputs pass over it.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/avx512_weights.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/vec512.h"
#include "kernels/int8_stretch.h"

namespace fathom::kernels::cpu {
namespace {

using Reader = RowReader<Format::kFp4>;

constexpr int64_t kStretchBytes = CodeBytes<Format::kFp4>(kStretch);
// How many inputs one decoding in registers serves, and up to how many in all it is done so, some
// rows after the other.
constexpr int kInputsInRegisters = 8;
constexpr int64_t kFewInputs = 16;
constexpr int64_t kGroupRows = 16;
// Up to so many inputs a row is read from one end to the other, with more in parts of so many
// stretches: 20 KB of eight inputs.
constexpr int kInputsOfRows = 2;
constexpr int64_t kPartStretches = 4;
// How far ahead of its use a row is fetched, by measurement.
constexpr int64_t kPrefetchBytes = 6144;

// Four times, because the upper two bits of an index belong to the code beside it.
constexpr auto kByteTable = MakeShiftedE2M1<64>(Int8Stretch::kCodeOffset);

// Step s of a stretch: 64 codes.
[[gnu::always_inline]] inline __m512i DecodeStep(const Fp4Words& words, int s) {
  const __m512i word = words.q[s / 2];
  return _mm512_permutexvar_epi8(s % 2 == 0 ? word : _mm512_srli_epi16(word, 4),
                                 _mm512_load_si512(kByteTable.codes));
}

// What stands behind a stretch, before that is read: the other way round is slower.
[[gnu::always_inline]] inline void Fetch(const std::byte* codes, bool small_cache) {
  if (!small_cache) FetchPage(codes + kPageAhead, kStretchBytes);
  FetchWeights(codes + kPrefetchBytes, kStretchBytes, small_cache);
}

[[gnu::always_inline]] inline __m512 AddSums(__m512 acc, __m512i sums, __m512 scales,
                                             const Int8Stretch& x) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_mul_ps(scales, _mm512_load_ps(x.scales)),
                         acc);
}

// acc[i] += a stretch of a row times stretch b of the inputs. One row at a time: two side by side,
// which would share what is read of the inputs, were slower with any number of them (measured with
// rows that were not read in parts).
template <int kInputs>
[[gnu::always_inline]] inline void AddStretchOf(const StretchView& stretch,
                                                const Int8Stretch* const* x, int64_t b,
                                                __m512 (&acc)[kInputs]) {
  // With few inputs two chains for each, because a product waits for the one before it.
  constexpr int kChains = kInputs <= 4 ? 2 : 1;
  const Fp4Words words = TransposeFp4(stretch.codes);
  __m512i sums[kInputs][kChains];
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) {
    sums[i][0] = _mm512_load_si512(x[i][b].offsets);
    if constexpr (kChains == 2) sums[i][1] = _mm512_setzero_si512();
  }
  // Step by step for all inputs, not input by input: what waits for a product fills the processor's
  // schedulers.
#pragma GCC unroll 8
  for (int s = 0; s < 8; ++s) {
    const __m512i w = DecodeStep(words, s);
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i)
      sums[i][s % kChains] =
          _mm512_dpbusd_epi32(sums[i][s % kChains], w, _mm512_load_si512(x[i][b].codes + 64 * s));
  }
  const __m512 scales = Fp4Scales(stretch.scale, stretch.groups);
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) {
    __m512i sum = sums[i][0];
    if constexpr (kChains == 2) sum = _mm512_add_epi32(sum, sums[i][1]);
    acc[i] = AddSums(acc[i], sum, scales, x[i][b]);
  }
}

// Rows [first, end), kGroupRows at the most, times kInputs inputs; y that of the first of them.
// With more than a few inputs, rows are read part by part, so that the inputs' part stays in the
// first-level cache.
template <int kInputs>
void DotGroup(const DotTask& task, int64_t first, int64_t end, const Int8Stretch* const* inputs,
              auto small_cache, float* y) {
  const Int8Stretch* x[kInputs];
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) x[i] = inputs[i];
  alignas(64) float sums[kGroupRows][kInputs][16];
  const int64_t whole = task.w.cols / kStretch, stretches = Int8Stretches(task.w.cols);
  const int64_t part = kInputs > kInputsOfRows ? kPartStretches : stretches;
  for (int64_t begin = 0; begin < stretches; begin += part) {
    const int64_t part_end = Smaller(begin + part, stretches);
    const int64_t whole_end = Smaller(part_end, whole);
    for (int64_t o = first; o < end; ++o) {
      const Reader row(task.w, o);
      __m512 acc[kInputs];
#pragma GCC unroll 8
      for (int i = 0; i < kInputs; ++i)
        acc[i] = begin == 0 ? _mm512_setzero_ps() : _mm512_load_ps(sums[o - first][i]);
#pragma GCC unroll 1
      for (int64_t b = begin; b < whole_end; ++b) {
        Fetch(row.codes(b), small_cache);
        AddStretchOf<kInputs>(row.Whole(b), x, b, acc);
      }
      if (part_end > whole) {
        alignas(64) std::byte copy[kStretchBytes];
        AddStretchOf<kInputs>(row.Last(whole, copy), x, whole, acc);
      }
#pragma GCC unroll 8
      for (int i = 0; i < kInputs; ++i) {
        if (part_end < stretches) {
          _mm512_store_ps(sums[o - first][i], acc[i]);
        } else {
          y[i * task.y_stride + (o - task.row_begin)] = Vec512::Fold(acc[i]);
        }
      }
    }
  }
}

// All inputs, so many at a time. `small_cache` is a constant: there is no branch for each fetch.
void DotFew(const DotTask& task, const Int8Stretch* const* x, auto small_cache) {
  for (int64_t o = task.row_begin; o < task.row_end; o += kGroupRows) {
    const int64_t end = Smaller(o + kGroupRows, task.row_end);
    ForShares<kInputsInRegisters>(task.count, [&](int64_t first, auto inputs) {
      DotGroup<inputs>(task, o, end, x + first, small_cache, task.y + first * task.y_stride);
    });
  }
}

constexpr int kTileRows = 4;
constexpr int kTileInputs = 5;

// Some rows of the weights, decoded, in parts of some stretches: the inputs' values of a part stay
// in the first-level cache while the tiles of all rows pass over them. Lives on the stack.
struct Panel {
  static constexpr int64_t kCodes = int64_t{1} << 18;
  static constexpr int64_t kRows = 64;
  static constexpr int64_t kStretches = 2;  // of a part
  static constexpr int64_t kColsMax = kCodes / kTileRows;

  // Rows that are decoded together, whole tiles.
  static int64_t RowsOf(int64_t stretches) {
    return Smaller(kCodes / (stretches * kStretch), kRows) / kTileRows * kTileRows;
  }

  alignas(64) uint8_t codes[kCodes];  // [part, tile, stretch, step, row of the tile, 64]
  // The bits of floats: [part, tile, stretch, row of the tile].
  alignas(64) int32_t scales[kCodes / kStretch][16];
  alignas(64) float acc[kRows / kTileRows][kTileInputs][kTileRows][16];
};

// Two scales are multiplied by adding their exponents, which takes units that the products leave
// free, where that gives the same: where both lie between 2^-40 and 2^40, but for blocks behind the
// end of a row, whose sums are zero.
bool AreModerate(const Int8Stretch* x, int64_t stretches) {
  constexpr int32_t kLeast = (127 - kExponentMost) << 23, kMost = (127 + kExponentMost) << 23;
  __mmask16 far = 0;
  for (int64_t b = 0; b < stretches; ++b) {
    const __m512i bits = _mm512_load_si512(x[b].scales);
    const __m512i above = _mm512_sub_epi32(bits, _mm512_set1_epi32(kLeast));
    far |= _mm512_mask_cmpgt_epu32_mask(_mm512_test_epi32_mask(bits, bits), above,
                                        _mm512_set1_epi32(kMost - kLeast));
  }
  return far == 0;
}

// Row o of the weights to row r of a panel of `tiles` tiles. With `adds` the scales become what is
// added to those of the inputs.
void DecodeToPanel(const tensor::QuantView& w, int64_t o, int64_t r, int64_t tiles, bool adds,
                   bool small_cache, Panel& panel) {
  const __m512i less = _mm512_set1_epi32(adds ? 127 << 23 : 0);
  alignas(64) std::byte copy[kStretchBytes];
  const Reader row(w, o);
  const int64_t whole = w.cols / kStretch, stretches = Int8Stretches(w.cols);
  for (int64_t b = 0; b < stretches; ++b) {
    const StretchView stretch = b < whole ? row.Whole(b) : row.Last(b, copy);
    const int64_t first = b / Panel::kStretches * Panel::kStretches;
    const int64_t part = Smaller(Panel::kStretches, stretches - first);
    const int64_t place = first * tiles + r / kTileRows * part + b - first;
    Fetch(row.codes(b), small_cache);
    const Fp4Words words = TransposeFp4(stretch.codes);
    uint8_t* out = panel.codes + place * kTileRows * kStretch + r % kTileRows * 64;
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) _mm512_store_si512(out + kTileRows * 64 * s, DecodeStep(words, s));
    const __m512i scales = _mm512_castps_si512(Fp4Scales(stretch.scale, stretch.groups));
    _mm512_store_si512(panel.scales[place * kTileRows + r % kTileRows],
                       _mm512_sub_epi32(scales, less));
  }
}

// Adds stretches [first, end) to the sums of a tile.
template <bool kAdds, int kInputs>
[[gnu::noinline]] void DotTile(const Int8Stretch* const* inputs, int64_t first, int64_t end,
                               const uint8_t* codes, const int32_t (*scales)[16],
                               float (*sums)[kTileRows][16]) {
  const Int8Stretch* x[kInputs];
#pragma GCC unroll 5
  for (int m = 0; m < kInputs; ++m) x[m] = inputs[m];
#pragma GCC unroll 1
  for (int64_t b = first; b < end; ++b, scales += kTileRows) {
    __m512i p[kInputs][kTileRows];
#pragma GCC unroll 5
    for (int m = 0; m < kInputs; ++m) {
      const __m512i offsets = _mm512_load_si512(x[m][b].offsets);
#pragma GCC unroll 4
      for (int n = 0; n < kTileRows; ++n) p[m][n] = offsets;
    }
#pragma GCC unroll 8
    for (int step = 0; step < 8; ++step, codes += kTileRows * 64) {
      __m512i w[kTileRows];
#pragma GCC unroll 4
      for (int n = 0; n < kTileRows; ++n) w[n] = _mm512_load_si512(codes + 64 * n);
#pragma GCC unroll 5
      for (int m = 0; m < kInputs; ++m) {
        const __m512i value = _mm512_load_si512(x[m][b].codes + 64 * step);
#pragma GCC unroll 4
        for (int n = 0; n < kTileRows; ++n) p[m][n] = _mm512_dpbusd_epi32(p[m][n], w[n], value);
      }
    }
#pragma GCC unroll 4
    for (int n = 0; n < kTileRows; ++n) {
      const __m512i scale = _mm512_load_si512(scales[n]);
#pragma GCC unroll 5
      for (int m = 0; m < kInputs; ++m) {
        asm("" : "+v"(p[m][n]));  // compilers would keep a copy in memory at each step
        const __m512 acc = b == 0 ? _mm512_setzero_ps() : _mm512_load_ps(sums[m][n]);
        const __m512 both =
            kAdds ? _mm512_castsi512_ps(_mm512_add_epi32(scale, _mm512_load_si512(x[m][b].scales)))
                  : _mm512_mul_ps(_mm512_castsi512_ps(scale), _mm512_load_ps(x[m][b].scales));
        _mm512_store_ps(sums[m][n], _mm512_fmadd_ps(_mm512_cvtepi32_ps(p[m][n]), both, acc));
      }
    }
  }
}

// y [kInputs, rows] <- all rows of a panel times kInputs inputs.
template <bool kAdds, int kInputs>
void PassOver(int64_t stretches, int64_t rows, const Int8Stretch* const* x, float* y,
              int64_t y_stride, Panel& panel) {
  for (int m = 0; m < kInputs; ++m)
    Prefetch<2>(reinterpret_cast<const std::byte*>(y + m * y_stride), rows * 4);
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  int64_t place = 0;
  for (int64_t first = 0; first < stretches; first += Panel::kStretches) {
    const int64_t end = Smaller(first + Panel::kStretches, stretches);
    for (int64_t tile = 0; tile < tiles; ++tile, place += (end - first) * kTileRows)
      DotTile<kAdds, kInputs>(x, first, end, panel.codes + place * kStretch, panel.scales + place,
                              panel.acc[tile]);
  }
  FoldTiles<kInputs>(panel.acc, rows, y, y_stride);
}

void DotPanels(const DotTask& task, const Int8Stretch* const* x, bool small_cache) {
  Panel panel;
  const int64_t stretches = Int8Stretches(task.w.cols);
  const int64_t panel_rows = Panel::RowsOf(stretches);
  bool are_moderate = true;
  for (int64_t i = 0; are_moderate && i < task.count; ++i)
    are_moderate = AreModerate(x[i], stretches);
  for (int64_t o = task.row_begin; o < task.row_end; o += panel_rows) {
    const int64_t rows = Smaller(panel_rows, task.row_end - o);
    const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
    const bool adds = are_moderate &&
                      AreModerate(RowOf<Format::kFp4>(task.w, o).scale, rows * task.w.scale_cols());
    // The last tile is filled with the last row.
    for (int64_t r = 0; r < tiles * kTileRows; ++r)
      DecodeToPanel(task.w, o + Smaller(r, rows - 1), r, tiles, adds, small_cache, panel);
    float* y = task.y + (o - task.row_begin);
    ForShares<kTileInputs>(task.count, [&](int64_t first, auto inputs) {
      const auto pass = adds ? PassOver<true, inputs> : PassOver<false, inputs>;
      pass(stretches, rows, x + first, y + first * task.y_stride, task.y_stride, panel);
    });
  }
}

}  // namespace

void DotInt8Avx512(const DotTask& task, const Int8Stretch* const* x) {
  const bool small_cache = IsFirstCacheSmall();
  if (task.count > kFewInputs && task.w.cols <= Panel::kColsMax)
    return DotPanels(task, x, small_cache);
  if (small_cache) return DotFew(task, x, std::true_type());
  DotFew(task, x, std::false_type());
}

}  // namespace fathom::kernels::cpu

#endif
