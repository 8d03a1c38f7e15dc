// The BF16 product of the AMX path, in the tile order of linear.h: a tile holds 16 rows of weights
// by 32 inputs, decoded from the checkpoint's bytes as the AVX-512 path decodes them, and meets
// tiles of 32 inputs by 16 input rows, which stand ready (InputTiles in paths.h). Few input rows:
// the sums of 16 rows of weights stay in registers over the whole row. Many: one stretch of 32 rows
// of weights is decoded at a time and all input rows pass over it; the sums wait in memory
// meanwhile, which changes no bit of them.
#include "kernels/cpu/amx.h"

#if defined(__x86_64__)

#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/vec512.h"
#include "kernels/pack.h"

namespace fathom::kernels::cpu {
namespace {

constexpr int64_t kRowTiles = 32;  // of a pass: 512 rows of weights
constexpr int64_t kInputTiles = kInputsPerChunkMax / kSide;
constexpr int64_t kSquareSums = 4 * kTileSums;
// How many panels ahead of their use weights are asked for: FP8 rows, each in a page of its own,
// take longer to come.
template <Format kFormat>
constexpr int64_t kPanelsAhead = kFormat == Format::kFp4 ? 1 : 2;

// y [n, rows] <- a tile of sums [16, 16].
void StoreOutputs(const float* sums, int64_t n, int64_t rows, float* y, int64_t y_stride) {
  __m512i v[16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) v[r] = _mm512_load_si512(sums + r * kSide);
  Transpose(v);
  if (n == kSide && rows == kSide) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) _mm512_storeu_ps(y + i * y_stride, _mm512_castsi512_ps(v[i]));
    return;
  }
  for (int64_t i = 0; i < n; ++i) Vec512::Store(y + i * y_stride, _mm512_castsi512_ps(v[i]), rows);
}

// Cache lines that a square asks for on its way, a few a step: bursts would hold up its own loads.
class Fetches {
 public:
  void Clear() { reads_ = writes_ = 0; }
  void Read(const void* p, int64_t bytes) {
    const std::byte* line = static_cast<const std::byte*>(p);
    for (int64_t i = 0; i < bytes && reads_ < kMax; i += 64) read_[reads_++] = line + i;
  }
  void Write(const void* p) {
    if (writes_ < kMax) write_[writes_++] = p;
  }
  // Those of one of `steps`; to the second-level cache what will be read, to the first-level one
  // what will be written.
  [[gnu::always_inline]] void Ask(int64_t step, int64_t steps) const {
    for (int64_t i = step * reads_ / steps; i < (step + 1) * reads_ / steps; ++i)
      __builtin_prefetch(read_[i], 0, 2);
    for (int64_t i = step * writes_ / steps; i < (step + 1) * writes_ / steps; ++i)
      __builtin_prefetch(write_[i], 1, 3);
  }

 private:
  static constexpr int64_t kMax = 1024;
  int64_t reads_ = 0;
  int64_t writes_ = 0;
  const void* read_[kMax];
  const void* write_[kMax];
};

// A square: two tiles of rows by two of inputs.
struct Square {
  const Tile* weights;     // of two tiles of rows: one stretch
  const uint32_t* inputs;  // of a tile of inputs, and of the next one behind it
  float* sums;             // [row tile, input tile] of the square
  bool from_zero;          // nothing stands there yet
  const float* next_sums;  // to be fetched for the next square
};

// The tiles of inputs are read with the hint that they need not stay in the first-level cache: the
// weights, which all squares of a panel read, then do.
void MultiplySquare(const Square& square, int64_t steps, const Fetches& fetches) {
  const uint16_t* a0 = square.weights[0][0];
  const uint16_t* a1 = square.weights[1][0];
  const uint32_t* b0 = square.inputs;
  const uint32_t* b1 = b0 + InputTiles::kWords;
  float* sums = square.sums;
  if (square.from_zero) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, kTileBytes);
    _tile_loadd(1, sums + kTileSums, kTileBytes);
    _tile_loadd(2, sums + 2 * kTileSums, kTileBytes);
    _tile_loadd(3, sums + 3 * kTileSums, kTileBytes);
  }
  const std::byte* next = reinterpret_cast<const std::byte*>(square.next_sums);
  constexpr int64_t kSumBytes = kSquareSums * 4 / kSteps;
  for (int64_t s = 0; s < steps; ++s) {
    Prefetch<3>(next + s * kSumBytes, kSumBytes);
    fetches.Ask(s, steps);
    _tile_loadd(4, a0 + s * kTileValues, kTileBytes);
    _tile_stream_loadd(6, b0 + s * kTileWords, kTileBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_stream_loadd(7, b1 + s * kTileWords, kTileBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a1 + s * kTileValues, kTileBytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, kTileBytes);
  _tile_stored(1, sums + kTileSums, kTileBytes);
  _tile_stored(2, sums + 2 * kTileSums, kTileBytes);
  _tile_stored(3, sums + 3 * kTileSums, kTileBytes);
}

// What a pass of many input rows works in: 0.8 MB for a whole one. Together with the inputs of two
// stretches that is inside of the second-level cache of the processors that have tiles. Lives on
// the stack; small products touch little of it.
struct PassMemory {
  alignas(64) Tile weights[2];
  alignas(64) float sums[kRowTiles / 2][kInputTiles / 2][kSquareSums];  // of squares
  Fetches fetches;
};

// The square's part of y, whose first row of weights and input stand at y.
void StoreSquare(const float* sums, int64_t inputs, int64_t rows, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < 2 && r * kSide < rows; ++r)
    for (int64_t i = 0; i < 2 && i * kSide < inputs; ++i)
      StoreOutputs(sums + (2 * r + i) * kTileSums, Smaller(kSide, inputs - i * kSide),
                   Smaller(kSide, rows - r * kSide), y + i * kSide * y_stride + r * kSide,
                   y_stride);
}

