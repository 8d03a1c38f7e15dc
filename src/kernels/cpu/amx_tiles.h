// Tiles of BF16 values for the AMX path: their shapes, and 16 rows of the checkpoint's weights
// decoded into them, as the AVX-512 path decodes them but with the scales of both formats folded
// in. Included only by files compiled for AMX.
#pragma once

#include "kernels/cpu/avx512_weights.h"

namespace fathom::kernels::cpu {
namespace {

// Sizes of tiles of BF16 values.
constexpr int64_t kSide = 16;                   // rows of a tile of weights, inputs of a tile
constexpr int64_t kStep = 32;                   // values along the input
constexpr int64_t kSteps = kStretch / kStep;    // of a stretch
constexpr int64_t kTileBytes = 64;              // between the rows of a tile
constexpr int64_t kTileValues = kSide * kStep;  // BF16
constexpr int64_t kTileSums = kSide * kSide;    // float32
constexpr int64_t kTileWords = kTileSums;       // pairs of a step of 16 inputs

// How many stretches of a row ahead the memory is asked for one.
template <Format kFormat>
constexpr int64_t kAhead = kFormat == Format::kFp4 ? 2 : 1;

// A stretch of 16 rows of weights.
using Tile = uint16_t[kSteps][kTileValues];

// What LDTILECFG reads.
struct TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Registers 0 .. 3 hold sums, 4 and 5 weights, 6 inputs, 7 more of either. Sums and register 6 are
// as wide as `inputs`.
void SetShapes(int64_t inputs) {
  alignas(64) TileShapes shapes;
  for (int t = 0; t < 8; ++t) {
    const bool is_narrow = t < 4 || t == 6;
    shapes.rows[t] = kSide;
    shapes.row_bytes[t] = static_cast<uint16_t>(is_narrow ? 4 * inputs : kTileBytes);
  }
  // GCC takes it that the instruction reads no more than a pointer's bytes.
  asm volatile("" ::"r"(&shapes) : "memory");
  _tile_loadconfig(&shapes);
}

// Compilers do not know what tile instructions read and write in memory.
[[gnu::always_inline]] inline void Barrier() { asm volatile("" ::: "memory"); }

// Magnitudes of the E2M1 codes times 2^126, so that scales up to 2^126 only take away from the
// exponent; zeros stay zeros under a subtraction that saturates. Minus zero counts as zero: no sum
// shows the difference.
constexpr E2M1Table MakeRaisedE2M1Table() {
  E2M1Table t{};
  for (int i = 0; i < 32; ++i)
    t.bits[i] = (i & 7) == 0 ? uint16_t{0} : static_cast<uint16_t>(E2M1Bits(i & 15) + (126 << 7));
  return t;
}
constexpr E2M1Table kRaisedE2M1Table = MakeRaisedE2M1Table();

// Scale codes of the lanes of an FP4 stretch. With codes from 2 to 252 no product of a code and its
// scale leaves the range of normal numbers.
struct LaneScales {
  __m512i codes;  // one in each 32-bit lane
  bool are_near;
};
[[gnu::always_inline]] inline LaneScales ScalesOf(const StretchView& s) {
  const __mmask16 mine = s.groups >= 16 ? static_cast<__mmask16>(0xffff)
                                        : static_cast<__mmask16>((1u << s.groups) - 1u);
  const __m128i place = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  // Scales that the row has not stand as 1.
  const __m128i one = _mm_set1_epi8(127);
  const __m128i codes = _mm_shuffle_epi8(_mm_mask_loadu_epi8(one, mine, s.scale), place);
  const __m128i above = _mm_sub_epi8(codes, _mm_set1_epi8(2));
  const bool are_near = _mm_cmpgt_epu8_mask(above, _mm_set1_epi8(static_cast<char>(250))) == 0;
  return {_mm512_cvtepu8_epi32(codes), are_near};
}

// Pairs of BF16 values times a float a lane, exact but for values below the normal numbers, which
// become zero, and above them, which become infinite.
inline __m512i ScalePairs(__m512i pairs, __m512 scale) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  const __m512 even = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)), scale);
  const __m512 odd = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_and_si512(pairs, upper)), scale);
  return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even), 16),
                         _mm512_and_si512(_mm512_castps_si512(odd), upper));
}

