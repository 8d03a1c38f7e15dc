// The row operations (row_ops.h) over vectors of 16 lanes, shared by the instruction sets. V adds
// to the vector type of its instruction set what rows need: Min, Sqrt, sign and exponent bits, sums
// in double, moves of lanes, and the two packings. As in attention.h, templates are instantiated
// only with types of one instruction set and plain functions are static.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/pack_int8.h"
#include "kernels/row_ops.h"

namespace fathom::kernels::cpu {

// How many lanes of a vector a step works on.
struct Whole {};
struct Part {
  int64_t lanes;  // 0 <= lanes < 16
};

// numerics::ToBF16 and back. Not shared with other files, like everything that is compiled here.
static inline float RoundOne(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  if (x != x) return __builtin_bit_cast(float, (bits | 0x400000u) & 0xffff0000u);
  return __builtin_bit_cast(float, (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
}

// The block scale of a quantiser and its reciprocal. Both are powers of two, so that multiplying by
// the one is dividing by the other; NaN when the block's largest magnitude is infinite.
// Ref: model.md 6.2.
struct BlockScale {
  float scale;
  float reciprocal;
};
static inline BlockScale ScaleOf(float largest, float floor, float step) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, (largest > floor ? largest : floor) * step);
  const uint32_t code = (bits >> 23) + ((bits & 0x7fffffu) != 0 ? 1u : 0u);
  if (code == 255) return {__builtin_nanf(""), __builtin_nanf("")};
  return {__builtin_bit_cast(float, code << 23), __builtin_bit_cast(float, (254 - code) << 23)};
}
static inline BlockScale ScaleOfE4M3(float largest) {
  return ScaleOf(largest, 1e-4f, 1.0f / 448.0f);
}
static inline BlockScale ScaleOfE2M1(float largest) {
  return ScaleOf(largest, 6 * 0x1p-126f, 1.0f / 6.0f);
}

template <typename V>
struct RowKernels {
  using F = typename V::F;
  static constexpr int64_t kWidth = 16;

  static F Load(const float* p, Whole) { return V::Load(p); }
  static F Load(const float* p, Part part) { return V::Load(p, part.lanes); }
  static void Store(float* p, F v, Whole) { V::Store(p, v); }
  static void Store(float* p, F v, Part part) { V::Store(p, v, part.lanes); }
  static F AddLanes(F a, F b, Whole) { return V::Add(a, b); }
  static F AddLanes(F a, F b, Part part) { return V::AddFirst(a, b, part.lanes); }

  // Calls body(first value, Whole or Part) over n values.
  template <typename Body>
  [[gnu::always_inline]] static inline void ForVectors(int64_t n, Body body) {
    int64_t k = 0;
    for (; k + kWidth <= n; k += kWidth) body(k, Whole{});
    if (k < n) body(k, Part{n - k});
  }

  template <bool kRound>
  static F Rounded(F x) {
    if constexpr (kRound) return V::RoundToBF16(x);
    return x;
  }

  template <bool kRound>
  static void Scale(const float* x, const float* weight, float scale, int64_t n, float* y) {
    const F s = V::Set(scale);
    ForVectors(n, [&](int64_t k, auto lanes) {
      const F scaled = V::Mul(Load(x + k, lanes), s);
      Store(y + k, Rounded<kRound>(V::Mul(Load(weight + k, lanes), scaled)), lanes);
    });
  }
  static void ScaleRow(const float* x, const float* weight, float scale, int64_t n, bool round,
                       float* y) {
    return round ? Scale<true>(x, weight, scale, n, y) : Scale<false>(x, weight, scale, n, y);
  }

  template <bool kRound>
  static float SumOfHead(const float* x, int64_t n) {
    F sum[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sum[j] = V::Zero();
    const auto add = [&](int j, int64_t k, auto lanes) {
      const F v = Load(x + k, lanes);
      sum[j] = AddLanes(sum[j], Rounded<kRound>(V::Mul(v, v)), lanes);
    };
    int64_t begin = 0;
    for (; begin + 4 * kWidth <= n; begin += 4 * kWidth) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) add(j, begin + j * kWidth, Whole{});
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const int64_t left = n - begin - j * kWidth;
      if (left > 0) add(j, begin + j * kWidth, Part{left < kWidth ? left : kWidth});
    }
    return V::Fold(V::Add(V::Add(sum[0], sum[1]), V::Add(sum[2], sum[3])));
  }

