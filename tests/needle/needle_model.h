// A model of two layers, CSA and HCA, whose weights are written by hand so that its indexer must
// find a needle: a needle token's embedding is one channel of its own, the index compressor lets
// that channel decide both what a block's key is and which of its tokens make it, and the matching
// question's index query is the same channel. All other tokens are noise in other channels.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/types.h"
#include "model/config.h"
#include "model/weights.h"

namespace fathom::needle {

inline constexpr int64_t kNeedles = 10;
inline constexpr int64_t kHayTokens = 480;

class NeedleModel {
 public:
  explicit NeedleModel(int64_t context);

  const model::Config& config() const { return config_; }
  const model::Weights& weights() const { return weights_; }

  TokenId needle(int64_t i) const { return static_cast<TokenId>(kHayTokens + i); }
  TokenId question(int64_t i) const { return static_cast<TokenId>(kHayTokens + kNeedles + i); }

 private:
  // A BF16 matrix, all zero; value(o, i) through Set.
  struct Matrix {
    std::vector<uint16_t> bits;
    int64_t rows;
    int64_t cols;
    void Set(int64_t o, int64_t i, float value);
    void SetNoise(int64_t row_begin, int64_t row_end, int64_t col_end, float size);
  };
  Matrix& NewMatrix(int64_t rows, int64_t cols);
  static tensor::QuantView View(const Matrix& matrix);
  model::HyperConnectionWeights PlainStreams(int64_t outputs);
  model::CompressorWeights Compressor(int64_t ratio, int64_t dim);
  model::IndexerWeights Indexer();
  model::LayerWeights Layer(int64_t ratio);

  model::Config config_;
  model::Weights weights_;
  std::deque<Matrix> matrices_;
  std::deque<std::vector<float>> floats_;
};

}  // namespace fathom::needle