// One stretch of one row, scaled, to row r of the tiles that start at `out`.
template <Format kFormat>
[[gnu::always_inline]] inline void DecodeStretch(const StretchView& stretch, uint16_t* out) {
  StretchReader<kFormat> reader;
  reader.Start(stretch);
  if constexpr (kFormat == Format::kFp4) {
    const LaneScales scales = ScalesOf(stretch);
    if (scales.are_near) {
      const __m512i low =
          _mm512_slli_epi32(_mm512_sub_epi32(_mm512_set1_epi32(253), scales.codes), 7);
      const __m512i less = _mm512_or_si512(low, _mm512_slli_epi32(low, 16));
      const __m512i table = _mm512_load_si512(kRaisedE2M1Table.bits);
#pragma GCC unroll 4
      for (int64_t four = 0; four < 4; ++four) {
        const __m512i words = reader.Words(four);
        uint16_t* to = out + 4 * four * kTileValues;
        const auto put = [&](int step, __m512i codes) {
          _mm512_store_si512(to + step * kTileValues,
                             _mm512_subs_epu16(_mm512_permutexvar_epi16(codes, table), less));
        };
        put(0, words);
        put(1, _mm512_srli_epi16(words, 4));
        put(2, _mm512_srli_epi16(words, 8));
        put(3, _mm512_srli_epi16(words, 12));
      }
      return;
    }
  }
  for (int64_t four = 0; four < reader.fours(); ++four) {
    __m512i w[4];
    reader.Read(four, w);
    for (int s = 0; s < 4; ++s) {
      if constexpr (kFormat == Format::kFp4)
        w[s] = ScalePairs(w[s], StretchScales<kFormat>(stretch));
      _mm512_store_si512(out + (4 * four + s) * kTileValues, w[s]);
    }
  }
}

// 16 vectors of 16 words, transposed in place.
[[gnu::always_inline]] inline void Transpose(__m512i* v) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
  }
  // Now row 4 q + j holds words 4 l + j of rows 4 q .. 4 q + 3 in its lane l.
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    v[4 * q] = _mm512_unpacklo_epi64(t[4 * q], t[4 * q + 2]);
    v[4 * q + 1] = _mm512_unpackhi_epi64(t[4 * q], t[4 * q + 2]);
    v[4 * q + 2] = _mm512_unpacklo_epi64(t[4 * q + 1], t[4 * q + 3]);
    v[4 * q + 3] = _mm512_unpackhi_epi64(t[4 * q + 1], t[4 * q + 3]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(v[j], v[4 + j], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0x88);
    const __m512i c = _mm512_shuffle_i32x4(v[j], v[4 + j], 0xdd);
    const __m512i d = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0xdd);
    t[j] = _mm512_shuffle_i32x4(a, b, 0x88);
    t[8 + j] = _mm512_shuffle_i32x4(a, b, 0xdd);
    t[4 + j] = _mm512_shuffle_i32x4(c, d, 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(c, d, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = t[i];
}

// Steps of stretch b of packed inputs of that width.
inline int64_t StepsOf(int64_t width, int64_t b) {
  return Smaller(kStretch, width - b * kStretch) / kStep;
}

// Row r of stretch b of the rows from o on.
template <Format kFormat>
[[gnu::always_inline]] inline void DecodeRow(const tensor::QuantView& w, int64_t o, int64_t r,
                                             int64_t b, Tile& tile) {
  constexpr int64_t kBytes = CodeBytes<kFormat>(kStretch);
  const RowReader<kFormat> row(w, o + r);
  uint16_t* out = tile[0] + r * kStep;
  if (b < w.cols / kStretch) {
    Prefetch<2>(row.codes(b + kAhead<kFormat>), kBytes);
    DecodeStretch<kFormat>(row.Whole(b), out);
  } else {
    alignas(64) std::byte copy[kBytes];
    DecodeStretch<kFormat>(row.Last(b, copy), out);
  }
}

}  // namespace
}  // namespace fathom::kernels::cpu
