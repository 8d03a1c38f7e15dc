// Random values by table: 16 random bits select one of 65,536 equally likely values of the normal
// distribution, encoded ahead of time, so that a byte costs a look-up and not a logarithm. Scales
// of neighbouring blocks differ by powers of two at random, so that a kernel that reads the wrong
// one does not go unnoticed.
#include "model/synth_content.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "numerics/formats.h"
#include "numerics/philox.h"

namespace fathom::model {
namespace {

using checkpoint::TensorDecl;
using tensor::DType;

constexpr int64_t kEntries = 1 << 16;
constexpr int64_t kUnitsPerDraw = 8;  // 128 random bits

// A block's scale is its tensor's times 1/2, 1, 1 or 2, which widens the standard deviation by
// sqrt((1/4 + 1 + 1 + 4) / 4).
constexpr double kScaleWidening = 1.25;

// Standard deviations, in units of the scale, at which the quantiser's own scales would come out:
// the largest of 32 (128 x 128) normal values, some 2.07 (3.9) of them, then lies in the upper half
// of the format's range.
constexpr double kFp4SigmaMax = 2.9;
constexpr double kFp8SigmaMax = 115;

std::array<uint32_t, 2> Halves(uint64_t value) {
  return {static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32)};
}

// z[i] with P(Z < z[i]) = (i + 1/2) / 65536, by Newton's method outward from the median.
std::vector<double> NormalQuantiles() {
  std::vector<double> z(kEntries);
  double x = 0;
  for (int64_t i = kEntries / 2; i < kEntries; ++i) {
    const double above = 1 - (static_cast<double>(i) + 0.5) / kEntries;
    for (int step = 0; step < 6; ++step) {
      const double tail = 0.5 * std::erfc(x * std::sqrt(0.5));
      x += (tail - above) / (std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI));
    }
    z[static_cast<size_t>(i)] = x;
    z[static_cast<size_t>(kEntries - 1 - i)] = -x;
  }
  return z;
}

// Of eight random bits, for FP4: the middle of each 256 quantiles.
double CoarseQuantile(const std::vector<double>& quantiles, size_t i) {
  return 0.5 * (quantiles[256 * i + 127] + quantiles[256 * i + 128]);
}

// Standard deviation of the values that the codes of sigma * z stand for.
double CodedSigma(const std::vector<double>& quantiles, DType dtype, double sigma) {
  using namespace numerics;
  double sum = 0;
  for (size_t i = 0; i < 256; ++i) {
    const float value = static_cast<float>(sigma * CoarseQuantile(quantiles, i));
    const float coded =
        dtype == DType::kI8 ? E2M1ToFloat(FloatToE2M1(value)) : E4M3ToFloat(FloatToE4M3(value));
    sum += double{coded} * coded;
  }
  return std::sqrt(sum / 256);
}

// Splits the wanted standard deviation of the weights into a scale 2^exponent and the standard
// deviation of the values in front of the encoder.
std::pair<int, double> SplitSigma(const std::vector<double>& quantiles, DType dtype, double sigma) {
  const double most = dtype == DType::kI8 ? kFp4SigmaMax : kFp8SigmaMax;
  const double target = sigma / kScaleWidening;
  int exponent = 0;
  while (std::ldexp(target, -exponent) > most) ++exponent;
  while (std::ldexp(target, -exponent) <= most / 2) --exponent;
  const double coded_target = std::ldexp(target, -exponent);
  double before = coded_target;
  for (int step = 0; step < 8; ++step)
    before *= coded_target / CodedSigma(quantiles, dtype, before);
  return {exponent, before};
}

template <typename Code>
void FillFromTable(const CodeTable& table, const Content& content, int64_t first_unit,
                   std::span<std::byte> out) {
  int64_t draw = first_unit / kUnitsPerDraw;
  const std::byte* const codes = table.codes.data();
  for (size_t at = 0; at < out.size(); ++draw) {
    const std::array<uint32_t, 2> place = Halves(static_cast<uint64_t>(draw));
    const std::array<uint32_t, 4> random = numerics::Philox4x32(
        {place[0], place[1], content.stream[0], content.stream[1]}, content.key);
    std::byte units[kUnitsPerDraw * sizeof(Code)];
    for (size_t i = 0; i < kUnitsPerDraw; ++i) {
      const size_t entry = (random[i / 2] >> (i % 2 * 16)) & 0xffffu;
      std::memcpy(units + i * sizeof(Code), codes + entry * sizeof(Code), sizeof(Code));
    }
    const size_t count = std::min(sizeof units, out.size() - at);
    std::memcpy(out.data() + at, units, count);
    at += count;
  }
}

