// What stands in each tensor of a synthetic checkpoint. Private to synth.cc and its test.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <tuple>
#include <vector>

#include "checkpoint/safetensors.h"
#include "model/config.h"
#include "tensor/view.h"

namespace fathom::model {

// Random 16 bits to what they stand for: a value of the format, two packed FP4 values, or a scale.
struct CodeTable {
  int64_t unit_bytes = 0;  // 1, 2 or 4
  std::vector<std::byte> codes;
};

// How to produce any range of one tensor's bytes.
struct Content {
  const CodeTable* table = nullptr;  // else, if set:
  std::vector<float> list;           // the values outright; else a tid2eid table
  int64_t experts = 0;
  int64_t experts_per_row = 0;
  std::array<uint32_t, 2> key;     // of the seed
  std::array<uint32_t, 2> stream;  // of the tensor's name

  // Ranges must start at multiples of this.
  int64_t alignment() const;
  // Bytes [begin, begin + out.size()) of the tensor. Safe on several threads.
  void Fill(int64_t begin, std::span<std::byte> out) const;
};

class ContentMaker {
 public:
  ContentMaker(const Config& config, uint64_t seed);

  // In file order: a scale belongs to the weight before it. The result points into this object.
  Content Make(const checkpoint::TensorDecl& decl);

 private:
  struct Spread {
    double mean;
    double sigma;
  };
  Spread SpreadOf(std::string_view name, int64_t fan_in) const;
  std::vector<float> HyperConnectionList(const checkpoint::TensorDecl& decl) const;
  const CodeTable& Values(tensor::DType dtype, Spread spread);
  const CodeTable& Scales(int exponent);

  const Config& config_;
  std::array<uint32_t, 2> key_;
  std::vector<double> quantiles_;  // 65536 of the standard normal distribution
  std::map<std::tuple<int, double, double>, CodeTable> tables_;
  int scale_exponent_ = 0;  // of the latest FP8 or FP4 weight
};

}  // namespace fathom::model
