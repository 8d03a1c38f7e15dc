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

// For few inputs a part of a stretch of 16 rows is decoded at a time. With the part before it,
// which is multiplied meanwhile, it takes 16 KB of the first-level cache and leaves room for what
// passes through.
constexpr int64_t kParts = 2;
constexpr int64_t kPart = kStretch / kParts;
constexpr int64_t kPartSteps = kPart / kStep;
using PartTile = uint16_t[kPartSteps][kTileValues];

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

// What decoding FP4 takes, read from memory where it is used: vectors made of constants would be
// made anew for each row, by the units that decode.
struct Fp4Constants {
  // Magnitudes of the E2M1 codes times 2^126, so that scales up to 2^126 only take away from the
  // exponent; zeros stay zeros under a subtraction that saturates. Minus zero counts as zero: no
  // sum shows the difference.
  alignas(64) uint16_t raised[32] = {};
  alignas(64) uint8_t place[64] = {};     // of the scales, to the upper bytes of words
  alignas(64) uint16_t largest[32] = {};  // scale code that takes nothing away
  alignas(64) uint16_t byte[32] = {};     // a multiplication by it shifts by a byte
};
constexpr Fp4Constants MakeFp4Constants() {
  Fp4Constants c;
  for (int i = 0; i < 32; ++i) {
    c.raised[i] = (i & 7) == 0 ? uint16_t{0} : static_cast<uint16_t>(E2M1Bits(i & 15) + (126 << 7));
    // Lane 4 g + r takes scale 4 r + g.
    const int lane = i / 2;
    c.place[2 * i] = 0x80;
    c.place[2 * i + 1] = static_cast<uint8_t>(4 * (lane % 4) + lane / 4);
    c.largest[i] = 253 << 7;
    c.byte[i] = 1 << 8;
  }
  return c;
}
constexpr Fp4Constants kFp4Constants = MakeFp4Constants();

// Whether all scales of a whole stretch are from 2^-63 to 2^64: no product of a code and such a
// scale leaves the range of normal numbers.
[[gnu::always_inline]] inline bool AreScalesNear(const StretchView& s) {
  if (s.groups < 16) return false;
  constexpr uint64_t kUpper = 0x8080808080808080u;
  uint64_t a, b;
  std::memcpy(&a, s.scale, 8);
  std::memcpy(&b, s.scale + 8, 8);
  // The two upper bits of a code differ.
  return ((a ^ (a << 1)) & (b ^ (b << 1)) & kUpper) == kUpper;
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

// The steps of kCount fours of a stretch, from kFirst on, scaled, to a row of the tiles that start
// at `out`.
template <Format kFormat, int64_t kFirst, int64_t kCount>
[[gnu::always_inline]] inline void DecodeFours(const StretchView& stretch, uint16_t* out) {
  StretchReader<kFormat> reader;
  reader.Start(stretch);
  if constexpr (kFormat == Format::kFp4) {
    if (AreScalesNear(stretch)) {
      const Fp4Constants* c = &kFp4Constants;
      asm("" : "+r"(c));
      const __m512i scales = _mm512_shuffle_epi8(
          _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(stretch.scale))),
          _mm512_load_si512(c->place));
      const __m512i less =
          _mm512_sub_epi16(_mm512_load_si512(c->largest), _mm512_srli_epi16(scales, 1));
      const __m512i table = _mm512_load_si512(c->raised);
#pragma GCC unroll 4
      for (int64_t four = 0; four < kCount; ++four) {
        const __m512i words = reader.Words(kFirst + four);
        uint16_t* to = out + 4 * four * kTileValues;
        const auto put = [&](int step, __m512i codes) {
          _mm512_store_si512(to + step * kTileValues,
                             _mm512_subs_epu16(_mm512_permutexvar_epi16(codes, table), less));
        };
        put(0, words);
        put(1, _mm512_srli_epi16(words, 4));
        put(2, _mm512_mulhi_epu16(words, _mm512_load_si512(c->byte)));
        put(3, _mm512_srli_epi16(words, 12));
      }
      return;
    }
  }
#pragma GCC unroll 4
  for (int64_t four = 0; four < kCount; ++four) {
    if (kFirst + four >= reader.fours()) break;
    __m512i w[4];
    reader.Read(kFirst + four, w);
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

// Those of stretch b of row o of the weights.
template <Format kFormat, int64_t kFirst = 0, int64_t kCount = 4>
[[gnu::always_inline]] inline void DecodeRow(const tensor::QuantView& w, int64_t o, int64_t b,
                                             uint16_t* out) {
  const RowReader<kFormat> row(w, o);
  if (b < w.cols / kStretch) {
    DecodeFours<kFormat, kFirst, kCount>(row.Whole(b), out);
  } else {
    alignas(64) std::byte copy[CodeBytes<kFormat>(kStretch)];
    DecodeFours<kFormat, kFirst, kCount>(row.Last(b, copy), out);
  }
}

// The rows of a task that are decoded, 16 from row o on, and which of their stretches.
struct Here {
  const DotTask& task;
  int64_t stretches;
  int64_t o = 0;
  int64_t rows = 0;
  int64_t b = 0;

  // Where row r of the stretch that follows `ahead` stretches later begins: beyond the row's end
  // the next 16 rows follow, beyond the task what is likely to be read then. The last row stands
  // for those that there are not.
  template <Format kFormat>
  [[gnu::always_inline]] const std::byte* Ahead(int64_t r, int64_t ahead) const {
    const tensor::QuantView& w = task.w;
    const auto place = [&](int64_t row, int64_t stretch) {
      return CodeBytes<kFormat>(row * w.cols + stretch * kStretch);
    };
    if (b + ahead < stretches) return w.data + place(Smaller(o + r, task.row_end - 1), b + ahead);
    const int64_t stretch = b + ahead - stretches;
    if (o + kSide >= task.row_end && task.next != nullptr) return task.next + place(r, stretch);
    return w.data + place(Smaller(o + kSide + r, task.row_end - 1), stretch);
  }

  // Asks for the scales of the 16 rows after these, of FP4 a line for each row and four stretches.
  template <Format kFormat>
  [[gnu::always_inline]] void FetchScales(int64_t r) const {
    if (kFormat != Format::kFp4 || b % 4 != 0) return;
    const tensor::QuantView& w = task.w;
    const int64_t row = Smaller(o + kSide + r, task.row_end - 1);
    Prefetch<2>(reinterpret_cast<const std::byte*>(w.scale) + row * w.scale_cols() + b * 16, 64);
  }

  // Part kIndex of the stretch of all rows. The part before it is multiplied meanwhile, a step at a
  // time by multiply(step), because a step waits for the one before it and for the stores that it
  // reads.
  template <Format kFormat, int64_t kIndex, typename Multiply>
  [[gnu::always_inline]] void DecodePart(PartTile& tile, const Multiply& multiply) const {
    constexpr int64_t kBytes = CodeBytes<kFormat>(kPart), kFours = 4 / kParts;
    for (int64_t r = 0; r < kSide; ++r) {
      Prefetch<2>(Ahead<kFormat>(r, kAhead<kFormat>) + kIndex * kBytes, kBytes);
      if constexpr (kIndex == 0) FetchScales<kFormat>(r);
      if (r < rows)
        DecodeRow<kFormat, kIndex * kFours, kFours>(task.w, o + r, b, tile[0] + r * kStep);
      if (r % kParts == kParts - 1) multiply(r / kParts);
    }
  }
};

}  // namespace
}  // namespace fathom::kernels::cpu
