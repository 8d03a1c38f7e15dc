// Random numbers that decide nothing about a text. SplitMix64 is for values that must be
// repeatable and need no more: ids, filled states, test data. Draws that decide a text come from
// numerics/philox.h. (Steele, Lea, Flood: Fast splittable pseudorandom number generators.)
#pragma once

#include <cstdint>

namespace fathom {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  uint64_t Bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In [-1, 1), of 24 bits.
  float Signed() { return static_cast<float>(Bits() >> 40) * 0x1p-23f - 1.0f; }

 private:
  uint64_t state_;
};

// Bits that nobody can foresee, from the system.
uint64_t RandomFromSystem();

}  // namespace fathom
