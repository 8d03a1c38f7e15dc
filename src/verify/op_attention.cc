// Rotation, compressor, row lists, index scores, the core attention and its output.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "kernels/indexer.h"
#include "kernels/rms_norm.h"
#include "kernels/rotate.h"
#include "kernels/sparse_attention.h"
#include "model/compress.h"
#include "model/parts.h"
#include "model/rows.h"
#include "verify/compare.h"
#include "verify/op_checks.h"

namespace fathom::verify {
namespace {

// HCA ratio of the published models; the row lists do not state it.
constexpr int64_t kHcaRatio = 128;

// The rotation table that params[op] describes; `original` 0 is plain RoPE.
Result<kernels::RopeTable> ReadRope(const std::string& op, const OpContext& context,
                                    const char* dims_name) {
  FATHOM_TRY(const double dims, context.Param(op, dims_name));
  FATHOM_TRY(const double theta, context.Param(op, "theta"));
  FATHOM_TRY(const double original, context.Param(op, "original"));
  FATHOM_TRY(const double factor, context.Param(op, "factor"));
  FATHOM_TRY(const double beta_fast, context.Param(op, "beta_fast"));
  FATHOM_TRY(const double beta_slow, context.Param(op, "beta_slow"));
  if (!(dims >= 2 && dims <= 512 && original >= 0 && original < 1e15))
    return Error{fmt::format("{}: expected {} in [2, 512] and original in [0, 1e15), found {}, {}",
                             op, dims_name, dims, original)};
  std::optional<kernels::Yarn> yarn;
  if (original > 0)
    yarn = kernels::Yarn{factor, static_cast<int64_t>(original), beta_fast, beta_slow};
  return kernels::RopeTable(static_cast<int64_t>(dims), theta, yarn);
}

// The largest |own - golden| as a share of what row i may differ.
void AddRopeTable(const char* what, const FloatTable& own, const FloatTable& golden,
                  const std::vector<int64_t>& positions, Checks& checks) {
  double worst = 0;
  for (size_t i = 0; i < positions.size(); ++i) {
    const int64_t row = static_cast<int64_t>(i);
    const double limit = 1e-6 + 1.2e-7 * static_cast<double>(positions[i]);
    const double d =
        MaxDifference(own.view().rows_from(row, 1), golden.view().rows_from(row, 1)) / limit;
    if (!(d <= worst)) worst = d;
  }
  checks.push_back({0, std::string(what) + " of 1e-6 + 1.2e-7 position", worst, 1});
}

struct CompressorTables {
  model::CompressorWeights weights;
  int64_t ratio = 0;
  bool is_index = false;
  FloatTable x;
};

Result<CompressorTables> ReadCompressor(const std::string& op, const OpContext& context) {
  CompressorTables t;
  FATHOM_TRY(const double ratio, context.Param(op, "ratio"));
  FATHOM_TRY(const double head_dim, context.Param(op, "head_dim"));
  FATHOM_TRY(const double rope_dim, context.Param(op, "rope_dim"));
  FATHOM_TRY(const double rotate, context.Param(op, "rotate_fp4"));
  if (!(ratio >= 1 && ratio <= 512 && head_dim >= 2 && rope_dim >= 2 && rope_dim <= head_dim))
    return Error{fmt::format("{}: ratio {}, head_dim {} and rope_dim {} do not fit", op, ratio,
                             head_dim, rope_dim)};
  t.ratio = static_cast<int64_t>(ratio);
  t.is_index = rotate != 0;
  const int64_t dim = static_cast<int64_t>(head_dim);
  const int64_t width = model::KindOfRatio(t.ratio) == model::LayerKind::kCsa ? 2 * dim : dim;
  FATHOM_TRY(t.x, context.Floats(op, "x", {kAny, kAny}));
  FATHOM_TRY(t.weights.wkv, context.Weight(op, "wkv"));
  FATHOM_TRY(t.weights.wgate, context.Weight(op, "wgate"));
  FATHOM_TRY(FloatTable ape, context.Floats(op, "ape", {t.ratio, width}));
  FATHOM_TRY(FloatTable norm, context.Floats(op, "norm", {dim}));
  for (const tensor::QuantView& w : {t.weights.wkv, t.weights.wgate})
    if (w.rows != width || w.cols != t.x.cols())
      return Error{fmt::format("{}: expected weights [{},{}], found [{},{}]", op, width, t.x.cols(),
                               w.rows, w.cols)};
  t.weights.ape = std::move(ape.values);
  t.weights.norm = std::move(norm.values);
  return t;
}

// Compresses all of x in passes of `chunk` rows. pooled and out: [blocks, d].
void RunCompressor(const CompressorTables& t, const model::Compressor& compressor, int64_t chunk,
                   FloatTable& pooled, FloatTable& out, const kernels::Context& ctx) {
  const int64_t width = t.weights.wkv.rows;
  model::CompressorState state = model::MakeCompressorState(t.ratio, std::ssize(t.weights.norm));
  FloatTable value = MakeTable(chunk, width), score = value;
  std::vector<model::BlockJob> jobs;
  const int64_t dim = out.cols();
  // Plain floats, rounded as `mode` says: the packed formats would hide a rounding left out.
  const kernels::RowLayout layout{kernels::RowFormat::kF32, dim, compressor.rotary_dims};
  std::vector<std::byte> encoded(static_cast<size_t>(out.rows() * layout.bytes()));
  for (int64_t at = 0; at < t.x.rows(); at += chunk) {
    const int64_t rows = std::min(chunk, t.x.rows() - at);
    const model::CompressorRun run{&state, {encoded.data(), layout}, pooled.values.data(), 0, rows,
                                   at};
    model::Compress(compressor, {&run, 1}, t.x.view().rows_from(at, rows),
                    {value.view().rows_from(0, rows), score.view().rows_from(0, rows), jobs}, ctx);
  }
  for (int64_t b = 0; b < out.rows(); ++b)
    kernels::DecodeRow(layout, encoded.data() + b * layout.bytes(), out.view().row_span(b));
}

}  // namespace

Result<Checks> CheckRope(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const kernels::RopeTable rope, ReadRope(op, context, "dim"));
  const int64_t pairs = rope.pairs();
  FATHOM_TRY(const IntTable pos, context.Ints(op, "pos", {kAny}));
  FATHOM_TRY(FloatTable cos, context.Floats(op, "cos", {pos.rows(), pairs}));
  FATHOM_TRY(FloatTable sin, context.Floats(op, "sin", {pos.rows(), pairs}));
  FATHOM_TRY(FloatTable forward, context.Floats(op, "in", {pos.rows(), kAny, kAny}));
  FATHOM_TRY(const FloatTable out, context.Floats(op, "out", forward.shape));
  FATHOM_TRY(const FloatTable out_inverse, context.Floats(op, "out_inverse", forward.shape));
  const int64_t head_dim = forward.shape[2];
  if (head_dim < 2 * pairs)
    return Error{
        fmt::format("{}.in: expected heads of at least {}, found {}", op, 2 * pairs, head_dim)};
  FloatTable own_cos = MakeTable(pos.rows(), pairs), own_sin = own_cos;
  for (int64_t t = 0; t < pos.rows(); ++t)
    rope.Angles(pos.values[static_cast<size_t>(t)], own_cos.view().row_span(t),
                own_sin.view().row_span(t));
  Checks checks;
  AddRopeTable("cos", own_cos, cos, pos.values, checks);
  AddRopeTable("sin", own_sin, sin, pos.values, checks);
  // The rotation itself by the recorded angles: far out the tables may differ by more than a step.
  FloatTable inverse = forward;
  kernels::Rotate(forward.view(), head_dim, cos.view(), sin.view(), kernels::Direction::kForward,
                  context.official);
  kernels::Rotate(inverse.view(), head_dim, cos.view(), sin.view(), kernels::Direction::kInverse,
                  context.official);
  AddBf16("out", forward.view(), out.view(), checks);
  AddBf16("out_inverse", inverse.view(), out_inverse.view(), checks);
  return checks;
}

