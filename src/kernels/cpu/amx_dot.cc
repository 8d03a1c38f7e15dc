// The BF16 product of the AMX path, in the tile order of linear.h: a tile holds 16 rows of weights
// by 32 inputs, decoded from the checkpoint's bytes as the AVX-512 path decodes them, and meets
// tiles of 32 inputs by 16 input rows. One stretch of some rows of weights is decoded at a time and
// all input rows pass over it; sums that do not fit the tile registers wait in memory meanwhile,
// which changes no bit of them.
#include "kernels/cpu/amx.h"

#if defined(__x86_64__)

#include "kernels/cpu/avx512_weights.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

constexpr int64_t kSide = 16;                   // rows of a tile of weights, inputs of a tile
constexpr int64_t kStep = 32;                   // values along the input
constexpr int64_t kSteps = kStretch / kStep;    // of a stretch
constexpr int64_t kTileBytes = 64;              // between the rows of a tile
constexpr int64_t kTileValues = kSide * kStep;  // BF16
constexpr int64_t kTileSums = kSide * kSide;    // float32
constexpr int64_t kPanelTiles = 4;              // tiles of rows decoded at a time
constexpr int64_t kRowTiles = 32;               // of a pass: 512 rows of weights, and
constexpr int64_t kInputTiles = 24;             // 384 input rows, as the doors hand them out

// How many stretches of a row ahead the memory is asked for one.
template <Format kFormat>
constexpr int64_t kAhead = kFormat == Format::kFp4 ? 2 : 1;

// A stretch of 16 rows of weights.
using Tile = uint16_t[kSteps][kTileValues];

// Both operands of a pass and its sums, 1.2 MB for a whole one: inside of the second-level cache of
// the processors that have tiles. Lives on the stack; small products touch little of it.
struct Pass {
  alignas(64) Tile weights[kPanelTiles];
  alignas(64) uint32_t inputs[kInputTiles][kSteps][kSide * kSide];  // pairs [pair, input]
  alignas(64) float sums[kRowTiles][kInputTiles][kTileSums];        // [row, input]
};

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

// The places of the four sums that a multiplication adds to.
struct Sums {
  float* at[4];
  bool are_zero;  // nothing stands there yet
};

[[gnu::always_inline]] inline void LoadSums(const Sums& sums) {
  if (sums.are_zero) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  _tile_loadd(0, sums.at[0], kTileBytes);
  _tile_loadd(1, sums.at[1], kTileBytes);
  _tile_loadd(2, sums.at[2], kTileBytes);
  _tile_loadd(3, sums.at[3], kTileBytes);
}

[[gnu::always_inline]] inline void StoreSums(const Sums& sums) {
  _tile_stored(0, sums.at[0], kTileBytes);
  _tile_stored(1, sums.at[1], kTileBytes);
  _tile_stored(2, sums.at[2], kTileBytes);
  _tile_stored(3, sums.at[3], kTileBytes);
}

// Two tiles of rows by two of inputs.
void MultiplySquare(const Pass& pass, int64_t input, int64_t steps, const Sums& sums) {
  const uint16_t* a0 = pass.weights[0][0];
  const uint16_t* a1 = pass.weights[1][0];
  const uint32_t* b0 = pass.inputs[input][0];
  const uint32_t* b1 = pass.inputs[input + 1][0];
  LoadSums(sums);
  for (int64_t s = 0; s < steps; ++s) {
    _tile_loadd(4, a0 + s * kTileValues, kTileBytes);
    _tile_loadd(6, b0 + s * kTileSums, kTileBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b1 + s * kTileSums, kTileBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a1 + s * kTileValues, kTileBytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  StoreSums(sums);
}

// Four tiles of rows by one of inputs.
void MultiplyColumn(const Pass& pass, int64_t steps, const Sums& sums) {
  LoadSums(sums);
  for (int64_t s = 0; s < steps; ++s) {
    _tile_loadd(6, pass.inputs[0][s], kTileBytes);
    _tile_loadd(4, pass.weights[0][s], kTileBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, pass.weights[1][s], kTileBytes);
    _tile_dpbf16ps(1, 5, 6);
    _tile_loadd(7, pass.weights[2][s], kTileBytes);
    _tile_dpbf16ps(2, 7, 6);
    _tile_loadd(4, pass.weights[3][s], kTileBytes);
    _tile_dpbf16ps(3, 4, 6);
  }
  StoreSums(sums);
}

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

// The pairs of n <= 16 input rows from `offset` on, side by side; zeros beside them.
void Interleave(const uint16_t* const* x, int64_t n, int64_t offset, int64_t steps, uint32_t* out) {
  for (int64_t s = 0; s < steps; ++s, out += kTileSums) {
    __m512i v[16];
    if (n == kSide) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) v[i] = _mm512_loadu_si512(x[i] + offset + s * kStep);
    } else {
      for (int64_t i = 0; i < kSide; ++i)
        v[i] = i < n ? _mm512_loadu_si512(x[i] + offset + s * kStep) : _mm512_setzero_si512();
    }
    Transpose(v);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) _mm512_store_si512(out + i * kSide, v[i]);
  }
}

