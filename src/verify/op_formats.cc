// Number formats, block quantisers and the Hadamard rotation: all of these are exact but the last.
#include <fmt/format.h>

#include <bit>

#include "kernels/compressor.h"
#include "numerics/blocks.h"
#include "numerics/formats.h"
#include "verify/op_checks.h"

namespace fathom::verify {
namespace {

// `function` of every entry of `in` against the codes of `out`.
template <typename F>
Result<Checks> CheckCodes(const std::string& op, const OpContext& context, const char* out,
                          F function) {
  FATHOM_TRY(const FloatTable in, context.Floats(op, "in", {kAny}));
  FATHOM_TRY(const IntTable golden, context.Ints(op, out, {in.rows()}));
  std::vector<int64_t> own;
  for (const float value : in.values) own.push_back(function(value));
  Checks checks;
  AddExact(out, own, golden.values, checks);
  return checks;
}

std::vector<int64_t> Widened(const std::vector<uint8_t>& codes) {
  return {codes.begin(), codes.end()};
}

Result<void> RequireBlocks(const std::string& op, int64_t cols, int64_t block) {
  if (cols == 0 || cols % block != 0)
    return Error{fmt::format("{}: expected rows of whole blocks of {}, found {}", op, block, cols)};
  return {};
}

}  // namespace

Result<Checks> CheckDecodeTables(const std::string& op, const OpContext& context) {
  const auto add = [&](const char* table, int64_t codes, auto decode,
                       Checks& checks) -> Result<void> {
    FATHOM_TRY(const FloatTable golden, context.Floats(op, table, {codes}));
    FloatTable own = MakeTable(codes, 1);
    for (int64_t code = 0; code < codes; ++code)
      own.values[static_cast<size_t>(code)] = decode(static_cast<uint8_t>(code));
    AddExact(table, own.view(), golden.view(), checks);
    return {};
  };
  Checks checks;
  FATHOM_TRY_VOID(add("e4m3", 256, numerics::E4M3ToFloat, checks));
  FATHOM_TRY_VOID(add("e2m1", 16, numerics::E2M1ToFloat, checks));
  FATHOM_TRY_VOID(add("e8m0", 256, numerics::E8M0ToFloat, checks));
  return checks;
}

Result<Checks> CheckEncodeE4M3(const std::string& op, const OpContext& context) {
  return CheckCodes(op, context, "out", numerics::FloatToE4M3);
}

Result<Checks> CheckEncodeE2M1(const std::string& op, const OpContext& context) {
  return CheckCodes(op, context, "out", numerics::FloatToE2M1);
}

Result<Checks> CheckPow2Ceil(const std::string& op, const OpContext& context) {
  return CheckCodes(op, context, "out_e8m0", numerics::CeilPow2);
}

Result<Checks> CheckActQuant(const std::string& op, const OpContext& context) {
  constexpr int64_t kBlock = numerics::kActivationBlock;
  FATHOM_TRY(FloatTable x, context.Floats(op, "in", {kAny, kAny}));
  FATHOM_TRY_VOID(RequireBlocks(op, x.cols(), kBlock));
  FATHOM_TRY(const IntTable codes, context.Ints(op, "codes", x.shape));
  FATHOM_TRY(const IntTable scale, context.Ints(op, "scale", {x.rows(), x.cols() / kBlock}));
  FATHOM_TRY(const FloatTable deq, context.Floats(op, "deq", x.shape));
  // Rows are whole blocks, so all of them can be taken as one long row.
  std::vector<uint8_t> own_codes(x.values.size()), own_scale(scale.values.size());
  numerics::QuantizeE4M3(x.values, kBlock, own_codes, own_scale);
  numerics::SimulateE4M3(x.values, kBlock);
  Checks checks;
  AddExact("codes", Widened(own_codes), codes.values, checks);
  AddExact("scale", Widened(own_scale), scale.values, checks);
  AddExact("deq", x.view(), deq.view(), checks);
  return checks;
}

Result<Checks> CheckActQuantInPlace(const std::string& op, const OpContext& context) {
  FATHOM_TRY(FloatTable x, context.Floats(op, "in", {kAny, kAny}));
  FATHOM_TRY_VOID(RequireBlocks(op, x.cols(), numerics::kKvBlock));
  FATHOM_TRY(const FloatTable golden, context.Floats(op, "out", x.shape));
  for (int64_t t = 0; t < x.rows(); ++t)
    kernels::RoundForCache(x.view().row_span(t), 0, kernels::RowKind::kLatent,
                           numerics::Mode::kOfficial);
  Checks checks;
  AddExact("out", x.view(), golden.view(), checks);
  return checks;
}

Result<Checks> CheckFp4ActQuant(const std::string& op, const OpContext& context) {
  constexpr int64_t kBlock = numerics::kIndexBlock;
  FATHOM_TRY(FloatTable x, context.Floats(op, "in", {kAny, kAny}));
  FATHOM_TRY_VOID(RequireBlocks(op, x.cols(), kBlock));
  FATHOM_TRY(const IntTable codes, context.Ints(op, "codes", x.shape));
  FATHOM_TRY(const IntTable scale, context.Ints(op, "scale", {x.rows(), x.cols() / kBlock}));
  FATHOM_TRY(const FloatTable out, context.Floats(op, "out", x.shape));
  std::vector<uint8_t> own_codes(x.values.size()), own_scale(scale.values.size());
  numerics::QuantizeE2M1(x.values, own_codes, own_scale);
  numerics::SimulateE2M1(x.values);
  Checks checks;
  AddExact("codes", Widened(own_codes), codes.values, checks);
  AddExact("scale", Widened(own_scale), scale.values, checks);
  AddExact("out", x.view(), out.view(), checks);
  return checks;
}

Result<Checks> CheckHadamard(const std::string& op, const OpContext& context) {
  FATHOM_TRY(FloatTable x, context.Floats(op, "in", {kAny, kAny}));
  FATHOM_TRY(const FloatTable golden, context.Floats(op, "out", x.shape));
  if (!std::has_single_bit(static_cast<uint64_t>(x.cols())))
    return Error{fmt::format("{}.in: expected a power of two as width, found {}", op, x.cols())};
  for (int64_t t = 0; t < x.rows(); ++t) {
    numerics::Hadamard(x.view().row_span(t));
    for (float& value : x.view().row_span(t)) value = numerics::RoundToBF16(value);
  }
  Checks checks;
  AddBf16("out", x.view(), golden.view(), checks);
  return checks;
}

}  // namespace fathom::verify
