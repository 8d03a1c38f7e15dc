// One pass over the lines; differences are shown around the first byte that differs, because
// prompts are long.
#include "cli/records.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <iterator>

#include "base/file.h"
#include "chat/python_json.h"

namespace fathom::cli {
namespace {

// Characters shown of a text that differs, before and after the place.
constexpr size_t kShownBefore = 30;
constexpr size_t kShownAfter = 60;

// The text around a byte as a JSON string, cut between characters.
std::string Around(std::string_view text, size_t at) {
  const auto is_inside = [&](size_t i) {
    return i < text.size() && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80;
  };
  size_t begin = at < kShownBefore ? 0 : at - kShownBefore;
  size_t end = std::min(at + kShownAfter, text.size());
  while (begin > 0 && is_inside(begin)) --begin;
  while (is_inside(end)) ++end;
  return JsonString(text.substr(std::min(begin, text.size()), end - begin));
}

std::string Difference(std::string_view name, const Json& expected, const Json& found) {
  if (!expected.is_string() || !found.is_string())
    return fmt::format("{}: expected {}, found {}", name, chat::WritePythonJson(expected),
                       chat::WritePythonJson(found));
  const std::string &a = expected.string(), &b = found.string();
  const size_t at =
      static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
  return fmt::format("{}: differs at byte {}: expected {}, found {}", name, at, Around(a, at),
                     Around(b, at));
}

void Print(const std::string& id, const RecordOutcome& outcome, bool as_json) {
  const bool is_match = outcome.differences.empty();
  if (as_json) {
    Json line = Json::Object{{"id", id}};
    if (outcome.is_compared) line.Set("match", is_match);
    if (!is_match)
      line.Set("differences", Json::Array(outcome.differences.begin(), outcome.differences.end()));
    for (const auto& [name, value] : outcome.found.object()) line.Set(name, value);
    std::cout << WriteJson(line) << '\n';
    return;
  }
  const char* verdict = !is_match ? "DIFFERS" : outcome.is_compared ? "match" : "not compared";
  std::cout << id << ": " << verdict << ' ' << WriteJson(outcome.found) << '\n';
  for (const std::string& difference : outcome.differences)
    std::cout << id << ":   " << difference << '\n';
}

}  // namespace

Result<std::string> ReadFileOrInput(const std::string& path) {
  if (path == "-")
    return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  return ReadFile(path);
}

void RecordOutcome::Add(const Json& record, std::string_view name, Json value) {
  if (const Json* expected = record.Find(name)) {
    is_compared = true;
    if (*expected != value) differences.push_back(Difference(name, *expected, value));
  }
  found.Set(name, std::move(value));
}

Json IdsJson(std::span<const TokenId> ids) { return Json::Array(ids.begin(), ids.end()); }

Result<int> RunRecords(const std::string& path, bool as_json,
                       const std::function<Result<RecordOutcome>(const Json&)>& run) {
  FATHOM_TRY(const std::string lines, ReadFileOrInput(path));
  int64_t line_number = 0, compared = 0, matched = 0;
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    const auto line = std::string_view(lines).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::string where = fmt::format("{}:{}", path, line_number);
    auto record = chat::ParsePythonJson(line);
    if (!record.ok()) return std::move(record).error().In(where);
    if (!record.value().is_object())
      return Error{
          fmt::format("{}: expected an object, found {}", where, record.value().KindName())};
    const auto outcome = run(record.value());
    if (!outcome.ok()) return Error(outcome.error()).In(where);
    const Json* id = record.value().Find("id");
    Print(id != nullptr && id->is_string() ? id->string() : fmt::format("line {}", line_number),
          outcome.value(), as_json);
    compared += outcome.value().is_compared;
    matched += outcome.value().is_compared && outcome.value().differences.empty();
  }
  std::cout << matched << " of " << compared << " match\n";
  return matched == compared ? 0 : 1;
}

}  // namespace fathom::cli
