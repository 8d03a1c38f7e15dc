// Hyper-connections, norms, gates, experts' activation and the quantised products.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "kernels/experts.h"
#include "kernels/hyper_connection.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "model/parts.h"
#include "verify/op_checks.h"

namespace fathom::verify {
namespace {

using kernels::Activation;
using kernels::Output;

// The iteration count and epsilon stand with the tables of `sinkhorn` and hold for `hc` too.
struct SinkhornParams {
  int64_t iters = 0;
  float eps = 0;
  int64_t streams = 0;
};

Result<SinkhornParams> ReadSinkhornParams(const OpContext& context) {
  FATHOM_TRY(const double iters, context.Param("sinkhorn", "iters"));
  FATHOM_TRY(const double eps, context.Param("sinkhorn", "eps"));
  FATHOM_TRY(const double streams, context.Param("sinkhorn", "hc"));
  if (!(iters >= 1 && iters <= 1000 && streams >= 1 && streams <= 8))
    return Error{fmt::format("sinkhorn: expected 1 to 1000 iters and 1 to 8 streams, found {}, {}",
                             iters, streams)};
  return SinkhornParams{static_cast<int64_t>(iters), static_cast<float>(eps),
                        static_cast<int64_t>(streams)};
}

tensor::QuantView FloatView(const FloatTable& table) {
  return {.format = tensor::Format::kF32,
          .data = reinterpret_cast<const std::byte*>(table.values.data()),
          .rows = table.rows(),
          .cols = table.cols()};
}

// Experts and weights of each token in the order of the expert ids, as one table of ids and one of
// weights: the order of a selection means nothing.
struct Selection {
  std::vector<int64_t> experts;
  FloatTable weights;
};

Result<Selection> ReadSelection(const std::string& op, const OpContext& context, int64_t rows,
                                int64_t active) {
  FATHOM_TRY(const IntTable idx, context.Ints(op, "idx", {rows, active}));
  FATHOM_TRY(const FloatTable weights, context.Floats(op, "weights", {rows, active}));
  Selection result{{}, MakeTable(rows, active)};
  std::vector<int64_t> order(static_cast<size_t>(active));
  for (int64_t t = 0; t < rows; ++t) {
    std::iota(order.begin(), order.end(), int64_t{0});
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return idx.view().row(t)[a] < idx.view().row(t)[b]; });
    for (int64_t a = 0; a < active; ++a) {
      result.experts.push_back(idx.view().row(t)[order[static_cast<size_t>(a)]]);
      result.weights.view().row(t)[a] = weights.view().row(t)[order[static_cast<size_t>(a)]];
    }
  }
  return result;
}

// Inputs and router weight are those of `gate` for both gates.
Result<Checks> CheckRouting(const std::string& op, const OpContext& context,
                            model::GateWeights gate, const std::vector<TokenId>& tokens,
                            int64_t active) {
  FATHOM_TRY(const FloatTable x, context.Floats("gate", "x", {kAny, kAny}));
  FATHOM_TRY(gate.weight, context.Weight("gate", "weight"));
  FATHOM_TRY(const double route_scale, context.Param("gate", "route_scale"));
  if (gate.weight.cols != x.cols() || active < 1 || active > gate.weight.rows ||
      (gate.tid2eid != nullptr && std::ssize(tokens) != x.rows()))
    return Error{op + ": tables do not fit each other"};
  FATHOM_TRY(const Selection golden, ReadSelection(op, context, x.rows(), active));
  FloatTable scores = MakeTable(x.rows(), gate.weight.rows);
  kernels::Linear(x.view(), gate.weight, Activation::kBF16, Output::kF32, scores.view(),
                  context.official);
  kernels::GateScores(scores.view(), context.official);
  std::vector<int64_t> own;
  FloatTable weights = MakeTable(x.rows(), active);
  std::vector<int32_t> experts(static_cast<size_t>(active));
  for (int64_t t = 0; t < x.rows(); ++t) {
    model::Route(gate, tokens.empty() ? 0 : tokens[static_cast<size_t>(t)],
                 scores.view().row_span(t), static_cast<float>(route_scale), experts,
                 weights.view().row_span(t));
    own.insert(own.end(), experts.begin(), experts.end());
  }
  Checks checks;
  AddExact("idx", own, golden.experts, checks);
  AddF32("weights", weights.view(), golden.weights.view(), checks);
  return checks;
}

}  // namespace

