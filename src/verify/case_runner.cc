#include "verify/case_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "verify/compare.h"

namespace fathom::verify {
namespace {

// Logits of one kind in a case's file, with the positions its rows stand at.
struct RecordedRows {
  FloatTable logits;
  std::vector<int64_t> positions;
};

RecordedRows NoRows(int64_t vocab) { return {MakeTable(0, vocab), {}}; }

// Tensor `name` [rows, vocab] and its positions: those of `positions_name` when that is there and
// has as many entries, else all from 0 to end - 1.
Result<RecordedRows> ReadRows(Recorded& recorded, const std::string& name,
                              const std::string& positions_name, int64_t end, int64_t vocab) {
  RecordedRows rows;
  FATHOM_TRY(rows.logits, recorded.Floats(name, {kAny, vocab}));
  if (recorded.Has(positions_name)) {
    FATHOM_TRY(rows.positions, ReadPositions(recorded, positions_name, end));
  }
  if (std::ssize(rows.positions) != rows.logits.rows()) {
    rows.positions.resize(static_cast<size_t>(end));
    std::iota(rows.positions.begin(), rows.positions.end(), int64_t{0});
  }
  if (std::ssize(rows.positions) != rows.logits.rows())
    return Error{fmt::format("{}: {}: expected {} rows, found {}", recorded.path(), name,
                             rows.positions.size(), rows.logits.rows())};
  return rows;
}

void AddStatistics(const Statistics& s, const Tolerance& tolerance, const std::string& what,
                   std::vector<Check>& checks) {
  // Small samples scatter: twice the limits, and one row may always differ.
  constexpr int64_t kFewRows = 16;
  const double factor = s.rows < kFewRows ? 2 : 1;
  checks.push_back({3, what + " mean", s.mean, factor * tolerance.mean});
  checks.push_back({3, what + " p99", s.p99, factor * tolerance.p99});
  double agree = 1 - factor * (1 - tolerance.top1_agree);
  if (s.rows < kFewRows)
    agree = std::min(agree, 1 - 1 / static_cast<double>(std::max<int64_t>(1, s.rows)));
  checks.push_back({3, what + " top-1", s.top1_agree(), agree, Check::Bound::kAtLeast});
}

// Rows of `own` (at own_positions) against the pure rows at the same positions, as far as the two
// sequences are the same. ids_needed: tokens after position p that row p depends on.
void AddPure(const RecordedRows& own, const FloatTable& pure,
             std::span<const int64_t> pure_positions, int64_t common_ids, int64_t ids_needed,
             double limit, const std::string& what, std::vector<Check>& checks) {
  double max = 0;
  int64_t rows = 0;
  for (size_t i = 0; i < own.positions.size(); ++i) {
    const int64_t p = own.positions[i];
    const auto found = std::lower_bound(pure_positions.begin(), pure_positions.end(), p);
    if (p + ids_needed >= common_ids || found == pure_positions.end() || *found != p) continue;
    const double d = MaxDifference(own.logits.view().rows_from(static_cast<int64_t>(i), 1),
                                   pure.view().rows_from(found - pure_positions.begin(), 1));
    // A NaN stays.
    if (!(d <= max)) max = d;
    ++rows;
  }
  if (rows > 0) checks.push_back({1, what + " max", max, limit});
}

int64_t CommonPrefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  const size_t n = std::min(a.size(), b.size());
  size_t i = 0;
  while (i < n && a[i] == b[i]) ++i;
  return static_cast<int64_t>(i);
}

// What a prefill or decode case holds.
struct LogitsCase {
  std::vector<TokenId> ids;
  int64_t prompt_len = 0;
  RecordedRows logits;
  RecordedRows mtp;
};

Result<LogitsCase> ReadLogitsCase(const CaseSpec& spec, const model::Config& config) {
  FATHOM_TRY(Recorded recorded, Recorded::Open(spec.file));
  LogitsCase result;
  const int64_t vocab = config.vocab_size;
  FATHOM_TRY(result.ids, ReadTokens(recorded, "ids", vocab));
  const int64_t count = std::ssize(result.ids);
  result.prompt_len = spec.prompt_len.value_or(count);
  const int64_t end = spec.end.value_or(count);
  if (spec.kind == CaseKind::kDecode && !spec.prompt_len)
    return Error{spec.name + ": expected prompt_len in the case file"};
  if (end != count || result.prompt_len < 1 || result.prompt_len > count ||
      (spec.kind == CaseKind::kPrefill && result.prompt_len != count))
    return Error{fmt::format("{}: {} ids do not fit prompt_len {} and end {}", recorded.path(),
                             count, result.prompt_len, end)};
  FATHOM_TRY(result.logits, ReadRows(recorded, "logits", "positions", count, vocab));
  result.mtp = NoRows(vocab);
  if (recorded.Has("mtp_logits")) {
    FATHOM_TRY(result.mtp, ReadRows(recorded, "mtp_logits", "mtp_positions", count - 1, vocab));
  }
  return result;
}

Result<void> RequireLimit(bool is_there, const char* name, const CaseSpec& spec) {
  if (!is_there)
    return Error{fmt::format("{}: the case file states no tolerance.{}", spec.name, name)};
  return {};
}

}  // namespace

bool HasPureRows(const CaseSpec& spec) {
  const auto recorded = Recorded::Open(spec.file);
  return recorded.ok() && recorded.value().Has("logits_pure");
}

