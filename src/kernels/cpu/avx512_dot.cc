// The BF16 product of the AVX-512 path, in the order of linear.h. A block of 128 weights is decoded
// into four registers of 32 BF16 codes and multiplied by vdpbf16ps; its scales, one per lane, are
// applied to the block's 16 sums. Few inputs: each row of weights is decoded in registers straight
// from the checkpoint's bytes, one row after the other. Many inputs: a panel of rows is decoded
// into the caches once, and tiles of 2 rows by 6 inputs pass over it.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/vec512.h"
#include "kernels/linear.h"

namespace fathom::kernels::cpu {
namespace {

constexpr int64_t kBlock = 128;

// Up to this many inputs the weights are decoded in registers, above it into a panel: by
// measurement.
constexpr int64_t kDirectInputs = 12;
// Inputs served by one decoding in registers.
constexpr int64_t kDirectTile = 8;

// How far ahead of their use weights are fetched, by measurement: bytes of a stream,
// else parts (see DotDirect).
constexpr int64_t kPrefetchBytes = 2048;
constexpr int64_t kPrefetchParts = 2;

enum class CacheLevel { kFirst, kSecond };

template <CacheLevel kLevel>
void Prefetch(const std::byte* p, int64_t bytes) {
#pragma GCC unroll 4
  for (int64_t line = 0; line < bytes; line += 64) {
    if constexpr (kLevel == CacheLevel::kFirst) {
      _mm_prefetch(p + line, _MM_HINT_T0);
    } else {
      _mm_prefetch(p + line, _MM_HINT_T1);
    }
  }
}

struct CodeTables {
  alignas(64) uint16_t e2m1[32];  // twice: the fifth index bit belongs to the next code
  alignas(64) uint8_t e4m3_high[128];
  alignas(64) uint8_t e4m3_low[128];
};
constexpr CodeTables MakeCodeTables() {
  CodeTables t{};
  for (int i = 0; i < 32; ++i) t.e2m1[i] = E2M1Bits(i & 15);
  for (int i = 0; i < 128; ++i) {
    t.e4m3_high[i] = static_cast<uint8_t>(E4M3Magnitude(i) >> 8);
    t.e4m3_low[i] = static_cast<uint8_t>(E4M3Magnitude(i) & 255);
  }
  return t;
}
constexpr CodeTables kTables = MakeCodeTables();

// A block as BF16 codes in pair order, without scales.
struct Block {
  __m512i step[4];
};

constexpr int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t Clamp64(int64_t n) { return n < 0 ? 0 : (n > 64 ? 64 : n); }

// `bytes` of 64 from p on (any number: none below 0, all above 64), zeros past them.
__m512i LoadBytes(const std::byte* p, int64_t bytes) {
  const int64_t n = Clamp64(bytes);
  const uint64_t mask = n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
  return _mm512_maskz_loadu_epi8(mask, p);
}

// 64 E4M3 codes -> BF16, the low and high halves of each 16-byte group.
void DecodeE4M3(__m512i codes, __m512i* low_half, __m512i* high_half) {
  const __m512i h0 = _mm512_load_si512(kTables.e4m3_high);
  const __m512i h1 = _mm512_load_si512(kTables.e4m3_high + 64);
  const __m512i l0 = _mm512_load_si512(kTables.e4m3_low);
  const __m512i l1 = _mm512_load_si512(kTables.e4m3_low + 64);
  __m512i high = _mm512_permutex2var_epi8(h0, codes, h1);
  const __m512i low = _mm512_permutex2var_epi8(l0, codes, l1);
  // high | (codes & 0x80): the permutation ignores the sign bit.
  high = _mm512_ternarylogic_epi32(high, codes, _mm512_set1_epi8(static_cast<char>(0x80)), 0xf8);
  *low_half = _mm512_unpacklo_epi8(low, high);
  *high_half = _mm512_unpackhi_epi8(low, high);
}

// The block at p, of which `bytes` belong to the row. kIsInner: a whole block that at least one
// byte of the same row follows.
template <Format kFormat, bool kIsInner>
Block DecodeBlock(const std::byte* p, int64_t bytes) {
  Block block;
  if constexpr (kFormat == Format::kFp4) {
    // A word holds four codes; vpermw looks up its lowest five bits. Loading from the next byte and
    // multiplying for the high half keep the work off the shift units, which share ports with the
    // permutation.
    const __m512i table = _mm512_load_si512(kTables.e2m1);
    const __m512i a = kIsInner ? _mm512_loadu_si512(p) : LoadBytes(p, bytes);
    const __m512i b = kIsInner ? _mm512_loadu_si512(p + 1) : _mm512_srli_epi16(a, 8);
    const __m512i shift4 = _mm512_set1_epi16(4096);
    block.step[0] = _mm512_permutexvar_epi16(a, table);
    block.step[1] = _mm512_permutexvar_epi16(_mm512_mulhi_epu16(a, shift4), table);
    block.step[2] = _mm512_permutexvar_epi16(b, table);
    block.step[3] = _mm512_permutexvar_epi16(_mm512_mulhi_epu16(b, shift4), table);
  } else if constexpr (kFormat == Format::kFp8) {
    const __m512i a = kIsInner ? _mm512_loadu_si512(p) : LoadBytes(p, bytes);
    const __m512i b = kIsInner ? _mm512_loadu_si512(p + 64) : LoadBytes(p + 64, bytes - 64);
    DecodeE4M3(a, &block.step[0], &block.step[1]);
    DecodeE4M3(b, &block.step[2], &block.step[3]);
  } else {
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s)
      block.step[s] =
          kIsInner ? _mm512_loadu_si512(p + 64 * s) : LoadBytes(p + 64 * s, bytes - 64 * s);
  }
  return block;
}

// Lanes of the last block that hold inputs; the scale of the others counts as zero.
__mmask16 LanesOf(Format format, int64_t inputs) {
  const PairOrder& order = PairOrderOf(format);
  uint32_t mask = 0;
  for (uint32_t l = 0; l < 16; ++l)
    if (order.k[2 * l] < inputs) mask |= 1u << l;
  return static_cast<__mmask16>(mask);
}

// The lane scales of a run of blocks of one row.
template <Format kFormat>
class LaneScales {
 public:
  static constexpr int64_t kBlocks = 32;  // in a run