  template <bool kRound>
  static void Normalize(float* x, int64_t heads, int64_t n, float eps) {
    const auto round = [](float v) { return kRound ? RoundOne(v) : v; };
    for (int64_t h = 0; h < heads; ++h, x += n) {
      const float mean = round(SumOfHead<kRound>(x, n) / static_cast<float>(n));
      const F scale = V::Set(round(1.0f / V::SqrtOne(round(mean + eps))));
      ForVectors(n, [&](int64_t k, auto lanes) {
        Store(x + k, Rounded<kRound>(V::Mul(Load(x + k, lanes), scale)), lanes);
      });
    }
  }
  static void NormalizeHeads(float* x, int64_t heads, int64_t n, float eps, bool round) {
    return round ? Normalize<true>(x, heads, n, eps) : Normalize<false>(x, heads, n, eps);
  }

  template <bool kRound>
  static void RotatePairs(const RotateTask& task) {
    // Each factor twice, the sines of the even places negated: then a pair (a, b) becomes
    // (a, b) * cos + (b, a) * sin.
    constexpr int64_t kPairs = 64;
    alignas(64) float cos[2 * kPairs], sin[2 * kPairs];
    const uint32_t flip = task.inverse ? 0x80000000u : 0u;
    for (int64_t begin = 0; begin < task.pairs; begin += kPairs) {
      const int64_t pairs = task.pairs - begin < kPairs ? task.pairs - begin : kPairs;
      for (int64_t i = 0; i < pairs; ++i) {
        const uint32_t s = __builtin_bit_cast(uint32_t, task.sin[begin + i]) ^ flip;
        cos[2 * i] = cos[2 * i + 1] = task.cos[begin + i];
        sin[2 * i] = __builtin_bit_cast(float, s ^ 0x80000000u);
        sin[2 * i + 1] = __builtin_bit_cast(float, s);
      }
      float* x = task.x + task.head_dim - 2 * (task.pairs - begin);
      for (int64_t h = 0; h < task.heads; ++h, x += task.head_dim) {
        ForVectors(2 * pairs, [&](int64_t k, auto lanes) {
          const F v = Load(x + k, lanes);
          const F straight = V::Mul(v, Load(cos + k, lanes));
          const F crossed = V::Mul(V::SwapPairs(v), Load(sin + k, lanes));
          Store(x + k, Rounded<kRound>(V::Add(straight, crossed)), lanes);
        });
      }
    }
  }
  static void RotateHeads(const RotateTask& task) {
    return task.round ? RotatePairs<true>(task) : RotatePairs<false>(task);
  }

  // kStreams 0: any number, taken from the task.
  template <bool kRound, int kStreams>
  static void Mix(const MixTask& task) {
    const int64_t streams = kStreams > 0 ? kStreams : task.streams;
    ForVectors(task.dims, [&](int64_t d, auto lanes) {
      F sum = V::Zero();
#pragma GCC unroll 8
      for (int64_t j = 0; j < streams; ++j)
        sum = V::Add(sum, V::Mul(V::Set(task.pre[j]), Load(task.x + j * task.dims + d, lanes)));
      Store(task.y + d, Rounded<kRound>(sum), lanes);
    });
  }
  static void MixStreams(const MixTask& task) {
    if (task.streams == 4) return task.round ? Mix<true, 4>(task) : Mix<false, 4>(task);
    return task.round ? Mix<true, 0>(task) : Mix<false, 0>(task);
  }