Result<Checks> CheckSinkhorn(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const SinkhornParams params, ReadSinkhornParams(context));
  const int64_t s = params.streams, mix = (2 + s) * s;
  FATHOM_TRY(const FloatTable mixes, context.Floats(op, "mixes", {kAny, mix}));
  FATHOM_TRY(const FloatTable scale, context.Floats(op, "scale", {3}));
  FATHOM_TRY(const FloatTable base, context.Floats(op, "base", {mix}));
  FATHOM_TRY(const FloatTable pre, context.Floats(op, "pre", {mixes.rows(), s}));
  FATHOM_TRY(const FloatTable post, context.Floats(op, "post", {mixes.rows(), s}));
  FATHOM_TRY(const FloatTable comb, context.Floats(op, "comb", {mixes.rows(), s, s}));
  const tensor::QuantView no_fn;
  const kernels::HyperConnection hc{no_fn,        base.values, scale.values, s,
                                    params.iters, params.eps,  kNormEps};
  FloatTable own_pre = MakeTable(mixes.rows(), s), own_post = own_pre;
  FloatTable own_comb = MakeTable(mixes.rows(), s * s);
  for (int64_t t = 0; t < mixes.rows(); ++t)
    kernels::SplitMixes(mixes.view().row_span(t), hc, own_pre.view().row_span(t),
                        own_post.view().row_span(t), own_comb.view().row_span(t));
  Checks checks;
  AddF32("pre", own_pre.view(), pre.view(), checks);
  AddF32("post", own_post.view(), post.view(), checks);
  AddF32("comb", own_comb.view(), comb.view(), checks);
  return checks;
}

Result<Checks> CheckHyperConnection(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const SinkhornParams params, ReadSinkhornParams(context));
  const int64_t s = params.streams, mix = (2 + s) * s;
  FATHOM_TRY(FloatTable x, context.Floats(op, "x", {kAny, s, kAny}));
  const int64_t rows = x.rows(), dims = x.shape[2];
  FATHOM_TRY(const FloatTable fn, context.Floats(op, "fn", {mix, s * dims}));
  FATHOM_TRY(const FloatTable scale, context.Floats(op, "scale", {3}));
  FATHOM_TRY(const FloatTable base, context.Floats(op, "base", {mix}));
  FATHOM_TRY(const FloatTable pre_out, context.Floats(op, "pre_out", {rows, dims}));
  FATHOM_TRY(const FloatTable post, context.Floats(op, "post", {rows, s}));
  FATHOM_TRY(const FloatTable comb, context.Floats(op, "comb", {rows, s, s}));
  FATHOM_TRY(const FloatTable sub_out, context.Floats(op, "sub_out", {rows, dims}));
  FATHOM_TRY(const FloatTable post_out, context.Floats(op, "post_out", {rows, s, dims}));
  const tensor::QuantView fn_view = FloatView(fn);
  const kernels::HyperConnection hc{fn_view,      base.values, scale.values, s,
                                    params.iters, params.eps,  kNormEps};
  FloatTable own_pre = MakeTable(rows, dims), own_post = MakeTable(rows, s);
  FloatTable own_comb = MakeTable(rows, s * s);
  kernels::HyperConnectionPre(x.view(), hc, own_pre.view(), own_post.view(), own_comb.view(),
                              context.official);
  kernels::HyperConnectionPost(sub_out.view(), own_post.view(), own_comb.view(), x.view(),
                               context.official);
  Checks checks;
  AddBf16("pre_out", own_pre.view(), pre_out.view(), checks);
  AddF32("post", own_post.view(), post.view(), checks);
  AddF32("comb", own_comb.view(), comb.view(), checks);
  AddBf16("post_out", x.view(), post_out.view(), checks);
  return checks;
}

Result<Checks> CheckHyperConnectionHead(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const SinkhornParams params, ReadSinkhornParams(context));
  const int64_t s = params.streams;
  FATHOM_TRY(const FloatTable x, context.Floats("hc", "x", {kAny, s, kAny}));
  const int64_t dims = x.shape[2];
  FATHOM_TRY(const FloatTable fn, context.Floats(op, "fn", {s, s * dims}));
  FATHOM_TRY(const FloatTable scale, context.Floats(op, "scale", {1}));
  FATHOM_TRY(const FloatTable base, context.Floats(op, "base", {s}));
  FATHOM_TRY(const FloatTable golden, context.Floats(op, "out", {x.rows(), dims}));
  const tensor::QuantView fn_view = FloatView(fn);
  const kernels::HyperConnection hc{fn_view,      base.values, scale.values, s,
                                    params.iters, params.eps,  kNormEps};
  FloatTable own = MakeTable(x.rows(), dims);
  kernels::HyperConnectionPre(x.view(), hc, own.view(), {}, {}, context.official);
  Checks checks;
  AddBf16("out", own.view(), golden.view(), checks);
  return checks;
}

Result<Checks> CheckGate(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const double active, context.Param(op, "topk"));
  FATHOM_TRY(const FloatTable bias, context.Floats(op, "bias", {kAny}));
  FATHOM_TRY(const tensor::QuantView weight, context.Weight(op, "weight"));
  if (weight.rows != bias.rows())
    return Error{
        fmt::format("{}.bias: expected {} entries, found {}", op, weight.rows, bias.rows())};
  return CheckRouting(op, context, {.weight = {}, .bias = bias.values}, {},
                      static_cast<int64_t>(active));
}

