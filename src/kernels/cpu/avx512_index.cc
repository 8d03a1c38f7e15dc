// Index scores and the collection of candidates of the AVX-512 path.
//
// FP4 queries and keys are multiplied as integers, four products an instruction (vpdpbusd), with
// the result of the BF16 chain that defines the score. A value is c * 2^(s - 127), 2 c an integer
// of at most 12. With m the smallest scale of a row and every other at most 8 times as large, the
// row is integers 2 c * 2^(s - m) of at most 96, times 2^(m - 127 - 1). Then every product of the
// chain, and with it every partial sum, is a multiple of one power of two, and at most 128 * 96 *
// 96 < 2^24 of it: float32 holds each exactly, no step of the chain rounds, and the order does not
// matter. Scales and weights between 2^-30 and 2^30 keep everything among the normal numbers;
// within these, roundings commute with powers of two, so that the query's scale can join the
// weights and the key's the sum. Rows that spread further go through the chain itself.
#include "kernels/cpu/avx512.h"

#if defined(__x86_64__)

#include "kernels/cpu/bf16_loops.h"
#include "kernels/cpu/index.h"
#include "kernels/cpu/vec512.h"

namespace fathom::kernels::cpu {
namespace {

constexpr int64_t kDim = 128;          // values of a row: 64 bytes of codes, 4 scales
constexpr int64_t kDwords = kDim / 4;  // four values each, even channels first, then the odd ones
constexpr int64_t kPassKeys = 48;      // keys decoded together
constexpr int64_t kGroupHeads = 32;    // heads of two vectors
constexpr int64_t kDotStride = 2 * kGroupHeads;
constexpr int64_t kScaleMin = 127 - 30, kScaleMax = 127 + 30;
constexpr int64_t kKeyBias = 96;  // makes keys unsigned, as the instruction wants one side

bool IsInteger(const RowLayout& layout, bool round) {
  return round && layout.format == RowFormat::kIndex && layout.dim == kDim;
}

int64_t PadToGroups(int64_t heads) { return (heads + kGroupHeads - 1) / kGroupHeads * kGroupHeads; }

// Which head of its group stands in a lane of the group's two vectors. Rounding two vectors to BF16
// gives words whose even ones are taken for the next step as one vector and whose odd ones as
// another. Heads start out where two such steps bring head h of the first 16 to lane h of one, and
// head 16 + h to lane h of the other.
struct LaneOrder {
  int8_t head[2][kLanes];      // before the first rounding
  int8_t weighted[2][kLanes];  // between the two
};
constexpr LaneOrder MakeLaneOrder() {
  LaneOrder order{};
  for (int l = 0; l < kLanes; ++l) {
    order.weighted[0][l] = static_cast<int8_t>(l / 2 + l % 2 * 16);
    order.weighted[1][l] = static_cast<int8_t>(l / 2 + l % 2 * 16 + 8);
  }
  for (int v = 0; v < 2; ++v)
    for (int l = 0; l < kLanes; ++l) order.head[v][l] = order.weighted[l % 2][l / 2 + 8 * v];
  return order;
}
constexpr LaneOrder kLaneOrder = MakeLaneOrder();

// 2 c * 2^d + bias at index d * 16 + code.
struct CodeTable {
  int8_t value[64];
};
constexpr CodeTable MakeCodeTable(int bias) {
  constexpr int kDoubled[8] = {0, 1, 2, 3, 4, 6, 8, 12};
  CodeTable table{};
  for (int d = 0; d < 4; ++d)
    for (int code = 0; code < 16; ++code)
      table.value[d * 16 + code] =
          static_cast<int8_t>((code < 8 ? 1 : -1) * (kDoubled[code & 7] << d) + bias);
  return table;
}
alignas(64) constexpr CodeTable kQueryTable = MakeCodeTable(0);
alignas(64) constexpr CodeTable kKeyTable = MakeCodeTable(kKeyBias);

// A query as index_scores reads it. Lanes as in LaneOrder.
struct PackedQuery {
  int32_t* is_integer;
  int32_t* values;  // [kDwords, heads]
  int32_t* start;   // [heads]: what takes the keys' bias back
  float* weights;   // [heads], the scale of the head's values included
};
PackedQuery CutPacked(float* packed, int64_t heads) {
  int32_t* p = reinterpret_cast<int32_t*>(packed);
  return {p, p + kLanes, p + kLanes + kDwords * heads, packed + kLanes + (kDwords + 1) * heads};
}

// The scales of a row, a byte each, against their smallest.
struct RowScales {
  uint32_t spread;  // s - m, times 16
  int smallest;
  bool is_narrow;
};
RowScales ScalesOf(const std::byte* row) {
  uint8_t s[4];
  std::memcpy(s, row + kDim / 2, 4);
  const int low = s[0] < s[1] ? s[0] : s[1], high = s[2] < s[3] ? s[2] : s[3];
  const int m = low < high ? low : high;
  RowScales scales{0, m, m >= kScaleMin && m <= kScaleMax};
  for (int b = 0; b < 4; ++b) {
    scales.is_narrow &= s[b] - m <= 3;
    scales.spread |= static_cast<uint32_t>((s[b] - m) & 3) << (8 * b + 4);
  }
  return scales;
}

// The even and the odd values of a row as integers.
void DecodeInteger(const std::byte* row, uint32_t spread, __m512i table, void* out) {
  const __m512i block = _mm512_set_epi32(0x03030303, 0x03030303, 0x03030303, 0x03030303, 0x02020202,
                                         0x02020202, 0x02020202, 0x02020202, 0x01010101, 0x01010101,
                                         0x01010101, 0x01010101, 0, 0, 0, 0);
  const __m512i shift = _mm512_shuffle_epi8(_mm512_set1_epi32(static_cast<int>(spread)), block);
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i codes = _mm512_loadu_si512(row);
  constexpr int kAndOr = 0xea;  // (a & b) | c
  const __m512i even = _mm512_ternarylogic_epi32(codes, nibble, shift, kAndOr);
  const __m512i odd = _mm512_ternarylogic_epi32(_mm512_srli_epi16(codes, 4), nibble, shift, kAndOr);
  _mm512_storeu_si512(out, _mm512_permutexvar_epi8(even, table));
  _mm512_storeu_si512(static_cast<std::byte*>(out) + 64, _mm512_permutexvar_epi8(odd, table));
}

bool IsOrdinary(float weight) {
  const float magnitude = __builtin_fabsf(weight);
  return weight == 0 || (magnitude >= 0x1p-30f && magnitude <= 0x1p30f);
}

// False where the query's values or weights spread too far.
bool PackInteger(const IndexQuery& query, int64_t heads, float* packed) {
  const int64_t padded = PadToGroups(heads);
  const PackedQuery out = CutPacked(packed, padded);
  const __m512i table = _mm512_load_si512(kQueryTable.value);
  for (int64_t at = 0; at < padded; ++at) {
    const int64_t group = at / kGroupHeads * kGroupHeads;
    const int64_t v = at % kGroupHeads / kLanes, l = at % kLanes;
    const int64_t h = group + kLaneOrder.head[v][l];
    alignas(64) int32_t values[kDwords] = {};
    int32_t sum = 0;
    if (h < heads) {
      const std::byte* row = query.q + h * query.keys.layout.bytes();
      const RowScales scales = ScalesOf(row);
      if (!scales.is_narrow) return false;
      DecodeInteger(row, scales.spread, table, values);
      const __m512i ones = _mm512_set1_epi8(1);
      const __m512i sums = _mm512_dpbusd_epi32(
          _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, _mm512_load_si512(values)), ones,
          _mm512_load_si512(values + kLanes));
      sum = _mm512_reduce_add_epi32(sums);
    }
    for (int64_t d = 0; d < kDwords; ++d) out.values[d * padded + at] = values[d];
    out.start[at] = static_cast<int32_t>(-kKeyBias) * sum;
    const int64_t weighted = group + kLaneOrder.weighted[v][l];
    out.weights[at] = 0;
    if (weighted >= heads) continue;
    const float weight = query.weights[weighted];
    if (!IsOrdinary(weight)) return false;
    // Two halves: the values of both rows are doubled.
    const int scale = ScalesOf(query.q + weighted * query.keys.layout.bytes()).smallest;
    if (scale < kScaleMin || scale > kScaleMax) return false;
    float power;
    std::memcpy(&power, &kScaleTable.bits[scale - 2], 4);
    out.weights[at] = weight * power;
  }
  return true;
}

// Some keys as integers.
struct KeyBlock {
  alignas(64) int32_t values[kPassKeys][kDwords];  // biased, unsigned bytes
  alignas(64) float scale[kPassKeys];
  bool is_integer;

