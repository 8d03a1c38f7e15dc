// Block quantisers and the Hadamard rotation. One scale (E8M0, a power of two) covers a block of
// consecutive values of a row. Ref: model.md 6.3, 6.4, 8.9.
#pragma once

#include <cstdint>
#include <span>

namespace fathom::numerics {

// Values per scale in front of a matrix product, and in cached KV rows.
inline constexpr int64_t kActivationBlock = 128;
inline constexpr int64_t kKvBlock = 64;
// Values per scale of index queries and keys.
inline constexpr int64_t kIndexBlock = 32;
// Values per scale of bytes in front of FP4 products (fast mode): those of the weights.
inline constexpr int64_t kInt8Block = 32;

// Blocks that cover so many values, the last one possibly short.
constexpr int64_t BlockCount(int64_t values, int64_t block) { return (values + block - 1) / block; }

// The scale of one block: the smallest power of two with amax / scale <= 448 (E4M3) or 6 (E2M1),
// the amax floored at 1e-4 or 6 * 2^-126.
uint8_t E4M3Scale(std::span<const float> block);
uint8_t E2M1Scale(std::span<const float> block);

// codes[i] = E4M3(x[i] / scale of its block). The last block may be short. Sizes: codes = x,
// scales = ceil(x / block).
void QuantizeE4M3(std::span<const float> x, int64_t block, std::span<uint8_t> codes,
                  std::span<uint8_t> scales);
// One code a byte (unpacked), blocks of 32.
void QuantizeE2M1(std::span<const float> x, std::span<uint8_t> codes, std::span<uint8_t> scales);

// The same, in place: x[i] becomes the value its code stands for, which BF16 holds exactly.
void SimulateE4M3(std::span<float> x, int64_t block);
void SimulateE2M1(std::span<float> x);

// A block as bytes (MXINT8): codes[i] = x[i] / scale to the nearest integer, ties to even, within
// [-127, 127]. Returns the scale: 2^(e - 6) for a largest magnitude in [2^e, 2^(e + 1)), e floored
// at -100. A block with an infinity or NaN has codes 0 and the scale NaN. Same sizes.
// Ref: OCP Microscaling Formats (MX) 1.0, sec. 5.2, 6.3.
float QuantizeInt8(std::span<const float> block, std::span<int8_t> codes);

// x <- H x / sqrt(n), n = x.size() a power of two, natural (Sylvester) order, float32 butterflies
// from the shortest stride up, then one multiplication. Not rounded to BF16 here.
void Hadamard(std::span<float> x);

}  // namespace fathom::numerics