Result<Checks> CheckHashGate(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const IntTable table, context.Ints(op, "tid2eid", {kAny, kAny}));
  FATHOM_TRY(const tensor::RawView raw,
             context.tables.Raw(op + ".tid2eid", tensor::DType::kI64, table.shape));
  FATHOM_TRY(const std::vector<TokenId> ids, ReadTokens(context.tables, op + ".ids", table.rows()));
  FATHOM_TRY(const tensor::QuantView weight, context.Weight("gate", "weight"));
  for (const int64_t expert : table.values)
    if (expert < 0 || expert >= weight.rows)
      return Error{fmt::format("{}.tid2eid: expected experts in [0, {}), found {}", op, weight.rows,
                               expert)};
  return CheckRouting(op, context, {.weight = {}, .bias = {}, .tid2eid = raw.bytes.data()}, ids,
                      table.cols());
}

Result<Checks> CheckSwiGlu(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const double limit, context.Param(op, "limit"));
  FATHOM_TRY(const FloatTable gate, context.Floats(op, "gate", {kAny, kAny}));
  FATHOM_TRY(const FloatTable up, context.Floats(op, "up", gate.shape));
  FATHOM_TRY(const FloatTable weight, context.Floats(op, "route_weight", {gate.rows(), 1}));
  FATHOM_TRY(const FloatTable out, context.Floats(op, "out", gate.shape));
  FATHOM_TRY(const FloatTable out_weighted, context.Floats(op, "out_weighted", gate.shape));
  FloatTable own = MakeTable(gate.rows(), gate.cols()), own_weighted = own;
  for (int64_t t = 0; t < gate.rows(); ++t) {
    for (int64_t i = 0; i < gate.cols(); ++i) {
      const float g = gate.view().row(t)[i], u = up.view().row(t)[i];
      const float l = static_cast<float>(limit);
      own.view().row(t)[i] = kernels::SwiGlu(g, u, l, 1.0f, numerics::Mode::kOfficial);
      own_weighted.view().row(t)[i] =
          kernels::SwiGlu(g, u, l, weight.view().row(t)[0], numerics::Mode::kOfficial);
    }
  }
  Checks checks;
  AddBf16("out", own.view(), out.view(), checks);
  AddBf16("out_weighted", own_weighted.view(), out_weighted.view(), checks);
  return checks;
}

Result<Checks> CheckQuantizedProduct(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const FloatTable x, context.Floats(op, "x", {kAny, kAny}));
  FATHOM_TRY(const tensor::QuantView w, context.Weight(op, "w"));
  if (w.cols != x.cols())
    return Error{fmt::format("{}.w: expected {} columns, found {}", op, x.cols(), w.cols)};
  FATHOM_TRY(const FloatTable out, context.Floats(op, "out", {x.rows(), w.rows}));
  FATHOM_TRY(const FloatTable out_exact, context.Floats(op, "out_exact", {x.rows(), w.rows}));
  FloatTable own = MakeTable(x.rows(), w.rows), own_exact = own;
  kernels::Linear(x.view(), w, Activation::kQuantized, Output::kBF16, own.view(), context.official);
  kernels::Linear(x.view(), w, Activation::kQuantized, Output::kF32, own_exact.view(),
                  context.official);
  Checks checks;
  AddBf16("out", own.view(), out.view(), checks);
  AddF32("out_exact", own_exact.view(), out_exact.view(), checks);
  if (context.tables.Has(op + ".w_dequant")) {
    FATHOM_TRY(FloatTable golden, context.Floats(op, "w_dequant", {w.rows, w.cols}));
    // A sum cannot tell -0 from 0.
    for (float& value : golden.values) value += 0.0f;
    // Unit vectors through the same product deliver the weights one by one.
    FloatTable units = MakeTable(w.cols, w.cols), columns = MakeTable(w.cols, w.rows);
    for (int64_t k = 0; k < w.cols; ++k) units.view().row(k)[k] = 1;
    kernels::Linear(units.view(), w, Activation::kQuantized, Output::kF32, columns.view(),
                    context.pure);
    FloatTable own_weights = MakeTable(w.rows, w.cols);
    for (int64_t o = 0; o < w.rows; ++o)
      for (int64_t k = 0; k < w.cols; ++k) own_weights.view().row(o)[k] = columns.view().row(k)[o];
    AddExact("w_dequant", own_weights.view(), golden.view(), checks);
  }
  return checks;
}

Result<Checks> CheckRmsNorm(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const FloatTable x, context.Floats(op, "x", {kAny, kAny}));
  FATHOM_TRY(const FloatTable weight, context.Floats(op, "weight", {x.cols()}));
  FATHOM_TRY(const FloatTable golden, context.Floats(op, "out", x.shape));
  FloatTable own = MakeTable(x.rows(), x.cols());
  kernels::RmsNorm(x.view(), weight.values, kNormEps, own.view(), context.official);
  Checks checks;
  AddBf16("out", own.view(), golden.view(), checks);
  return checks;
}

}  // namespace fathom::verify