// Distinct expert ids for each token, uniform over subsets (Floyd's algorithm).
void FillExpertTable(const Content& content, int64_t first_row, std::span<std::byte> out) {
  std::vector<int64_t> picks;
  const int64_t row_bytes = content.experts_per_row * 8;
  for (int64_t row = first_row; !out.empty(); ++row, out = out.subspan(row_bytes)) {
    picks.clear();
    std::array<uint32_t, 4> random{};
    for (int64_t i = 0; i < content.experts_per_row; ++i) {
      if (i % 4 == 0) {
        random = numerics::Philox4x32({static_cast<uint32_t>(row), static_cast<uint32_t>(i / 4),
                                       content.stream[0], content.stream[1]},
                                      content.key);
      }
      const int64_t last = content.experts - content.experts_per_row + i;
      const auto scaled = static_cast<uint64_t>(random[static_cast<size_t>(i % 4)]) *
                          static_cast<uint64_t>(last + 1);
      const auto pick = static_cast<int64_t>(scaled >> 32);
      const bool is_taken = std::find(picks.begin(), picks.end(), pick) != picks.end();
      picks.push_back(is_taken ? last : pick);
    }
    std::memcpy(out.data(), picks.data(), static_cast<size_t>(row_bytes));
  }
}

}  // namespace

int64_t Content::alignment() const {
  if (table != nullptr) return kUnitsPerDraw * table->unit_bytes;
  return list.empty() ? experts_per_row * 8 : 1;
}

void Content::Fill(int64_t begin, std::span<std::byte> out) const {
  FATHOM_CHECK_EQ(begin % alignment(), int64_t{0});
  if (table == nullptr && list.empty()) {
    FillExpertTable(*this, begin / alignment(), out);
  } else if (table == nullptr) {
    std::memcpy(out.data(), reinterpret_cast<const std::byte*>(list.data()) + begin, out.size());
  } else if (table->unit_bytes == 1) {
    FillFromTable<uint8_t>(*table, *this, begin, out);
  } else if (table->unit_bytes == 2) {
    FillFromTable<uint16_t>(*table, *this, begin / 2, out);
  } else {
    FillFromTable<uint32_t>(*table, *this, begin / 4, out);
  }
}

ContentMaker::ContentMaker(const Config& config, uint64_t seed)
    : config_(config), key_(Halves(seed)), quantiles_(NormalQuantiles()) {}

// Linears keep the variance of their input. Those that write into the streams are smaller, so that
// the sum over all sublayers is of the order of the embedding; the head is larger, so that the
// distribution of the next token has a shape.
ContentMaker::Spread ContentMaker::SpreadOf(std::string_view name, int64_t fan_in) const {
  if (name.ends_with("norm.weight")) return {1, 0.1};
  if (name.ends_with("attn_sink")) return {0, 0.25};
  if (name.ends_with("gate.bias")) return {0, 0.1};
  if (name.ends_with(".ape")) return {0, 0.3};
  if (name == "embed.weight") return {0, 1};
  const double unit = 1 / std::sqrt(static_cast<double>(fan_in));
  if (name == "head.weight") return {0, 2 * unit};
  if (name.ends_with("e_proj.weight") || name.ends_with("h_proj.weight"))
    return {0, unit * std::sqrt(0.5)};
  if (name.ends_with(".wo_b.weight") || name.ends_with(".w2.weight"))
    return {0, unit / std::sqrt(2.0 * static_cast<double>(config_.num_hidden_layers))};
  return {0, unit};
}

