// The product of FP4 weights and byte inputs of the AVX2 path, as int8_stretch.h defines it: with
// few inputs each row of weights is decoded on the way, with more some rows are decoded for all of
// them.
#include "kernels/cpu/avx2.h"

#if defined(__x86_64__)

#include "kernels/cpu/avx2_weights.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/vec256.h"
#include "kernels/int8_stretch.h"

namespace fathom::kernels::cpu {
namespace {

// Inputs that are multiplied together.
constexpr int64_t kInputs = 4;
constexpr int64_t kStretchBytes = CodeBytes<Format::kFp4>(kStretch);
// Rows that are decoded together.
constexpr int64_t kGroupRows = 16;
// How far ahead of its use a row is fetched.
constexpr int64_t kPrefetchBytes = 4096;

// Twice, because a shuffle stays within 16 bytes.
constexpr auto kByteTable = MakeShiftedE2M1<32>(Int8Stretch::kCodeOffset);

// The eight steps of lanes 8 eight .. 8 eight + 7 of a stretch.
struct Steps {
  __m256i v[8];
};
[[gnu::always_inline]] inline Steps Decode(const std::byte* codes, int64_t eight) {
  codes += 32 * eight;
  const __m256i r0 = Load(codes), r1 = Load(codes + 64);
  const __m256i r2 = Load(codes + 128), r3 = Load(codes + 192);
  const __m256i t0 = _mm256_unpacklo_epi32(r0, r1), t1 = _mm256_unpackhi_epi32(r0, r1);
  const __m256i t2 = _mm256_unpacklo_epi32(r2, r3), t3 = _mm256_unpackhi_epi32(r2, r3);
  const __m256i words[4] = {_mm256_unpacklo_epi64(t0, t2), _mm256_unpackhi_epi64(t0, t2),
                            _mm256_unpacklo_epi64(t1, t3), _mm256_unpackhi_epi64(t1, t3)};
  const __m256i nibble = _mm256_set1_epi8(15);
  Steps steps;
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    steps.v[2 * q] = Look(kByteTable.codes, _mm256_and_si256(words[q], nibble));
    steps.v[2 * q + 1] =
        Look(kByteTable.codes, _mm256_and_si256(_mm256_srli_epi16(words[q], 4), nibble));
  }
  return steps;
}

// A row, decoded: the steps of both halves of the lanes of each stretch, and its scales.
struct DecodedRow {
  static constexpr int64_t kStretchesMax = 32;

  Steps steps[kStretchesMax][2];
  Vec256::F scales[kStretchesMax];
};

// Sums of eight lanes. Pairs of products are below 2^13: four of them fit 16 bits.
[[gnu::always_inline]] inline __m256i Sums(const Steps& steps, const Int8Stretch& x,
                                           int64_t eight) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums = Load(x.offsets + 8 * eight);
#pragma GCC unroll 2
  for (int half = 0; half < 8; half += 4) {
    __m256i pairs = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int s = half; s < half + 4; ++s)
      pairs = _mm256_add_epi16(
          pairs, _mm256_maddubs_epi16(steps.v[s], Load(x.codes + 64 * s + 32 * eight)));
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, ones));
  }
  return sums;
}

// acc[i] += eight lanes of a stretch times those of stretch b of the inputs.
template <int kCount>
[[gnu::always_inline]] inline void AddEight(const Steps& steps, __m256 scales,
                                            const Int8Stretch* const* x, int64_t b, int64_t eight,
                                            __m256 (&acc)[kCount][2]) {
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    const __m256 sums = _mm256_cvtepi32_ps(Sums(steps, x[i][b], eight));
    const __m256 both = _mm256_mul_ps(scales, _mm256_load_ps(x[i][b].scales + 8 * eight));
    acc[i][eight] = _mm256_fmadd_ps(sums, both, acc[i][eight]);
  }
}

// A row times kCount inputs, y that of the first of them: decoded on the way with kDirect, else
// from `decoded`.
template <bool kDirect, int kCount>
void DotRow(const DotTask& task, int64_t o, const DecodedRow* decoded, const Int8Stretch* const* x,
            float* y) {
  const int64_t stretches = Int8Stretches(task.w.cols);
  const RowReader<Format::kFp4> row(task.w, o);
  __m256 acc[kCount][2];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) acc[i][0] = acc[i][1] = _mm256_setzero_ps();
  for (int64_t b = 0; b < stretches; ++b) {
    StretchCopy<Format::kFp4> copy;
    StretchView stretch;
    Vec256::F scales;
    if constexpr (kDirect) {
      stretch = row.At(b, copy);
      Prefetch(row.codes(b) + kPrefetchBytes, kStretchBytes);
      scales = Fp4Scales(stretch.scale);
    } else {
      scales = decoded->scales[b];
    }
#pragma GCC unroll 2
    for (int64_t eight = 0; eight < 2; ++eight) {
      const __m256 mine = eight == 0 ? scales.low : scales.high;
      if constexpr (kDirect) {
        AddEight<kCount>(Decode(stretch.codes, eight), mine, x, b, eight, acc);
      } else {
        AddEight<kCount>(decoded->steps[b][eight], mine, x, b, eight, acc);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i)
    y[i * task.y_stride + (o - task.row_begin)] = Vec256::Fold({acc[i][0], acc[i][1]});
}

// All rows, so many inputs at a time.
void DotDirect(const DotTask& task, const Int8Stretch* const* x) {
  ForShares<kInputs>(task.count, [&](int64_t first, auto inputs) {
    for (int64_t o = task.row_begin; o < task.row_end; ++o)
      DotRow<true, inputs>(task, o, nullptr, x + first, task.y + first * task.y_stride);
  });
}

void DecodeRow(const tensor::QuantView& w, int64_t o, DecodedRow& decoded) {
  const RowReader<Format::kFp4> row(w, o);
  const int64_t stretches = Int8Stretches(w.cols);
  for (int64_t b = 0; b < stretches; ++b) {
    StretchCopy<Format::kFp4> copy;
    const StretchView stretch = row.At(b, copy);
    Prefetch(row.codes(b) + kPrefetchBytes, kStretchBytes);
    decoded.steps[b][0] = Decode(stretch.codes, 0);
    decoded.steps[b][1] = Decode(stretch.codes, 1);
    decoded.scales[b] = Fp4Scales(stretch.scale);
  }
}

// All rows, some of them decoded once for all inputs. A share of the inputs stays in the
// first-level cache while these pass over it.
void DotDecoded(const DotTask& task, const Int8Stretch* const* x) {
  DecodedRow decoded[kGroupRows];
  for (int64_t first = task.row_begin; first < task.row_end; first += kGroupRows) {
    const int64_t rows = Smaller(kGroupRows, task.row_end - first);
    for (int64_t r = 0; r < rows; ++r) DecodeRow(task.w, first + r, decoded[r]);
    ForShares<kInputs>(task.count, [&](int64_t i, auto inputs) {
      for (int64_t r = 0; r < rows; ++r)
        DotRow<false, inputs>(task, first + r, &decoded[r], x + i, task.y + i * task.y_stride);
    });
  }
}

}  // namespace

void DotInt8Avx2(const DotTask& task, const Int8Stretch* const* x) {
  if (task.count <= kInputs || Int8Stretches(task.w.cols) > DecodedRow::kStretchesMax) {
    DotDirect(task, x);
  } else {
    DotDecoded(task, x);
  }
}

}  // namespace fathom::kernels::cpu

#endif
