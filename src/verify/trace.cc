// Level 2: the recorded input of a layer is fed to that layer alone and its output compared, so
// that errors do not accumulate. A long trace keeps inputs at some positions only; there the parts
// of a layer are fed whose inputs are kept.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <numeric>

#include "kernels/indexer.h"
#include "kernels/sparse_attention.h"
#include "verify/case_runner.h"
#include "verify/compare.h"

namespace fathom::verify {
namespace {

using tensor::Format;

// Limits of the relative error. Ref: README of the recorded data, "Three levels of comparison".
struct Limits {
  double out = 0;
  double sublayer = 0;  // attn.out, ffn.out, and attn.o
};
constexpr Limits kBf16Limits = {0.02, 0.04};
constexpr Limits kQuantizedLimits = {0.06, 0.12};
constexpr double kTopkOverlap = 0.97;

Limits LimitsOf(const model::Weights& weights) {
  const model::LayerWeights& first = weights.layers[0];
  const Format experts = first.ffn.experts[0].w1.format;
  const bool is_quantized =
      first.attn.wq_a.format == Format::kFp8 || experts == Format::kFp8 || experts == Format::kFp4;
  return is_quantized ? kQuantizedLimits : kBf16Limits;
}

// Keeps what the executor shows of one layer, pass after pass.
class Capture : public model::Tap {
 public:
  void OnTensor(int64_t, std::string_view name, MatrixView<const float> rows) override {
    FloatTable& table = tensors_[std::string(name)];
    if (table.shape.empty()) table.shape = {0, rows.cols};
    table.shape[0] += rows.rows;
    for (int64_t t = 0; t < rows.rows; ++t)
      table.values.insert(table.values.end(), rows.row(t), rows.row(t) + rows.cols);
  }
  void OnPicks(int64_t, int64_t, std::span<const int32_t> picks) override {
    picks_.emplace_back(picks.begin(), picks.end());
  }

  const FloatTable& tensor(const std::string& name) const { return tensors_.at(name); }
  const std::vector<std::vector<int32_t>>& picks() const { return picks_; }

 private:
  std::map<std::string, FloatTable> tensors_;
  std::vector<std::vector<int32_t>> picks_;  // by position
};

FloatTable RowsAt(const FloatTable& table, std::span<const int64_t> rows) {
  FloatTable result = MakeTable(std::ssize(rows), table.cols());
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy_n(table.view().row(rows[i]), table.cols(),
                result.view().row(static_cast<int64_t>(i)));
  return result;
}

// One module of the trace: a layer or the MTP block.
struct Module {
  std::string prefix;           // "layers.3." or "mtp.0."
  int64_t layer = 0;            // as the executor counts
  std::vector<TokenId> tokens;  // one per position; the MTP block's are the following ones
  std::vector<int64_t> rows;    // positions kept in per-position tensors
};

class TraceChecker {
 public:
  TraceChecker(Recorded& recorded, Runner& runner, std::vector<TokenId> ids)
      : recorded_(recorded),
        runner_(runner),
        config_(runner.config()),
        executor_(runner.MakeExecutor(numerics::Mode::kOfficial, std::ssize(ids))),
        context_(runner.context(numerics::Mode::kOfficial)),
        limits_(LimitsOf(runner.weights())) {
    ids_ = std::move(ids);
  }

  Result<std::vector<Check>> Run();

 private:
  bool Has(const Module& m, const char* name) const { return recorded_.Has(m.prefix + name); }
  Result<FloatTable> Floats(const Module& m, const char* name, std::vector<int64_t> shape) {
    return recorded_.Floats(m.prefix + name, std::move(shape));
  }
  // Inputs at every position, or an empty table.
  Result<FloatTable> WholeInput(const Module& m);
  FloatTable Embeddings(const Module& m) const;
  Result<void> CheckModule(const Module& m);
  Result<void> CheckWholeLayer(const Module& m, FloatTable streams);
  Result<void> CheckFfn(const Module& m);
  Result<void> CheckFfnSublayer(const Module& m);
  Result<void> CheckAttention(const Module& m);
  Result<void> CheckSelection(const Module& m);
  // A recorded tensor [rows or positions, cols ...] against own rows at all positions.
  Result<void> ComparePositions(const Module& m, const char* name, const FloatTable& own,
                                double limit);
  Result<void> CompareTopk(const Module& m, std::span<const std::vector<int32_t>> own_by_row);
  void Add(const Module& m, const std::string& name, const FloatTable& own,
           const FloatTable& golden, double limit) {
    checks_.push_back({2, m.prefix + name, RelativeError(own.view(), golden.view()), limit});
  }
  int64_t hc() const { return config_.hc_mult; }
  int64_t dims() const { return config_.hidden_size; }
  int64_t topk() const { return config_.index_topk; }
  const model::LayerWeights& weights(const Module& m) const {
    return m.layer < config_.num_hidden_layers
               ? runner_.weights().layers[static_cast<size_t>(m.layer)]
               : runner_.weights().mtp->block;
  }
  std::vector<TokenId> TokensAt(const Module& m) const {
    std::vector<TokenId> tokens;
    for (const int64_t row : m.rows) tokens.push_back(m.tokens[static_cast<size_t>(row)]);
    return tokens;
  }