  template <bool kRound, int kStreams>
  static void Spread(const SpreadTask& task) {
    const int64_t streams = kStreams > 0 ? kStreams : task.streams, dims = task.dims;
    ForVectors(dims, [&](int64_t d, auto lanes) {
      constexpr int64_t kMost = kStreams > 0 ? kStreams : kStreamsMax;
      F old[kMost];
#pragma GCC unroll 8
      for (int64_t j = 0; j < kMost; ++j)
        old[j] = j < streams ? Load(task.x + j * dims + d, lanes) : V::Zero();
      const F y = Load(task.y + d, lanes);
#pragma GCC unroll 8
      for (int64_t k = 0; k < streams; ++k) {
        F sum = V::Zero();
#pragma GCC unroll 8
        for (int64_t j = 0; j < streams; ++j)
          sum = V::Add(sum, V::Mul(V::Set(task.comb[j * streams + k]), old[j]));
        sum = V::Add(V::Mul(V::Set(task.post[k]), y), sum);
        Store(task.x + k * dims + d, Rounded<kRound>(sum), lanes);
      }
    });
  }
  static void SpreadStreams(const SpreadTask& task) {
    if (task.streams == 4) return task.round ? Spread<true, 4>(task) : Spread<false, 4>(task);
    return task.round ? Spread<true, 0>(task) : Spread<false, 0>(task);
  }

  static void ExpRow(float* x, int64_t n) {
    ForVectors(n, [&](int64_t k, auto lanes) { Store(x + k, V::Exp(Load(x + k, lanes)), lanes); });
  }

