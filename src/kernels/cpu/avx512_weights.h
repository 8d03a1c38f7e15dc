// Weights of the checkpoint's formats as they enter vdpbf16ps: a stretch of 512 inputs of one row
// becomes 16 registers of 32 BF16 values in pair order (linear.h). Included only by files compiled
// for AVX-512.
#pragma once

#include <immintrin.h>

#include "kernels/cpu/dot_f32.h"
#include "kernels/cpu/sizes.h"
#include "kernels/cpu/vec512.h"
#include "kernels/linear.h"

namespace fathom::kernels::cpu {

struct E2M1Table {
  alignas(64) uint16_t bits[32];  // twice: the fifth index bit belongs to the next code
};
constexpr E2M1Table MakeE2M1Table() {
  E2M1Table t{};
  for (int i = 0; i < 32; ++i) t.bits[i] = E2M1Bits(i & 15);
  return t;
}
inline constexpr E2M1Table kE2M1Table = MakeE2M1Table();

// The upper and lower bytes of the magnitudes of E4M3 codes times one scale.
struct E4M3Table {
  alignas(64) uint8_t high[128];
  alignas(64) uint8_t low[128];
};
template <int kScale>
constexpr E4M3Table MakeE4M3Table() {
  E4M3Table t{};
  for (int code = 0; code < 128; ++code) {
    const uint16_t bits = ScaledE4M3Magnitude(code, kScale);
    t.high[code] = static_cast<uint8_t>(bits >> 8);
    t.low[code] = static_cast<uint8_t>(bits & 255);
  }
  return t;
}
// One table a scale, each computed by itself: compilers bound the length of one computation.
template <int kScale>
inline constexpr E4M3Table kE4M3Table = MakeE4M3Table<kScale>();

template <typename Sequence>
struct E4M3TablesOf;
template <int... kScales>
struct E4M3TablesOf<std::integer_sequence<int, kScales...>> {
  static constexpr const E4M3Table* tables[] = {&kE4M3Table<kScales>...};
};
using E4M3Tables = E4M3TablesOf<std::make_integer_sequence<int, 256>>;

static inline __m512 DotPair(__m512 acc, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

// A table in registers: rows that share a scale share the loads, which bound the decoding of cached
// weights on processors that do 64 bytes an instruction.
struct E4M3Registers {
  __m512i high[2];
  __m512i low[2];
};
[[gnu::always_inline]] static inline E4M3Registers LoadE4M3(const E4M3Table& table) {
  return {{_mm512_load_si512(table.high), _mm512_load_si512(table.high + 64)},
          {_mm512_load_si512(table.low), _mm512_load_si512(table.low + 64)}};
}

// 64 E4M3 codes under one scale -> BF16, the low and high halves of each 16-byte group.
[[gnu::always_inline]] static inline void DecodeE4M3(__m512i codes, const E4M3Registers& table,
                                                     __m512i* low_half, __m512i* high_half) {
  // Once loaded they are copied; compilers would load them three times.
  asm("" : "+v"(codes));
  __m512i high = _mm512_permutex2var_epi8(table.high[0], codes, table.high[1]);
  const __m512i low = _mm512_permutex2var_epi8(table.low[0], codes, table.low[1]);
  // high | (codes & 0x80): the permutation ignores the sign bit.
  high = _mm512_ternarylogic_epi32(high, codes, _mm512_set1_epi8(static_cast<char>(0x80)), 0xf8);
  *low_half = _mm512_unpacklo_epi8(low, high);
  *high_half = _mm512_unpackhi_epi8(low, high);
}

// Whether no code of the two is zero, subnormal or NaN: of Gaussian weights one in 8,000 is.
[[gnu::always_inline]] static inline bool AreNormalE4M3(__m512i a, __m512i b) {
  // Twice the magnitude less 16 is below 2 * 0x7f - 16 for normal codes and wraps for small ones.
  const __m512i less = _mm512_set1_epi8(-16);
  const __m512i twice_a = _mm512_add_epi8(_mm512_add_epi8(a, a), less);
  const __m512i twice_b = _mm512_add_epi8(_mm512_add_epi8(b, b), less);
  return _mm512_cmpge_epu8_mask(_mm512_max_epu8(twice_a, twice_b),
                                _mm512_set1_epi8(static_cast<char>(0xee))) == 0;
}

// DecodeE4M3 of normal codes, without loads; `added`: what the scale adds to the BF16 exponents.
[[gnu::always_inline]] static inline void DecodeNormalE4M3(__m512i codes, __m512i added,
                                                           __m512i* low_half, __m512i* high_half) {
  // Rows of bit matrices: byte 7 - i picks the bits whose parity is bit i of the result. The code
  // is s eeee mmm; high is s 0000 eee, low e mmm 0000.
  const __m512i to_high = _mm512_set1_epi64(0x1020400000000080);
  const __m512i to_low = _mm512_set1_epi64(0x0000000001020408);
  const __m512i high = _mm512_gf2p8affine_epi64_epi8(codes, to_high, 0);
  const __m512i low = _mm512_gf2p8affine_epi64_epi8(codes, to_low, 0);
  *low_half = _mm512_add_epi16(_mm512_unpacklo_epi8(low, high), added);
  *high_half = _mm512_add_epi16(_mm512_unpackhi_epi8(low, high), added);
}

// The four blocks of an FP4 stretch as the 32-bit words of steps 4 q .. 4 q + 3.
struct Fp4Words {
  __m512i q[4];
};
static inline Fp4Words TransposeFp4(const std::byte* p) {
  const __m512i r0 = _mm512_loadu_si512(p), r1 = _mm512_loadu_si512(p + 64);
  const __m512i r2 = _mm512_loadu_si512(p + 128), r3 = _mm512_loadu_si512(p + 192);
  const __m512i t0 = _mm512_unpacklo_epi32(r0, r1), t1 = _mm512_unpackhi_epi32(r0, r1);
  const __m512i t2 = _mm512_unpacklo_epi32(r2, r3), t3 = _mm512_unpackhi_epi32(r2, r3);
  return {{_mm512_unpacklo_epi64(t0, t2), _mm512_unpackhi_epi64(t0, t2),
           _mm512_unpacklo_epi64(t1, t3), _mm512_unpackhi_epi64(t1, t3)}};
}

// The four steps of a word register. Shifts share ports with the permutation, multiplications with
// the products that follow: some of each.
static inline void DecodeFp4Word(__m512i words, __m512i* steps) {
  const __m512i table = _mm512_load_si512(kE2M1Table.bits);
  steps[0] = _mm512_permutexvar_epi16(words, table);
  steps[1] = _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 4), table);
  steps[2] = _mm512_permutexvar_epi16(_mm512_mulhi_epu16(words, _mm512_set1_epi16(1 << 8)), table);
  steps[3] = _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 12), table);
}