// As many rows and inputs as a pass holds.
template <Format kFormat>
class Pass {
 public:
  Pass(const DotTask& task, InputTiles x)
      : task_(task),
        x_(x),
        width_(PackedWidth(kFormat, task.w.cols)),
        pairs_((task.count + kPair - 1) / kPair),
        panels_((task.row_end - task.row_begin + kPair - 1) / kPair) {}

  void Run(PassMemory& memory) const {
    const int64_t stretches = (width_ + kStretch - 1) / kStretch;
    for (int64_t b = 0; b < stretches; ++b) {
      for (int64_t p = 0; p < panels_; ++p) {
        const int64_t o = task_.row_begin + p * kPair, rows = Smaller(kPair, task_.row_end - o);
        for (int64_t r = 0; r < rows; ++r)
          DecodeRow<kFormat>(task_.w, o + r, b, memory.weights[r / kSide][0] + r % kSide * kStep);
        Barrier();
        MultiplyPanel(b, p, b == stretches - 1, memory);
        Barrier();
      }
    }
  }

 private:
  static constexpr int64_t kPair = 2 * kSide;

  void MultiplyPanel(int64_t b, int64_t p, bool is_last, PassMemory& memory) const {
    const int64_t steps = StepsOf(width_, b), rows = RowsOf(p);
    const uint32_t* x = x_.data + b * x_.stride * InputTiles::kWords;
    const int64_t next_panel = p + 1 < panels_ ? p + 1 : 0;
    for (int64_t i = 0; i < pairs_; ++i) {
      float* sums = memory.sums[p][i];
      const float* next = i + 1 < pairs_ ? memory.sums[p][i + 1] : memory.sums[next_panel][0];
      memory.fetches.Clear();
      const int64_t later = p + kPanelsAhead<kFormat>;
      FetchWeights(later % panels_, b + later / panels_, i, memory.fetches);
      if (is_last) {
        FetchOutputs(i + 1 < pairs_ ? p : p + 1, i + 1 < pairs_ ? i + 1 : 0, memory.fetches);
      } else {
        // Each panel fetches its part of the next stretch of the inputs.
        const int64_t part = (kPair * kSteps + panels_ - 1) / panels_ * 64;
        const std::byte* ahead =
            reinterpret_cast<const std::byte*>(x + x_.stride * InputTiles::kWords);
        memory.fetches.Read(ahead + (p * pairs_ + i) * part, part);
      }
      MultiplySquare({memory.weights, x + i * 2 * InputTiles::kWords, sums, b == 0, next}, steps,
                     memory.fetches);
      if (!is_last) continue;
      Barrier();
      StoreSquare(sums, task_.count - i * kPair, rows, OutputsOf(p, i), task_.y_stride);
    }
  }

  int64_t RowsOf(int64_t p) const {
    return Smaller(kPair, task_.row_end - task_.row_begin - p * kPair);
  }
  float* OutputsOf(int64_t p, int64_t i) const {
    return task_.y + i * kPair * task_.y_stride + p * kPair;
  }

  // Square i's part of stretch b of a panel's weights.
  void FetchWeights(int64_t p, int64_t b, int64_t i, Fetches& fetches) const {
    if (b * kStretch >= width_) return;
    const int64_t first = task_.row_begin + p * kPair, rows = RowsOf(p);
    for (int64_t r = i * rows / pairs_; r < (i + 1) * rows / pairs_; ++r) {
      const RowReader<kFormat> row(task_.w, first + r);
      fetches.Read(row.codes(b), CodeBytes<kFormat>(kStretch));
      if constexpr (kFormat == Format::kFp4) fetches.Read(row.Whole(b).scale, 1);
    }
  }

  // What square i of panel p stores.
  void FetchOutputs(int64_t p, int64_t i, Fetches& fetches) const {
    if (p == panels_) return;
    const float* y = OutputsOf(p, i);
    for (int64_t n = 0; n < Smaller(kPair, task_.count - i * kPair); ++n)
      for (int64_t r = 0; r < RowsOf(p); r += kSide) fetches.Write(y + n * task_.y_stride + r);
  }

  const DotTask& task_;
  InputTiles x_;
  int64_t width_;
  int64_t pairs_;   // of tiles of inputs
  int64_t panels_;  // of two tiles of rows
};