Result<Checks> CheckCompress(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const CompressorTables t, ReadCompressor(op, context));
  FATHOM_TRY(const kernels::RopeTable rope, ReadRope(op, context, "rope_dim"));
  FATHOM_TRY(const double eps, context.Param(op, "eps"));
  const int64_t dim = std::ssize(t.weights.norm), blocks = t.x.rows() / t.ratio;
  FATHOM_TRY(const FloatTable pooled, context.Floats(op, "pooled", {blocks, dim}));
  FATHOM_TRY(const FloatTable out, context.Floats(op, "out", {blocks, dim}));
  FATHOM_TRY(const FloatTable stepwise, context.Floats(op, "out_stepwise", {blocks, dim}));
  const model::Compressor compressor{
      t.weights,
      t.ratio,
      t.is_index ? kernels::RowKind::kIndex : kernels::RowKind::kLatent,
      2 * rope.pairs(),
      static_cast<float>(eps),
      rope};
  FloatTable own_pooled = MakeTable(blocks, dim), own = own_pooled;
  FloatTable step_pooled = own_pooled, own_stepwise = own_pooled;
  RunCompressor(t, compressor, t.x.rows(), own_pooled, own, context.official);
  RunCompressor(t, compressor, 1, step_pooled, own_stepwise, context.official);
  Checks checks;
  AddBf16("pooled", own_pooled.view(), pooled.view(), checks);
  AddBf16("out", own.view(), out.view(), checks);
  AddBf16("out_stepwise", own_stepwise.view(), stepwise.view(), checks);
  return checks;
}

