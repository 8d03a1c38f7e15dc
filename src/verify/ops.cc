// The list of operators, and the driver that runs each and sees to it that no table goes unread.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/file.h"
#include "verify/compare.h"
#include "verify/op_checks.h"
#include "verify/verify.h"

namespace fathom::verify {
namespace {

struct KnownOp {
  std::string_view name;
  bool is_prefix = false;  // "rope." stands for "rope.plain", "rope.yarn", ...
  OpCheck check = nullptr;
};

constexpr KnownOp kKnownOps[] = {
    {"tab", false, CheckDecodeTables},
    {"enc.e4m3", false, CheckEncodeE4M3},
    {"enc.e2m1", false, CheckEncodeE2M1},
    {"pow2ceil", false, CheckPow2Ceil},
    {"act_quant128", false, CheckActQuant},
    {"act_quant64_inplace", false, CheckActQuantInPlace},
    {"fp4_act_quant", false, CheckFp4ActQuant},
    {"hadamard", true, CheckHadamard},
    {"rope.", true, CheckRope},
    {"sinkhorn", false, CheckSinkhorn},
    {"hc", false, CheckHyperConnection},
    {"hc_head", false, CheckHyperConnectionHead},
    {"compress_", true, CheckCompress},
    {"sparse_attn", false, CheckSparseAttention},
    {"gate", false, CheckGate},
    {"gate_hash", false, CheckHashGate},
    {"swiglu", false, CheckSwiGlu},
    {"fp8_gemm", false, CheckQuantizedProduct},
    {"fp4_gemm", false, CheckQuantizedProduct},
    {"win_idx", false, CheckWindowLists},
    {"hca_idx", false, CheckHcaLists},
    {"index_score", false, CheckIndexScore},
    {"wo_a", false, CheckGroupedProjection},
    {"rmsnorm", false, CheckRmsNorm},
    {"q_head_norm", false, CheckHeadNorm},
};

OpCheck FindCheck(std::string_view op) {
  for (const KnownOp& known : kKnownOps)
    if (known.is_prefix ? op.starts_with(known.name) : op == known.name) return known.check;
  return nullptr;
}

// "rope.plain" of "rope.plain.cos".
std::string OpOf(const std::string& table) { return table.substr(0, table.rfind('.')); }

// Operators in the order of ops.json, then those that only the tables know.
std::vector<std::string> ListOps(const Json& listed, const Recorded& tables) {
  std::vector<std::string> ops;
  const auto add = [&](const std::string& table) {
    const std::string op = OpOf(table);
    if (std::find(ops.begin(), ops.end(), op) == ops.end()) ops.push_back(op);
  };
  for (const auto& [name, shape] : listed.object()) add(name);
  for (const auto& [name, raw] : tables.tensors()) add(name);
  return ops;
}

CaseReport RunOp(const std::string& op, const Json& listed, const OpContext& context) {
  CaseReport report;
  report.name = op;
  report.kind = "op";
  const OpCheck check = FindCheck(op);
  if (check == nullptr) {
    report.error = "no check knows this operator";
    return report;
  }
  auto checks = check(op, context);
  if (!checks.ok()) {
    report.error = std::move(checks).error().message;
    return report;
  }
  report.checks = std::move(checks).value();
  for (const auto& [name, shape] : listed.object())
    if (OpOf(name) == op && !context.tables.Has(name))
      report.error = fmt::format("table {} is listed and missing", name);
  for (const std::string& name : context.tables.Unread())
    if (OpOf(name) == op) report.error = fmt::format("no check reads the table {}", name);
  return report;
}

}  // namespace

Result<tensor::QuantView> OpContext::Weight(const std::string& op, const char* table) const {
  using tensor::DType;
  const std::string name = op + "." + table;
  const auto found = tables.tensors().find(name);
  if (found == tables.tensors().end() || found->second.shape.size() != 2)
    return Error{fmt::format("{}: {}: expected a matrix", tables.path(), name)};
  FATHOM_TRY(const tensor::RawView raw, tables.Raw(name, found->second.dtype, found->second.shape));
  tensor::QuantView w{.format = tensor::Format::kBF16,
                      .data = raw.bytes.data(),
                      .rows = raw.shape[0],
                      .cols = raw.shape[1]};
  if (raw.dtype == DType::kBF16) return w;
  if (raw.dtype != DType::kF8E4M3 && raw.dtype != DType::kI8)
    return Error{fmt::format("{}: {}: expected BF16, F8_E4M3 or I8, found {}", tables.path(), name,
                             tensor::Name(raw.dtype))};
  const bool is_fp8 = raw.dtype == DType::kF8E4M3;
  w.format = is_fp8 ? tensor::Format::kFp8 : tensor::Format::kFp4;
  if (!is_fp8) w.cols *= 2;
  const int64_t scale_rows = is_fp8 ? (w.rows + tensor::kFp8Block - 1) / tensor::kFp8Block : w.rows;
  FATHOM_TRY(const tensor::RawView scale,
             tables.Raw(op + ".scale", DType::kF8E8M0, {scale_rows, w.scale_cols()}));
  w.scale = reinterpret_cast<const uint8_t*>(scale.bytes.data());
  return w;
}

Result<double> OpContext::Param(const std::string& op, const char* name) const {
  const Json* of_op = params.Find(op);
  const Json* value = of_op == nullptr ? nullptr : of_op->Find(name);
  if (value == nullptr) return Error{fmt::format("params.{}.{} is missing", op, name)};
  if (value->is_bool()) return value->boolean() ? 1.0 : 0.0;
  return GetDouble(*of_op, name, "params." + op);
}

void AddExact(const std::string& what, MatrixView<const float> own, MatrixView<const float> golden,
              Checks& checks) {
  int64_t differ = 0;
  for (int64_t i = 0; i < golden.rows; ++i) {
    for (int64_t j = 0; j < golden.cols; ++j) {
      const float a = own.row(i)[j], b = golden.row(i)[j];
      const bool is_equal = std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) ||
                            (std::isnan(a) && std::isnan(b));
      differ += !is_equal;
    }
  }
  checks.push_back({0, what + " differ", static_cast<double>(differ), 0});
}