// y [n, rows] <- a tile of sums [16, 16].
void StoreOutputs(const float* sums, int64_t n, int64_t rows, float* y, int64_t y_stride) {
  __m512i v[16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) v[r] = _mm512_load_si512(sums + r * kSide);
  Transpose(v);
  for (int64_t i = 0; i < n; ++i) Vec512::Store(y + i * y_stride, _mm512_castsi512_ps(v[i]), rows);
}

// Steps of stretch b of packed inputs of that width.
int64_t StepsOf(int64_t width, int64_t b) {
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

// Stretch b of `rows` rows from row o on.
template <Format kFormat>
void DecodePanel(const tensor::QuantView& w, int64_t o, int64_t rows, int64_t b, Pass& pass) {
  for (int64_t r = 0; r < rows; ++r)
    DecodeRow<kFormat>(w, o + r / kSide * kSide, r % kSide, b, pass.weights[r / kSide]);
}

// Sums of 16 rows that wait for their last stretch to be multiplied.
struct OneRowTask {
  const Tile* tile = nullptr;  // none yet
  const uint16_t* x = nullptr;
  int64_t steps = 0;
  bool is_first = false;  // of its rows
  float* y = nullptr;     // where the sums go after this stretch, if anywhere
  int64_t rows = 0;
};

[[gnu::always_inline]] inline void MultiplyStep(const OneRowTask& task, int64_t step) {
  if (step >= task.steps) return;
  _tile_loadd(4, (*task.tile)[step], kTileBytes);
  _tile_loadd(6, task.x + step * kStep, 4);
  _tile_dpbf16ps(0, 4, 6);
}

void FinishStretch(const OneRowTask& task) {
  if (task.y == nullptr) return;
  alignas(64) float sums[kSide];
  _tile_stored(0, sums, 4);
  Barrier();
  std::memcpy(task.y, sums, static_cast<size_t>(task.rows) * sizeof(float));
}

// One input row, whose packed form is already that of tiles one pair wide. A step waits for the one
// before it; decoding a row of the next stretch fills that time.
template <Format kFormat>
void DotOne(const DotTask& task, const uint16_t* x) {
  alignas(64) Tile tiles[2];
  const int64_t width = PackedWidth(kFormat, task.w.cols);
  const int64_t stretches = (width + kStretch - 1) / kStretch;
  OneRowTask before;
  int64_t turn = 0;
  for (int64_t o = task.row_begin; o < task.row_end; o += kSide) {
    const int64_t rows = Smaller(kSide, task.row_end - o);
    for (int64_t b = 0; b < stretches; ++b, ++turn) {
      Tile& tile = tiles[turn % 2];
      if (before.is_first) _tile_zero(0);
      for (int64_t r = 0; r < kSide; ++r) {
        if (r < rows) DecodeRow<kFormat>(task.w, o, r, b, tile);
        MultiplyStep(before, r);
      }
      FinishStretch(before);
      Barrier();
      before = {&tile, x + b * kStretch, StepsOf(width, b), b == 0, nullptr, rows};
      if (b == stretches - 1) before.y = task.y + (o - task.row_begin);
    }
  }
  if (before.is_first) _tile_zero(0);
  for (int64_t step = 0; step < kSteps; ++step) MultiplyStep(before, step);
  FinishStretch(before);
}

// Stretch b of rows [o, o + rows) for the pass's interleaved inputs.
template <Format kFormat>
void AddPanels(const tensor::QuantView& w, int64_t o, int64_t rows, int64_t input_tiles, int64_t b,
               int64_t steps, Pass& pass) {
  const int64_t panel_tiles = input_tiles == 1 ? kPanelTiles : 2;
  for (int64_t tile = 0; tile * kSide < rows; tile += panel_tiles) {
    const int64_t here = Smaller(panel_tiles * kSide, rows - tile * kSide);
    DecodePanel<kFormat>(w, o + tile * kSide, here, b, pass);
    Barrier();
    const auto sums = [&](int64_t row, int64_t input) { return pass.sums[tile + row][input]; };
    if (input_tiles == 1) {
      const Sums places{{sums(0, 0), sums(1, 0), sums(2, 0), sums(3, 0)}, b == 0};
      MultiplyColumn(pass, steps, places);
    }
    for (int64_t i = 0; i < input_tiles && input_tiles > 1; i += 2) {
      const Sums places{{sums(0, i), sums(0, i + 1), sums(1, i), sums(1, i + 1)}, b == 0};
      MultiplySquare(pass, i, steps, places);
    }
    Barrier();
  }
}

// As many rows and inputs as a pass holds.
template <Format kFormat>
void DotPass(const DotTask& task, const uint16_t* const* x, Pass& pass) {
  const int64_t width = PackedWidth(kFormat, task.w.cols);
  const int64_t stretches = (width + kStretch - 1) / kStretch;
  const int64_t rows = task.row_end - task.row_begin;
  int64_t tiles = (task.count + kSide - 1) / kSide;
  if (tiles > 1) tiles += tiles % 2;
  for (int64_t b = 0; b < stretches; ++b) {
    const int64_t steps = StepsOf(width, b);
    for (int64_t t = 0; t < tiles; ++t)
      Interleave(x + t * kSide, Smaller(kSide, task.count - t * kSide), b * kStretch, steps,
                 pass.inputs[t][0]);
    AddPanels<kFormat>(task.w, task.row_begin, rows, tiles, b, steps, pass);
  }
  for (int64_t r = 0; r < rows; r += kSide)
    for (int64_t i = 0; i < task.count; i += kSide)
      StoreOutputs(pass.sums[r / kSide][i / kSide], Smaller(kSide, task.count - i),
                   Smaller(kSide, rows - r), task.y + i * task.y_stride + r, task.y_stride);
}

template <Format kFormat>
void Dot(const DotTask& task, const uint16_t* const* x) {
  if (task.count == 1) {
    SetShapes(1);
    DotOne<kFormat>(task, x[0]);
  } else {
    Pass pass;
    SetShapes(kSide);
    DotTask part = task;
    for (int64_t i = 0; i < task.count; i += kInputTiles * kSide) {
      part.count = Smaller(kInputTiles * kSide, task.count - i);
      for (int64_t o = task.row_begin; o < task.row_end; o += kRowTiles * kSide) {
        part.row_begin = o;
        part.row_end = Smaller(o + kRowTiles * kSide, task.row_end);
        part.y = task.y + i * task.y_stride + (o - task.row_begin);
        DotPass<kFormat>(part, x + i, pass);
      }
    }
  }
  _tile_release();
}

}  // namespace

void DotBF16Amx(const DotTask& task, const uint16_t* const* x) {
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

float PeakBF16Amx(int64_t rounds) {
  alignas(64) uint16_t ones[kTileValues];
  alignas(64) float sums[kTileSums];
  for (uint16_t& one : ones) one = 0x3f80;
  SetShapes(kSide);
  Barrier();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, ones, kTileBytes);
  _tile_loadd(5, ones, kTileBytes);
  _tile_loadd(6, ones, kTileBytes);
  _tile_loadd(7, ones, kTileBytes);
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  float total = 0;
  const auto add = [&] {
    Barrier();
    total += sums[0];
  };
  _tile_stored(0, sums, kTileBytes);
  add();
  _tile_stored(1, sums, kTileBytes);
  add();
  _tile_stored(2, sums, kTileBytes);
  add();
  _tile_stored(3, sums, kTileBytes);
  add();
  _tile_release();
  return total;
}

}  // namespace fathom::kernels::cpu

#endif
