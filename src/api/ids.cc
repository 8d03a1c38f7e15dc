// A hash of the names seeds a generator; nothing here is secret, only unlikely to repeat.
#include "api/ids.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "base/random.h"

namespace fathom::api {

std::string IdTail(const Identity& identity, std::string_view kind, int64_t index) {
  constexpr std::string_view kAlphabet =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr int kTailCharacters = 24;
  const uint64_t seed = HashText(kind, HashText(identity.id, kHashStart ^ identity.salt));
  SplitMix64 random(SplitMix64(seed).Bits() ^ static_cast<uint64_t>(index));
  std::string tail;
  for (int i = 0; i < kTailCharacters; ++i) tail += kAlphabet[random.Bits() % kAlphabet.size()];
  return tail;
}

std::string NumberedCallId(const Identity& identity, int64_t index) {
  return fmt::format("call_{:02}_{}", index, IdTail(identity, "call", index));
}

}  // namespace fathom::api