  void Decode(const CacheRows& keys, int64_t begin, int64_t n) {
    const __m512i table = _mm512_load_si512(kKeyTable.value);
    is_integer = true;
    for (int64_t j = 0; j < n; ++j) {
      const std::byte* row = keys.row(begin + j);
      const RowScales scales = ScalesOf(row);
      is_integer &= scales.is_narrow;
      std::memcpy(&scale[j], &kScaleTable.bits[scales.smallest], 4);
      DecodeInteger(row, scales.spread, table, values[j]);
    }
  }
};

// Dots rounded, cut off at zero, weighted and rounded again: the terms of 32 heads as two vectors
// in the order of the heads.
struct Terms {
  __m512 first, second;
};
__m512 EvenWords(__m512i words) { return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16)); }
__m512 OddWords(__m512i words) {
  return _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(-0x10000)));
}
__m512i RoundPair(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

Terms Weigh(__m512i dots0, __m512i dots1, __m512 weights0, __m512 weights1) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i dots = RoundPair(_mm512_cvtepi32_ps(_mm512_max_epi32(dots0, zero)),
                                 _mm512_cvtepi32_ps(_mm512_max_epi32(dots1, zero)));
  const __m512i terms =
      RoundPair(_mm512_mul_ps(EvenWords(dots), weights0), _mm512_mul_ps(OddWords(dots), weights1));
  return {EvenWords(terms), OddWords(terms)};
}

