// A hash of the names seeds a generator; nothing here is secret, only unlikely to repeat.
#include "api/ids.h"

#include <fmt/format.h>

#include "base/random.h"

namespace fathom::api {
namespace {

// FNV-1a, 64 bits.
uint64_t Hash(uint64_t hash, std::string_view text) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

std::string IdTail(const Identity& identity, std::string_view kind, int64_t index) {
  constexpr std::string_view kAlphabet =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr int kTailCharacters = 24;
  const uint64_t seed = Hash(Hash(0xcbf29ce484222325 ^ identity.salt, identity.id), kind);
  SplitMix64 random(SplitMix64(seed).Bits() ^ static_cast<uint64_t>(index));
  std::string tail;
  for (int i = 0; i < kTailCharacters; ++i) tail += kAlphabet[random.Bits() % kAlphabet.size()];
  return tail;
}

std::string NumberedCallId(const Identity& identity, int64_t index) {
  return fmt::format("call_{:02}_{}", index, IdTail(identity, "call", index));
}

}  // namespace fathom::api
