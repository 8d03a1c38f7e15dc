// The table of the AMX path, and whether a machine has it.
#include "kernels/cpu/amx.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/cpu/avx512.h"

namespace fathom::kernels {

const PathOps kAmxOps = {cpu::DotOneAmx,
                         cpu::DotF32Avx512,
                         cpu::DotInt8Avx512,
                         cpu::AttendAmx,
                         cpu::IndexPackAvx512,
                         cpu::IndexScoresAvx512,
                         cpu::CollectAboveAvx512,
                         32,
                         cpu::ToTilesAmx,
                         cpu::DotTilesAmx};

namespace cpu {
namespace {

bool AskForTiles() {
  // CPUID 7.0 EDX: bit 22 is AMX-BF16, bit 24 AMX-TILE.
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d >> 22 & 1) == 0 || (d >> 24 & 1) == 0) return false;
#if defined(__linux__)
  // ARCH_REQ_XCOMP_PERM for the tile data (state 18), for all threads of the process. Older
  // kernels, and those that do not save tiles, refuse.
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

bool HasAmx() {
  static const bool has_amx = AskForTiles();
  return has_amx;
}

}  // namespace cpu
}  // namespace fathom::kernels

#endif