// A part of 16 rows that waits to be multiplied while the next one is decoded.
struct Waiting {
  const PartTile* tile = nullptr;  // none yet
  const uint32_t* x = nullptr;
  int64_t steps = 0;
  bool is_first = false;  // of its rows
  bool is_last = false;
  float* y = nullptr;  // of its rows
  int64_t rows = 0;
};

// Up to 32 inputs: kTiles of one or two tiles of them.
template <Format kFormat, int kTiles>
class FewInputs {
 public:
  FewInputs(const DotTask& task, const InputTiles& x) : task_(task), x_(x) {}

  void Run() {
    const int64_t width = PackedWidth(kFormat, task_.w.cols);
    const int64_t parts = (width + kPart - 1) / kPart;
    int64_t turn = 0;
    Here here{task_, (width + kStretch - 1) / kStretch};
    for (here.o = task_.row_begin; here.o < task_.row_end; here.o += kSide) {
      here.rows = Smaller(kSide, task_.row_end - here.o);
      for (int64_t part = 0; part < parts; ++part, ++turn) {
        PartTile& tile = tiles_[turn % 2];
        here.b = part / kParts;
        Begin();
        const auto multiply = [&](int64_t step) { Multiply(step); };
        if (part % kParts == 0) {
          here.DecodePart<kFormat, 0>(tile, multiply);
        } else {
          here.DecodePart<kFormat, 1>(tile, multiply);
        }
        Finish();
        Barrier();
        const int64_t step = part % kParts * kPartSteps;
        before_ = {&tile,
                   x_.data + here.b * x_.stride * InputTiles::kWords + step * kTileWords,
                   Smaller(StepsOf(width, here.b) - step, kPartSteps),
                   part == 0,
                   part == parts - 1,
                   task_.y + (here.o - task_.row_begin),
                   here.rows};
      }
    }
    Begin();
    for (int64_t step = 0; step < kPartSteps; ++step) Multiply(step);
    Finish();
  }

 private:
  void Begin() {
    if (!before_.is_first) return;
    _tile_zero(0);
    if constexpr (kTiles == 2) _tile_zero(1);
  }

  [[gnu::always_inline]] void Multiply(int64_t step) {
    if (step >= before_.steps) return;
    const uint32_t* x = before_.x + step * kTileWords;
    _tile_loadd(4, (*before_.tile)[step], kTileBytes);
    _tile_loadd(6, x, kTileBytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kTiles == 2) {
      _tile_loadd(7, x + InputTiles::kWords, kTileBytes);
      _tile_dpbf16ps(1, 4, 7);
    }
  }

  void Finish() {
    if (!before_.is_last) return;
    alignas(64) float sums[kTiles][kTileSums];
    _tile_stored(0, sums[0], kTileBytes);
    if constexpr (kTiles == 2) _tile_stored(1, sums[1], kTileBytes);
    Barrier();
    for (int64_t i = 0; i < kTiles; ++i)
      StoreOutputs(sums[i], Smaller(kSide, task_.count - i * kSide), before_.rows,
                   before_.y + i * kSide * task_.y_stride, task_.y_stride);
  }

  const DotTask& task_;
  const InputTiles& x_;
  Waiting before_;
  alignas(64) PartTile tiles_[2];
};

template <Format kFormat>
void Dot(const DotTask& task, const InputTiles& x) {
  if (task.count <= kSide) return FewInputs<kFormat, 1>(task, x).Run();
  if (task.count <= 2 * kSide) return FewInputs<kFormat, 2>(task, x).Run();
  PassMemory memory;
  DotTask part = task;
  for (int64_t i = 0; i < task.count; i += kInputTiles * kSide) {
    part.count = Smaller(kInputTiles * kSide, task.count - i);
    for (int64_t o = task.row_begin; o < task.row_end; o += kRowTiles * kSide) {
      part.row_begin = o;
      part.row_end = Smaller(o + kRowTiles * kSide, task.row_end);
      part.y = task.y + i * task.y_stride + (o - task.row_begin);
      Pass<kFormat>(part, {x.data + i / kSide * InputTiles::kWords, x.stride}).Run(memory);
    }
  }
}

}  // namespace

void DotTilesAmx(const DotTask& task, const InputTiles& x) {
  SetShapes(kSide);
  ForFormat(task.w.format, [&](auto format) { Dot<format>(task, x); });
  _tile_release();
}

void ToTilesAmx(const uint16_t* const* x, int64_t count, int64_t begin, int64_t steps,
                uint32_t* tile) {
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t k = begin + s * kStep;
    uint32_t* out = tile + s * kTileWords;
    __m512i v[16];
    if (count == kSide) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) v[i] = _mm512_loadu_si512(x[i] + k);
    } else {
      for (int64_t i = 0; i < kSide; ++i)
        v[i] = i < count ? _mm512_loadu_si512(x[i] + k) : _mm512_setzero_si512();
    }
    Transpose(v);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) _mm512_store_si512(out + i * kSide, v[i]);
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