// As the instruction sees them. g++ 12 keeps an array of __m512i, which is of another element type,
// in memory.
using Ints = int32_t __attribute__((vector_size(64)));

// dots [kKeys, kDotStride] of some keys with kVecs vectors of heads.
template <int kKeys, int kVecs>
void DotKeys(const PackedQuery& query, int64_t heads, int64_t first, const int32_t* keys,
             int32_t* dots) {
  Ints dot[kKeys][kVecs];
#pragma GCC unroll 24
  for (int j = 0; j < kKeys; ++j) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v)
      dot[j][v] = (Ints)_mm512_load_si512(query.start + first + v * kLanes);
  }
  const int32_t* values = query.values + first;
  for (int64_t d = 0; d < kDwords; ++d, values += heads) {
    __m512i q[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) q[v] = _mm512_load_si512(values + v * kLanes);
#pragma GCC unroll 24
    for (int j = 0; j < kKeys; ++j) {
      const __m512i key = _mm512_set1_epi32(keys[j * kDwords + d]);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v)
        dot[j][v] = (Ints)_mm512_dpbusd_epi32((__m512i)dot[j][v], key, q[v]);
    }
  }
#pragma GCC unroll 24
  for (int j = 0; j < kKeys; ++j) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v)
      _mm512_store_si512(dots + j * kDotStride + v * kLanes, (__m512i)dot[j][v]);
  }
}

// sums [n][kLanes] += the terms of kGroups groups of heads, from head `first` on, whose dots stand
// kDotStride apart; the first ones start from zero.
template <int kGroups>
void AddTerms(const PackedQuery& query, int64_t first, const int32_t* dots, int64_t n,
              float* sums) {
  const float* w = query.weights + first;
  __m512 weights[2 * kGroups];
#pragma GCC unroll 4
  for (int v = 0; v < 2 * kGroups; ++v) weights[v] = _mm512_load_ps(w + v * kLanes);
  for (int64_t j = 0; j < n; ++j, dots += kDotStride) {
    __m512 sum = first == 0 ? _mm512_setzero_ps() : _mm512_load_ps(sums + j * kLanes);
#pragma GCC unroll 2
    for (int g = 0; g < kGroups; ++g) {
      const Terms terms = Weigh(_mm512_load_si512(dots + g * kGroupHeads),
                                _mm512_load_si512(dots + g * kGroupHeads + kLanes), weights[2 * g],
                                weights[2 * g + 1]);
      sum = _mm512_add_ps(_mm512_add_ps(sum, terms.first), terms.second);
    }
    _mm512_store_ps(sums + j * kLanes, sum);
  }
}

// Folds each of 16 vectors to one number as Vec512::Fold does.
__m512 FoldEach(const float* sums) {
  __m512 r[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_load_ps(sums + i * kLanes);
    // Each step adds the upper to the lower half of what is left of two vectors, and joins the two.
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    r[i] = _mm512_add_ps(_mm512_shuffle_f32x4(r[i], r[i + 8], 0x44),
                         _mm512_shuffle_f32x4(r[i], r[i + 8], 0xee));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    r[i] = _mm512_add_ps(_mm512_shuffle_f32x4(r[i], r[i + 4], 0x88),
                         _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd));
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    r[i] = _mm512_add_ps(_mm512_shuffle_ps(r[i], r[i + 2], 0x44),
                         _mm512_shuffle_ps(r[i], r[i + 2], 0xee));
  r[0] = _mm512_add_ps(_mm512_shuffle_ps(r[0], r[1], 0x88), _mm512_shuffle_ps(r[0], r[1], 0xdd));
  // The order in which they come out is its own inverse.
  const __m512i order = _mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15);
  return _mm512_permutexvar_ps(order, r[0]);
}