// Bases and scales of the hyper-connections: a sublayer reads about the mean of the streams, adds
// its output about once to each, and mixes them little. The scale of 1/2 on the part that depends
// on the input keeps that so, and keeps the streams apart. Ref: model.md 8.3.
std::vector<float> ContentMaker::HyperConnectionList(const TensorDecl& decl) const {
  const auto count = static_cast<size_t>(decl.shape[0]);
  if (decl.name.ends_with("_scale")) return std::vector<float>(count, 0.5f);
  const auto streams = static_cast<size_t>(config_.hc_mult);
  // sigmoid(-ln(S - 1)) = 1 / S; a single stream is read nearly whole.
  const float read = streams > 1 ? -std::log(static_cast<float>(streams - 1)) : 4.0f;
  std::vector<float> base(count, 0.0f);
  std::fill_n(base.begin(), std::min(count, streams), read);
  // Diagonal of the S x S mixing logits, against 0 beside it.
  for (size_t j = 0; j < streams && 2 * streams + j * streams + j < count; ++j)
    base[2 * streams + j * streams + j] = 3.0f;
  return base;
}

const CodeTable& ContentMaker::Values(DType dtype, Spread spread) {
  using namespace numerics;
  CodeTable& table = tables_[{static_cast<int>(dtype), spread.mean, spread.sigma}];
  if (!table.codes.empty()) return table;
  table.unit_bytes = tensor::ElementBytes(dtype);
  table.codes.resize(static_cast<size_t>(kEntries * table.unit_bytes));
  for (size_t i = 0; i < kEntries; ++i) {
    const float value = static_cast<float>(spread.mean + spread.sigma * quantiles_[i]);
    std::byte* const place = table.codes.data() + i * static_cast<size_t>(table.unit_bytes);
    if (dtype == DType::kF32) {
      std::memcpy(place, &value, sizeof value);
    } else if (dtype == DType::kBF16) {
      const uint16_t bits = ToBF16(value).bits;
      std::memcpy(place, &bits, sizeof bits);
    } else if (dtype == DType::kF8E4M3) {
      *place = std::byte{FloatToE4M3(value)};
    } else {
      FATHOM_CHECK(dtype == DType::kI8);
      const auto code = [&](size_t bits) {
        return FloatToE2M1(static_cast<float>(spread.sigma * CoarseQuantile(quantiles_, bits)));
      };
      *place = std::byte{static_cast<uint8_t>(code(i & 255) | (code(i >> 8) << 4))};
    }
  }
  return table;
}

const CodeTable& ContentMaker::Scales(int exponent) {
  CodeTable& table =
      tables_[{static_cast<int>(DType::kF8E8M0), static_cast<double>(exponent), 0.0}];
  if (!table.codes.empty()) return table;
  FATHOM_CHECK(exponent > -126 && exponent < 126);
  constexpr int kSteps[4] = {-1, 0, 0, 1};
  table.unit_bytes = 1;
  table.codes.resize(kEntries);
  for (size_t i = 0; i < kEntries; ++i)
    table.codes[i] = std::byte{static_cast<uint8_t>(127 + exponent + kSteps[i % 4])};
  return table;
}

Content ContentMaker::Make(const TensorDecl& decl) {
  Content content;
  content.key = key_;
  content.stream = Halves(HashText(decl.name));
  const bool is_hyper = decl.name.find("hc_") != std::string::npos;
  if (decl.dtype == DType::kI64) {
    content.experts = config_.n_routed_experts;
    content.experts_per_row = decl.shape[1];
  } else if (decl.dtype == DType::kF8E8M0) {
    content.table = &Scales(scale_exponent_);
  } else if (is_hyper && decl.shape.size() == 1) {
    content.list = HyperConnectionList(decl);
    // Values that differ a little, so that a mistaken index shows.
    for (size_t i = 0; i < content.list.size(); ++i) {
      const std::array<uint32_t, 4> random = numerics::Philox4x32(
          {static_cast<uint32_t>(i), 0, content.stream[0], content.stream[1]}, content.key);
      content.list[i] += 0.1f * static_cast<float>(quantiles_[random[0] & 0xffffu]);
    }
  } else {
    const int64_t packing = decl.dtype == DType::kI8 ? 2 : 1;
    Spread spread = SpreadOf(decl.name, decl.shape.back() * packing);
    if (decl.dtype == DType::kI8 || decl.dtype == DType::kF8E4M3)
      std::tie(scale_exponent_, spread.sigma) = SplitSigma(quantiles_, decl.dtype, spread.sigma);
    content.table = &Values(decl.dtype, spread);
  }
  return content;
}

}  // namespace fathom::model