  // The run from block `first` on, in a row of `cols` inputs.
  void Load(const WeightRow& row, int64_t first, int64_t cols) {
    if constexpr (kFormat == Format::kFp8) {
      codes_ = row.scale + first;
    } else if constexpr (kFormat == Format::kFp4) {
      // The upper halves of the floats, four per block. 255 is NaN, and must not read as infinity.
      const int64_t count = (cols + tensor::kFp4Block - 1) / tensor::kFp4Block - 4 * first;
      const std::byte* p = reinterpret_cast<const std::byte*>(row.scale + 4 * first);
      for (int64_t i = 0; i < 4 * kBlocks && i < count; i += 64) {
        const __m512i codes = LoadBytes(p + i, count - i);
        Expand(_mm512_castsi512_si256(codes), words_ + i);
        Expand(_mm512_extracti64x4_epi64(codes, 1), words_ + i + 32);
      }
    }
  }

  // Of block i of the run. Not for BF16, whose scale is one.
  __m512 At(int64_t i) const {
    if constexpr (kFormat == Format::kFp8) {
      return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(kScaleTable.bits[codes_[i]])));
    } else {
      // Word j to the upper half of the lanes 4 j .. 4 j + 3.
      const __m512i place = _mm512_inserti64x4(
          _mm512_castsi256_si512(_mm256_setr_epi32(0x01008080, 0x01008080, 0x01008080, 0x01008080,
                                                   0x03028080, 0x03028080, 0x03028080, 0x03028080)),
          _mm256_setr_epi32(0x05048080, 0x05048080, 0x05048080, 0x05048080, 0x07068080, 0x07068080,
                            0x07068080, 0x07068080),
          1);
      int64_t four;
      __builtin_memcpy(&four, words_ + 4 * i, sizeof(four));
      return _mm512_castsi512_ps(_mm512_shuffle_epi8(_mm512_set1_epi64(four), place));
    }
  }

 private:
  static void Expand(__m256i codes, uint16_t* out) {
    const __m512i words = _mm512_slli_epi16(_mm512_cvtepu8_epi16(codes), 7);
    const __mmask32 is_nan = _mm512_cmpeq_epi16_mask(words, _mm512_set1_epi16(0x7f80));
    _mm512_store_si512(out, _mm512_mask_mov_epi16(words, is_nan, _mm512_set1_epi16(0x7fc0)));
  }

  const uint8_t* codes_ = nullptr;
  alignas(64) uint16_t words_[4 * kBlocks];
};