void ScoreInteger(const PackedQuery& query, int64_t heads_used, const KeyBlock& keys, int64_t n,
                  float* scores) {
  const int64_t heads = PadToGroups(heads_used);
  alignas(64) float sums[kPassKeys][kLanes];
  alignas(64) int32_t dots[kPassKeys][kDotStride];
  int64_t first = 0;
  for (; first + 2 * kGroupHeads <= heads; first += 2 * kGroupHeads) {
    for (int64_t j = 0; j < n; j += 6) DotKeys<6, 4>(query, heads, first, keys.values[j], dots[j]);
    AddTerms<2>(query, first, dots[0], n, sums[0]);
  }
  if (first < heads) {
    // Up to 4 heads stand in the first vector alone; the second stays zero.
    if (heads_used <= 4) {
      for (int64_t j = 0; j < n; ++j) _mm512_store_si512(dots[j] + kLanes, _mm512_setzero_si512());
      for (int64_t j = 0; j < n; j += 24)
        DotKeys<24, 1>(query, heads, first, keys.values[j], dots[j]);
    } else {
      for (int64_t j = 0; j < n; j += 12)
        DotKeys<12, 2>(query, heads, first, keys.values[j], dots[j]);
    }
    AddTerms<1>(query, first, dots[0], n, sums[0]);
  }
  for (int64_t j = n; j % kLanes != 0; ++j) _mm512_store_ps(sums[j], _mm512_setzero_ps());
  for (int64_t j = 0; j < n; j += kLanes) {
    const __m512 sum = Vec512::RoundToBF16(FoldEach(sums[j]));
    Vec512::Store(scores + j, _mm512_mul_ps(sum, _mm512_load_ps(keys.scale + j)),
                  Smaller(kLanes, n - j));
  }
}

// The chain itself, for one query, which is packed for it when it is first needed.
class Chain {
 public:
  explicit Chain(const IndexTask& task)
      : task_(task),
        packed_(AlignToVector(task.scratch)),
        scratch_(packed_ + PadToLanes(task.heads) * kDim) {}

  void Score(int64_t i, int64_t begin, int64_t n) {
    if (packed_query_ != i)
      PackIndexQuery<Bf16Loops>(task_.queries[i], task_.heads, packed_, scratch_);
    packed_query_ = i;
    IndexTask task = task_;
    task.queries += i;
    task.count = 1;
    task.packed = packed_;
    task.begin = begin;
    task.end = begin + n;
    task.scores += i * task.scores_stride + begin - task_.begin;
    task.scratch = scratch_;
    IndexScores<Bf16Loops>(task);
  }

 private:
  const IndexTask& task_;
  float* packed_;
  float* scratch_;
  int64_t packed_query_ = -1;
};

void ScoreIntegers(const IndexTask& task) {
  const int64_t heads = PadToGroups(task.heads);
  KeyBlock keys = {};
  Chain chain(task);
  for (int64_t begin = task.begin; begin < task.end; begin += kPassKeys) {
    const int64_t n = Smaller(kPassKeys, task.end - begin);
    keys.Decode(task.keys, begin, n);
    for (int64_t i = 0; i < task.count; ++i) {
      const PackedQuery query =
          CutPacked(const_cast<float*>(task.packed) + i * task.packed_stride, heads);
      if (keys.is_integer && *query.is_integer != 0) {
        ScoreInteger(query, task.heads, keys, n,
                     task.scores + i * task.scores_stride + begin - task.begin);
      } else {
        chain.Score(i, begin, n);
      }
    }
  }
}

}  // namespace

void IndexPackAvx512(const IndexQuery& query, int64_t heads, bool round, float* packed,
                     float* scratch) {
  if (IsInteger(query.keys.layout, round)) {
    *CutPacked(packed, heads).is_integer = PackInteger(query, heads, packed) ? 1 : 0;
  } else if (round) {
    PackIndexQuery<Bf16Loops>(query, heads, packed, scratch);
  } else {
    PackIndexQuery<FloatLoops<Vec512>>(query, heads, packed, scratch);
  }
}

void IndexScoresAvx512(const IndexTask& task) {
  if (IsInteger(task.keys.layout, task.round)) {
    ScoreIntegers(task);
  } else if (task.round) {
    IndexScores<Bf16Loops>(task);
  } else {
    IndexScores<FloatLoops<Vec512>>(task);
  }
}

int64_t CollectAboveAvx512(const float* scores, int64_t n, float bound, int32_t* out) {
  const __m512 limit = _mm512_set1_ps(bound);
  __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  int64_t count = 0, i = 0;
  for (; i < n; i += kLanes) {
    const __mmask16 present = Vec512::First(Smaller(kLanes, n - i));
    const __mmask16 above = _mm512_mask_cmp_ps_mask(
        present, _mm512_maskz_loadu_ps(present, scores + i), limit, _CMP_GT_OQ);
    // Compressing into memory is slow on some machines; the store runs over by up to a vector.
    if (above != 0) {
      _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi32(above, index));
      count += __builtin_popcount(above);
    }
    index = _mm512_add_epi32(index, _mm512_set1_epi32(kLanes));
  }
  return count;
}

}  // namespace fathom::kernels::cpu

#endif
