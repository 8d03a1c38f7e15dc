// What every kernel is given besides its operands: threads, the instruction-set path, the rounding
// mode and scratch memory. A kernel's result depends on none of them but the mode and, in products
// with BF16 inputs and attention, on whether the path has tiles (IsTiled): all other paths and all
// thread counts give the same bits.
//
// How that is kept: each output element has one summation order (stated at each door), written once
// in kernels/reference/ and repeated by every path; where BF16 pairs are multiplied (BF16 products,
// attention, index scores) each step is one fused multiply-add, which is what vdpbf16ps computes,
// and everywhere else products and sums are rounded one by one; subnormals are flushed to zero
// inside kernels, because vdpbf16ps does so. The one freedom left is the payload of a NaN.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "numerics/mode.h"
#include "tensor/buffer.h"

namespace fathom::kernels {

enum class Path {
  kReference,      // plain scalar C++, the definition of every result
  kAvx2,           // AVX2 and FMA
  kAvx512,         // AVX-512 F/BW/VL/DQ/VBMI, VNNI, BF16 and GFNI
  kNeon,           // NEON, which every 64-bit Arm processor has
  kTileReference,  // plain scalar C++, the definition of every result of the next one
  kAmx,            // AMX tiles for BF16 products and attention, AVX-512 for the rest
};
inline constexpr Path kAllPaths[] = {Path::kReference, Path::kAvx2,          Path::kAvx512,
                                     Path::kNeon,      Path::kTileReference, Path::kAmx};

// Tiles add terms in orders of their own (linear.h, sparse_attention.h), so there are two families
// of paths; within each all give the same bits.
inline bool IsTiled(Path path) { return path == Path::kTileReference || path == Path::kAmx; }
// The one that defines its results.
inline Path ReferenceOf(Path path) {
  return IsTiled(path) ? Path::kTileReference : Path::kReference;
}

// "reference", "avx2", "avx512", "neon", "tile-reference", "amx".
std::string_view Name(Path path);
std::optional<Path> ParsePath(std::string_view name);
bool IsAvailable(Path path);
// What the environment variable FATHOM_ISA says, unless it is empty or not set.
std::optional<std::string_view> PathFromEnvironment();
// The one that FATHOM_ISA names, if this machine can run it; else the fastest one it can run.
Path BestPath();

// Scratch memory by purpose; grows when a larger request than ever before comes and never shrinks,
// so a steady state allocates nothing. One kernel call at a time uses it.
class Workspace {
 public:
  enum Slot : int {
    kPackedInput,   // activations in the lane order of the weight format
    kPackedRows,    // pointers to them
    kPackedTiles,   // the same in tiles
    kPackedHidden,  // all three for the down projections of experts
    kHiddenRows,
    kHiddenTiles,
    kHidden,       // SwiGLU outputs
    kPartial,      // per-thread partial outputs
    kRouting,      // slots by expert
    kRowPointers,  // gathered attention rows, per thread
    kScores,       // attention and index scores, per thread
    kPooled,       // compressed rows before they are stored, per thread
    kOrder,        // candidates of a selection, per thread
    kMixes,        // hyper-connection products
    kSquares,      // sums of squares of the streams
    kSlotCount,
  };

  template <typename T>
  T* Get(Slot slot, int64_t count) {
    return reinterpret_cast<T*>(GetBytes(slot, count * static_cast<int64_t>(sizeof(T))));
  }

 private:
  std::byte* GetBytes(Slot slot, int64_t bytes);
  tensor::RawBuffer buffers_[kSlotCount];
};

class Trace;  // kernels/trace.h

struct Context {
  ThreadPool& pool;
  Workspace& workspace;
  Path path;
  numerics::Mode mode;
  Trace* trace = nullptr;  // told what every call costs
};

// pool.ParallelFor with subnormals flushed in the body.
void ParallelFor(const Context& ctx, int64_t count, Grain grain,
                 FunctionRef<void(int64_t, int64_t, int)> body);

// Work on `count` independent rows of `row_cost` elements each: chunks large enough to be worth
// handing to another thread.
void ForRows(const Context& ctx, int64_t count, int64_t row_cost, FunctionRef<void(int64_t)> body);

}  // namespace fathom::kernels