Result<PureRows> LoadPureRows(const CaseSpec& spec, const model::Config& config) {
  FATHOM_TRY(Recorded recorded, Recorded::Open(spec.file));
  PureRows pure;
  const int64_t vocab = config.vocab_size;
  FATHOM_TRY(pure.ids, ReadTokens(recorded, "ids", vocab));
  const int64_t count = std::ssize(pure.ids);
  FATHOM_TRY(RecordedRows logits, ReadRows(recorded, "logits_pure", "positions", count, vocab));
  RecordedRows mtp = NoRows(vocab);
  if (recorded.Has("mtp_logits_pure")) {
    FATHOM_TRY(mtp, ReadRows(recorded, "mtp_logits_pure", "mtp_positions", count - 1, vocab));
  }
  pure.logits = std::move(logits.logits);
  pure.positions = std::move(logits.positions);
  pure.mtp = std::move(mtp.logits);
  pure.mtp_positions = std::move(mtp.positions);
  return pure;
}

Result<std::vector<Check>> CheckLogits(const CaseSpec& spec, const CaseContext& context) {
  FATHOM_TRY(LogitsCase recorded, ReadLogitsCase(spec, context.runner.config()));
  const CaseFile& file = context.file;
  const bool has_mtp = !recorded.mtp.positions.empty();
  if (has_mtp && !context.runner.has_mtp())
    return Error{spec.name + ": the case has MTP logits, the checkpoint has no MTP block"};
  const Runner::Wanted wanted{recorded.logits.positions, recorded.mtp.positions};
  std::vector<Check> checks;
  if (context.pure != nullptr && context.options.level_1) {
    const PureRows& pure = *context.pure;
    const int64_t common = CommonPrefix(recorded.ids, pure.ids);
    const bool has_pure_mtp = has_mtp && !pure.mtp_positions.empty();
    FATHOM_TRY_VOID(RequireLimit(file.pure_logits_max.has_value(), "pure_logits_max", spec));
    FATHOM_TRY_VOID(
        RequireLimit(!has_pure_mtp || file.pure_mtp_max.has_value(), "pure_mtp_max", spec));
    Runner::Logits own =
        context.runner.Run(recorded.ids, recorded.prompt_len,
                           {wanted.logits, has_pure_mtp ? wanted.mtp : std::span<const int64_t>()},
                           numerics::Mode::kPure);
    AddPure({std::move(own.logits), recorded.logits.positions}, pure.logits, pure.positions, common,
            0, *file.pure_logits_max, "logits", checks);
    if (has_pure_mtp)
      AddPure({std::move(own.mtp), recorded.mtp.positions}, pure.mtp, pure.mtp_positions, common, 1,
              *file.pure_mtp_max, "mtp", checks);
  }
  if (context.options.level_3) {
    FATHOM_TRY_VOID(RequireLimit(file.logits.has_value(), "logits", spec));
    FATHOM_TRY_VOID(RequireLimit(!has_mtp || file.mtp.has_value(), "mtp", spec));
    const Runner::Logits own =
        context.runner.Run(recorded.ids, recorded.prompt_len, wanted, numerics::Mode::kOfficial,
                           Runner::Slots::kAsRecorded);
    AddStatistics(Compare(own.logits.view(), recorded.logits.logits.view()), *file.logits, "logits",
                  checks);
    if (has_mtp)
      AddStatistics(Compare(own.mtp.view(), recorded.mtp.logits.view()), *file.mtp, "mtp", checks);
  }
  return checks;
}

Result<std::vector<Check>> CheckGreedy(const CaseSpec& spec, const CaseContext& context) {
  std::vector<Check> checks;
  if (!context.options.level_3) return checks;
  const int64_t vocab = context.runner.config().vocab_size;
  FATHOM_TRY(Recorded recorded, Recorded::Open(spec.file));
  FATHOM_TRY(const std::vector<TokenId> prompt, ReadTokens(recorded, "ids", vocab));
  FATHOM_TRY(const std::vector<TokenId> generated, ReadTokens(recorded, "generated", vocab));
  FATHOM_TRY(FloatTable logits, recorded.Floats("logits", {std::ssize(generated), vocab}));
  FATHOM_TRY_VOID(RequireLimit(context.file.logits.has_value(), "logits", spec));
  if (!spec.robust_len || *spec.robust_len > std::ssize(generated))
    return Error{fmt::format("{}: expected robust_len, at most {}, in the case file", spec.name,
                             generated.size())};
  if (spec.prompt_len.value_or(std::ssize(prompt)) != std::ssize(prompt))
    return Error{fmt::format("{}: expected {} prompt ids, found {}", recorded.path(),
                             *spec.prompt_len, prompt.size())};
  const int64_t robust = *spec.robust_len;
  const Runner::Greedy own = context.runner.RunGreedy(prompt, robust);
  int64_t equal = 0;
  while (equal < robust &&
         own.generated[static_cast<size_t>(equal)] == generated[static_cast<size_t>(equal)])
    ++equal;
  checks.push_back({3, "leading ids", static_cast<double>(equal), static_cast<double>(robust),
                    Check::Bound::kAtLeast});
  // After a wrong id the rows no longer belong to the same text.
  const int64_t rows = std::min(robust, equal + 1);
  if (rows > 0)
    AddStatistics(Compare(own.logits.view().rows_from(0, rows), logits.view().rows_from(0, rows)),
                  *context.file.logits, "logits", checks);
  return checks;
}

}  // namespace fathom::verify
