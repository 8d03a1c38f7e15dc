#include "verify/verify.h"

#include <fmt/format.h>

#include <optional>

#include "verify/case_runner.h"

namespace fathom::verify {
namespace {

// The case whose file holds the pure rows: prefill_full by convention, else the first that has any.
const CaseSpec* FindPureCase(const CaseFile& file) {
  const CaseSpec* found = nullptr;
  for (const CaseSpec& spec : file.cases) {
    if (spec.kind != CaseKind::kPrefill) continue;
    const bool is_conventional = spec.name == "prefill_full";
    if ((found == nullptr || is_conventional) && HasPureRows(spec)) found = &spec;
  }
  return found;
}

Result<std::vector<Check>> RunCase(const CaseSpec& spec, const CaseContext& context) {
  switch (spec.kind) {
    case CaseKind::kPrefill:
    case CaseKind::kDecode:
      return CheckLogits(spec, context);
    case CaseKind::kGreedy:
      return CheckGreedy(spec, context);
    case CaseKind::kTrace:
      return context.options.level_2 ? CheckTrace(spec, context) : std::vector<Check>();
  }
  return std::vector<Check>();
}

}  // namespace

Result<Report> VerifyModel(const model::LoadedModel& loaded, const std::string& cases_path,
                           const Options& options, OnCase on_case) {
  FATHOM_TRY(const CaseFile file, LoadCases(cases_path));
  Runner runner(loaded, options.path, options.threads, options.chunk);
  std::optional<PureRows> pure;
  if (const CaseSpec* spec = FindPureCase(file); spec != nullptr) {
    FATHOM_TRY(pure, LoadPureRows(*spec, loaded.config()));
  }
  Report report;
  for (const CaseSpec& spec : file.cases) {
    if (!options.only.empty() && spec.name != options.only) continue;
    CaseReport& result = report.cases.emplace_back();
    result.name = spec.name;
    result.kind = Name(spec.kind);
    auto checks = RunCase(spec, {runner, file, options, pure ? &*pure : nullptr});
    if (checks.ok()) {
      result.checks = std::move(checks).value();
    } else {
      result.error = std::move(checks).error().message;
    }
    on_case(result);
  }
  if (report.cases.empty())
    return Error{fmt::format("{}: no case is called {}", cases_path, options.only)};
  return report;
}

}  // namespace fathom::verify