Result<Checks> CheckSparseAttention(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const double scale, context.Param(op, "scale"));
  FATHOM_TRY(const FloatTable q, context.Floats(op, "q", {kAny, kAny, kAny}));
  const int64_t heads = q.shape[1];
  FATHOM_TRY(const FloatTable kv, context.Floats(op, "kv", {kAny, q.shape[2]}));
  FATHOM_TRY(const FloatTable sink, context.Floats(op, "sink", {heads}));
  FATHOM_TRY(const IntTable idx, context.Ints(op, "idx", {q.rows(), kAny}));
  FATHOM_TRY(const FloatTable out, context.Floats(op, "out", q.shape));
  FATHOM_TRY(const FloatTable out_exact, context.Floats(op, "out_exact", q.shape));
  for (int64_t t = 0; t < idx.rows(); ++t) {
    const auto row = idx.view().row_span(t);
    if (*std::max_element(row.begin(), row.end()) < 0 ||
        *std::max_element(row.begin(), row.end()) >= kv.rows())
      return Error{
          fmt::format("{}.idx: row {} expected to hold indices below {}", op, t, kv.rows())};
  }
  const kernels::CacheRows cached = kernels::FloatRows(kv.values.data(), kv.cols());
  const auto gather = [&](int64_t t, const std::byte** list) {
    int64_t count = 0;
    for (const int64_t row : idx.view().row_span(t))
      if (row >= 0) list[count++] = cached.row(row);
    return count;
  };
  const kernels::GatheredRows rows{cached.layout, idx.cols(), gather};
  FloatTable own = MakeTable(q.rows(), q.cols()), own_exact = own;
  const float factor = static_cast<float>(scale);
  kernels::SparseAttention(q.view(), heads, sink.values, factor, rows, own.view(),
                           context.official);
  kernels::SparseAttention(q.view(), heads, sink.values, factor, rows, own_exact.view(),
                           context.pure);
  // Two steps, or 1e-2 where a step is finer than that.
  int64_t steps = 0;
  for (size_t i = 0; i < out.values.size(); ++i)
    if (!(std::fabs(own.values[i] - out.values[i]) <= 1e-2f))
      steps = std::max(steps, Bf16Steps(own.values[i], out.values[i]));
  Checks checks;
  checks.push_back({0, "out steps where off by over 1e-2", static_cast<double>(steps), 2});
  AddF32("out_exact", own_exact.view(), out_exact.view(), checks);
  return checks;
}

Result<Checks> CheckWindowLists(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const IntTable decode, context.Ints(op, "decode", {kAny, kAny}));
  FATHOM_TRY(const IntTable pos, context.Ints(op, "decode_pos", {decode.rows()}));
  const int64_t window = decode.cols();
  Checks checks;
  // Padded to the width of the table with -1.
  const auto list = [&](int64_t p, int64_t width, bool is_ring, std::vector<int64_t>& out) {
    const size_t end = out.size() + static_cast<size_t>(width);
    model::ListRows(
        0, p, window, {},
        [&](int64_t at) { out.push_back(is_ring ? model::RingRow(at, window) : at); },
        [&](int64_t) {});
    if (out.size() < end) out.resize(end, -1);
  };
  std::vector<int64_t> own;
  for (const int64_t p : pos.values) {
    if (p < 0) return Error{fmt::format("{}.decode_pos: expected positions, found {}", op, p)};
    list(p, window, true, own);
  }
  AddExact("decode", own, decode.values, checks);
  for (const auto& [name, raw] : context.tables.tensors()) {
    if (!name.starts_with(op + ".prefill_")) continue;
    FATHOM_TRY(const IntTable golden, context.tables.Ints(name, {kAny, kAny}));
    own.clear();
    for (int64_t p = 0; p < golden.rows(); ++p) list(p, golden.cols(), false, own);
    AddExact(name.substr(op.size() + 1), own, golden.values, checks);
  }
  return checks;
}