  Recorded& recorded_;
  Runner& runner_;
  const model::Config& config_;
  model::Executor executor_;
  kernels::Context context_;
  Limits limits_;
  std::vector<TokenId> ids_;
  std::vector<Check> checks_;
};

Result<std::vector<Check>> TraceChecker::Run() {
  const auto read_rows = [&](const char* name, int64_t end) -> Result<std::vector<int64_t>> {
    if (recorded_.Has(name)) return ReadPositions(recorded_, name, end);
    std::vector<int64_t> all(static_cast<size_t>(end));
    std::iota(all.begin(), all.end(), int64_t{0});
    return all;
  };
  const int64_t count = std::ssize(ids_);
  FATHOM_TRY(const std::vector<int64_t> rows, read_rows("rows", count));
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    FATHOM_TRY_VOID(CheckModule({fmt::format("layers.{}.", i), i, ids_, rows}));
  }
  const bool has_mtp_tensors =
      std::any_of(recorded_.tensors().begin(), recorded_.tensors().end(),
                  [](const auto& entry) { return entry.first.starts_with("mtp.0."); });
  if (has_mtp_tensors) {
    if (!runner_.has_mtp())
      return Error{recorded_.path() + ": holds mtp.0, the checkpoint has no MTP block"};
    FATHOM_TRY(const std::vector<int64_t> mtp_rows, read_rows("mtp_rows", count - 1));
    FATHOM_TRY_VOID(CheckModule(
        {"mtp.0.", config_.num_hidden_layers, {ids_.begin() + 1, ids_.end()}, mtp_rows}));
  }
  return std::move(checks_);
}

FloatTable TraceChecker::Embeddings(const Module& m) const {
  FloatTable streams = MakeTable(std::ssize(m.tokens), hc() * dims());
  for (int64_t t = 0; t < streams.rows(); ++t)
    for (int64_t j = 0; j < hc(); ++j)
      executor_.EmbedToken(m.tokens[static_cast<size_t>(t)], streams.view().row(t) + j * dims());
  return streams;
}

Result<FloatTable> TraceChecker::WholeInput(const Module& m) {
  if (m.layer == 0) return Embeddings(m);
  const bool is_mtp = m.layer == config_.num_hidden_layers;
  const std::string name = is_mtp ? m.prefix + "in" : fmt::format("layers.{}.out", m.layer - 1);
  if (!recorded_.Has(name)) return MakeTable(0, hc() * dims());
  FATHOM_TRY(FloatTable input, recorded_.Floats(name, {kAny, hc(), dims()}));
  if (input.rows() != std::ssize(m.tokens)) return MakeTable(0, hc() * dims());
  return input;
}

Result<void> TraceChecker::CheckModule(const Module& m) {
  FATHOM_TRY(FloatTable input, WholeInput(m));
  if (input.rows() > 0 && (Has(m, "out") || Has(m, "attn.out") || Has(m, "ffn.out"))) {
    FATHOM_TRY_VOID(CheckWholeLayer(m, std::move(input)));
  } else {
    FATHOM_TRY_VOID(CheckFfn(m));
    FATHOM_TRY_VOID(CheckFfnSublayer(m));
    FATHOM_TRY_VOID(CheckSelection(m));
  }
  return CheckAttention(m);
}

Result<void> TraceChecker::CheckWholeLayer(const Module& m, FloatTable streams) {
  const int64_t count = streams.rows();
  model::Sequence sequence(config_, count, numerics::Mode::kOfficial);
  Capture capture;
  executor_.set_tap(&capture);
  for (int64_t at = 0; at < count;) {
    const int64_t rows = std::min(runner_.chunk(), count - at);
    const std::span<const TokenId> tokens(m.tokens.data() + at, static_cast<size_t>(rows));
    const model::BatchItem item{&sequence, tokens, model::LogitRows::kNone};
    executor_.RunLayer(
        m.layer, {&item, 1},
        MatrixView<float>(streams.values.data() + at * hc() * dims(), rows, hc() * dims()));
    sequence.Advance(rows);
    at += rows;
  }
  executor_.set_tap(nullptr);
  FATHOM_TRY_VOID(ComparePositions(m, "attn.out", capture.tensor("attn.out"), limits_.sublayer));
  FATHOM_TRY_VOID(ComparePositions(m, "ffn.out", capture.tensor("ffn.out"), limits_.sublayer));
  FATHOM_TRY_VOID(ComparePositions(m, "out", capture.tensor("out"), limits_.out));
  if (Has(m, "attn.indexer.topk") && !capture.picks().empty()) {
    std::vector<std::vector<int32_t>> own;
    for (const int64_t row : m.rows) own.push_back(capture.picks()[static_cast<size_t>(row)]);
    FATHOM_TRY_VOID(CompareTopk(m, own));
  }
  return {};
}

Result<void> TraceChecker::ComparePositions(const Module& m, const char* name,
                                            const FloatTable& own, double limit) {
  if (!Has(m, name)) return {};
  const std::vector<int64_t> shape = own.cols() == dims()
                                         ? std::vector<int64_t>{kAny, dims()}
                                         : std::vector<int64_t>{kAny, hc(), dims()};
  FATHOM_TRY(const FloatTable golden, Floats(m, name, shape));
  if (golden.rows() == own.rows()) {
    Add(m, name, own, golden, limit);
  } else if (golden.rows() == std::ssize(m.rows)) {
    Add(m, name, RowsAt(own, m.rows), golden, limit);
  } else {
    return Error{fmt::format("{}: {}{}: expected {} or {} rows, found {}", recorded_.path(),
                             m.prefix, name, m.rows.size(), own.rows(), golden.rows())};
  }
  return {};
}

Result<void> TraceChecker::CompareTopk(const Module& m,
                                       std::span<const std::vector<int32_t>> own_by_row) {
  FATHOM_TRY(const IntTable golden,
             recorded_.Ints(m.prefix + "attn.indexer.topk", {std::ssize(m.rows), kAny}));
  // Compressed rows stand behind the window rows of all positions.
  const int64_t offset = std::ssize(m.tokens);
  double sum = 0;
  int64_t rows = 0;
  for (int64_t i = 0; i < golden.rows(); ++i) {
    const std::vector<int32_t>& own = own_by_row[static_cast<size_t>(i)];
    int64_t picks = 0, shared = 0;
    for (const int64_t index : golden.view().row_span(i)) {
      if (index < 0) continue;
      ++picks;
      shared += std::count(own.begin(), own.end(), index - offset);
    }
    if (picks == 0) continue;
    sum += static_cast<double>(shared) / static_cast<double>(picks);
    ++rows;
  }
  if (rows > 0)
    checks_.push_back({2, m.prefix + "attn.indexer.topk", sum / static_cast<double>(rows),
                       kTopkOverlap, Check::Bound::kAtLeast});
  return {};
}

Result<void> TraceChecker::CheckFfn(const Module& m) {
  if (!Has(m, "ffn_in") || !Has(m, "ffn.out")) return {};
  const int64_t rows = std::ssize(m.rows);
  FATHOM_TRY(const FloatTable input, Floats(m, "ffn_in", {rows, dims()}));
  FATHOM_TRY(const FloatTable golden, Floats(m, "ffn.out", {rows, dims()}));
  FloatTable own = MakeTable(rows, dims());
  const std::vector<TokenId> tokens = TokensAt(m);
  for (int64_t at = 0; at < rows; at += runner_.chunk()) {
    const int64_t n = std::min(runner_.chunk(), rows - at);
    executor_.RunFfn(m.layer, {tokens.data() + at, static_cast<size_t>(n)},
                     input.view().rows_from(at, n), own.view().rows_from(at, n));
  }
  Add(m, "ffn.out", own, golden, limits_.sublayer);
  return {};
}

Result<void> TraceChecker::CheckFfnSublayer(const Module& m) {
  if (!Has(m, "after_attn") || !Has(m, "out")) return {};
  const int64_t rows = std::ssize(m.rows);
  FATHOM_TRY(FloatTable streams, Floats(m, "after_attn", {rows, hc(), dims()}));
  FATHOM_TRY(FloatTable golden, Floats(m, "out", {kAny, hc(), dims()}));
  if (golden.rows() == std::ssize(m.tokens)) golden = RowsAt(golden, m.rows);
  if (golden.rows() != rows)
    return Error{fmt::format("{}: {}out: expected {} rows, found {}", recorded_.path(), m.prefix,
                             rows, golden.rows())};
  const std::vector<TokenId> tokens = TokensAt(m);
  for (int64_t at = 0; at < rows; at += runner_.chunk()) {
    const int64_t n = std::min(runner_.chunk(), rows - at);
    executor_.RunFfnSublayer(m.layer, {tokens.data() + at, static_cast<size_t>(n)},
                             streams.view().rows_from(at, n));
  }
  Add(m, "out", streams, golden, limits_.out);
  return {};
}

// The core attention on recorded queries and rows, in the recorded order, with slots for the
// whole window (recorded prompts of a trace are longer than it).
Result<void> TraceChecker::CheckAttention(const Module& m) {
  if (!Has(m, "attn.q") || !Has(m, "attn.kv") || !Has(m, "attn.idx") || !Has(m, "attn.o"))
    return {};
  const int64_t rows = std::ssize(m.rows), heads = config_.num_attention_heads;
  const int64_t dim = config_.head_dim;
  FATHOM_TRY(const FloatTable q, Floats(m, "attn.q", {rows, heads, dim}));
  FATHOM_TRY(const FloatTable kv, Floats(m, "attn.kv", {kAny, dim}));
  FATHOM_TRY(const IntTable idx, recorded_.Ints(m.prefix + "attn.idx", {rows, kAny}));
  FATHOM_TRY(const FloatTable golden, Floats(m, "attn.o", {rows, heads, dim}));
  std::vector<std::vector<int64_t>> lists;
  for (int64_t t = 0; t < rows; ++t) {
    std::vector<int64_t>& list = lists.emplace_back();
    for (const int64_t row : idx.view().row_span(t))
      if (row >= 0) list.push_back(row);
    if (list.empty() || *std::max_element(list.begin(), list.end()) >= kv.rows())
      return Error{fmt::format("{}: {}attn.idx: row {} expected to hold indices below {}",
                               recorded_.path(), m.prefix, t, kv.rows())};
  }
  FloatTable own = MakeTable(rows, heads * dim);
  const kernels::CacheRows cached = kernels::FloatRows(kv.values.data(), dim);
  const auto gather = [&](int64_t t, const std::byte** list) -> kernels::RowList {
    const std::vector<int64_t>& from = lists[static_cast<size_t>(t)];
    for (size_t i = 0; i < from.size(); ++i) list[i] = cached.row(from[i]);
    const int64_t position = m.rows[static_cast<size_t>(t)];
    const int64_t window = config_.sliding_window;
    const int64_t in_window = std::min(position + 1, window);
    return {std::ssize(from), in_window, window - in_window};
  };
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  kernels::SparseAttention(q.view(), heads, weights(m).attn.attn_sink, scale,
                           {cached.layout, idx.cols(), gather}, own.view(), context_);
  Add(m, "attn.o", own, golden, limits_.sublayer);
  return {};
}

// The choice of blocks from recorded index queries, keys and weights.
Result<void> TraceChecker::CheckSelection(const Module& m) {
  if (!Has(m, "attn.indexer.q") || !Has(m, "attn.indexer.k") || !Has(m, "attn.indexer.weights") ||
      !Has(m, "attn.indexer.topk"))
    return {};
  const int64_t rows = std::ssize(m.rows), heads = config_.index_n_heads;
  const int64_t dim = config_.index_head_dim, ratio = weights(m).ratio;
  FATHOM_TRY(const FloatTable q, Floats(m, "attn.indexer.q", {rows, heads, dim}));
  FATHOM_TRY(const FloatTable keys, Floats(m, "attn.indexer.k", {kAny, dim}));
  FATHOM_TRY(const FloatTable head_weights, Floats(m, "attn.indexer.weights", {rows, heads}));
  if (ratio == 0 || keys.rows() < std::ssize(m.tokens) / ratio)
    return Error{fmt::format("{}: {}attn.indexer.k: expected {} keys of ratio {}, found {}",
                             recorded_.path(), m.prefix, std::ssize(m.tokens), ratio, keys.rows())};
  std::vector<std::vector<int32_t>> own(static_cast<size_t>(rows));
  std::vector<kernels::IndexQuery> queries;
  const kernels::CacheRows cached = kernels::FloatRows(keys.values.data(), dim);
  const kernels::CacheRows cached_q = kernels::FloatRows(q.values.data(), dim);
  for (int64_t t = 0; t < rows; ++t) {
    const int64_t visible = (m.rows[static_cast<size_t>(t)] + 1) / ratio;
    std::vector<int32_t>& picks = own[static_cast<size_t>(t)];
    picks.resize(static_cast<size_t>(std::min(visible, topk())));
    queries.push_back(
        {cached_q.row(t * heads), head_weights.view().row(t), cached, visible, picks.data()});
  }
  kernels::SelectBlocks(queries, heads, topk(), context_);
  return CompareTopk(m, own);
}

}  // namespace

Result<std::vector<Check>> CheckTrace(const CaseSpec& spec, const CaseContext& context) {
  FATHOM_TRY(Recorded recorded, Recorded::Open(spec.file));
  FATHOM_TRY(std::vector<TokenId> ids,
             ReadTokens(recorded, "ids", context.runner.config().vocab_size));
  return TraceChecker(recorded, context.runner, std::move(ids)).Run();
}

}  // namespace fathom::verify