__m512 DotPair(__m512 acc, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

// The 16 sums of a block.
__m512 DotBlock(const Block& w, const uint16_t* x) {
  __m512 p = _mm512_setzero_ps();
#pragma GCC unroll 4
  for (int s = 0; s < 4; ++s) p = DotPair(p, w.step[s], _mm512_loadu_si512(x + 32 * s));
  return p;
}

template <Format kFormat>
__m512 AddScaled(__m512 acc, __m512 p, __m512 scale) {
  if constexpr (kFormat == Format::kBF16) return _mm512_add_ps(acc, p);
  return _mm512_add_ps(acc, _mm512_mul_ps(p, scale));
}

// Sums of a few rows and inputs between two runs.
struct Sums {
  static constexpr int64_t kRows = 16;

  alignas(64) float lanes[kRows][kDirectTile][16];
};

// Adds the blocks [first, end) of row o, one run at most, to the sums of kInputs inputs; fetches as
// many from `ahead` on.
template <Format kFormat, int kInputs>
void DotRun(const DotTask& task, int64_t o, __mmask16 last_lanes, int64_t first, int64_t end,
            const std::byte* ahead, const uint16_t* const* x, float (*sums)[16]) {
  constexpr int64_t kBytes = CodeBytes<kFormat>(kBlock);
  const WeightRow row = RowOf<kFormat>(task.w, o);
  const int64_t cols = task.w.cols, last = (cols - 1) / kBlock;
  LaneScales<kFormat> scales;
  scales.Load(row, first, cols);
  __m512 acc[kInputs];
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) acc[i] = _mm512_load_ps(sums[i]);
  const int64_t inner_end = Smaller(end, last);
  for (int64_t b = first; b < inner_end; ++b) {
    Prefetch<CacheLevel::kFirst>(ahead, kBytes);
    ahead += kBytes;
    const Block block = DecodeBlock<kFormat, true>(row.codes + b * kBytes, kBytes);
    __m512 scale = _mm512_setzero_ps();
    if constexpr (kFormat != Format::kBF16) scale = scales.At(b - first);
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i)
      acc[i] = AddScaled<kFormat>(acc[i], DotBlock(block, x[i] + b * kBlock), scale);
  }
  if (end > last) {
    const Block block = DecodeBlock<kFormat, false>(row.codes + last * kBytes,
                                                    CodeBytes<kFormat>(cols - last * kBlock));
    __m512 scale = _mm512_setzero_ps();
    if constexpr (kFormat != Format::kBF16)
      scale = _mm512_maskz_mov_ps(last_lanes, scales.At(last - first));
#pragma GCC unroll 8
    for (int i = 0; i < kInputs; ++i)
      acc[i] = AddScaled<kFormat>(acc[i], DotBlock(block, x[i] + last * kBlock), scale);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kInputs; ++i) _mm512_store_ps(sums[i], acc[i]);
}