// Lane scales of an FP4 stretch whose first scale is at `scale`; `groups` of them belong to the row
// (any number above 0: 16 at most are read).
static inline __m512 Fp4Scales(const uint8_t* scale, int64_t groups) {
  const __mmask16 mine =
      groups >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << groups) - 1u);
  // Lane 4 g + r takes scale 4 r + g.
  const __m128i place = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m128i codes = _mm_shuffle_epi8(_mm_maskz_loadu_epi8(mine, scale), place);
  const __m512i wide = _mm512_cvtepu8_epi32(codes);
  const __m512i bits = _mm512_slli_epi32(wide, 23);
  // 255 is NaN, and must not read as infinity.
  const __mmask16 is_nan = _mm512_cmpeq_epi32_mask(wide, _mm512_set1_epi32(255));
  return _mm512_castsi512_ps(_mm512_mask_mov_epi32(bits, is_nan, _mm512_set1_epi32(0x7fc00000)));
}

// What lane scales, powers of two, add to the exponents of BF16 pairs.
static inline __m512i BF16Exponents(__m512 scales) {
  const __m512i bits = _mm512_castps_si512(scales);
  const __m512i power = _mm512_sub_epi32(bits, _mm512_set1_epi32(127 << 23));
  return _mm512_or_si512(power, _mm512_srli_epi32(power, 16));
}
// Zeros stay zeros.
static inline __m512i AddExponents(__m512i pairs, __m512i exponents) {
  const __mmask32 nonzero = _mm512_test_epi16_mask(pairs, _mm512_set1_epi16(0x7fff));
  return _mm512_mask_add_epi16(pairs, nonzero, pairs, exponents);
}

// A stretch of one row. `blocks` is 4 but for the last of a row; then `codes` is a copy that is
// padded with zeros to whole blocks (FP4: to the whole stretch).
struct StretchView {
  const std::byte* codes = nullptr;
  const uint8_t* scale = nullptr;  // of its first block (FP8) or group (FP4)
  int64_t blocks = 4;
  int64_t groups = 16;             // FP4: scales that belong to the row
  const int32_t* added = nullptr;  // FP8: NormalScales of its first block, or none
};