  // Four rows of four in registers.
  using Four [[gnu::vector_size(16)]] = float;
  struct Matrix4 {
    Four r[4];
  };
  static Matrix4 Transposed(const Matrix4& m) {
    const Four a = __builtin_shufflevector(m.r[0], m.r[1], 0, 4, 1, 5);
    const Four b = __builtin_shufflevector(m.r[2], m.r[3], 0, 4, 1, 5);
    const Four c = __builtin_shufflevector(m.r[0], m.r[1], 2, 6, 3, 7);
    const Four d = __builtin_shufflevector(m.r[2], m.r[3], 2, 6, 3, 7);
    return {{__builtin_shufflevector(a, b, 0, 1, 4, 5), __builtin_shufflevector(a, b, 2, 3, 6, 7),
             __builtin_shufflevector(c, d, 0, 1, 4, 5), __builtin_shufflevector(c, d, 2, 3, 6, 7)}};
  }
  // Columns divided by their sums plus eps.
  static void DivideColumns(Matrix4& m, Four eps) {
    const Four sum = (((Four{} + m.r[0]) + m.r[1]) + m.r[2]) + m.r[3];
    const Four divisor = sum + eps;
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) m.r[j] /= divisor;
  }
  static void Sinkhorn4(float* p, int64_t iterations, float eps) {
    Matrix4 m;
    __builtin_memcpy(&m, p, sizeof(m));
    const Four e = {eps, eps, eps, eps};
    DivideColumns(m, e);
    for (int64_t i = 1; i < iterations; ++i) {
      m = Transposed(m);
      DivideColumns(m, e);
      m = Transposed(m);
      DivideColumns(m, e);
    }
    __builtin_memcpy(p, &m, sizeof(m));
  }
  static void Sinkhorn(float* m, int64_t streams, int64_t iterations, float eps) {
    if (streams == 4) return Sinkhorn4(m, iterations, eps);
    kReferenceRowOps.sinkhorn(m, streams, iterations, eps);
  }

  template <bool kRound>
  static void SwiGluVectors(const SwiGluTask& task) {
    const F limit = V::Set(task.limit), lowest = V::Set(-task.limit), weight = V::Set(task.weight);
    const bool clamp = task.limit > 0;
    ForVectors(task.count, [&](int64_t k, auto lanes) {
      F gate = Rounded<kRound>(Load(task.gate + k, lanes));
      F up = Rounded<kRound>(Load(task.up + k, lanes));
      if (clamp) {
        // A NaN is the second operand, which passes.
        gate = V::Min(limit, gate);
        up = V::Min(limit, V::Max(lowest, up));
      }
      const F one = V::Set(1.0f);
      const F sigmoid = V::Div(one, V::Add(one, V::Exp(V::Sub(V::Zero(), gate))));
      const F product = V::Mul(V::Mul(V::Mul(gate, sigmoid), up), weight);
      Store(task.out + k, Rounded<kRound>(product), lanes);
    });
  }
  static void SwiGluRow(const SwiGluTask& task) {
    return task.round ? SwiGluVectors<true>(task) : SwiGluVectors<false>(task);
  }

  static void GateScores(float* x, int64_t n) {
    ForVectors(n, [&](int64_t k, auto lanes) {
      Store(x + k, V::Sqrt(V::Softplus(Load(x + k, lanes))), lanes);
    });
  }

  static void RoundRow(float* x, int64_t n) {
    ForVectors(
        n, [&](int64_t k, auto lanes) { Store(x + k, V::RoundToBF16(Load(x + k, lanes)), lanes); });
  }

  static void AddRow(const float* x, int64_t n, bool round, float* y) {
    ForVectors(n, [&](int64_t k, auto lanes) {
      const F sum = V::Add(Load(y + k, lanes), Load(x + k, lanes));
      Store(y + k, round ? V::RoundToBF16(sum) : sum, lanes);
    });
  }

  static void AddRounded(const float* x, int64_t n, bool round, float* y) {
    ForVectors(n, [&](int64_t k, auto lanes) {
      const F term = Load(x + k, lanes);
      Store(y + k, V::Add(Load(y + k, lanes), round ? V::RoundToBF16(term) : term), lanes);
    });
  }

  // To the nearest value with `bits` explicit mantissa bits and a magnitude in [0, 448] or [0, 6],
  // ties to even: adding 1.5 * 2^(23 - bits) powers leaves a sum whose last bit is the last one
  // kept. Below the smallest normal value the spacing stays that of the smallest normal's. The sign
  // stays, of zero too.
  static F RoundE4M3(F x) {
    // 448 < a ? 448 : a, and a NaN passes both.
    const F a = V::Min(V::Set(448.0f), V::Abs(x));
    const F shift = V::Mul(V::PowerOf(V::Max(V::Set(0x1p-6f), a)), V::Set(0x1.8p20f));
    return V::CopySign(V::Sub(V::Add(a, shift), shift), x);
  }
  static F RoundE2M1(F x) {
    // a < 6 ? a : 6, so that a NaN becomes the largest value.
    const F a = V::Min(V::Abs(x), V::Set(6.0f));
    const F shift = V::Mul(V::PowerOf(V::Max(V::Set(1.0f), a)), V::Set(0x1.8p22f));
    return V::CopySign(V::Sub(V::Add(a, shift), shift), x);
  }

  // The largest magnitude of n values; NaN counts as nothing.
  static float Largest(const float* x, int64_t n) {
    F largest = V::Zero();
    ForVectors(
        n, [&](int64_t k, auto lanes) { largest = V::Max(V::Abs(Load(x + k, lanes)), largest); });
    return V::Largest(largest);
  }

  static void SimulateE4M3(float* x, int64_t n, int64_t block) {
    for (int64_t begin = 0; begin < n; begin += block) {
      const int64_t width = n - begin < block ? n - begin : block;
      float* p = x + begin;
      const BlockScale s = ScaleOfE4M3(Largest(p, width));
      ForVectors(width, [&](int64_t k, auto lanes) {
        const F code = RoundE4M3(V::Mul(Load(p + k, lanes), V::Set(s.reciprocal)));
        Store(p + k, V::Mul(code, V::Set(s.scale)), lanes);
      });
    }
  }

  static void SimulateE2M1(float* x, int64_t n) {
    constexpr int64_t kValues = 32;
    for (int64_t begin = 0; begin < n; begin += kValues) {
      const int64_t width = n - begin < kValues ? n - begin : kValues;
      float* p = x + begin;
      const BlockScale s = ScaleOfE2M1(Largest(p, width));
      ForVectors(width, [&](int64_t k, auto lanes) {
        const F code = RoundE2M1(V::Mul(Load(p + k, lanes), V::Set(s.reciprocal)));
        Store(p + k, V::Mul(code, V::Set(s.scale)), lanes);
      });
    }
  }

  // a + b in the lower lane of each pair, a - b in the upper, partners kStride lanes apart.
  template <int kStride>
  static F Butterfly(F x) {
    return V::Add(V::template Swap<kStride>(x), V::template NegateUpper<kStride>(x));
  }

  static void Hadamard(float* x, int64_t n) {
    if (n < kWidth) return kReferenceRowOps.hadamard(x, n);
    for (int64_t k = 0; k < n; k += kWidth) {
      F v = Butterfly<1>(V::Load(x + k));
      v = Butterfly<2>(v);
      v = Butterfly<4>(v);
      V::Store(x + k, Butterfly<8>(v));
    }
    for (int64_t stride = kWidth; stride < n; stride *= 2) {
      for (int64_t base = 0; base < n; base += 2 * stride) {
        for (int64_t i = base; i < base + stride; i += kWidth) {
          const F a = V::Load(x + i), b = V::Load(x + i + stride);
          V::Store(x + i, V::Add(a, b));
          V::Store(x + i + stride, V::Sub(a, b));
        }
      }
    }
    const F scale = V::Set(static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(n))));
    for (int64_t k = 0; k < n; k += kWidth) V::Store(x + k, V::Mul(V::Load(x + k), scale));
  }

  // 128 values, of which `width` are given, as floats whose upper halves are the BF16 result.
  struct Block {
    F v[8];
  };
  static Block LoadBlock(const float* x, int64_t width, bool quantize) {
    Block block;
    if (width >= 128) {
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) block.v[i] = V::Load(x + i * kWidth);
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        const int64_t left = width - i * kWidth;
        block.v[i] = left <= 0 ? V::Zero() : V::Load(x + i * kWidth, left < 16 ? left : 16);
      }
    }
    if (!quantize) {
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) block.v[i] = V::RoundToBF16(block.v[i]);
      return block;
    }
    F largest = V::Zero();
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) largest = V::Max(V::Abs(block.v[i]), largest);
    const BlockScale s = ScaleOfE4M3(V::Largest(largest));
    const F scale = V::Set(s.scale), reciprocal = V::Set(s.reciprocal);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      block.v[i] = V::Mul(RoundE4M3(V::Mul(block.v[i], reciprocal)), scale);
    // The padding stays zero even where the scale is NaN.
    if (width < 128) {
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        const int64_t left = width - i * kWidth;
        block.v[i] = left <= 0 ? V::Zero() : V::KeepFirst(block.v[i], left < 16 ? left : 16);
      }
    }
    return block;
  }

  static void Pack(const PackTask& task) {
    if (task.format == tensor::Format::kFp4) return PackStretches(task);
    const typename V::BlockOrder order(PairOrderOf(task.format));
    for (int64_t begin = 0; begin < task.n; begin += kBlock)
      V::PackBlock(LoadBlock(task.x + begin, task.n - begin, task.quantize).v, order,
                   task.out + begin);
  }

  static void PackStretches(const PackTask& task) {
    for (int64_t begin = 0; begin < task.n; begin += kStretch) {
      typename V::Stretch stretch;
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        const int64_t first = begin + kBlock * r, left = task.n - first;
        stretch.Set(r, LoadBlock(task.x + first, left > 0 ? left : 0, task.quantize).v);
      }
      stretch.Store(task.out + begin);
    }
  }

  static constexpr RowOps Table() {
    return {8,
            V::SumOfSquares,
            ScaleRow,
            NormalizeHeads,
            RotateHeads,
            MixStreams,
            SpreadStreams,
            ExpRow,
            Sinkhorn,
            SwiGluRow,
            GateScores,
            RoundRow,
            AddRow,
            AddRounded,
            SimulateE4M3,
            SimulateE2M1,
            Hadamard,
            Pack,
            PackInt8};
  }
};

}  // namespace fathom::kernels::cpu