Result<Checks> CheckHcaLists(const std::string& op, const OpContext& context) {
  Checks checks;
  for (const auto& [name, raw] : context.tables.tensors()) {
    if (!name.starts_with(op + ".prefill_")) continue;
    FATHOM_TRY(const IntTable golden, context.tables.Ints(name, {kAny, kAny}));
    // Behind the window rows of all positions.
    const int64_t offset = golden.rows();
    std::vector<int64_t> own;
    for (int64_t p = 0; p < golden.rows(); ++p) {
      const size_t end = own.size() + static_cast<size_t>(golden.cols());
      model::ListRows(
          kHcaRatio, p, kHcaRatio, {}, [](int64_t) {},
          [&](int64_t block) { own.push_back(offset + block); });
      if (own.size() < end) own.resize(end, -1);
    }
    AddExact(name.substr(op.size() + 1), own, golden.values, checks);
  }
  return checks;
}

Result<Checks> CheckIndexScore(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const FloatTable q, context.Floats(op, "q", {kAny, kAny, kAny}));
  const int64_t heads = q.shape[1], dim = q.shape[2];
  FATHOM_TRY(const FloatTable keys, context.Floats(op, "k", {kAny, dim}));
  FATHOM_TRY(const FloatTable weights, context.Floats(op, "weights", {q.rows(), heads}));
  FATHOM_TRY(const FloatTable out, context.Floats(op, "out", {q.rows(), keys.rows()}));
  Checks checks;
  FloatTable own = MakeTable(q.rows(), keys.rows());
  const kernels::CacheRows cached = kernels::FloatRows(keys.values.data(), dim);
  const kernels::CacheRows cached_q = kernels::FloatRows(q.values.data(), dim);
  for (int64_t t = 0; t < q.rows(); ++t)
    kernels::ScoreBlocks({cached_q.row(t * heads), weights.view().row(t), cached, keys.rows()},
                         heads, own.view().row_span(t), context.official);
  AddBf16("out", own.view(), out.view(), checks);
  FATHOM_TRY(IntTable top, context.Ints(op, "top5", {q.rows(), kAny}));
  if (top.cols() > keys.rows())
    return Error{fmt::format("{}.top5: expected at most {} of a row, found {}", op, keys.rows(),
                             top.cols())};
  std::vector<int32_t> picks(top.values.size());
  std::vector<kernels::IndexQuery> queries;
  for (int64_t t = 0; t < q.rows(); ++t) {
    queries.push_back({cached_q.row(t * heads), weights.view().row(t), cached, keys.rows(),
                       picks.data() + t * top.cols()});
    std::sort(top.view().row(t), top.view().row(t) + top.cols());
  }
  kernels::SelectBlocks(queries, heads, top.cols(), context.official);
  // The order inside a selection is left open by the recording.
  for (int64_t t = 0; t < q.rows(); ++t)
    std::sort(picks.begin() + t * top.cols(), picks.begin() + (t + 1) * top.cols());
  AddExact("top5", {picks.begin(), picks.end()}, top.values, checks);
  return checks;
}

Result<Checks> CheckGroupedProjection(const std::string& op, const OpContext& context) {
  FATHOM_TRY(const double groups, context.Param(op, "groups"));
  FATHOM_TRY(const double rank, context.Param(op, "rank"));
  FATHOM_TRY(const FloatTable o, context.Floats(op, "o", {kAny, kAny}));
  FATHOM_TRY(const tensor::QuantView weight, context.Weight(op, "weight"));
  if (!(groups >= 1 && groups * rank == static_cast<double>(weight.rows) &&
        groups * static_cast<double>(weight.cols) == static_cast<double>(o.cols())))
    return Error{fmt::format("{}: {} groups of rank {} do not fit a weight [{},{}]", op, groups,
                             rank, weight.rows, weight.cols)};
  FATHOM_TRY(const FloatTable golden, context.Floats(op, "out", {o.rows(), weight.rows}));
  FloatTable own = MakeTable(o.rows(), weight.rows);
  model::GroupedProjection(o.view(), weight, static_cast<int64_t>(groups), own.view(),
                           context.official);
  Checks checks;
  AddBf16("out", own.view(), golden.view(), checks);
  return checks;
}

Result<Checks> CheckHeadNorm(const std::string& op, const OpContext& context) {
  FATHOM_TRY(FloatTable x, context.Floats(op, "x", {kAny, kAny, kAny}));
  FATHOM_TRY(const FloatTable golden, context.Floats(op, "out", x.shape));
  kernels::NormalizeHeads(x.view(), x.shape[2], kNormEps, context.official);
  Checks checks;
  AddBf16("out", x.view(), golden.view(), checks);
  return checks;
}

}  // namespace fathom::verify
