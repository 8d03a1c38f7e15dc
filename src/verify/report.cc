#include "verify/report.h"

#include <fmt/format.h>

#include <algorithm>

namespace fathom::verify {
namespace {

// A trace has dozens of checks: only the one closest to its limit is printed for each of these.
std::string GroupOf(const Check& check) {
  if (check.level != 2) return check.what;
  for (const char* ending : {"attn.out", "ffn.out", "attn.o", "topk"})
    if (check.what.ends_with(ending)) return ending;
  return "out";
}

double Nearness(const Check& check) {
  if (!check.passes()) return 1e300;
  if (check.bound == Check::Bound::kAtMost)
    return check.limit > 0 ? check.value / check.limit : check.value;
  return check.limit < 1 ? (1 - check.value) / (1 - check.limit) : 0;
}

std::string FormatCheck(const Check& check, const std::string& what, int64_t count) {
  return fmt::format("{}{} {:.4g} {} {:.4g}", what, count > 1 ? fmt::format(" (of {})", count) : "",
                     check.value, check.bound == Check::Bound::kAtMost ? "<=" : ">=", check.limit);
}

// The checks of one level, the failed ones by their own names.
std::string FormatLevel(const CaseReport& report, int level) {
  std::string text;
  std::vector<std::string> groups;
  for (const Check& check : report.checks) {
    if (check.level != level) continue;
    const std::string group = GroupOf(check);
    if (!check.passes()) {
      text += (text.empty() ? "" : ", ") + FormatCheck(check, check.what, 1) + " FAIL";
    } else if (std::find(groups.begin(), groups.end(), group) == groups.end()) {
      groups.push_back(group);
    }
  }
  for (const std::string& group : groups) {
    const Check* nearest = nullptr;
    int64_t count = 0;
    for (const Check& check : report.checks) {
      if (check.level != level || GroupOf(check) != group || !check.passes()) continue;
      ++count;
      if (nearest == nullptr || Nearness(check) > Nearness(*nearest)) nearest = &check;
    }
    text += (text.empty() ? "" : ", ") + FormatCheck(*nearest, group, count);
  }
  return text;
}

}  // namespace

bool CaseReport::passes() const {
  return error.empty() && !checks.empty() &&
         std::all_of(checks.begin(), checks.end(), [](const Check& c) { return c.passes(); });
}

bool CaseReport::has_level(int level) const {
  return std::any_of(checks.begin(), checks.end(),
                     [level](const Check& c) { return c.level == level; });
}

bool CaseReport::passes_level(int level) const {
  return error.empty() && std::all_of(checks.begin(), checks.end(), [level](const Check& c) {
           return c.level != level || c.passes();
         });
}

int64_t Report::passed() const {
  return std::count_if(cases.begin(), cases.end(), [](const CaseReport& c) { return c.passes(); });
}

std::string FormatLine(const CaseReport& report) {
  std::string text;
  for (const int level : {0, 1, 2, 3}) {
    if (!report.has_level(level)) continue;
    if (!text.empty()) text += "; ";
    if (level > 0) text += fmt::format("level {}: ", level);
    text += FormatLevel(report, level);
  }
  if (!report.error.empty()) text += (text.empty() ? "" : "; ") + report.error;
  if (text.empty()) text = "nothing to compare";
  return fmt::format("{:<5}{:<22}{}", report.passes() ? "pass" : "FAIL", report.name, text);
}

std::string FormatSummary(const Report& report) {
  return fmt::format("{} of {} cases pass", report.passed(), report.cases.size());
}

Json ToJson(const Report& report) {
  Json::Array cases;
  for (const CaseReport& from : report.cases) {
    Json::Array checks, levels;
    for (const int level : {1, 2, 3})
      if (from.has_level(level)) levels.push_back(level);
    for (const Check& check : from.checks) {
      checks.push_back(
          Json::Object{{"level", check.level},
                       {"what", check.what},
                       {"value", check.value},
                       {"bound", check.bound == Check::Bound::kAtMost ? "at_most" : "at_least"},
                       {"limit", check.limit},
                       {"passes", check.passes()}});
    }
    Json entry = Json::Object{{"name", from.name},
                              {"kind", from.kind},
                              {"passes", from.passes()},
                              {"levels", std::move(levels)},
                              {"checks", std::move(checks)}};
    if (!from.error.empty()) entry.Set("error", from.error);
    cases.push_back(std::move(entry));
  }
  return Json::Object{{"cases", std::move(cases)},
                      {"passed", report.passed()},
                      {"total", std::ssize(report.cases)}};
}

}  // namespace fathom::verify