// All rows of the task for kInputs inputs. One or two: row after row, one sequential stream. More:
// groups of rows part by part, so that the inputs' part (16 KB) stays in the first-level cache.
template <Format kFormat, int kInputs>
void DotDirect(const DotTask& task, __mmask16 last_lanes, const uint16_t* const* x, float* y) {
  constexpr bool kIsStream = kInputs <= 2;
  constexpr int64_t kRows = kIsStream ? 1 : Sums::kRows;
  // Blocks in a part: 1 KB of weights at most, 16 KB of inputs at most.
  constexpr int64_t kPart = kIsStream
                                ? LaneScales<kFormat>::kBlocks
                                : Smaller(1024 / CodeBytes<kFormat>(kBlock), kInputs <= 4 ? 16 : 8);
  const int64_t blocks = (task.w.cols + kBlock - 1) / kBlock;
  Sums sums;
  for (int64_t o = task.row_begin; o < task.row_end; o += kRows) {
    const int64_t rows = Smaller(kRows, task.row_end - o);
    // What is used kPrefetchParts parts after block b of row r of the group.
    const auto ahead = [&](int64_t r, int64_t b) {
      if (kIsStream)
        return RowOf<kFormat>(task.w, o).codes + CodeBytes<kFormat>(b * kBlock) + kPrefetchBytes;
      r += kPrefetchParts;
      if (r >= rows && b + kPart < blocks) {
        r -= rows;
        b += kPart;
      } else if (r >= rows) {
        b = 0;
      }
      const int64_t row = Smaller(o + r, task.w.rows - 1);
      return RowOf<kFormat>(task.w, row).codes + CodeBytes<kFormat>(b * kBlock);
    };
    for (int64_t r = 0; r < rows; ++r)
      for (int i = 0; i < kInputs; ++i) _mm512_store_ps(sums.lanes[r][i], _mm512_setzero_ps());
    for (int64_t b = 0; b < blocks; b += kPart)
      for (int64_t r = 0; r < rows; ++r)
        DotRun<kFormat, kInputs>(task, o + r, last_lanes, b, Smaller(b + kPart, blocks),
                                 ahead(r, b), x, sums.lanes[r]);
    for (int64_t r = 0; r < rows; ++r)
      for (int i = 0; i < kInputs; ++i)
        y[i * task.y_stride + (o + r - task.row_begin)] =
            Vec512::Fold(_mm512_load_ps(sums.lanes[r][i]));
  }
}

// Inputs of the widest tile.
constexpr int kTileInputs = 6;

// A part of the weights, decoded: 32 KB of codes that stay in the second-level cache while inputs
// whose matching part (6 x 2 KB) stays in the first pass over them. Lives on the stack.
struct Panel {
  static constexpr int64_t kRows = 16;
  static constexpr int64_t kBlocks = 8;
  static constexpr int64_t kInputs = 96;  // inputs per decoding

  alignas(64) uint16_t codes[kRows][kBlocks * kBlock];
  alignas(64) float scales[kRows][kBlocks][16];
  alignas(64) float acc[kRows][kInputs][16];
};

// Blocks [first, first + count) of row o to place r of the panel. Fetches what the place holds
// next, once all inputs have met this panel, into the second-level cache.
template <Format kFormat>
void DecodeToPanel(const DotTask& task, int64_t o, __mmask16 last_lanes, int64_t first,
                   int64_t count, int64_t r, Panel& panel) {
  constexpr int64_t kBytes = CodeBytes<kFormat>(kBlock);
  const WeightRow row = RowOf<kFormat>(task.w, o);
  const int64_t cols = task.w.cols, last = (cols - 1) / kBlock;
  LaneScales<kFormat> scales;
  scales.Load(row, first, cols);
  const std::byte* ahead =
      first + count > last
          ? RowOf<kFormat>(task.w, Smaller(o + Panel::kRows, task.w.rows - 1)).codes
          : row.codes + (first + count) * kBytes;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = first + i;
    const std::byte* p = row.codes + b * kBytes;
    Prefetch<CacheLevel::kSecond>(ahead + i * kBytes, kBytes);
    const Block block = b < last
                            ? DecodeBlock<kFormat, true>(p, kBytes)
                            : DecodeBlock<kFormat, false>(p, CodeBytes<kFormat>(cols - b * kBlock));
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s)
      _mm512_store_si512(panel.codes[r] + i * kBlock + 32 * s, block.step[s]);
    if constexpr (kFormat != Format::kBF16)
      _mm512_store_ps(panel.scales[r][i],
                      b < last ? scales.At(i) : _mm512_maskz_mov_ps(last_lanes, scales.At(i)));
  }
}

