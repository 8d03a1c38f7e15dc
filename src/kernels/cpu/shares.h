// How a product finds the kernel that is compiled for its format of weights, how its inputs are
// dealt out to kernels that are compiled for each number of them up to a few, and what is fetched
// meanwhile. Everything here is private to the file that includes it,
// whose instruction set it is compiled for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/paths.h"

namespace fathom::kernels::cpu {
namespace {

// body(format), with a std::integral_constant, for the formats that have a BF16 product: F32
// weights have the float32 product only.
template <typename Body>
void ForFormat(tensor::Format format, const Body& body) {
  using tensor::Format;
  switch (format) {
    case Format::kBF16:
      return body(std::integral_constant<Format, Format::kBF16>());
    case Format::kFp8:
      return body(std::integral_constant<Format, Format::kFp8>());
    case Format::kFp4:
      return body(std::integral_constant<Format, Format::kFp4>());
    case Format::kF32:
      return;
  }
}

// body(first, n) for equal shares of `count` inputs, or nearly so, of kMax at most: 9 inputs are 5
// and 4 where kMax is 6. `n` is a std::integral_constant.
template <int kMax, typename Body>
void ForShares(int64_t count, const Body& body) {
  const auto call = [&]<int kCount>(auto& self, int64_t first, int64_t n,
                                    std::integral_constant<int, kCount> most) {
    if constexpr (kCount > 1) {
      if (n < kCount) return self(self, first, n, std::integral_constant<int, kCount - 1>());
    }
    body(first, most);
  };
  int64_t shares = (count + kMax - 1) / kMax;
  for (int64_t first = 0; shares > 0; --shares) {
    const int64_t n = (count - first + shares - 1) / shares;
    call(call, first, n, std::integral_constant<int, kMax>());
    first += n;
  }
}

// What is fetched while the inputs of a tile pass over a panel: the next inputs, and a share of the
// weights that the next panel decodes, `lines` for each tile of rows.
struct Ahead {
  const uint16_t* const* x;
  int64_t inputs;
  const std::byte* codes;
  int64_t lines;
};

// body(first, n, ahead) for the shares of the task's inputs x. `bytes` from `codes` on are the
// weights of the next panel, `passes` the tiles of rows that each share passes over.
template <int kMax, typename Body>
void PassOverPanel(const DotTask& task, const uint16_t* const* x, const std::byte* codes,
                   int64_t bytes, int64_t passes, const Body& body) {
  const int64_t shares = (task.count + kMax - 1) / kMax, steps = shares * passes;
  Ahead ahead{x, 0, codes, (bytes / 64 + steps - 1) / steps};
  ForShares<kMax>(task.count, [&](int64_t first, auto n) {
    const int64_t after = first + n;
    const bool is_last = after == task.count;
    ahead.x = is_last ? x : x + after;
    ahead.inputs = is_last ? n : task.count - after < kMax ? task.count - after : kMax;
    body(first, n, ahead);
    ahead.codes += passes * ahead.lines * 64;
  });
}

}  // namespace
}  // namespace fathom::kernels::cpu
