#include "kernels/context.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/cpu/amx.h"
#include "numerics/flush.h"

namespace fathom::kernels {

std::string_view Name(Path path) {
  switch (path) {
    case Path::kReference:
      return "reference";
    case Path::kAvx2:
      return "avx2";
    case Path::kAvx512:
      return "avx512";
    case Path::kNeon:
      return "neon";
    case Path::kTileReference:
      return "tile-reference";
    case Path::kAmx:
      return "amx";
  }
  return "";
}

std::optional<Path> ParsePath(std::string_view name) {
  for (const Path path : kAllPaths)
    if (Name(path) == name) return path;
  return std::nullopt;
}

bool IsAvailable(Path path) {
  switch (path) {
    case Path::kReference:
    case Path::kTileReference:
      return true;
#if defined(__x86_64__)
    case Path::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Path::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
             __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("gfni");
    case Path::kAmx:
      return IsAvailable(Path::kAvx512) && cpu::HasAmx();
#elif defined(__aarch64__)
    case Path::kNeon:
      return true;
#endif
    default:
      return false;
  }
}

std::optional<std::string_view> PathFromEnvironment() {
  const char* name = std::getenv("FATHOM_ISA");
  if (name == nullptr || *name == 0) return std::nullopt;
  return name;
}

Path BestPath() {
  if (const auto name = PathFromEnvironment()) {
    const std::optional<Path> path = ParsePath(*name);
    if (path.has_value() && IsAvailable(*path)) return *path;
  }
  for (const Path path : {Path::kAmx, Path::kAvx512, Path::kAvx2, Path::kNeon})
    if (IsAvailable(path)) return path;
  return Path::kReference;
}

std::byte* Workspace::GetBytes(Slot slot, int64_t bytes) {
  tensor::RawBuffer& buffer = buffers_[slot];
  // Twice as much as before: what grows with the context, a little with every pass, is then mapped
  // anew a few times only, and untouched pages cost nothing.
  if (buffer.bytes() < bytes) {
    buffer = tensor::RawBuffer(std::max(bytes, 2 * buffer.bytes()));
    buffer.UseLargePages();
  }
  return buffer.data();
}

void ParallelFor(const Context& ctx, int64_t count, Grain grain,
                 FunctionRef<void(int64_t, int64_t, int)> body) {
  ctx.pool.ParallelFor(count, grain, [&](int64_t begin, int64_t end, int thread) {
    const numerics::FlushSubnormals flush;
    body(begin, end, thread);
  });
}

void ForRows(const Context& ctx, int64_t count, int64_t row_cost, FunctionRef<void(int64_t)> body) {
  // About 10 us of scalar work per chunk, several times the cost of handing it out.
  constexpr int64_t kChunkElements = 16384;
  const int64_t grain = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, row_cost));
  ParallelFor(ctx, count, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace fathom::kernels
