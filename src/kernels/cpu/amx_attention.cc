// Attention of the AMX path in official mode, in the tile order of sparse_attention.h. Scores: a
// tile of 16 rows by 32 channels, as a row is decoded, meets one of 32 channels by 16 heads.
// Values: a tile of 16 heads by 32 probabilities meets one of 32 rows by 16 channels. What a block
// adds is summed up from zero in tiles; vectors then rescale the accumulator and add it. Blocks are
// taken in groups, because the accumulator of 64 heads is larger than the first-level cache: each
// part of it is fetched once for a group.
#include "kernels/cpu/amx.h"

#if defined(__x86_64__)

#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/avx512.h"
#include "kernels/cpu/bf16_rows.h"

namespace fathom::kernels::cpu {
namespace {

using V = Vec512;

// Probabilities of a block for one tile of heads, [step][head][pair of rows].
constexpr int64_t kBlockWords = kAttentionBlock / kStep * kTileSums;

// The working memory of a task, cut into its parts; each starts on a vector.
struct TileScratch {
  Heads heads;        // acc [padded, width]: channels in whole steps and one vector more
  uint32_t* queries;  // [tile of heads][step][pair of channels][head]
  float* scores;      // [kAttentionBlock, padded]
  float* shrinks;     // [kAttentionGroup, padded]
  uint32_t* p;        // [kAttentionGroup][tile of heads], kBlockWords each
  uint32_t* pairs;    // PairedRows of one block
  uint32_t* values;   // PairedRows of each block of a group, value_words each
  int64_t value_words;
  float* spare;  // [dim]
};

int64_t StepsOfDim(int64_t dim) { return (dim + kStep - 1) / kStep; }

TileScratch CutTileScratch(const AttentionTask& task) {
  TileScratch s{};
  Heads& heads = s.heads;
  const int64_t steps = StepsOfDim(task.head_dim);
  heads.count = task.head_end - task.head_begin;
  heads.padded = PadToLanes(heads.count);
  heads.width = steps * kStep + kLanes;
  s.value_words = steps * kPairedWords;
  float* at = AlignToVector(task.scratch);
  const auto take = [&](int64_t floats) {
    float* part = at;
    at += floats;
    return part;
  };
  const auto words = [](float* part) { return reinterpret_cast<uint32_t*>(part); };
  s.queries = words(take(heads.padded * steps * kSide));
  heads.acc = take(heads.padded * heads.width);
  s.scores = take(kAttentionBlock * heads.padded);
  heads.running.max = take(heads.padded);
  heads.running.denominator = take(heads.padded);
  s.shrinks = take(kAttentionGroup * heads.padded);
  s.p = words(take(kAttentionGroup * heads.padded / kSide * kBlockWords));
  s.pairs = words(take(kAttentionBlock * RowStride(task.head_dim)));
  s.values = words(take(kAttentionGroup * s.value_words));
  s.spare = take(PadToLanes(task.head_dim));
  return s;
}

// Tiles of one operand: where the first stands, bytes between its rows, and what lies between one
// step and the next, and between the two tiles that are multiplied together.
struct Operand {
  const uint32_t* at;
  int64_t row_bytes;
  int64_t step_words;
  int64_t next_words;
};

// kA tiles of a times kB of b over some steps, into registers a * 2 + b. Calls between_steps before
// each step.
template <int kA, int kB, typename Between>
[[gnu::always_inline]] inline void Multiply(const Operand& a, const Operand& b, int64_t steps,
                                            const Between& between_steps) {
  _tile_zero(0);
  if constexpr (kB == 2) _tile_zero(1);
  if constexpr (kA == 2) _tile_zero(2);
  if constexpr (kA == 2 && kB == 2) _tile_zero(3);
  for (int64_t s = 0; s < steps; ++s) {
    between_steps();
    const uint32_t* a0 = a.at + s * a.step_words;
    const uint32_t* b0 = b.at + s * b.step_words;
    _tile_loadd(4, a0, a.row_bytes);
    _tile_loadd(6, b0, b.row_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kB == 2) {
      _tile_loadd(7, b0 + b.next_words, b.row_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kA == 2) {
      _tile_loadd(5, a0 + a.next_words, a.row_bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kB == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
}

// The sums of Multiply to c, tiles of a below one another and those of b side by side.
template <int kA, int kB>
[[gnu::always_inline]] inline void StoreSums(float* c, int64_t row_floats) {
  const int64_t row_bytes = row_floats * 4;
  _tile_stored(0, c, row_bytes);
  if constexpr (kB == 2) _tile_stored(1, c + kSide, row_bytes);
  if constexpr (kA == 2) _tile_stored(2, c + kSide * row_floats, row_bytes);
  if constexpr (kA == 2 && kB == 2) _tile_stored(3, c + kSide * row_floats + kSide, row_bytes);
}

// Memory that is needed when the task ends or after it, asked for a little at a time while tiles
// multiply: the next token's queries, and where the outputs go. Both are too large to stay in a
// cache from one layer to the next.
class Later {
 public:
  Later(const AttentionTask& task, int64_t steps) {
    const int64_t floats = (task.head_end - task.head_begin) * task.head_dim;
    const int64_t skip = task.head_begin * task.head_dim;
    Set(0, task.o + skip, floats, steps);
    Set(1, task.next_q == nullptr ? nullptr : task.next_q + skip, floats, steps);
  }
  void Step() {
    for (Part& part : parts_) {
      const char* end = part.at + Smaller(part.step_bytes, part.end - part.at);
      for (; part.at < end; part.at += 64) _mm_prefetch(part.at, _MM_HINT_T1);
    }
  }

 private:
  struct Part {
    const char* at = nullptr;
    const char* end = nullptr;
    int64_t step_bytes = 0;
  };
  void Set(int i, const float* start, int64_t floats, int64_t steps) {
    if (start == nullptr) return;
    const char* at = reinterpret_cast<const char*>(start);
    parts_[i] = {at, at + 4 * floats, (4 * floats / 64 / steps + 1) * 64};
  }
  Part parts_[2];
};

// Zeros for the heads and channels that are not there.
void PackQueries(const float* q, int64_t count, int64_t padded, int64_t dim, uint32_t* out) {
  for (int64_t h0 = 0; h0 < padded; h0 += kSide) {
    for (int64_t c = 0; c < dim; c += kStep, out += kTileSums) {
      alignas(64) uint32_t pairs[kSide][kSide];
      __m512i v[kSide];
      for (int64_t h = 0; h < kSide; ++h) {
        if (h0 + h < count) PackPairs(q + (h0 + h) * dim + c, Smaller(kStep, dim - c), pairs[h]);
        v[h] = h0 + h < count ? _mm512_load_si512(pairs[h]) : _mm512_setzero_si512();
      }
      Transpose(v);
#pragma GCC unroll 16
      for (int i = 0; i < kSide; ++i) _mm512_store_si512(out + i * kSide, v[i]);
    }
  }
}

// The scores of a block's rows, and of what stands behind the last of them in its tile.
template <int kRowTiles, int kHeadTiles>
void ScoreTiles(const TileScratch& s, int64_t stride, int64_t steps, int64_t j, int64_t h,
                Fetch& fetch, Later& later) {
  const Operand rows{s.pairs + j * stride, stride * 4, kSide, kSide * stride};
  const Operand queries{s.queries + h * steps * kSide, kTileBytes, kTileSums, steps * kTileSums};
  Multiply<kRowTiles, kHeadTiles>(rows, queries, steps, [&] {
    fetch.Step();
    later.Step();
  });
  StoreSums<kRowTiles, kHeadTiles>(s.scores + j * s.heads.padded + h, s.heads.padded);
}

void Score(const TileScratch& s, const RowBlock& block, Later& later) {
  const int64_t steps = StepsOfDim(block.layout.dim), stride = RowStride(block.layout.dim);
  const int64_t padded = s.heads.padded, row_tiles = (block.n + kSide - 1) / kSide;
  Fetch fetch(block, (padded / kSide + 1) / 2 * ((row_tiles + 1) / 2) * steps);
  for (int64_t h = 0; h < padded; h += 2 * kSide) {
    for (int64_t j = 0; j < block.n; j += 2 * kSide) {
      const bool has_rows = j + kSide < block.n, has_heads = h + kSide < padded;
      if (has_rows && has_heads) {
        ScoreTiles<2, 2>(s, stride, steps, j, h, fetch, later);
      } else if (has_rows) {
        ScoreTiles<2, 1>(s, stride, steps, j, h, fetch, later);
      } else if (has_heads) {
        ScoreTiles<1, 2>(s, stride, steps, j, h, fetch, later);
      } else {
        ScoreTiles<1, 1>(s, stride, steps, j, h, fetch, later);
      }
    }
  }
}

// `even` and `odd` rounded to BF16 (NaN stays NaN, and no other is below the normal numbers), as
// pairs.
inline __m512i RoundPairs(__m512 even, __m512 odd) {
  const __m512i words = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
  const __m512i other = _mm512_castsi256_si512(_mm512_extracti64x4_epi64(words, 1));
  return _mm512_mask_blend_epi16(
      0xaaaaaaaau, _mm512_cvtepu16_epi32(_mm512_castsi512_si256(words)),
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(other)), 16));
}

// SoftmaxBlock of attention.h for 16 heads, with the probabilities rounded and packed into tiles on
// the way: p <- those of n rows in whole steps, zeros past n.
void SoftmaxTile(const float* scores, int64_t n, int64_t padded, float scale,
                 const Running& running, uint32_t* p) {
  const __m512 factor = V::Set(scale), old_max = V::Load(running.max);
  __m512 max = old_max;
  for (int64_t j = 0; j < n; ++j) max = V::Max(V::Mul(V::Load(scores + j * padded), factor), max);
  const __m512 shrink = V::Exp(V::Sub(old_max, max));
  __m512 sum = V::Zero();
  const auto next = [&](int64_t j) {
    if (j >= n) return V::Zero();
    const __m512 value = V::Exp(V::Sub(V::Mul(V::Load(scores + j * padded), factor), max));
    sum = V::Add(sum, value);
    return value;
  };
  for (int64_t j = 0; j < n; j += kStep, p += kTileSums) {
    alignas(64) uint32_t pairs[kSide][kSide];
    for (int64_t i = 0; i < kSide; ++i) {
      const __m512 even = next(j + 2 * i), odd = next(j + 2 * i + 1);
      _mm512_store_si512(pairs[i], RoundPairs(even, odd));
    }
    __m512i v[kSide];
#pragma GCC unroll 16
    for (int i = 0; i < kSide; ++i) v[i] = _mm512_load_si512(pairs[i]);
    Transpose(v);
#pragma GCC unroll 16
    for (int i = 0; i < kSide; ++i) _mm512_store_si512(p + i * kSide, v[i]);
  }
  V::Store(running.max, max);
  V::Store(running.shrink, shrink);
  V::Store(running.denominator, V::Add(V::Mul(V::Load(running.denominator), shrink), sum));
}

// Blocks whose probabilities and values are ready.
struct Group {
  int64_t blocks = 0;
  int64_t steps[kAttentionGroup];
  bool is_first = true;  // nothing stands in the accumulator yet
};

// sums [kHeadTiles * 16, 32] is what a block adds to 32 channels of acc.
template <int kHeadTiles>
[[gnu::always_inline]] inline void AddBlock(const float* sums, const float* shrink, int64_t width,
                                            bool is_first, float* acc) {
  for (int64_t h = 0; h < kHeadTiles * kSide; ++h) {
    const __m512 factor = V::Set(shrink[h]);
#pragma GCC unroll 2
    for (int64_t c = 0; c < kStep; c += kLanes) {
      const __m512 old = is_first ? V::Zero() : V::Load(acc + h * width + c);
      V::Store(acc + h * width + c, V::Fma(old, factor, V::Load(sums + h * kStep + c)));
    }
  }
}

template <int kHeadTiles>
void AddGroup(const TileScratch& s, const Group& group, int64_t h, int64_t c) {
  alignas(64) float sums[kAttentionGroup][kHeadTiles * kSide * kStep];
  const int64_t padded = s.heads.padded, width = s.heads.width;
  for (int64_t b = 0; b < group.blocks; ++b) {
    const Operand p{s.p + (b * padded + h) / kSide * kBlockWords, kTileBytes, kTileSums,
                    kBlockWords};
    const Operand values{s.values + b * s.value_words + c / kStep * kPairedWords, kStep * 4,
                         kSide * kStep, kSide};
    Multiply<kHeadTiles, 2>(p, values, group.steps[b], [] {});
    StoreSums<kHeadTiles, 2>(sums[b], kStep);
  }
  Barrier();
  for (int64_t b = 0; b < group.blocks; ++b)
    AddBlock<kHeadTiles>(sums[b], s.shrinks + b * padded + h, width, group.is_first && b == 0,
                         s.heads.acc + h * width + c);
  Barrier();
}

void Accumulate(const TileScratch& s, int64_t dim, Group& group) {
  for (int64_t c = 0; c < dim; c += kStep) {
    int64_t h = 0;
    for (; h + kSide < s.heads.padded; h += 2 * kSide) AddGroup<2>(s, group, h, c);
    if (h < s.heads.padded) AddGroup<1>(s, group, h, c);
  }
  group.blocks = 0;
  group.is_first = false;
}

// A block's rows, and zeros up to a whole step.
void DecodeBlock(const RowBlock& block, int64_t steps, float* spare, const PairedRows& rows) {
  for (int64_t j = 0; j < block.n; ++j)
    RowToBF16(block.layout, block.rows[j], spare, rows.pairs + j * rows.stride);
  for (int64_t i = block.n * rows.stride; i < steps * kStep * rows.stride; i += kLanes)
    _mm512_store_si512(rows.pairs + i, _mm512_setzero_si512());
}

// Decodes a block, computes its probabilities and adds it to the group.
void AddToGroup(const AttentionTask& task, const RowBlock& block, const TileScratch& s,
                Group& group, Later& later) {
  const int64_t b = group.blocks, n = block.n, padded = s.heads.padded;
  const int64_t steps = (n + kStep - 1) / kStep;
  const PairedRows rows{s.pairs, RowStride(task.head_dim), s.values + b * s.value_words};
  DecodeBlock(block, steps, s.spare, rows);
  Barrier();
  Score(s, block, later);
  Barrier();
  for (int64_t h = 0; h < padded; h += kSide) {
    const Running running{s.heads.running.max + h, s.heads.running.denominator + h,
                          s.shrinks + b * padded + h};
    SoftmaxTile(s.scores + h, n, padded, task.scale, running,
                s.p + (b * padded + h) / kSide * kBlockWords);
  }
  PairRows(rows, steps * kStep, task.head_dim);
  Barrier();
  group.steps[b] = steps;
  ++group.blocks;
}

void AttendTiles(const AttentionTask& task) {
  const int64_t dim = task.head_dim;
  const TileScratch s = CutTileScratch(task);
  const Heads& heads = s.heads;
  SetShapes(kSide);
  PackQueries(task.q + task.head_begin * dim, heads.count, heads.padded, dim, s.queries);
  for (int64_t h = 0; h < heads.padded; ++h) {
    heads.running.max[h] = -__builtin_inff();
    heads.running.denominator[h] = 0;
  }
  // Steps of multiplications for scores, at least.
  Later later(task, 1 + (heads.padded + kSide) / (2 * kSide) * (task.count / (2 * kSide)) *
                            StepsOfDim(dim));
  Group group;
  for (int64_t begin = 0, n = 0; begin < task.count; begin += n) {
    n = task.BlockRows(begin);
    AddToGroup(task,
               {task.layout, task.rows + begin, n, task.rows + begin + n,
                Smaller(kAttentionBlock, task.count - begin - n)},
               s, group, later);
    if (group.blocks == kAttentionGroup) Accumulate(s, dim, group);
  }
  if (group.blocks > 0) Accumulate(s, dim, group);
  _tile_release();
  FinishHeads<V>(task, heads);
}

}  // namespace

void AttendAmx(const AttentionTask& task) {
  if (task.round) {
    AttendTiles(task);
  } else {
    AttendAvx512(task);
  }
}

}  // namespace fathom::kernels::cpu

#endif