void AddExact(const std::string& what, const std::vector<int64_t>& own,
              const std::vector<int64_t>& golden, Checks& checks) {
  const size_t common = std::min(own.size(), golden.size());
  size_t differ = std::max(own.size(), golden.size()) - common;
  for (size_t i = 0; i < common; ++i) differ += own[i] != golden[i];
  checks.push_back({0, what + " differ", static_cast<double>(differ), 0});
}

void AddBf16(const std::string& what, MatrixView<const float> own, MatrixView<const float> golden,
             Checks& checks) {
  int64_t steps = 0;
  for (int64_t i = 0; i < golden.rows; ++i)
    for (int64_t j = 0; j < golden.cols; ++j)
      steps = std::max(steps, Bf16Steps(own.row(i)[j], golden.row(i)[j]));
  checks.push_back({0, what + " ulp", static_cast<double>(steps), 1});
}

void AddF32(const std::string& what, MatrixView<const float> own, MatrixView<const float> golden,
            Checks& checks) {
  double worst = 0;
  for (int64_t i = 0; i < golden.rows; ++i) {
    double squares = 0;
    for (const float b : golden.row_span(i)) squares += static_cast<double>(b) * b;
    const double typical = std::sqrt(squares / static_cast<double>(golden.cols));
    for (int64_t j = 0; j < golden.cols; ++j) {
      const double a = own.row(i)[j], b = golden.row(i)[j];
      const double d = a == b ? 0 : std::fabs(a - b) / std::max(std::fabs(b), typical);
      if (!(d <= worst)) worst = d;
    }
  }
  checks.push_back({0, what + " relative", worst, 1e-5});
}

Result<Report> VerifyOps(const std::string& ops_path, const Options& options, OnCase on_case) {
  constexpr int64_t kBytesMax = 64 << 20;
  FATHOM_TRY(const std::string text, ReadFile(ops_path, kBytesMax));
  auto parsed = ParseJson(text);
  if (!parsed.ok()) return std::move(parsed).error().In(ops_path);
  const Json* params = parsed.value().Find("params");
  const Json* listed = parsed.value().Find("tensors");
  if (params == nullptr || !params->is_object() || listed == nullptr || !listed->is_object())
    return Error{ops_path + ": expected an object with objects `params` and `tensors`"};
  std::string tables_path = ops_path;
  if (tables_path.ends_with(".json")) tables_path.resize(tables_path.size() - 5);
  FATHOM_TRY(Recorded tables, Recorded::Open(tables_path + ".safetensors"));
  ThreadPool pool(options.threads);
  kernels::Workspace workspace;
  const OpContext context{tables,
                          *params,
                          {pool, workspace, options.path, numerics::Mode::kOfficial},
                          {pool, workspace, options.path, numerics::Mode::kPure}};
  Report report;
  for (const std::string& op : ListOps(*listed, tables)) {
    if (!options.only.empty() && op != options.only) continue;
    report.cases.push_back(RunOp(op, *listed, context));
    on_case(report.cases.back());
  }
  if (report.cases.empty())
    return Error{fmt::format("{}: no operator is called {}", ops_path, options.only)};
  return report;
}

}  // namespace fathom::verify