// Adds `blocks` blocks to the sums of kRows rows (from r on) and kInputs inputs (from i on);
// x[0] .. are the inputs, read from `offset` on.
template <Format kFormat, int kRows, int kInputs>
void DotTile(const uint16_t* const* x, int64_t offset, int64_t blocks, int64_t r, int64_t i,
             Panel& panel) {
  __m512 acc[kRows][kInputs];
  const uint16_t* input[kInputs];
#pragma GCC unroll 8
  for (int m = 0; m < kInputs; ++m) {
    input[m] = x[m] + offset;
#pragma GCC unroll 2
    for (int n = 0; n < kRows; ++n) acc[n][m] = _mm512_load_ps(panel.acc[r + n][i + m]);
  }
  for (int64_t b = 0; b < blocks; ++b) {
    __m512 p[kRows][kInputs];
#pragma GCC unroll 8
    for (int m = 0; m < kInputs; ++m) {
#pragma GCC unroll 2
      for (int n = 0; n < kRows; ++n) p[n][m] = _mm512_setzero_ps();
    }
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      const int64_t place = b * kBlock + 32 * s;
      __m512i w[kRows];
#pragma GCC unroll 2
      for (int n = 0; n < kRows; ++n) w[n] = _mm512_load_si512(panel.codes[r + n] + place);
#pragma GCC unroll 8
      for (int m = 0; m < kInputs; ++m) {
        const __m512i value = _mm512_loadu_si512(input[m] + place);
#pragma GCC unroll 2
        for (int n = 0; n < kRows; ++n) p[n][m] = DotPair(p[n][m], w[n], value);
      }
    }
#pragma GCC unroll 2
    for (int n = 0; n < kRows; ++n) {
      __m512 scale = _mm512_setzero_ps();
      if constexpr (kFormat != Format::kBF16) scale = _mm512_load_ps(panel.scales[r + n][b]);
#pragma GCC unroll 8
      for (int m = 0; m < kInputs; ++m) acc[n][m] = AddScaled<kFormat>(acc[n][m], p[n][m], scale);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kInputs; ++m) {
#pragma GCC unroll 2
    for (int n = 0; n < kRows; ++n) _mm512_store_ps(panel.acc[r + n][i + m], acc[n][m]);
  }
}

// kInputs inputs against all rows of the panel.
template <Format kFormat, int kInputs>
void DotPanel(const uint16_t* const* x, int64_t offset, int64_t blocks, int64_t rows, int64_t i,
              Panel& panel) {
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2) DotTile<kFormat, 2, kInputs>(x, offset, blocks, r, i, panel);
  if (r < rows) DotTile<kFormat, 1, kInputs>(x, offset, blocks, r, i, panel);
}

template <Format kFormat>
void DotTiles(int64_t width, const uint16_t* const* x, int64_t offset, int64_t blocks, int64_t rows,
              int64_t i, Panel& panel) {
  switch (width) {
    case 1:
      return DotPanel<kFormat, 1>(x, offset, blocks, rows, i, panel);
    case 2:
      return DotPanel<kFormat, 2>(x, offset, blocks, rows, i, panel);
    case 3:
      return DotPanel<kFormat, 3>(x, offset, blocks, rows, i, panel);
    case 4:
      return DotPanel<kFormat, 4>(x, offset, blocks, rows, i, panel);
    case 5:
      return DotPanel<kFormat, 5>(x, offset, blocks, rows, i, panel);
    default:
      return DotPanel<kFormat, kTileInputs>(x, offset, blocks, rows, i, panel);
  }
}