// Reads a stretch four steps at a time.
template <Format kFormat>
class StretchReader {
 public:
  [[gnu::always_inline]] void Start(const StretchView& stretch) {
    stretch_ = stretch;
    if constexpr (kFormat == Format::kFp4) words_ = TransposeFp4(stretch.codes);
  }

  // FP4: the words of step 4 four and the three after it.
  [[gnu::always_inline]] __m512i Words(int64_t four) const { return words_.q[four]; }

  int64_t fours() const { return kFormat == Format::kFp4 ? 4 : stretch_.blocks; }

  // What Read needs beside the codes: the same for all rows under one scale.
  [[gnu::always_inline]] auto Table(int64_t four) const {
    if constexpr (kFormat == Format::kFp8) {
      return LoadE4M3(*E4M3Tables::tables[stretch_.scale[four]]);
    } else {
      return 0;
    }
  }

  // w[i] <- step 4 four + i.
  [[gnu::always_inline]] void Read(int64_t four, __m512i* w) const { Read(four, Table(four), w); }
  [[gnu::always_inline]] void Read(int64_t four, [[maybe_unused]] const auto& table,
                                   __m512i* w) const {
    if constexpr (kFormat == Format::kFp4) {
      DecodeFp4Word(words_.q[four], w);
    } else if constexpr (kFormat == Format::kFp8) {
      DecodeE4M3(_mm512_loadu_si512(stretch_.codes + four * 128), table, &w[0], &w[1]);
      DecodeE4M3(_mm512_loadu_si512(stretch_.codes + four * 128 + 64), table, &w[2], &w[3]);
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) w[i] = _mm512_loadu_si512(stretch_.codes + four * 256 + 64 * i);
    }
  }

  // FP8: the same without the loads of a table where the stretch has NormalScales and no code is
  // one of the rare ones. For one row with one or two inputs, whose loads bound it; slower where
  // decoding fills gaps between products.
  [[gnu::always_inline]] void ReadNormal(int64_t four, __m512i* w) const {
    __m512i a = _mm512_loadu_si512(stretch_.codes + four * 128);
    __m512i b = _mm512_loadu_si512(stretch_.codes + four * 128 + 64);
    asm("" : "+v"(a), "+v"(b));  // once loaded they are copied; compilers would load them again
    if (stretch_.added != nullptr && AreNormalE4M3(a, b)) [[likely]] {
      const __m512i added = _mm512_set1_epi32(stretch_.added[four]);
      DecodeNormalE4M3(a, added, &w[0], &w[1]);
      DecodeNormalE4M3(b, added, &w[2], &w[3]);
    } else {
      const E4M3Registers table = LoadE4M3(*E4M3Tables::tables[stretch_.scale[four]]);
      DecodeE4M3(a, table, &w[0], &w[1]);
      DecodeE4M3(b, table, &w[2], &w[3]);
    }
  }

 private:
  StretchView stretch_;
  Fp4Words words_;
};

// acc + the lane sums of a stretch.
template <Format kFormat>
[[gnu::always_inline]] static inline __m512 AddStretch(__m512 acc, __m512 p, __m512 scales) {
  if constexpr (kFormat == Format::kFp4) return _mm512_fmadd_ps(p, scales, acc);
  return _mm512_add_ps(acc, p);
}

template <Format kFormat>
[[gnu::always_inline]] static inline __m512 StretchScales(const StretchView& s) {
  if constexpr (kFormat == Format::kFp4) return Fp4Scales(s.scale, s.groups);
  return _mm512_setzero_ps();
}

