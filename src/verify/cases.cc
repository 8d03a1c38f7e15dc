#include "verify/cases.h"

#include <fmt/format.h>

#include "base/file.h"
#include "base/json.h"

namespace fathom::verify {
namespace {

Result<CaseKind> ParseKind(const std::string& name, const std::string& where) {
  for (const CaseKind kind :
       {CaseKind::kPrefill, CaseKind::kDecode, CaseKind::kGreedy, CaseKind::kTrace})
    if (name == Name(kind)) return kind;
  return Error{where + ".kind: expected prefill, decode, greedy or trace, found " +
               JsonString(name)};
}

// A count of tokens, when the member is there.
Result<std::optional<int64_t>> ParseLength(const Json& json, std::string_view name,
                                           const std::string& where) {
  if (json.Find(name) == nullptr) return std::optional<int64_t>();
  FATHOM_TRY(const int64_t value, GetInt64(json, name, where));
  if (value < 0)
    return Error{fmt::format("{}.{}: expected at least 0, found {}", where, name, value)};
  return std::optional<int64_t>(value);
}

Result<std::optional<double>> ParseLimit(const Json& json, std::string_view name,
                                         const std::string& where) {
  if (json.Find(name) == nullptr) return std::optional<double>();
  FATHOM_TRY(const double value, GetDouble(json, name, where));
  return std::optional<double>(value);
}

Result<std::optional<Tolerance>> ParseTolerance(const Json& json, std::string_view name,
                                                const std::string& where) {
  const Json* from = json.Find(name);
  if (from == nullptr) return std::optional<Tolerance>();
  const std::string place = fmt::format("{}.{}", where, name);
  Tolerance tolerance;
  FATHOM_TRY(tolerance.mean, GetDouble(*from, "mean", place));
  FATHOM_TRY(tolerance.p99, GetDouble(*from, "p99", place));
  FATHOM_TRY(tolerance.top1_agree, GetDouble(*from, "top1_agree", place));
  return std::optional<Tolerance>(tolerance);
}

Result<CaseSpec> ParseCase(const Json& json, const std::string& dir, const std::string& where) {
  if (!json.is_object())
    return Error{fmt::format("{}: expected an object, found {}", where, json.KindName())};
  CaseSpec spec;
  FATHOM_TRY(spec.name, GetString(json, "name", where));
  FATHOM_TRY(const std::string file, GetString(json, "file", where));
  FATHOM_TRY(const std::string kind, GetString(json, "kind", where));
  FATHOM_TRY(spec.kind, ParseKind(kind, where));
  FATHOM_TRY(spec.prompt_len, ParseLength(json, "prompt_len", where));
  FATHOM_TRY(spec.end, ParseLength(json, "end", where));
  FATHOM_TRY(spec.robust_len, ParseLength(json, "robust_len", where));
  spec.file = dir + "/" + file;
  return spec;
}

}  // namespace

const char* Name(CaseKind kind) {
  switch (kind) {
    case CaseKind::kPrefill:
      return "prefill";
    case CaseKind::kDecode:
      return "decode";
    case CaseKind::kGreedy:
      return "greedy";
    case CaseKind::kTrace:
      return "trace";
  }
  return "";
}

Result<CaseFile> ParseCases(std::string_view text, const std::string& dir,
                            const std::string& where) {
  auto parsed = ParseJson(text);
  if (!parsed.ok()) return std::move(parsed).error().In(where);
  const Json& json = parsed.value();
  const Json* cases = json.Find("cases");
  if (cases == nullptr || !cases->is_array() || cases->array().empty())
    return Error{where + ": expected an object with a list `cases` that is not empty"};
  const Json* tolerance = json.Find("tolerance");
  if (tolerance == nullptr || !tolerance->is_object())
    return Error{where + ": expected an object `tolerance`"};
  CaseFile file;
  const std::string place = where + ": tolerance";
  FATHOM_TRY(file.logits, ParseTolerance(*tolerance, "logits", place));
  FATHOM_TRY(file.mtp, ParseTolerance(*tolerance, "mtp", place));
  FATHOM_TRY(file.pure_logits_max, ParseLimit(*tolerance, "pure_logits_max", place));
  FATHOM_TRY(file.pure_mtp_max, ParseLimit(*tolerance, "pure_mtp_max", place));
  for (size_t i = 0; i < cases->array().size(); ++i) {
    FATHOM_TRY(CaseSpec spec,
               ParseCase(cases->array()[i], dir, fmt::format("{}: cases[{}]", where, i)));
    file.cases.push_back(std::move(spec));
  }
  return file;
}

Result<CaseFile> LoadCases(const std::string& path) {
  constexpr int64_t kBytesMax = 64 << 20;
  FATHOM_TRY(const std::string text, ReadFile(path, kBytesMax));
  const size_t slash = path.rfind('/');
  return ParseCases(text, slash == std::string::npos ? "." : path.substr(0, slash), path);
}

}  // namespace fathom::verify