template <Format kFormat>
void DotPanels(const DotTask& task, __mmask16 last_lanes, const uint16_t* const* x) {
  Panel panel;
  const int64_t blocks = (task.w.cols + kBlock - 1) / kBlock;
  for (int64_t o = task.row_begin; o < task.row_end; o += Panel::kRows) {
    const int64_t rows = Smaller(Panel::kRows, task.row_end - o);
    for (int64_t first = 0; first < task.count; first += Panel::kInputs) {
      const uint16_t* const* inputs = x + first;
      const int64_t count = Smaller(Panel::kInputs, task.count - first);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < count; ++i) _mm512_store_ps(panel.acc[r][i], _mm512_setzero_ps());
      for (int64_t b = 0; b < blocks; b += Panel::kBlocks) {
        const int64_t part = Smaller(Panel::kBlocks, blocks - b);
        for (int64_t r = 0; r < rows; ++r)
          DecodeToPanel<kFormat>(task, o + r, last_lanes, b, part, r, panel);
        // Tiles of nearly equal width: 9 inputs are 5 and 4.
        int64_t tiles = (count + kTileInputs - 1) / kTileInputs;
        for (int64_t i = 0; i < count; --tiles) {
          const int64_t width = (count - i + tiles - 1) / tiles;
          DotTiles<kFormat>(width, inputs + i, b * kBlock, part, rows, i, panel);
          i += width;
        }
      }
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < count; ++i)
          task.y[(first + i) * task.y_stride + (o + r - task.row_begin)] =
              Vec512::Fold(_mm512_load_ps(panel.acc[r][i]));
    }
  }
}

template <Format kFormat>
void DotDirects(int64_t count, const DotTask& task, __mmask16 last_lanes, const uint16_t* const* x,
                float* y) {
  switch (count) {
    case 1:
      return DotDirect<kFormat, 1>(task, last_lanes, x, y);
    case 2:
      return DotDirect<kFormat, 2>(task, last_lanes, x, y);
    case 3:
      return DotDirect<kFormat, 3>(task, last_lanes, x, y);
    case 4:
      return DotDirect<kFormat, 4>(task, last_lanes, x, y);
    case 5:
      return DotDirect<kFormat, 5>(task, last_lanes, x, y);
    case 6:
      return DotDirect<kFormat, 6>(task, last_lanes, x, y);
    case 7:
      return DotDirect<kFormat, 7>(task, last_lanes, x, y);
    case 8:
      return DotDirect<kFormat, 8>(task, last_lanes, x, y);
    default:
      return;
  }
}

template <Format kFormat>
void Dot(const DotTask& task, const uint16_t* const* x) {
  const __mmask16 last_lanes = LanesOf(kFormat, task.w.cols - (task.w.cols - 1) / kBlock * kBlock);
  if (task.count > kDirectInputs) return DotPanels<kFormat>(task, last_lanes, x);
  const int64_t first = task.count <= kDirectTile ? task.count : (task.count + 1) / 2;
  DotDirects<kFormat>(first, task, last_lanes, x, task.y);
  DotDirects<kFormat>(task.count - first, task, last_lanes, x + first,
                      task.y + first * task.y_stride);
}

}  // namespace

void DotBF16Avx512(const DotTask& task, const uint16_t* const* x) {
  switch (task.w.format) {
    case Format::kBF16:
      return Dot<Format::kBF16>(task, x);
    case Format::kFp8:
      return Dot<Format::kFp8>(task, x);
    case Format::kFp4:
      return Dot<Format::kFp4>(task, x);
    case Format::kF32:
      return;  // F32 weights have the float32 product only.
  }
}

}  // namespace fathom::kernels::cpu

#endif