namespace {

// To a cache: locality 3 is the first-level one, 2 the second.
template <int kLocality>
[[gnu::always_inline]] inline void Prefetch(const std::byte* p, int64_t bytes) {
#pragma GCC unroll 16
  for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(p + line, 0, kLocality);
}

// Weights ahead of their use, into the second-level or the first-level cache. Zen 4, whose
// first-level cache is small, reads faster with the second one. Zen 5 drops many fetches into that
// one.
[[gnu::always_inline]] inline void FetchWeights(const std::byte* p, int64_t bytes, bool to_second) {
  if (to_second) {
    Prefetch<2>(p, bytes);
  } else {
    Prefetch<3>(p, bytes);
  }
}

// One line of the page that begins between p and p + bytes, if one does. Zen 5 learns that
// the rest of a page is read after it and brings all of it: two threads then read memory half as
// fast again as with fetches of every line, and twice as fast as without.
[[gnu::always_inline]] inline void FetchPage(const std::byte* p, int64_t bytes) {
  const auto in_page = static_cast<int64_t>(reinterpret_cast<uintptr_t>(p) % kPageBytes);
  if (in_page < bytes) __builtin_prefetch(p, 0, 3);
}

// The largest exponents, either way, of inputs and scales whose products, and sums of them, stay
// normal numbers (avx512_dot.cc, avx512_int8.cc).
constexpr int kExponentMost = 40;

// Whether scales have no larger ones.
inline bool AreModerate(const uint8_t* scales, int64_t count) {
  bool are = true;
  for (int64_t i = 0; i < count; ++i)
    are &= scales[i] >= 127 - kExponentMost && scales[i] <= 127 + kExponentMost;
  return are;
}

// y [kInputs, rows] <- the sums of a panel's tiles, lanes folded.
template <int kInputs, int kTileInputs, int kTileRows>
[[gnu::always_inline]] inline void FoldTiles(const float (*acc)[kTileInputs][kTileRows][16],
                                             int64_t rows, float* y, int64_t y_stride) {
  for (int64_t first = 0; first < rows; first += 16) {
    const auto* tile = acc + first / kTileRows;
    for (int m = 0; m < kInputs; ++m) {
      __m512 v[16];
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) v[r] = _mm512_load_ps(tile[r / kTileRows][m][r % kTileRows]);
      Vec512::Store(y + m * y_stride + first, Vec512::Fold16(v), Smaller(16, rows - first));
    }
  }
}

// What the scales of a row of FP8 blocks add to the BF16 exponents of normal codes: the same for
// the 128 rows of weights under them.
class NormalScales {
 public:
  // Of the first block on; null where a scale is so large or small that a product with it is not
  // normal, or there are too many.
  const int32_t* Of(const uint8_t* scales, int64_t blocks) {
    if (scales != scales_) {
      scales_ = scales;
      are_normal_ = blocks <= kBlocksMax;
      for (int64_t b = 0; are_normal_ && b < blocks; ++b) {
        // Exponents 1 to 15 of the code, less 7, plus the scale's are those of BF16: 1 to 254.
        const int exponent = scales[b] - 7;
        are_normal_ = exponent >= 0 && exponent <= 239;
        added_[b] = exponent * (128 << 16 | 128);
      }
    }
    return are_normal_ ? added_ : nullptr;
  }

 private:
  static constexpr int64_t kBlocksMax = 256;
  int32_t added_[kBlocksMax];  // in both halves, of BF16 values
  const uint8_t* scales_ = nullptr;
  bool are_normal_ = false;
};

// Where the stretches of a row stand. The last one, when it is not whole, is copied and padded with
// zeros, so that nothing past the row is read.
template <Format kFormat>
class RowReader {
 public:
  RowReader() = default;
  RowReader(const tensor::QuantView& w, int64_t o) : row_(RowOf<kFormat>(w, o)), cols_(w.cols) {}

  const std::byte* codes(int64_t stretch) const {
    return row_.codes + CodeBytes<kFormat>(stretch * kStretch);
  }
  // Whether the other row has the scales of this one, which counts for FP8 only.
  bool SharesScales(const RowReader& other) const {
    return kFormat != Format::kFp8 || row_.scale == other.row_.scale;
  }
  const uint8_t* scales() const { return row_.scale; }
  // One of the first cols / 512.
  [[gnu::always_inline]] StretchView Whole(int64_t stretch) const {
    return {codes(stretch), ScaleOf(stretch), 4, 16};
  }
  // The one after them; `copy` holds CodeBytes(kStretch).
  StretchView Last(int64_t stretch, std::byte* copy) const {
    const int64_t inputs = cols_ - stretch * kStretch;
    const int64_t blocks = (inputs + kBlock - 1) / kBlock;
    std::memset(copy, 0, static_cast<size_t>(CodeBytes<kFormat>(kStretch)));
    std::memcpy(copy, codes(stretch), static_cast<size_t>(CodeBytes<kFormat>(inputs)));
    return {copy, ScaleOf(stretch), blocks, (inputs + tensor::kFp4Block - 1) / tensor::kFp4Block};
  }

 private:
  const uint8_t* ScaleOf(int64_t stretch) const {
    if constexpr (ScaleBlock<kFormat>() == 0) return nullptr;
    return row_.scale + stretch * (kStretch / ScaleBlock<kFormat>());
  }

  WeightRow row_;
  int64_t cols_ = 0;
};

}  // namespace
}  // namespace fathom::kernels::cpu
